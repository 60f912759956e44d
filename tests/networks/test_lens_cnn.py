import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import scipy.stats

from rim_lensing.backend import gradient
from rim_lensing.lensing.symmetries import SYMMETRIES, lens_matrix, transform_image
from rim_lensing.networks.lens_cnn import LensCNN, image_features, scalar_features
from rim_lensing.networks.lens_cnn_losses import GaussianNegativeLogLikelihood
from rim_lensing.networks.lens_cnn_presets import (
    LENS_CNN_PRESETS,
    LensCNNConfig,
    get_lens_cnn_preset,
)
from rim_lensing.networks.presets import PRESETS
from rim_lensing.simulation.priors import Priors

CONFIG = get_lens_cnn_preset("tiny16")


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def made(precision="float32", **changes):
    keras.utils.set_random_seed(4)
    network = LensCNN(CONFIG.from_dict(CONFIG.to_dict() | changes), precision)
    network.build()
    generator = np.random.default_rng(2)
    network.set_weights([w + 0.1 * generator.standard_normal(w.shape) for w in positive(network)])
    return network


def positive(network):
    """Weights that no normalisation chokes on."""
    return [
        np.abs(value) + 0.5 if variable.name == "moving_variance" else value
        for variable, value in zip(network.weights, network.get_weights(), strict=True)
    ]


@pytest.fixture
def inputs(tiny_mocks):
    inputs = {name: getattr(tiny_mocks, name).copy() for name in ("image", "noise", "psf")}
    draws = np.random.default_rng(1).uniform(size=(4, CONFIG.dropout_units))
    return inputs | {"dropout": draws.astype("float32")}


def test_output_does_not_depend_on_the_unit_of_the_flux(inputs):
    network = made()
    expected = numpy(network(inputs))
    assert expected.shape == (4, 2, 7)
    scaled = inputs | {"image": 1e6 * inputs["image"], "noise": 1e6 * inputs["noise"]}
    np.testing.assert_allclose(numpy(network(scaled)), expected, rtol=1e-3, atol=1e-3)


def test_of_layers_in_bfloat16_the_parameters_are_not_rounded(inputs):
    layers, exact = made("mixed_bfloat16"), made()
    rough, expected = numpy(layers(inputs)), numpy(exact(inputs))
    assert rough.dtype == "float32" and np.any(rough.view("uint32") & 0xFFFF)
    spread = np.array(CONFIG.spread)
    difference = np.abs((rough - expected)[:, 0] / spread).max()
    assert 1e-6 < difference < 0.1


def test_masked_pixels_are_not_seen(inputs):
    network = made()
    inputs["noise"][:, 3:6, 8:] = np.inf
    expected = numpy(network(inputs))
    inputs["image"][:, 3:6, 8:] = np.nan
    np.testing.assert_array_equal(numpy(network(inputs)), expected)
    inputs["image"][:, 3:6, 8:] = 1e3
    np.testing.assert_array_equal(numpy(network(inputs)), expected)


def test_features_say_what_they_promise(inputs):
    inputs["noise"][0, 2, 5] = np.inf
    inputs["image"][0, 2, 5] = np.nan
    features = numpy(image_features(inputs["image"], inputs["noise"]))
    assert features[0, 2, 5].tolist() == [0, 0, 0]
    significance = inputs["image"] / inputs["noise"]
    np.testing.assert_allclose(np.sinh(3 * features[1, ..., 1]), significance[1], rtol=1e-3)
    ratio = features[1, ..., 0] / significance[1]
    sharpness = np.log(np.sqrt(np.sum(inputs["psf"] ** 2, axis=(1, 2))))
    scalars = numpy(scalar_features(inputs["image"], inputs["noise"], inputs["psf"]))
    np.testing.assert_allclose(scalars[:, 1], sharpness, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scalars[1, 0], np.log(np.median(ratio)), rtol=1e-3)


def test_every_input_matters(inputs):
    network = made(dropout=0.3)
    expected = numpy(network(inputs))
    for name in inputs:
        changed = inputs | {name: 0.5 * inputs[name]}
        assert np.abs(numpy(network(changed)) - expected).max() > 1e-4, name


def test_dropped_units_and_those_kept(inputs):
    """A number below the rate drops; all others together are scaled up."""
    network = made(dropout=0.25)
    low, high = (inputs | {"dropout": 0 * inputs["dropout"] + d} for d in (0.24, 0.26))
    nothing = numpy(network(low))
    bias = [*network.mean.get_weights()[1:], *network.log_variance.get_weights()[1:]]
    spread = np.array(CONFIG.spread)
    np.testing.assert_allclose(nothing[0, 0], CONFIG.location + spread * bias[0], rtol=1e-5)
    np.testing.assert_allclose(nothing[0, 1], 2 * np.log(spread) + bias[1], rtol=1e-5)
    assert np.abs(numpy(network(high)) - nothing).max() > 1e-3


def test_without_dropout_the_samples_differ_by_symmetry_alone(inputs):
    network = made(dropout=0.0)
    means, variances = network.monte_carlo(inputs, SYMMETRIES + 1)
    np.testing.assert_array_equal(means[0], means[SYMMETRIES])
    plain = numpy(network(inputs))
    np.testing.assert_allclose(means[0], plain[:, 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variances[0], np.exp(plain[:, 1]), rtol=1e-4)
    assert np.abs(means[1] - means[0]).max() > 1e-4


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_mean_over_the_symmetries_turns_with_the_image(inputs, symmetry):
    network = made(dropout=0.0)
    turned = {name: transform_image(inputs[name], symmetry) for name in ("image", "noise", "psf")}
    mean = network.monte_carlo(inputs, SYMMETRIES)[0].mean(axis=0)
    variance = network.monte_carlo(inputs, SYMMETRIES)[1].mean(axis=0)
    found, found_variance = (x.mean(axis=0) for x in network.monte_carlo(turned, SYMMETRIES))
    np.testing.assert_allclose(found, mean @ lens_matrix(symmetry).T, rtol=1e-4, atol=1e-5)
    expected = variance @ lens_matrix(symmetry).T ** 2
    np.testing.assert_allclose(found_variance, expected, rtol=1e-3)


def test_samples_can_be_repeated_and_do_not_depend_on_the_batch(inputs):
    network = made(dropout=0.3)
    means, variances = network.monte_carlo(inputs, 3, seed=5)
    assert means.std(axis=0).min() > 0
    alone = {name: value[2:3] for name, value in inputs.items()}
    for found, expected in zip(
        network.monte_carlo(alone, 3, seed=5), (means, variances), strict=True
    ):
        np.testing.assert_allclose(found[:, 0], expected[:, 2], rtol=1e-4, atol=1e-5)
    assert np.abs(network.monte_carlo(inputs, 3, seed=6)[0] - means).max() > 1e-4


def test_large_batches_are_cut(inputs):
    network = made(dropout=0.3)
    many = {name: np.concatenate([value] * 17) for name, value in inputs.items()}
    means, _ = network.monte_carlo(many, 2)
    np.testing.assert_allclose(means[:, -4:], means[:, :4], rtol=1e-4, atol=1e-5)


def test_loss_is_scipys_likelihood():
    generator = np.random.default_rng(0)
    true, mean = generator.standard_normal((2, 5, 7)).astype("float32")
    log_variance = generator.uniform(-3, 1, size=(5, 7)).astype("float32")
    loss = GaussianNegativeLogLikelihood(reduction=None)(true, np.stack([mean, log_variance], 1))
    expected = -scipy.stats.norm.logpdf(true, mean, np.exp(0.5 * log_variance)).mean(axis=1)
    np.testing.assert_allclose(numpy(loss) + 0.5 * np.log(2 * np.pi), expected, rtol=1e-5)


def test_beta_weights_by_the_variance_and_lets_no_gradient_through():
    spread, beta = (0.5, 0.2, 0.2, 0.03, 0.03, 0.06, 0.06), 0.5
    loss = GaussianNegativeLogLikelihood(beta, spread, reduction=None)
    generator = np.random.default_rng(0)
    true, mean = generator.standard_normal((2, 5, 7)).astype("float32")
    log_variance = generator.uniform(-3, 1, size=(5, 7)).astype("float32")

    def total(prediction):
        return keras.ops.sum(loss(true, prediction))

    found = numpy(gradient(total, np.stack([mean, log_variance], 1)))
    variance = np.exp(log_variance)
    weight = (variance / np.square(spread)) ** beta / 7
    # Equations 7 and 8 of Seitzer et al. (2022).
    np.testing.assert_allclose(found[:, 0], weight * (mean - true) / variance, rtol=1e-4)
    expected = 0.5 * weight * (1 - (mean - true) ** 2 / variance)
    np.testing.assert_allclose(found[:, 1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("beta", [-0.1, 1.5])
def test_beta_is_checked(beta):
    with pytest.raises(ValueError, match="`beta` must be in 0 to 1"):
        GaussianNegativeLogLikelihood(beta)


@pytest.mark.parametrize("spread", [(1.0,) * 6, (1.0,) * 6 + (0.0,)])
def test_spread_is_checked(spread):
    with pytest.raises(ValueError, match="`spread` must be seven positive numbers"):
        GaussianNegativeLogLikelihood(0.5, spread)


def test_loss_is_rebuilt_from_its_config():
    loss = GaussianNegativeLogLikelihood(0.5, (0.1,) * 7)
    again = GaussianNegativeLogLikelihood.from_config(loss.get_config())
    assert (again.beta, again.spread) == (0.5, (0.1,) * 7)


def test_weights_survive_saving(inputs, tmp_path):
    network = made()
    network.save_weights(tmp_path / "a.weights.h5")
    other = LensCNN.from_config(network.get_config())
    other.build()
    other.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(numpy(other(inputs)), numpy(network(inputs)))


JAX_SCRIPT = """
import sys, numpy as np
from rim_lensing.networks.lens_cnn import LensCNN
from rim_lensing.networks.lens_cnn_losses import GaussianNegativeLogLikelihood
from rim_lensing.networks.lens_cnn_presets import get_lens_cnn_preset
import keras
assert keras.backend.backend() == "jax"
data = dict(np.load("data.npz"))
true = data.pop("lens")
network = LensCNN(get_lens_cnn_preset("tiny16"))
network.build()
network.load_weights("given.weights.h5")
before = network.predict(data, verbose=0)
network.compile(optimizer=keras.optimizers.SGD(0.01), loss=GaussianNegativeLogLikelihood())
network.fit(data, true, epochs=2, batch_size=4, shuffle=False, verbose=0)
network.save_weights("trained.weights.h5")
np.savez("out.npz", before=before, after=network.predict(data, verbose=0))
"""


def test_jax_gives_and_trains_the_same_network(inputs, tiny_mocks, tmp_path):
    """The same output, the same two steps of training, and weights that TensorFlow reads.

    The largest differences found were 5e-7, of outputs up to 7. The steps are plain ones: Adam's
    first are nearly the gradient's sign, which makes 6e-3 of the round-off of small gradients.
    """
    pytest.importorskip("jax", reason="jax is an optional backend")
    network, read = made(), made()
    network.save_weights(tmp_path / "given.weights.h5")
    np.savez(tmp_path / "data.npz", lens=tiny_mocks.lens, **inputs)
    subprocess.run(
        [sys.executable, "-c", JAX_SCRIPT],
        cwd=tmp_path,
        env=os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    jax_result = np.load(tmp_path / "out.npz")
    before = numpy(network(inputs))
    np.testing.assert_allclose(jax_result["before"], before, atol=1e-5)
    read.load_weights(tmp_path / "trained.weights.h5")
    np.testing.assert_allclose(jax_result["after"], numpy(read(inputs)), atol=1e-5)
    network.compile(optimizer=keras.optimizers.SGD(0.01), loss=GaussianNegativeLogLikelihood())
    network.fit(inputs, tiny_mocks.lens, epochs=2, batch_size=4, shuffle=False, verbose=0)
    after = numpy(network(inputs))
    assert np.abs(after - before).max() > 1e-2
    np.testing.assert_allclose(jax_result["after"], after, atol=1e-5)


@pytest.mark.parametrize("name", LENS_CNN_PRESETS)
def test_presets_build_and_share_the_grids_of_the_rim(name):
    config = get_lens_cnn_preset(name)
    assert LensCNNConfig.from_dict(config.to_dict()) == config
    for grid in ("image_grid", "source_grid", "psf_side"):
        assert getattr(config, grid) == getattr(PRESETS[name], grid)
    network = LensCNN(config)
    network.build()
    side = config.image_side
    inputs = {"image": np.ones((1, side, side)), "noise": np.ones((1, side, side))}
    inputs |= {"psf": np.ones((1, 1, 1)), "dropout": np.ones((1, config.dropout_units))}
    assert network({k: v.astype("float32") for k, v in inputs.items()}).shape == (1, 2, 7)


def test_location_and_spread_are_those_of_the_priors():
    lens = Priors().draw(np.random.default_rng(0), 100_000)["lens"]
    np.testing.assert_allclose(lens.mean(axis=0), LensCNNConfig().location, atol=0.01)
    np.testing.assert_allclose(lens.std(axis=0), LensCNNConfig().spread, rtol=0.05)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"blocks": (1,)}, "equally many"),
        ({"blocks": (0, -1, 1, 1)}, "integers from 0 on"),
        ({"channels": (32, 64, 96.5, 128)}, "positive integers"),
        ({"dense": 0}, "positive integers"),
        ({"strides": (2, 2, 3, 2)}, "must divide"),
        ({"stem_kernel": 1}, "stem_kernel"),
        ({"dropout": 1.0}, "dropout"),
        ({"location": (0.0,)}, "7 numbers"),
        ({"spread": (0.0,) * 7}, "positive"),
    ],
)
def test_what_cannot_be_built_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        LensCNNConfig(**values)


def test_unknown_preset():
    with pytest.raises(ValueError, match="Did you mean 'euclid64'"):
        get_lens_cnn_preset("euclid46")

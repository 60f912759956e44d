import json
import os
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.networks import conv_gru
from rim_lensing.networks.conv_gru import ConvGRU
from rim_lensing.networks.flux_scale import estimate_flux_scale
from rim_lensing.networks.initial_source import DARK
from rim_lensing.networks.losses import UnrolledRMSError
from rim_lensing.networks.presets import RIMConfig, get_preset
from rim_lensing.networks.rim import RIM
from rim_lensing.networks.rim_cell import preconditioned_gradient

TINY = get_preset("tiny16")
PAPER_TINY = RIMConfig(
    image_side=16,
    image_pixel_scale=0.3,
    source_side=16,
    source_pixel_scale=0.15,
    psf_side=5,
    steps=3,
    channels=(4, 6, 4, 6),
    kernel_sizes=(3, 3, 3, 3, 3),
)
INVERTED = replace(TINY, initial_source="inverted")
LARGE_KERNELS = replace(PAPER_TINY, kernel_sizes=(11, 11, 11, 11, 11))
VARIANTS = {
    "compact": TINY,
    "paper": PAPER_TINY,
    "paper, large kernels": LARGE_KERNELS,
    "variance": replace(PAPER_TINY, likelihood_input="variance"),
    "asinh": replace(PAPER_TINY, likelihood_input="asinh", skip=True),
    "blocks": replace(TINY, block=2),
    "blocks, no skip": replace(PAPER_TINY, block=2),
    "zero": replace(TINY, first_update="zero"),
    "source": replace(PAPER_TINY, state_input="source", likelihood_input="preconditioned"),
    "inverted": INVERTED,
    "paper, inverted": replace(PAPER_TINY, initial_source="inverted"),
}


def blob_inputs(batch=2, seed=0):
    """Lensed Gaussian blobs with noise, for the tiny grids."""
    generator = np.random.default_rng(seed)
    x, y = TINY.source_grid.coordinates()
    centre = generator.uniform(-0.3, 0.3, size=(2, batch, 1, 1))
    source = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * 0.3**2))
    lens = np.tile(np.array([[1.1, 0.1, -0.05, 0.02, 0.01, 0.03, 0.0]], "float32"), (batch, 1))
    kernel = np.zeros((batch, 5, 5), "float32")
    kernel[:, 2, 2] = 1
    model = ForwardModel(lens, kernel, TINY.image_grid, TINY.source_grid)
    image = keras.ops.convert_to_numpy(model.predict(source.astype("float32")))
    noise = np.full(image.shape, 0.02, "float32")
    image = image + noise * generator.standard_normal(image.shape).astype("float32")
    inputs = {"image": image, "noise": noise, "psf": kernel, "lens": lens}
    return inputs, source.astype("float32")


def built(config, seed=0, **options):
    keras.utils.set_random_seed(seed)
    model = RIM(config, **options)
    model.build()
    return model


@pytest.mark.parametrize("name", VARIANTS)
def test_output_shape_and_range(name):
    inputs, _ = blob_inputs()
    sources = keras.ops.convert_to_numpy(built(VARIANTS[name])(inputs))
    assert sources.shape == (2, 3, 16, 16)
    assert np.all(np.isfinite(sources))
    assert np.all(sources >= 0)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_weight_is_trained(name):
    """A weight without gradient is a layer that is not connected."""
    inputs, source = blob_inputs()
    model = built(VARIANTS[name])
    before = model.get_weights()
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=UnrolledRMSError())
    # Behind an output layer of zeros nothing is reached by the first step.
    for _ in range(2):
        model.train_on_batch(inputs, source)
    for variable, old, new in zip(model.weights, before, model.get_weights(), strict=True):
        assert np.any(new != old), variable.path


def test_paper_cell_is_the_five_equations():
    """The unrolled network against the equations of DESIGN section 3, written out once more."""
    inputs, _ = blob_inputs()
    model = built(PAPER_TINY)
    cell = model.cell

    def convolved(convolution, layer, maps, strides=1):
        kernel, bias = layer.kernel, layer.bias
        return convolution(maps, kernel, strides=strides, padding="same") + bias

    forward = ForwardModel(
        inputs["lens"], inputs["psf"], PAPER_TINY.image_grid, PAPER_TINY.source_grid
    )
    eta = np.full((2, 16, 16), np.log(DARK / (1 - DARK)), "float32")
    h1, h2 = np.zeros((2, 8, 8, 6), "float32"), np.zeros((2, 16, 16, 6), "float32")
    expected = []
    for _ in range(3):
        source = keras.ops.convert_to_numpy(keras.ops.sigmoid(eta))
        residual = inputs["image"] - keras.ops.convert_to_numpy(forward.predict(source))
        adjoint = forward.adjoint((residual / inputs["noise"] ** 2).astype("float32"))
        g = keras.ops.convert_to_numpy(adjoint) * source * (1 - source)
        maps = np.stack([eta, g], axis=-1)
        a = keras.ops.tanh(convolved(keras.ops.conv, cell.embedding, maps, strides=2))
        h1 = cell.gru1(a, h1)
        u = convolved(keras.ops.conv_transpose, cell.upsampling, h1, strides=2)
        h2 = cell.gru2(keras.ops.tanh(u), h2)
        update = convolved(keras.ops.conv, cell.output_layer, h2)
        eta = eta + keras.ops.convert_to_numpy(update)[..., 0]
        expected.append(1 / (1 + np.exp(-eta)))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model(inputs)), np.stack(expected, axis=1), atol=2e-5
    )


def test_a_new_network_leaves_the_source_as_it_is():
    inputs, _ = blob_inputs()
    model = built(replace(TINY, first_update="zero"))
    sources = keras.ops.convert_to_numpy(model(inputs))
    scale = keras.ops.convert_to_numpy(estimate_flux_scale(inputs["image"], inputs["noise"]))
    np.testing.assert_allclose(sources, DARK * scale[:, None] * np.ones_like(sources), rtol=1e-5)


def test_blocks_keep_their_place():
    """A residual in one corner of the source changes that corner first."""
    model = built(replace(TINY, block=2))
    cell, eta = model.cell, np.full((1, 16, 16), -9.0, "float32")
    states = cell.initial_state(1, 16)
    flat = np.zeros((1, 16, 16), "float32")
    spot = flat.copy()
    spot[0, 12, 3] = 50.0

    def update(slope):
        moved, _ = cell(
            eta,
            states,
            log_likelihood=lambda source: keras.ops.sum(slope * source),
            curvature=np.ones_like(eta),
        )
        return keras.ops.convert_to_numpy(moved)

    change = np.abs(update(spot) - update(flat))[0]
    y, x = np.unravel_index(change.argmax(), change.shape)
    assert abs(y - 12) <= 3 and abs(x - 3) <= 3
    assert change[:4, 10:].max() < 0.01 * change.max()


def test_curvature_brings_the_gradient_to_the_sources_scale():
    """A uniform residual of r gives a step of r, whatever the noise: a weighted mean."""
    inputs, _ = blob_inputs(batch=1)
    forward = ForwardModel(inputs["lens"], inputs["psf"], TINY.image_grid, TINY.source_grid)
    ones = np.ones((1, 16, 16), "float32")
    for sigma in (1e-3, 1e-2):
        noise = np.full((1, 16, 16), sigma, "float32")
        seen = keras.ops.convert_to_numpy(forward.predict(ones))
        curvature = forward.adjoint(seen / noise**2)
        g = forward.log_likelihood_gradient(np.zeros_like(ones), 0.3 * seen, noise)
        step = keras.ops.convert_to_numpy(preconditioned_gradient(g, curvature)[0])
        constrained = keras.ops.convert_to_numpy(curvature) > 1e3
        np.testing.assert_allclose(step[constrained], 0.3, rtol=2e-3)


@pytest.mark.parametrize("config", [TINY, INVERTED])
@pytest.mark.parametrize("factor", [1e-6, 1e4])
def test_image_scaled_rim_is_equivariant(config, factor):
    inputs, _ = blob_inputs()
    model = built(config)
    reference = keras.ops.convert_to_numpy(model(inputs))
    factor = np.float32(factor)
    scaled = inputs | {"image": inputs["image"] * factor, "noise": inputs["noise"] * factor}
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model(scaled)) / factor, reference, rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize("config", [TINY, INVERTED])
def test_masked_pixels_do_not_matter(config):
    inputs, _ = blob_inputs()
    model = built(config)
    noise, image = inputs["noise"].copy(), inputs["image"].copy()
    noise[:, 3:6, 4:9] = np.inf
    reference = keras.ops.convert_to_numpy(model(inputs | {"noise": noise}))
    image[:, 3:6, 4:9] = np.nan
    changed = keras.ops.convert_to_numpy(model(inputs | {"noise": noise, "image": image}))
    assert np.all(np.isfinite(changed))
    np.testing.assert_allclose(changed, reference, rtol=1e-4, atol=1e-6)


def test_flux_scale_of_an_empty_image_is_positive():
    image = np.zeros((1, 16, 16), "float32")
    noise = np.full((1, 16, 16), 0.1, "float32")
    assert float(keras.ops.convert_to_numpy(estimate_flux_scale(image, noise))[0, 0, 0]) > 0


@pytest.mark.parametrize("config", [TINY, INVERTED])
def test_batch_members_do_not_see_each_other(config):
    inputs, _ = blob_inputs(batch=3)
    model = built(config)
    together = keras.ops.convert_to_numpy(model(inputs))
    for i in range(3):
        alone = model({key: value[i : i + 1] for key, value in inputs.items()})
        np.testing.assert_allclose(keras.ops.convert_to_numpy(alone)[0], together[i], atol=2e-5)


def test_weights_and_model_survive_saving(tmp_path):
    inputs, _ = blob_inputs()
    model = built(TINY)
    reference = keras.ops.convert_to_numpy(model(inputs))
    model.save_weights(tmp_path / "rim.weights.h5")
    other = built(TINY, seed=1)
    other.load_weights(tmp_path / "rim.weights.h5")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(other(inputs)), reference)
    model.save(tmp_path / "rim.keras")
    whole = keras.models.load_model(tmp_path / "rim.keras", compile=False)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(whole(inputs)), reference)


JAX_SCRIPT = """
import json, sys, numpy as np
from rim_lensing.networks.presets import RIMConfig
from rim_lensing.networks.rim import RIM
from rim_lensing.networks import conv_gru
from rim_lensing.networks.conv_gru import ConvGRU
from rim_lensing.networks.losses import UnrolledRMSError
import keras
assert keras.backend.backend() == "jax"
data = np.load(sys.argv[1])
inputs = {key: data[key] for key in ("image", "noise", "psf", "lens")}
model = RIM(RIMConfig.from_dict(json.loads(sys.argv[4])))
model.build()
model.load_weights(sys.argv[2])
before = model.predict(inputs, verbose=0)
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=UnrolledRMSError())
model.fit(inputs, data["source"], epochs=2, batch_size=2, shuffle=False, verbose=0)
np.savez(sys.argv[3], before=before, after=model.predict(inputs, verbose=0))
"""


def test_jax_gives_and_trains_the_same_network(tmp_path):
    """One set of weights: the same output, and the same two steps of training, on both."""
    pytest.importorskip("jax", reason="jax is an optional backend")
    inputs, source = blob_inputs()
    config = replace(INVERTED, kernel_sizes=(3, 9, 3, 3, 3))  # one in tiles, one not
    model = built(config)
    model.save_weights(tmp_path / "rim.weights.h5")
    settings = json.dumps(config.to_dict())
    np.savez(tmp_path / "data.npz", source=source, **inputs)
    subprocess.run(
        [sys.executable, "-c", JAX_SCRIPT, "data.npz", "rim.weights.h5", "out.npz", settings],
        cwd=tmp_path,
        env=os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    jax_result = np.load(tmp_path / "out.npz")
    before = keras.ops.convert_to_numpy(model(inputs))
    np.testing.assert_allclose(jax_result["before"], before, atol=5e-5)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=UnrolledRMSError())
    model.fit(inputs, source, epochs=2, batch_size=2, shuffle=False, verbose=0)
    after = keras.ops.convert_to_numpy(model(inputs))
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(jax_result["after"], after, atol=5e-4)


def test_only_the_layers_are_in_bfloat16():
    """What they get and give has 8 bits; state, likelihood and flux scale have all of theirs."""
    inputs, source = blob_inputs()
    layers, exact = built(TINY, precision="mixed_bfloat16"), built(TINY)
    exact.set_weights(layers.get_weights())
    rough, expected = (keras.ops.convert_to_numpy(model(inputs)) for model in (layers, exact))
    assert rough.dtype == "float32"
    difference = np.abs(rough - expected).max() / source.max()
    assert 1e-6 < difference < 0.02
    assert {variable.dtype for variable in layers.weights} == {"float32"}
    bright = inputs | {"image": 1e6 * inputs["image"], "noise": 1e6 * inputs["noise"]}
    np.testing.assert_allclose(1e-6 * layers(bright), rough, rtol=0.02, atol=1e-4)


def test_large_kernels_in_tiles_give_the_same(monkeypatch):
    inputs, _ = blob_inputs()
    model = built(LARGE_KERNELS)
    assert None not in model.cell.spectra()
    in_tiles = keras.ops.convert_to_numpy(model(inputs))
    monkeypatch.setattr(ConvGRU, "spectra", lambda self: None)
    np.testing.assert_allclose(in_tiles, keras.ops.convert_to_numpy(model(inputs)), atol=1e-5)


def test_only_large_kernels_on_a_processor_are_convolved_in_tiles(monkeypatch):
    assert built(PAPER_TINY).cell.spectra() == (None, None)
    monkeypatch.setattr(conv_gru, "accelerator_names", lambda: ["NVIDIA H100"])
    assert built(LARGE_KERNELS).cell.spectra() == (None, None)


def test_layers_in_bfloat16_are_not_convolved_in_tiles():
    """8 bits do not carry a Fourier transform."""
    assert built(LARGE_KERNELS, precision="mixed_bfloat16").cell.spectra() == (None, None)


def test_training_does_not_convolve_in_tiles(monkeypatch):
    inputs, _ = blob_inputs()
    model = built(LARGE_KERNELS)
    expected = keras.ops.convert_to_numpy(model(inputs))
    monkeypatch.setattr(model.cell, "spectra", None)
    np.testing.assert_allclose(model(inputs, training=True), expected, atol=1e-5)


def test_kernels_as_large_as_a_tile_are_not_convolved_in_tiles():
    inputs, _ = blob_inputs()
    model = built(replace(PAPER_TINY, kernel_sizes=(3, 33, 3, 3, 3)))
    assert model.cell.spectra() == (None, None)
    assert model(inputs).shape == (2, 3, 16, 16)


def test_a_policy_set_for_other_networks_is_not_followed():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        assert {layer.compute_dtype for layer in built(TINY)._flatten_layers()} == {"float32"}
    finally:
        keras.config.set_dtype_policy("float32")


def test_other_image_grids_share_the_weights():
    inputs, _ = blob_inputs()
    model = built(TINY)
    fine = model.on_image_grid(48, 0.1)
    assert (fine.config.image_grid.width, fine.config.source_grid) == (
        pytest.approx(TINY.image_grid.width),
        TINY.source_grid,
    )
    for old, new in zip(model.get_weights(), fine.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    cut = {key: np.kron(inputs[key], np.ones((1, 3, 3), "float32")) for key in ("image", "noise")}
    assert fine(inputs | cut).shape == (2, 3, 16, 16)
    # Back on its own pixels it is the same network.
    same = fine.on_image_grid(TINY.image_side, TINY.image_pixel_scale)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(same(inputs)), keras.ops.convert_to_numpy(model(inputs))
    )

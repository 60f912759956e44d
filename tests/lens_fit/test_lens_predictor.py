"""The lens CNN's public face, on an untrained network: uncertainties, units, batches, masks."""

import warnings
from dataclasses import replace

import keras
import numpy as np
import pytest

from rim_lensing.lens_fit.lens_predictor import LensPredictor, combine
from rim_lensing.networks.lens_cnn import LensCNN
from rim_lensing.networks.lens_cnn_presets import get_lens_cnn_preset
from rim_lensing.reconstruction.training_range import warn_of_prediction
from rim_lensing.simulation.priors import Priors

CONFIG = get_lens_cnn_preset("tiny16")
PRIORS = Priors(noise=(1e-4, 0.5))


def network() -> LensCNN:
    keras.utils.set_random_seed(2)
    made = LensCNN(CONFIG.from_dict(CONFIG.to_dict() | {"dropout": 0.3}))
    made.build()
    generator = np.random.default_rng(3)
    outputs = made.log_variance
    outputs.set_weights([0.1 * generator.standard_normal(w.shape) for w in outputs.get_weights()])
    return made


@pytest.fixture(scope="module")
def predictor() -> LensPredictor:
    return LensPredictor(network(), "cnn_tiny", PRIORS)


@pytest.fixture
def systems(tiny_mocks) -> dict[str, np.ndarray]:
    return {name: getattr(tiny_mocks, name).copy() for name in ("image", "noise", "psf")}


def of(systems, index: int) -> dict[str, np.ndarray]:
    return {name: array[index] for name, array in systems.items()}


def test_gives_what_the_passes_add_up_to(predictor, systems):
    peak = systems["image"].max(axis=(1, 2), keepdims=True)
    inputs = systems | {"image": systems["image"] / peak, "noise": systems["noise"] / peak}
    means, variances = predictor.network.monte_carlo(inputs, 32)
    plain = predictor.network.passes(inputs, np.ones((8, CONFIG.dropout_units)))[0]
    prediction = predictor.predict(**systems)
    assert prediction.lens.dtype == np.float32
    np.testing.assert_allclose(prediction.lens, plain.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(prediction.aleatoric**2, variances.mean(axis=0), rtol=1e-3)
    np.testing.assert_allclose(prediction.epistemic, means.std(axis=0), rtol=1e-3, atol=1e-6)
    total = variances.mean(axis=0) + means.var(axis=0)
    np.testing.assert_allclose(prediction.std**2, total, rtol=1e-3)
    assert prediction.epistemic.min() > 0


def test_unpacks_into_lens_and_std(predictor, systems):
    prediction = predictor.predict(**systems)
    lens, std = prediction
    assert lens is prediction.lens and std is prediction.std


def test_one_image_gives_one_lens(predictor, systems):
    single, batch = predictor.predict(**of(systems, 2)), predictor.predict(**systems)
    assert single.lens.shape == single.std.shape == (7,)
    assert single.samples.shape == (32, 7) and batch.samples.shape == (4, 32, 7)
    for name in ("lens", "std", "aleatoric", "epistemic", "samples"):
        found, expected = getattr(single, name), getattr(batch, name)[2]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5, err_msg=name)


def test_samples_and_std_are_those_of_the_same_mixture():
    """Many passes: the samples' moments are those that are stated, factors included."""
    generator = np.random.default_rng(0)
    scale = np.arange(1, 8)
    means = scale * generator.standard_normal((20_008, 1, 7)) + 9
    means[:8] = 5.0  # with nothing dropped
    variances = np.broadcast_to(4.0 * scale**2, means.shape)
    prediction = combine(means, variances, std_factors=(0.5,) * 7, single=True)
    np.testing.assert_array_equal(prediction.lens, 5)
    np.testing.assert_allclose(prediction.aleatoric, scale, rtol=1e-5)
    np.testing.assert_allclose(prediction.epistemic, 0.5 * scale, rtol=0.03)
    np.testing.assert_allclose(prediction.std, np.sqrt(1.25) * scale, rtol=0.02)
    np.testing.assert_allclose(prediction.samples.std(axis=0), prediction.std, rtol=0.03)
    np.testing.assert_allclose(prediction.samples.mean(axis=0), prediction.lens, atol=0.2)


def test_factors_widen_and_move_nothing(predictor, systems):
    factors = (0.5, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0)
    plain = predictor.predict(**systems)
    wide = LensPredictor(predictor.network, "cnn", PRIORS, factors).predict(**systems)
    np.testing.assert_array_equal(wide.lens, plain.lens)
    for name in ("std", "aleatoric", "epistemic"):
        np.testing.assert_allclose(getattr(wide, name), factors * getattr(plain, name), rtol=1e-5)
    deviation = plain.samples - plain.lens[:, None]
    expected = plain.lens[:, None] + factors * deviation
    np.testing.assert_allclose(wide.samples, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("unit", [1e-20, 1e-40, 1e6])
def test_the_unit_of_the_flux_does_not_matter(predictor, systems, unit):
    one = {name: array.astype("float64") for name, array in of(systems, 1).items()}
    plain = predictor.predict(**one)
    scaled = predictor.predict(**one | {"image": one["image"] * unit, "noise": one["noise"] * unit})
    for name in ("lens", "std", "samples"):
        expected = getattr(plain, name)
        np.testing.assert_allclose(getattr(scaled, name), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:The width sigma of the PSF")
def test_masked_pixels_do_not_matter(predictor, systems):
    one = of(systems, 0)
    mask = np.hypot(*CONFIG.image_grid.coordinates()) < 2.1
    found = [
        predictor.predict(
            np.where(mask, one["image"], value), np.where(mask, one["noise"], value), 0.3, mask
        )
        for value in (0.0, 1e8, np.nan)
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other.lens, found[0].lens)
        np.testing.assert_array_equal(other.std, found[0].std)
    assert np.isfinite(found[0].lens).all()


@pytest.mark.filterwarnings("ignore:The width sigma of the PSF")
def test_takes_kernels_of_any_odd_side(predictor, systems):
    one = of(systems, 0)
    small = predictor.predict(**one)
    padded = predictor.predict(**one | {"psf": np.pad(one["psf"], 3)})
    np.testing.assert_allclose(padded.lens, small.lens, rtol=1e-4, atol=1e-5)
    wide = predictor.predict(**one | {"psf": 0.5})
    assert np.abs(wide.lens - small.lens).max() > 1e-5


def test_large_batches_run_in_chunks_with_a_progress_bar(predictor, systems, capsys):
    plain = predictor.predict(**systems, passes=2)
    assert capsys.readouterr().err == ""
    many = {name: np.concatenate([array] * 17) for name, array in systems.items()}
    found = predictor.predict(**many, passes=2)
    assert "68/68" in capsys.readouterr().err
    np.testing.assert_allclose(found.lens[-4:], plain.lens, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.samples[-4:], plain.samples, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("passes", [1, 0, 2.5])
def test_refuses_numbers_of_passes(predictor, systems, passes):
    with pytest.raises(ValueError, match="`passes` must be an integer, at least 2"):
        predictor.predict(**systems, passes=passes)


def test_checks_its_input(predictor, systems):
    with pytest.raises(ValueError, match="`noise` must be positive"):
        predictor.predict(**of(systems, 0) | {"noise": -1})
    with pytest.raises(ValueError, match="`pixel_scale` must be the model's"):
        predictor.predict(**of(systems, 0), pixel_scale=0.1)


def test_warns_outside_of_the_training_and_is_silent_inside(predictor, systems):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predictor.predict(**systems, passes=2)
    with pytest.warns(UserWarning, match="PSF.*0 to 0.1 .*expect worse parameters"):
        predictor.predict(**systems | {"psf": 0.5}, passes=2)
    narrow = LensPredictor(predictor.network, "cnn", Priors(noise=(1e-4, 2e-4)))
    with pytest.warns(UserWarning, match="The noise rms over the brightest pixel is outside"):
        narrow.predict(**systems, passes=2)


def test_has_the_grids_of_its_network(predictor):
    assert predictor.image_grid == CONFIG.image_grid and predictor.psf_side == CONFIG.psf_side


def test_intervals_reach_as_far_as_their_factors_say(predictor, systems):
    factors = (tuple(range(1, 8)), tuple(range(11, 18)))
    model = LensPredictor(predictor.network, "cnn", PRIORS, interval_factors=factors)
    prediction = model.predict(**systems)
    for level, row in zip((0.68, 0.95), factors, strict=True):
        low, high = prediction.interval(level)
        np.testing.assert_allclose((low + high) / 2, prediction.lens, atol=1e-5)
        np.testing.assert_allclose(high - low, 2 * np.array(row) * prediction.std, rtol=1e-4)
    plain = predictor.predict(**systems)
    np.testing.assert_allclose(plain.interval(0.95)[1], plain.lens + 1.96 * plain.std, rtol=1e-5)
    with pytest.raises(ValueError, match="`level` must be one of"):
        plain.interval(0.5)


def test_takes_finer_pixels_as_if_they_had_been_binned(predictor, systems):
    one = of(systems, 0)
    fine = {name: np.kron(one[name], np.ones((2, 2))) for name in ("image", "noise")}
    grid = CONFIG.image_grid
    model = predictor.with_image_grid(2 * grid.side, grid.pixel_scale / 2)
    found = model.predict(fine["image"], 2 * fine["noise"], 0.0)
    np.testing.assert_allclose(
        found.lens, predictor.predict(one["image"], one["noise"], 0.0).lens, atol=1e-5
    )


def test_the_summary_is_by_parameter(predictor, systems):
    prediction = predictor.predict(**of(systems, 1))
    numbers = prediction.summary()["gamma1"]
    assert (numbers["mean"], numbers["std"]) == pytest.approx(
        (prediction.lens[5], prediction.std[5])
    )
    assert numbers["interval_95%"] == pytest.approx(prediction.interval(0.95)[:, 5])


def test_a_prediction_beyond_the_training_is_told(predictor, systems):
    """An untrained network answers anywhere: here, where its training is said to have ended."""
    lens, std = predictor.predict(**of(systems, 0))
    centre = tuple(float(lens[3] - side * std[3]) for side in (2, 1))
    beside = LensPredictor(predictor.network, "cnn", replace(PRIORS, centre=centre))
    with pytest.warns(UserWarning, match="predicted x of the lens.*crop the image around the lens"):
        beside.predict(**of(systems, 0))


LENS, STD = [1.1, 0.1, 0.1, 0, 0, 0.02, 0.03], np.full((1, 7), 0.02)


@pytest.mark.parametrize(
    ("index", "value", "beyond", "name"),
    [
        (0, 0.49, 0.47, "theta_E"),
        (0, 2.21, 2.23, "theta_E"),
        (1, 0.54, 0.57, r"\|e\| of the lens"),
        (3, -0.053, -0.071, "x of the lens"),
        (4, 0.053, 0.057, "y of the lens"),
        (6, -0.16, -0.18, "external shear"),
    ],
)
def test_predictions_scatter_about_the_edges(index, value, beyond, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_prediction(np.array([LENS]), STD, Priors())
        warn_of_prediction(np.array([LENS[:index] + [value] + LENS[index + 1 :]]), STD, Priors())
    lenses = np.array([LENS, LENS[:index] + [beyond] + LENS[index + 1 :]])
    with pytest.warns(UserWarning, match=rf"predicted {name}.* in 1 of 2 systems \(index 1\)"):
        warn_of_prediction(lenses, np.repeat(STD, 2, axis=0), Priors())

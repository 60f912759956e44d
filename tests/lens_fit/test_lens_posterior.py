"""The log-posterior of the lens: what it counts, where it ends, its gradient."""

import keras
import numpy as np
import pytest

from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.lens_fit.lens_posterior import lens_posterior
from rim_lensing.networks.presets import get_preset
from rim_lensing.networks.rim import RIM
from rim_lensing.observation.checks import check_observation
from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor
from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion
from rim_lensing.simulation.priors import Priors

CONFIG = get_preset("tiny16")
PRIORS = Priors(theta_E=(0.3, 2.2), psf_sigma=(0.0, 0.5))
LENS = np.array([1.0, 0.1, 0.05, 0.01, -0.02, 0.02, 0.03])
UNIT = 1e-3
RMS = 0.03


def data(mask=None) -> dict:
    """A Gaussian galaxy behind LENS, in an odd unit."""
    x, y = CONFIG.source_grid.coordinates()
    source = np.exp(-0.5 * ((x - 0.1) ** 2 + (y - 0.1) ** 2) / 0.25**2).astype("float32")
    psf = np.zeros((1, 3, 3), "float32")
    psf[0] = np.outer([0.2, 0.6, 0.2], [0.2, 0.6, 0.2])
    model = ForwardModel(
        LENS[None].astype("float32"),
        psf,
        CONFIG.image_grid,
        CONFIG.source_grid,
        CONFIG.supersampling,
    )
    image = keras.ops.convert_to_numpy(model.predict(source[None]))[0].astype("float64")
    image += RMS * np.random.default_rng(0).standard_normal(image.shape)
    return {"image": image * UNIT, "noise": RMS * UNIT, "psf": psf[0], "mask": mask}


def observe(lens=LENS, mask=None):
    return check_observation(lens=lens, image_grid=CONFIG.image_grid, **data(mask))


def build_rim(flux_scale: str) -> RIMReconstructor:
    keras.utils.set_random_seed(1)
    network = RIM(CONFIG.from_dict(CONFIG.to_dict() | {"flux_scale": flux_scale}))
    return RIMReconstructor(network, "rim_tiny", PRIORS)


@pytest.fixture(scope="module")
def rim() -> RIMReconstructor:
    return build_rim("image")


@pytest.fixture(scope="module")
def rim_of_unit_peaks() -> RIMReconstructor:
    return build_rim("unit")


def neighbours(count: int) -> np.ndarray:
    return LENS + 0.01 * np.random.default_rng(2).standard_normal((count, 7))


@pytest.mark.parametrize("name", ["ridge_model", "rim", "rim_of_unit_peaks"])
def test_a_rim_is_judged_by_the_chi2_of_its_source(name, request):
    """Of the untrained RIMs, whose sources are faint, any lens is nearly as good as the next."""
    rim = request.getfixturevalue(name)
    mask = np.hypot(*CONFIG.image_grid.coordinates()) < 2.5
    posterior, lenses = lens_posterior(rim, observe(mask=mask)), neighbours(3)
    values = posterior.log_posterior(lenses)
    for lens, value in zip(lenses, values, strict=True):
        result = rim.reconstruct(lens=lens, **data(mask))
        assert value == pytest.approx(-0.5 * result.chi2 * mask.sum(), abs=0.01)
    if name == "ridge_model":
        assert np.abs(np.diff(values)).min() > 0.5
    assert posterior.evaluations == 3
    np.testing.assert_allclose(
        np.sum(posterior.residuals(lenses) ** 2, axis=1), -2 * values, rtol=0, atol=0.01
    )


def test_many_lenses_are_as_good_as_one_at_a_time(rim):
    posterior, lenses = lens_posterior(rim, observe()), neighbours(20)
    together = posterior.log_posterior(lenses)
    alone = [posterior.log_posterior(lens[None])[0] for lens in lenses[[0, 15, 19]]]
    np.testing.assert_allclose(together[[0, 15, 19]], alone, rtol=1e-5)
    assert posterior.evaluations == 23


def central_differences(posterior, step: float) -> np.ndarray:
    shifts = step * np.eye(7)
    up, down = posterior.log_posterior(LENS + shifts), posterior.log_posterior(LENS - shifts)
    return (up - down) / (2 * step)


def test_the_gradient_is_the_slope_between_neighbours(ridge_model):
    """The ridge is smooth but for the kinks of L."""
    posterior = lens_posterior(ridge_model, observe())
    values, slopes = posterior.log_posterior_and_gradient(LENS[None])
    assert values[0] == pytest.approx(posterior.log_posterior(LENS[None])[0], abs=0.02)
    expected = central_differences(posterior, 3e-4)
    np.testing.assert_allclose(slopes[0], expected, rtol=0.05, atol=0.03 * np.abs(expected).max())


def test_a_temperature_divides_value_and_gradient(rim):
    posterior = lens_posterior(rim, observe())
    hot = posterior.tempered(2.5)
    cold = posterior.log_posterior_and_gradient(LENS[None])
    for one, other in zip(hot.log_posterior_and_gradient(LENS[None]), cold, strict=True):
        np.testing.assert_allclose(2.5 * one, other, rtol=1e-6)
    np.testing.assert_allclose(2.5 * hot.log_posterior(LENS[None]), cold[0], rtol=1e-4)
    assert hot.evaluations == 2 and posterior.evaluations == 1
    for wrong in (0.9, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="`temperature` must be a finite number, at least 1"):
            posterior.tempered(wrong)


def test_a_flux_scale_that_is_held_leaves_the_direction(rim_of_unit_peaks):
    posterior = lens_posterior(rim_of_unit_peaks, observe())
    slope = posterior.log_posterior_and_gradient(LENS[None])[1][0]
    expected = central_differences(posterior, 1e-3)
    assert slope @ expected > 0.9 * np.linalg.norm(slope) * np.linalg.norm(expected)


def test_the_linear_inversion_is_judged_by_its_evidence():
    inversion = SemilinearInversion(geometry=CONFIG)
    posterior, lenses = lens_posterior(inversion, observe(), PRIORS), neighbours(2)
    values = posterior.log_posterior(lenses)
    expected = [
        inversion.reconstruct(lens=lens, uncertainties=False, **data()).log_evidence
        for lens in lenses
    ]
    # The unit is a constant.
    assert values[1] - values[0] == pytest.approx(expected[1] - expected[0], abs=1e-3)


def test_the_slope_of_the_evidence_is_one_sided_at_an_edge():
    priors = Priors(theta_E=(0.3, LENS[0]), psf_sigma=(0.0, 0.5))
    posterior = lens_posterior(SemilinearInversion(geometry=CONFIG), observe(), priors)
    value, slopes = posterior.log_posterior_and_gradient(LENS[None])
    step = posterior.steps[-1, 0]
    below = LENS - step * np.eye(7)[0]
    backward = (value - posterior.log_posterior(below[None]))[0] / step
    assert slopes[0, 0] == pytest.approx(backward, rel=1e-3)
    expected = central_differences(
        lens_posterior(SemilinearInversion(geometry=CONFIG), observe(), PRIORS), step
    )
    np.testing.assert_allclose(slopes[0, 1:], expected[1:], rtol=1e-3)


def test_a_strength_that_is_too_weak_for_double_precision_has_no_evidence():
    """One such lens must not end a chain."""
    inversion = SemilinearInversion(strength=1e-40, geometry=CONFIG)
    with pytest.raises(np.linalg.LinAlgError):
        inversion.reconstruct(lens=LENS, **data())
    assert lens_posterior(inversion, observe(), PRIORS).log_posterior(LENS[None])[0] == -np.inf


def test_a_strength_of_ones_own_is_kept():
    free = SemilinearInversion(geometry=CONFIG)
    strength = free.reconstruct(lens=LENS, uncertainties=False, **data()).strength
    value = lens_posterior(free, observe(), PRIORS).log_posterior(LENS[None])
    for factor, expected in ((1.0, 0.0), (100.0, 1.0)):
        fixed = SemilinearInversion(geometry=CONFIG, strength=factor * strength)
        loss = value - lens_posterior(fixed, observe(), PRIORS).log_posterior(LENS[None])
        assert (loss[0] > expected) if expected else (abs(loss[0]) < 1e-6)


def test_weak_regularisation_is_no_way_to_a_better_lens():
    """chi^2 prefers a strength near zero at any lens, also a wrong one; the evidence does not."""
    wrong = LENS + np.array([0.05, 0.04, 0, 0, 0, 0, 0])
    weak = 1e-4 / UNIT**2
    loose = SemilinearInversion(geometry=CONFIG, strength=weak)
    proper = SemilinearInversion(geometry=CONFIG)
    fitted = loose.reconstruct(lens=wrong, uncertainties=False, **data()).chi2
    assert fitted < proper.reconstruct(lens=LENS, uncertainties=False, **data()).chi2
    posteriors = [lens_posterior(each, observe(), PRIORS) for each in (loose, proper)]
    assert posteriors[1].log_posterior(LENS[None]) > posteriors[0].log_posterior(wrong[None]) + 10


def test_a_lens_that_leads_nothing_to_the_source_has_the_evidence_of_noise():
    observation = observe()
    far = Priors(theta_E=(0.3, 60.0))
    posterior = lens_posterior(SemilinearInversion(geometry=CONFIG), observation, far)
    lens = LENS.copy()
    lens[0] = 50.0
    noise, image = observation.noise.astype("float64"), observation.image.astype("float64")
    expected = np.sum(-0.5 * (image / noise) ** 2 - np.log(noise * np.sqrt(2 * np.pi)))
    assert posterior.log_posterior(lens[None])[0] == pytest.approx(expected, rel=1e-6)


def test_there_is_nothing_beyond_the_priors(rim):
    posterior = lens_posterior(rim, observe())
    lenses = np.array([LENS, LENS, LENS])
    lenses[1, 0], lenses[2, 5:7] = 2.3, 0.12
    values, slopes = posterior.log_posterior_and_gradient(lenses)
    assert np.isfinite(values[0]) and np.all(np.isneginf(values[1:]))
    assert np.any(slopes[0]) and not np.any(slopes[1:])


def test_an_epl_has_a_slope(rim):
    lens = np.append(LENS, 1.1)
    posterior = lens_posterior(rim, observe(lens))
    values, slopes = posterior.log_posterior_and_gradient(lens[None])
    assert slopes.shape == (1, 8) and slopes[0, 7] != 0 and np.isfinite(values).all()
    with pytest.raises(ValueError, match=r"\(k, 8\)"):
        posterior.log_posterior(LENS[None])


def test_refuses_batches_and_strangers(rim):
    batch = {name: np.stack([value] * 2) for name, value in data().items() if name in ("image",)}
    observation = check_observation(
        lens=LENS, image_grid=CONFIG.image_grid, **(data() | batch | {"mask": None})
    )
    with pytest.raises(ValueError, match="one system"):
        lens_posterior(rim, observation)
    with pytest.raises(TypeError, match="source_model"):
        lens_posterior("rim", observe())

"""What a RIM leaves, taken up: against dense Gaussian algebra, on noise alone, behind a model."""

import warnings
from dataclasses import replace

import keras
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize_scalar
from scipy.stats import multivariate_normal

from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.forward_model.psf import gaussian_kernel
from rim_lensing.forward_model.ray_tracing import lensing_matrices
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.inversion.matrix_free import MatrixFreeEngine
from rim_lensing.lens_fit.automated_fit import automated_fit
from rim_lensing.lens_fit.lens_posterior import lens_posterior
from rim_lensing.lens_fit.residual_test import check_residuals
from rim_lensing.networks.presets import get_preset
from rim_lensing.networks.rim import RIM
from rim_lensing.observation.checks import check_observation
from rim_lensing.reconstruction import refinement
from rim_lensing.reconstruction.refinement import (
    best_strength,
    error_scale,
    log_marginal_likelihood,
    refine,
)
from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor
from rim_lensing.sampling.sample import sample_lens_posterior
from rim_lensing.simulation.priors import Priors

CONFIG = get_preset("tiny16")
LENS = np.float32([[1.0, 0.1, 0.05, 0, 0, 0.02, 0.03]])
RMS = 0.01


def galaxy() -> np.ndarray:
    """A galaxy (1, n, n) of peak 1 with a clump."""
    x, y = CONFIG.source_grid.coordinates()
    disc = np.exp(-0.5 * (x**2 + (y - 0.1) ** 2) / 0.3**2)
    clump = 0.4 * np.exp(-0.5 * ((x - 0.3) ** 2 + (y - 0.2) ** 2) / 0.15**2)
    return np.asarray([disc + clump], "float32") / 1.2


def predicted(source) -> np.ndarray:
    psf = np.asarray(gaussian_kernel(np.full(1, 0.3), 5, CONFIG.image_pixel_scale))
    grids = CONFIG.image_grid, CONFIG.source_grid, CONFIG.supersampling
    return keras.ops.convert_to_numpy(ForwardModel(LENS, psf, *grids).predict(source))


def observed(seed: int = 3, mask=None):
    draws = np.random.default_rng(seed).standard_normal((16, 16))
    return check_observation(
        predicted(galaxy())[0] + RMS * draws,
        RMS,
        np.asarray(gaussian_kernel(np.full(1, 0.3), 5, CONFIG.image_pixel_scale))[0],
        LENS[0],
        mask,
        image_grid=CONFIG.image_grid,
        psf_side=CONFIG.psf_side,
    )


def in_its_units(observation, source):
    return np.asarray(source / observation.flux_unit[:, None, None], "float32")


def smooth(source) -> np.ndarray:
    """What a RIM that misses the clump might say."""
    return gaussian_filter(source, (0, 1.5, 1.5)).astype("float32")


def dense_problem(observation, start):
    """Response and data over the noise of used pixels, and f w, by lensing one pixel at a time."""
    used = observation.mask[0]
    pixels = np.eye(256, dtype="float32").reshape(256, 16, 16)
    response = np.stack([predicted(pixel[None])[0].ravel() for pixel in pixels], axis=1)
    response = (response / observation.noise[0].ravel()[:, None])[used.ravel()]
    response = response.astype("float64")
    left = (observation.image[0] / observation.noise[0])[used] - response @ start.ravel()
    brightness = gaussian_filter(start.astype("float64"), 2.0)
    return left, response, np.maximum(brightness / brightness.max(), 0.01).ravel()


def dense_maximum(left, scaled):
    """The e of the largest density of d - f s ~ N(0, 1 + e^2 f w w f'), and that density's log."""

    def cost(log_e):
        covariance = np.eye(len(left)) + np.exp(2 * log_e) * scaled @ scaled.T
        return -multivariate_normal(cov=covariance).logpdf(left)

    best = minimize_scalar(cost, bounds=(-8, 3), method="bounded")
    return np.exp(best.x), -best.fun


def a_corner_is_masked() -> np.ndarray:
    used = np.ones((16, 16), bool)
    used[:4, :5] = False
    return used


def test_is_the_posterior_mean_of_dense_algebra():
    observation = observed(mask=a_corner_is_masked())
    start = in_its_units(observation, smooth(galaxy()))
    refined, _ = refine(observation, start, CONFIG)
    left, response, scale = dense_problem(observation, start[0])
    scaled = response * scale
    e, _ = dense_maximum(left, scaled)
    covariance = np.eye(len(left)) + e**2 * scaled @ scaled.T
    u = e**2 * scaled.T @ np.linalg.solve(covariance, left)
    expected = (u * scale).reshape(16, 16)
    change = refined[0] - start[0]
    # The evidence of the engine has an error of its own, and so has the strength.
    assert np.linalg.norm(change - expected) < 0.05 * np.linalg.norm(expected)
    assert np.linalg.norm(expected) > 0.05 * np.linalg.norm(start)


def test_at_a_given_strength_it_is_the_mean_of_dense_algebra():
    observation, e = observed(mask=a_corner_is_masked()), 0.3
    start = in_its_units(observation, smooth(galaxy()))
    refined, _ = refine(observation, start, CONFIG, strength=e**-2)
    left, response, scale = dense_problem(observation, start[0])
    scaled = response * scale
    mean = scale * np.linalg.solve(scaled.T @ scaled + np.eye(256) / e**2, scaled.T @ left)
    change = (refined - start)[0].ravel()
    np.testing.assert_allclose(change, mean, rtol=0, atol=2e-4 * np.abs(mean).max())


def system_of(observation, lens) -> LinearSystem:
    seen = observation.psf[0], observation.image[0], observation.noise[0]
    return LinearSystem(lensing_matrices(np.float32(lens)[None], CONFIG)[0], *seen)


def test_the_marginal_likelihood_is_that_of_dense_algebra():
    observation = observed(mask=a_corner_is_masked())
    start = in_its_units(observation, smooth(galaxy()))[0]
    left, response, scale = dense_problem(observation, start)
    e, largest = dense_maximum(left, response * scale)
    noise = np.sum(np.log(observation.noise[observation.mask]))
    system = system_of(observation, LENS[0])
    assert best_strength(system, start) == pytest.approx(e**-2, rel=0.01)
    found = log_marginal_likelihood(system, start, e**-2)
    assert found == pytest.approx(largest - noise, abs=0.05)
    without = -0.5 * left @ left - len(left) * np.log(2 * np.pi) / 2 - noise
    assert log_marginal_likelihood(system, start, np.inf) == pytest.approx(without, abs=0.05)
    assert found > without + 100


def test_of_a_source_that_leaves_noise_no_error_is_found():
    observation = observed(0)
    truth = in_its_units(observation, galaxy())[0]
    assert best_strength(system_of(observation, LENS[0]), truth) == np.inf


def test_takes_up_what_is_missing():
    observation = observed()
    start, truth = (in_its_units(observation, one) for one in (smooth(galaxy()), galaxy()))
    refined, _ = refine(observation, start, CONFIG)
    assert np.linalg.norm(refined - truth) < 0.5 * np.linalg.norm(start - truth)


@pytest.mark.parametrize("seed", range(6))
def test_leaves_a_source_whose_residuals_are_noise(seed):
    """The largest likelihood of a fraction that is 0 lies at 0 in half of the cases only."""
    observation = observed(seed)
    truth = in_its_units(observation, galaxy())
    refined, _ = refine(observation, truth, CONFIG)
    assert np.abs(refined - truth).max() < 0.05 * truth.max()
    if seed == 0:
        np.testing.assert_array_equal(refined, truth)


def test_error_scale_is_brightness_with_a_floor():
    source = np.zeros((16, 16))
    source[8, 8] = 3.0
    scale = error_scale(source)
    # A Gaussian 2 pixels wide, around the middle of a pixel.
    assert scale[8, 8] == 1 and scale[8, 10] == pytest.approx(np.exp(-0.5), rel=1e-3)
    assert scale.min() == scale[0, 0] == 0.01
    np.testing.assert_allclose(error_scale(5 * source), scale)


@pytest.fixture(scope="module")
def untrained() -> RIMReconstructor:
    keras.utils.set_random_seed(1)
    network = RIM(CONFIG)
    network.build()
    return RIMReconstructor(network, "rim_tiny", Priors(psf_sigma=(0.0, 0.5)))


def arguments(unit: float = 1.0) -> dict:
    seen = observed()
    scale = float(seen.flux_unit[0]) * unit
    return {
        "image": seen.image[0].astype("float64") * scale,
        "noise": RMS * unit,
        "psf": 0.3,
        "lens": LENS[0],
    }


def test_is_one_more_step_of_a_model(untrained):
    model = untrained.refined()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain, result = (one.reconstruct(**arguments()) for one in (untrained, model))
    assert result.model == "rim_tiny, refined" and model.refined().name == model.name
    assert model.refined(False).name == "rim_tiny" == plain.model
    assert len(result.history) == len(plain.history) + 1 == CONFIG.steps + 1
    np.testing.assert_array_equal(result.history[:-1], plain.history)
    assert result.chi2 < 0.2 * plain.chi2
    assert result.chi2 == pytest.approx(result.chi2_history[-1])


def test_follows_the_flux_unit(untrained):
    model = untrained.refined()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, other = (model.reconstruct(**arguments(unit)).source for unit in (1.0, 1e-7))
    np.testing.assert_allclose(other, 1e-7 * one, rtol=1e-3, atol=1e-10 * one.max())


def test_a_batch_is_its_systems(untrained):
    model, data = untrained.refined(), arguments()
    images = np.stack([data["image"], 2 * data["image"]])
    noise = np.array([RMS, 2 * RMS])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both = model.reconstruct(images, noise, 0.3, LENS[0])
        alone = model.reconstruct(**data)
    np.testing.assert_allclose(both.source[0], alone.source, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(both.source[1], 2 * alone.source, rtol=1e-3, atol=1e-4)


def test_a_system_that_does_not_converge_keeps_its_source(monkeypatch):
    """And the others are refined."""
    single = observed()
    both = check_observation(
        np.repeat(single.image, 2, axis=0),
        np.repeat(single.noise, 2, axis=0),
        single.psf,
        LENS[0],
        image_grid=CONFIG.image_grid,
    )
    solve, calls = MatrixFreeEngine.mean, []

    def fails_at_first(self, strength):
        calls.append(strength)
        if len(calls) == 1:
            raise RuntimeError("not near enough")
        return solve(self, strength)

    monkeypatch.setattr(refinement, "LARGEST_EXACT_SIDE", 0)
    monkeypatch.setattr(MatrixFreeEngine, "mean", fails_at_first)
    start = np.repeat(0.5 * galaxy(), 2, axis=0)
    found, failures = refine(both, start, CONFIG)
    assert failures == {0: "not near enough"}
    np.testing.assert_array_equal(found[0], start[0])
    assert np.abs(found[1] - start[1]).max() > 0.1


def test_what_could_not_be_refined_is_told(untrained, monkeypatch):
    """By a warning that names the system; a result that is not refined is called so."""
    model, data = untrained.refined(), arguments()
    solve, calls = MatrixFreeEngine.mean, []

    def fails_at_first(self, strength):
        calls.append(strength)
        if len(calls) in (1, 3):
            raise RuntimeError("not near enough")
        return solve(self, strength)

    monkeypatch.setattr(refinement, "LARGEST_EXACT_SIDE", 0)
    monkeypatch.setattr(MatrixFreeEngine, "mean", fails_at_first)
    images = np.repeat(data["image"][None], 2, axis=0)
    with pytest.warns(
        UserWarning, match=r"in 1 of 2 systems \(index 0\).*not near enough"
    ) as caught:
        both = model.reconstruct(**data | {"image": images})
    said = [one.message for one in caught if "could not be refined" in str(one.message)]
    assert [one.systems for one in said] == [(0,)]
    assert both.refined and both.model == "rim_tiny, refined"
    with pytest.warns(UserWarning, match="The source could not be refined.*not near enough"):
        alone = model.reconstruct(**data)
    assert not alone.refined and alone.model == "rim_tiny"
    assert alone.history.shape == untrained.reconstruct(**data).history.shape


def test_a_crash_is_not_taken_for_that(monkeypatch):
    class Crash(RuntimeError):
        pass

    def crash(*arguments):
        raise Crash("out of memory")

    monkeypatch.setattr(refinement, "LARGEST_EXACT_SIDE", 0)
    monkeypatch.setattr(MatrixFreeEngine, "mean", crash)
    with pytest.raises(Crash):
        refine(observed(), 0.5 * galaxy(), CONFIG)


def test_stays_refined_on_other_pixels(untrained):
    assert untrained.refined().with_image_grid(20, 0.24).refines
    assert not untrained.with_image_grid(20, 0.24).refines


def test_a_black_source_has_no_error_to_find():
    observation = observed()
    black = np.zeros((1, 16, 16), "float32")
    refined, failures = refine(observation, black, CONFIG)
    np.testing.assert_array_equal(refined, black)
    assert not failures


def test_a_search_takes_the_rims_own_likelihood_and_a_chain_the_marginal_one(untrained):
    observation, model = observed(), untrained.refined()
    lenses = observation.lens + np.float32([[0] * 7, [0.02] + [0] * 6])
    searched = lens_posterior(model.search_model, observation)
    own = lens_posterior(untrained, observation)
    np.testing.assert_array_equal(searched.log_posterior(lenses), own.log_posterior(lenses))
    sampled = lens_posterior(model, observation).held_at(lenses[0])
    source = untrained.run(sampled.at(lenses[0]))[0, -1]
    strength = best_strength(system_of(observation, lenses[0]), source)
    values = sampled.log_posterior(lenses)
    for lens, value in zip(lenses, values, strict=True):
        source = untrained.run(sampled.at(lens))[0, -1]
        expected = log_marginal_likelihood(system_of(observation, lens), source, strength)
        assert value == pytest.approx(expected, rel=1e-4)
    np.testing.assert_array_equal(lens_posterior(model, observation).log_posterior(lenses), values)
    noisier = sampled.with_noise(3.0).log_posterior(lenses)
    assert np.all(noisier != values) and np.all(sampled.log_posterior(lenses) == values)


def test_a_chain_of_a_refined_model_has_no_gradient(untrained):
    with pytest.raises(ValueError, match="`method` 'nuts' needs a gradient"):
        sample_lens_posterior(
            **{name: arguments()[name] for name in ("image", "noise", "psf")},
            source_model=untrained.refined(),
            start=LENS[0],
            method="nuts",
        )


def test_residuals_are_judged_by_refined_copies(ridge_model, mock):
    lens = np.array([1.1, 0.1, 0.05, 0.01, -0.02, 0.02, 0.03])
    model = ridge_model.refined()
    result = model.reconstruct(lens=lens, **mock(lens))
    assert check_residuals(result, model).consistent
    with pytest.raises(ValueError, match="`source_model` must be what made `result`"):
        check_residuals(result, ridge_model)


def test_copies_are_refined_as_strongly_as_the_data_were(untrained):
    """A result whose residuals hold no noise at all, whose copies are its own image."""
    model = untrained.refined()
    result = model.reconstruct(**arguments())
    copies = check_observation(
        result.image,
        result.noise,
        result.psf,
        result.lens,
        image_grid=CONFIG.image_grid,
        psf_side=CONFIG.psf_side,
    )
    copies = replace(copies, single=False)
    again, failures = model.reconstruct_copies(copies[[0, 0]], result)
    assert not failures
    for copy in again.source:
        np.testing.assert_allclose(copy, result.source, atol=1e-4 * result.source.max())
    noisier = replace(copies, image=copies.image + np.float32(0.05))
    strength = best_strength(
        system_of(copies, result.lens), in_its_units(copies, result.history[-2:-1])[0]
    )
    held, _ = model.reconstruct_copies(noisier, result)
    unrefined = untrained.run(noisier)[:, -1]
    expected, _ = refine(noisier, unrefined, CONFIG, strength=strength)
    np.testing.assert_allclose(
        held.source[0] / copies.flux_unit[0], expected[0], atol=1e-4 * expected.max()
    )


def test_a_lens_is_judged_before_the_source_is_refined(untrained):
    """Which takes up what a wrong lens leaves, too: the rounds are the RIM's own."""

    class Predicts:
        def predict(self, image, noise, psf, mask=None):
            return LENS[0], np.full(7, 0.02)

    data = {name: arguments()[name] for name in ("image", "noise", "psf")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain, found = (
            automated_fit(**data, source_model=model, lens_model=Predicts(), max_rounds=0)
            for model in (untrained, untrained.refined())
        )
    assert not found.converged and found.verdict.startswith(plain.verdict)
    assert found.rounds[0].reconstruction.model == "rim_tiny"
    assert found.reconstruction.model == "rim_tiny, refined"
    assert found.reconstruction.chi2 < 0.2 * plain.reconstruction.chi2

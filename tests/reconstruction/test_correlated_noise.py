"""An Observation's noise correlation, used by all that takes one."""

import numpy as np
import pytest

from rim_lensing.lens_fit.residual_test import check_residuals
from rim_lensing.observation.checks import check_observation
from rim_lensing.observation.correlated_noise import correlate_noise
from rim_lensing.observation.observation import Observation
from rim_lensing.results.result_reader import read_reconstruction

LENS = np.array([1.1, 0.1, 0.05, 0.01, -0.02, 0.02, 0.03])
CORRELATION = np.array([[0.15, 0.35, 0.15], [0.35, 1.0, 0.35], [0.15, 0.35, 0.15]])


@pytest.fixture(scope="module")
def data(mock):
    """Arrays of an image with correlated noise and a mask."""
    blank = mock(LENS, rms=1e-9)
    noise = np.full(blank["image"].shape, 0.02)
    white = np.random.default_rng(3).standard_normal((1, *noise.shape))
    mask = np.ones(noise.shape, bool)
    mask[:3, 2:5] = mask[9, 9] = False
    image = blank["image"] + noise * correlate_noise(white, CORRELATION)[0]
    return {"image": image, "noise": noise, "psf": blank["psf"], "mask": mask}


@pytest.fixture(scope="module", params=["RIM", "linear"])
def model(request, ridge_model, linear_model):
    return ridge_model if request.param == "RIM" else linear_model


def seen(data, unit: float = 1.0) -> Observation:
    scaled = {name: unit * data[name] for name in ("image", "noise")}
    return Observation(**data | scaled, noise_correlation=CORRELATION)


def dense_chi2(result) -> float:
    """Return r'C_N^-1 r by dense algebra."""
    used = result.mask
    row, column = np.nonzero(used)
    down, right = np.abs(row[:, None] - row), np.abs(column[:, None] - column)
    near = (down <= 1) & (right <= 1)
    between = CORRELATION[1 + np.minimum(down, 1), 1 + np.minimum(right, 1)]
    values = result.residuals_in_sigma[used]
    return values @ np.linalg.solve(np.where(near, between, 0.0), values)


def test_chi2_is_that_of_dense_algebra(model, data):
    result = model.reconstruct(seen(data), lens=LENS)
    assert result.chi2 * data["mask"].sum() == pytest.approx(dense_chi2(result), rel=5e-3)
    assert np.array_equal(result.noise_correlation, CORRELATION)


def test_the_source_has_a_smaller_chi2_than_one_that_takes_pixels_for_independent(
    ridge_model, data
):
    """Both minimise what they take for chi^2."""
    result = ridge_model.reconstruct(seen(data), lens=LENS)
    other = ridge_model.reconstruct(**data, lens=LENS)
    assert other.noise_correlation is None
    assert dense_chi2(result) < dense_chi2(other)


def test_files_and_parts_of_batches_know_the_correlation(model, data, tmp_path):
    pair = {name: np.stack([data[name]] * 2) for name in ("image", "noise", "mask")}
    observation = Observation(**pair, psf=data["psf"], noise_correlation=CORRELATION)
    result = model.reconstruct(observation, lens=LENS)
    result[1].to_fits(tmp_path / "result.fits")
    again = read_reconstruction(tmp_path / "result.fits")
    assert np.array_equal(again.noise_correlation, CORRELATION)
    alone = model.reconstruct(seen(data), lens=LENS)
    assert again.chi2 == pytest.approx(alone.chi2, rel=1e-5)


def test_the_unit_does_not_matter(model, data):
    result, other = (model.reconstruct(seen(data, unit), lens=LENS) for unit in (1.0, 1e-20))
    np.testing.assert_allclose(1e20 * other.source, result.source, rtol=1e-3, atol=1e-4)
    assert other.chi2 == pytest.approx(result.chi2, rel=1e-4)


def test_likelihood_gradient_and_residuals_of_a_lens_belong_together(ridge_model, data):
    observation = check_observation(seen(data), lens=LENS, image_grid=ridge_model.image_grid)
    likelihood = ridge_model.lens_likelihood(observation)
    values, slopes = likelihood.values_and_gradients(LENS[None])
    residuals = likelihood.residuals(LENS[None])
    # The network runs in two graphs, in float32: their sources differ in the last digits, and
    # chi^2 by the signal to noise times that.
    assert values[0] == pytest.approx(-0.5 * np.sum(residuals**2), rel=5e-4)
    # L is bilinear: at its kinks, which theta_E moves most rays across, differences of steps from
    # 1e-4 to 5e-3 scatter by 4% of the largest slope.
    shifts = 1e-3 * np.eye(7)
    high, low = (likelihood.values(LENS + sign * shifts) for sign in (1, -1))
    differences = (high - low) / 2e-3
    np.testing.assert_allclose(slopes[0], differences, atol=0.05 * np.abs(differences).max())


def test_correlated_noise_is_taken_for_noise(model, data):
    """And not where the likelihood is not told of it."""
    result = model.reconstruct(seen(data), lens=LENS)
    assert check_residuals(result, model).consistent
    alone = model.reconstruct(**data, lens=LENS)
    assert check_residuals(alone, model).p_value < check_residuals(result, model).p_value

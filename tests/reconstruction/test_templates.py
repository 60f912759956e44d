"""An Observation's templates, integrated over by all that takes one."""

from dataclasses import replace

import numpy as np
import pytest

from rim_lensing.lens_fit.lens_posterior import lens_posterior
from rim_lensing.lens_fit.residual_test import check_residuals
from rim_lensing.observation.checks import check_observation
from rim_lensing.observation.observation import Observation
from rim_lensing.results.result_reader import read_reconstruction

LENS = np.array([1.1, 0.1, 0.05, 0.01, -0.02, 0.02, 0.03])
SIDE, RMS = 16, 0.02
TRUE = np.array([1.0, -1.5])


def templates() -> np.ndarray:
    """What may be left of a galaxy: its light, and a gradient of the sky."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return np.stack([0.5 * np.exp(-np.hypot(x, y) / 2), 0.02 * x])


@pytest.fixture(scope="module")
def data(mock):
    arrays = mock(LENS, rms=RMS)
    mask = np.ones((SIDE, SIDE), bool)
    mask[:3, 2:5] = False
    return arrays | {"mask": mask, "image": arrays["image"] + np.tensordot(TRUE, templates(), 1)}


@pytest.fixture(scope="module", params=["RIM", "linear"])
def model(request, ridge_model, linear_model):
    return ridge_model if request.param == "RIM" else linear_model


def seen(data, unit: float = 1.0) -> Observation:
    scaled = {name: unit * data[name] for name in ("image", "noise")}
    return Observation(**data | scaled, templates=unit * templates())


def test_chi2_and_amplitudes_are_those_of_dense_algebra(model, data):
    result = model.reconstruct(seen(data), lens=LENS)
    used = result.mask
    residual, columns = (result.image - result.model_image)[used], templates()[:, used]
    covariance = RMS**2 * np.eye(used.sum()) + columns.T @ columns
    weighted = np.linalg.solve(covariance, residual)
    assert result.chi2 * used.sum() == pytest.approx(residual @ weighted, rel=1e-3)
    np.testing.assert_allclose(result.template_amplitudes, columns @ weighted, atol=1e-3)
    np.testing.assert_allclose(result.template_amplitudes, TRUE, atol=0.35)
    left = residual - (columns @ weighted) @ columns
    np.testing.assert_allclose(result.residuals[used], left, atol=1e-4)


def test_light_that_a_template_knows_of_does_not_reach_the_source(ridge_model, mock, data):
    """Of the error that the light makes of the source less than a fifth is left."""
    clean = ridge_model.reconstruct(**mock(LENS, rms=RMS) | {"mask": data["mask"]}, lens=LENS)
    errors = [
        np.std(ridge_model.reconstruct(each, lens=LENS).source - clean.source)
        for each in (replace(seen(data), templates=None), seen(data))
    ]
    assert errors[1] < 0.2 * errors[0]


def test_the_gradient_of_the_likelihood_is_that_of_its_values(ridge_model, data):
    grids = {"image_grid": ridge_model.image_grid, "psf_side": 3}
    posterior = lens_posterior(ridge_model, check_observation(seen(data), lens=LENS, **grids))
    lens = LENS[None] + np.array([0.011, 0.004, -0.003, 0.006, 0.002, 0.005, -0.004])
    value, slope = posterior.log_posterior_and_gradient(lens)
    step = 5e-4
    both = [posterior.log_posterior(lens + sign * step * np.eye(7)) for sign in (1, -1)]
    expected = (both[0] - both[1]) / (2 * step)
    np.testing.assert_allclose(slope[0], expected, atol=0.06 * np.abs(expected).max())
    residuals = posterior.residuals(lens)[0]
    prior = posterior.support.log_prior(lens)[0]
    assert value[0] == pytest.approx(prior - 0.5 * residuals @ residuals, rel=1e-4)


def test_files_batches_and_units(model, data, tmp_path):
    result, other = (model.reconstruct(seen(data, unit), lens=LENS) for unit in (1.0, 1e-20))
    np.testing.assert_allclose(1e20 * other.source, result.source, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(other.template_amplitudes, result.template_amplitudes, atol=2e-3)
    result.to_fits(tmp_path / "result.fits")
    again = read_reconstruction(tmp_path / "result.fits")
    np.testing.assert_allclose(again.template_image, result.template_image, atol=1e-6)
    np.testing.assert_allclose(again.residuals, result.residuals, atol=1e-6)


def test_residuals_without_the_light_are_noise(ridge_model, data):
    result = ridge_model.reconstruct(seen(data), lens=LENS)
    assert check_residuals(result, ridge_model).consistent
    without = ridge_model.reconstruct(replace(seen(data), templates=None), lens=LENS)
    assert not check_residuals(without, ridge_model).consistent


def test_crops_and_bins_with_the_image(data):
    whole = seen(data)
    part = whole.crop(8, (6.5, 8.5))
    np.testing.assert_array_equal(part.templates, templates()[:, 3:11, 5:13])
    beyond = whole.crop(20, beyond=True)
    np.testing.assert_array_equal(beyond.templates[:, 2:18, 2:18], templates())
    assert np.all(beyond.templates[:, :2] == 0)
    binned = whole.rebin(2).templates
    assert binned.shape == (2, 8, 8)
    expected = templates()[:, 4:6, 4:6].mean(axis=(1, 2))
    np.testing.assert_allclose(binned[:, 2, 2], expected)


@pytest.mark.parametrize(
    "wrong", [templates()[0], templates()[:, :8], np.full((1, SIDE, SIDE), np.nan)]
)
def test_refuses(data, wrong):
    with pytest.raises(ValueError, match="`templates` must be finite maps"):
        Observation(**data, templates=wrong)
    pair = {name: np.stack([data[name]] * 2) for name in ("image", "noise", "mask")}
    with pytest.raises(ValueError, match="`templates` must be finite maps"):
        Observation(**pair, psf=data["psf"], templates=templates())

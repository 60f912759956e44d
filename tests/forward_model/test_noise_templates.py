"""Templates whose amplitudes are integrated over: against dense Gaussian algebra."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from rim_lensing.forward_model.noise_templates import template_modes
from rim_lensing.forward_model.pixel_noise import PixelNoise, without_templates
from rim_lensing.forward_model.whitening import whitening
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.observation.correlated_noise import correlate_noise

SIDE, RMS = 12, 0.1


def system(correlated: bool, seed: int = 0):
    """Templates (3, m, m), noise (m, m) with masked pixels, correlation, a residual (m, m)."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    bright = np.exp(-np.hypot(x, y) / 3)
    templates = np.stack([bright, bright * np.cos(2 * np.arctan2(y, x)), np.full_like(bright, 0.2)])
    noise = RMS * (1 + bright)
    noise[2:4, 7:9] = np.inf
    correlation = None
    if correlated:
        axis = np.arange(-3, 4)
        correlation = 0.3 ** np.hypot(axis, axis[:, None])
    draws = generator.standard_normal((1, SIDE, SIDE))
    if correlated:
        draws = correlate_noise(draws, correlation)
    used = np.isfinite(noise)
    residual = np.where(used, draws[0] * np.where(used, noise, 0) + 1.5 * templates[0], 0)
    return templates, noise, correlation, residual


def dense_covariance(templates, noise, correlation):
    """Of the used pixels: sigma C sigma + B B'."""
    used = np.isfinite(noise)
    row, column = np.nonzero(used)
    apart = row[:, None] - row[None], column[:, None] - column[None]
    if correlation is None:
        among = (apart[0] == 0) & (apart[1] == 0)
    else:
        reach = len(correlation) // 2
        near = (np.abs(apart[0]) <= reach) & (np.abs(apart[1]) <= reach)
        among = np.zeros(near.shape)
        among[near] = correlation[apart[0][near] + reach, apart[1][near] + reach]
    columns = templates[:, used]
    return noise[used][:, None] * among * noise[used] + columns.T @ columns


@pytest.mark.parametrize("correlated", [False, True])
def test_chi2_and_determinant_are_those_of_dense_algebra(correlated):
    templates, noise, correlation, residual = system(correlated)
    used = np.isfinite(noise)
    modes = template_modes(templates, noise, correlation)
    white, log_det = residual / noise, 0.0
    if correlated:
        found = whitening(correlation, used)
        white, log_det = found.whiten(white), found.log_det
    log_noise = np.sum(np.log(noise[used])) + 0.5 * (log_det + modes.log_det)
    log_density = -0.5 * np.sum(modes.apply(white) ** 2) - log_noise
    log_density -= 0.5 * used.sum() * np.log(2 * np.pi)
    covariance = dense_covariance(templates, noise, correlation)
    expected = multivariate_normal(cov=covariance).logpdf(residual[used])
    assert log_density == pytest.approx(expected, abs=0.15 if correlated else 1e-6)


@pytest.mark.parametrize("correlated", [False, True])
def test_amplitudes_are_the_posterior_mean_of_dense_algebra(correlated):
    templates, noise, correlation, residual = system(correlated)
    used = np.isfinite(noise)
    white = residual / noise
    if correlated:
        white = whitening(correlation, used).whiten(white)
    found = template_modes(templates, noise, correlation).amplitudes(white)
    covariance = dense_covariance(templates, noise, correlation)
    expected = templates[:, used] @ np.linalg.solve(covariance, residual[used])
    np.testing.assert_allclose(found, expected, atol=0.02 if correlated else 1e-9)
    assert found[0] == pytest.approx(1.5, abs=0.3)


@pytest.mark.parametrize("correlated", [False, True])
def test_in_a_graph_it_is_the_same_and_its_own_adjoint(correlated):
    templates, noise, correlation, residual = system(correlated)
    used = np.isfinite(noise)
    whitened = {"modes": template_modes(templates, noise, correlation).modes[None]}
    white = residual / noise
    if correlated:
        whitened["weights"] = whitening(correlation, used).weights[None]
        white = whitening(correlation, used).whiten(white)
    pixels_of = {name: np.float32(each) for name, each in whitened.items()}
    pixels = PixelNoise(np.float32(noise)[None], pixels_of)
    found = np.asarray(pixels.normalised(np.float32(residual)[None]))[0]
    expected = template_modes(templates, noise, correlation).apply(white)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    weighted = np.asarray(pixels.weighted(np.float32(residual)[None]))[0]
    assert np.all(weighted[~used] == 0)
    assert np.sum(weighted * residual) == pytest.approx(np.sum(expected**2), rel=1e-4)
    alone = PixelNoise(np.float32(noise)[None], without_templates(pixels_of))
    alone = np.asarray(alone.normalised(np.float32(residual)[None]))[0]
    np.testing.assert_allclose(alone, white, atol=2e-4)


def test_a_template_that_noise_drowns_does_nothing():
    templates, noise, _, residual = system(False)
    modes = template_modes(np.concatenate([1e-9 * templates, 0 * templates[:1]]), noise)
    np.testing.assert_allclose(modes.apply(residual / noise), residual / noise, atol=1e-5)
    assert modes.log_det == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("correlated", [False, True])
def test_a_linear_system_integrates_over_them(correlated):
    """The evidence's data term, the response and its adjoint, with sources of 6 x 6 pixels."""
    templates, noise, correlation, residual = system(correlated)
    generator = np.random.default_rng(1)
    lensing = generator.random((SIDE**2, 36))
    kernel = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25])
    linear = LinearSystem(lensing, kernel, residual, noise, 1, correlation, templates)
    used = np.isfinite(noise)
    covariance = dense_covariance(templates, noise, correlation)
    log_density = -0.5 * linear.data @ linear.data - linear.log_noise
    log_density -= 0.5 * used.sum() * np.log(2 * np.pi)
    expected = multivariate_normal(cov=covariance).logpdf(residual[used])
    assert log_density == pytest.approx(expected, abs=0.15 if correlated else 1e-6)
    source, data = generator.random(36), generator.random(SIDE**2)
    assert linear.adjoint(data) @ source == pytest.approx(data @ linear.apply(source))
    np.testing.assert_allclose(linear.response() @ source, linear.apply(source), atol=1e-9)

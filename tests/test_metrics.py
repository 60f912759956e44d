import mpmath
import numpy as np
import pytest
from scipy import stats

from rim_lensing import metrics
from rim_lensing.inversion.regularization import REGULARIZATIONS, regularization_matrix


def test_rms_error_of_a_known_error():
    truth = np.zeros((2, 10, 10))
    truth[:, 5, 5] = [2.0, 4.0]
    source = truth.copy()
    source[:, 0, 0] += 1.0
    np.testing.assert_allclose(metrics.rms_error(source, truth), [0.1 / 2, 0.1 / 4])


def test_flux_error_is_signed():
    truth = np.ones((2, 4, 4))
    source = truth * np.array([1.25, 0.5])[:, None, None]
    np.testing.assert_allclose(metrics.flux_error(source, truth), [0.25, -0.5])


def test_chi2_of_pure_noise_is_one_and_masked_pixels_do_not_count():
    generator = np.random.default_rng(0)
    noise = np.full((1, 200, 200), 0.3)
    residual = 0.3 * generator.standard_normal(noise.shape)
    assert metrics.chi2_per_pixel(residual, noise)[0] == pytest.approx(1, abs=0.03)
    noise[:, :100] = np.inf
    residual[:, :100] = 1e3
    residual[:, 50:70] = np.nan
    assert metrics.chi2_per_pixel(residual, noise)[0] == pytest.approx(1, abs=0.04)


def sigmas_to_50_digits(chi2, degrees):
    """The deviate of the same one-sided probability, by arbitrary-precision arithmetic."""
    with mpmath.workdps(50):
        shape, value = mpmath.mpf(degrees) / 2, mpmath.mpf(chi2) / 2
        above = chi2 > degrees
        ends = (value, mpmath.inf) if above else (0, value)
        log_tail = mpmath.log(mpmath.gammainc(shape, *ends, regularized=True))
        start = mpmath.sqrt(-2 * log_tail) - 0.1
        deviate = mpmath.findroot(
            lambda z: mpmath.log(mpmath.erfc(z / mpmath.sqrt(2)) / 2) - log_tail, start
        )
        return float(deviate if above else -deviate)


@pytest.mark.parametrize(
    "chi2_per_degree", [0.002, 0.1, 0.6, 0.97, 1.03, 1.1, 2.0, 2.2, 5.0, 1e3, 1e8]
)
def test_significance_of_chi2_does_not_underflow(chi2_per_degree):
    residual = np.full((2, 64, 64), 0.3 * np.sqrt(chi2_per_degree))
    found = metrics.chi2_significance(residual, 0.3)
    np.testing.assert_allclose(
        found, sigmas_to_50_digits(4096 * chi2_per_degree, 4096), rtol=1e-6, atol=1e-6
    )


def test_significance_grows_through_the_switch_to_the_asymptotic_form():
    levels = np.linspace(1.5, 2.5, 400)
    residual = np.sqrt(levels)[:, None, None] * np.ones((1, 64, 64))
    steps = np.diff(metrics.chi2_significance(residual, 1.0))
    assert steps.min() > 0 and steps.max() < 1.5 * steps.min()


def test_significance_of_noise_is_a_standard_gaussian():
    residual = np.random.default_rng(3).standard_normal((2000, 6, 6))
    noise = np.ones((6, 6))
    noise[:2] = np.inf
    found = metrics.chi2_significance(residual, noise)
    assert stats.kstest(found, "norm").pvalue > 1e-3


def test_fitted_parameters_are_taken_off():
    """Residuals of straight-line fits: N - 2 degrees of freedom."""
    residual = np.random.default_rng(4).standard_normal((3000, 36))
    design = np.stack([np.ones(36), np.arange(36)], axis=1)
    residual -= residual @ design @ np.linalg.pinv(design)
    residual = residual.reshape(-1, 6, 6)
    assert stats.kstest(metrics.chi2_significance(residual, 1.0, 2), "norm").pvalue > 1e-3
    assert stats.kstest(metrics.chi2_significance(residual, 1.0), "norm").pvalue < 1e-6


@pytest.mark.parametrize("fitted", [-1, 36, [0, 40], np.nan])
def test_impossible_numbers_of_parameters_are_refused(fitted):
    with pytest.raises(ValueError, match="`fitted_parameters` must be at least 0"):
        metrics.chi2_significance(np.ones((2, 6, 6)), 1.0, fitted)


def waves(side, modes):
    """Sum of amplitude * cos(2 pi (kx x + ky y) / side + phase) over the modes."""
    y, x = np.mgrid[:side, :side] / side
    return sum(a * np.cos(2 * np.pi * (kx * x + ky * y) + phase) for a, kx, ky, phase in modes)


@pytest.mark.parametrize("side", [32, 33])
def test_coherence_of_waves(side):
    """One wave turned by a phase gives its cosine; two in one bin are weighed by amplitude."""
    phase = 0.7
    truth = waves(side, [(1, 3, 0, 0), (2, 0, 7, 0), (1, 7, 0, 0), (1, 6, 8, 0.3)])
    source = waves(side, [(5, 3, 0, phase), (1, 0, 7, 0), (3, 7, 0, np.pi), (2, 6, 8, 0.3)])
    wavenumbers, coherence = metrics.coherence_spectrum(source[None], truth[None])
    np.testing.assert_array_equal(wavenumbers, np.arange(1, side // 2 + 1))
    found = dict(zip(wavenumbers, coherence[0], strict=True))
    assert found[3] == pytest.approx(np.cos(phase))
    assert found[7] == pytest.approx((2 * 1 - 1 * 3) / np.sqrt((4 + 1) * (1 + 9)))
    assert found[10] == pytest.approx(1)


def test_coherence_knows_no_unit_and_no_offset():
    truth = np.random.default_rng(0).random((3, 24, 24))
    other = truth + np.random.default_rng(1).random((3, 24, 24))
    _, expected = metrics.coherence_spectrum(other, truth)
    for scale in (1e-200, 1e200):
        _, coherence = metrics.coherence_spectrum(scale * (other + 2), truth)
        np.testing.assert_allclose(coherence, expected, rtol=1e-9)
    _, same = metrics.coherence_spectrum(truth, truth)
    np.testing.assert_allclose(same, 1)
    _, opposite = metrics.coherence_spectrum(-truth, truth)
    np.testing.assert_allclose(opposite, -1)


def test_coherence_with_white_noise():
    """Power S in the truth and S + N in the source: C = sqrt(S / (S + N))."""
    truth, noise = np.random.default_rng(2).standard_normal((2, 300, 32, 32))
    _, coherence = metrics.coherence_spectrum(truth + 2 * noise, truth)
    np.testing.assert_allclose(coherence[:, 4:].mean(axis=0), 1 / np.sqrt(5), atol=0.02)


def test_coherence_reaches_to_where_the_mean_falls_below_one_half():
    spectra = np.array([[1.0, 0.9, 0.3, 0.8], [1.0, 0.2, 0.3, 0.8]])
    assert metrics.coherence_reach(spectra) == 2
    assert metrics.coherence_reach(spectra[1:]) == 1
    assert metrics.coherence_reach(1 - spectra) == 0
    assert metrics.coherence_reach(spectra[:, [0, 1, 3]]) == 3


def test_error_inside_of_the_galaxy_counts_its_pixels_alone():
    truth = np.zeros((2, 10, 10))
    truth[:, 2:4, 2:7] = [[[1.0]], [[5.0]]]
    truth[:, 0] = 0.009 * truth.max(axis=(1, 2))[:, None]
    source = truth.copy()
    source[:, 2, 2:7] += 0.5
    source[:, 8] = 3.0
    np.testing.assert_allclose(metrics.galaxy_error(source, truth), [0.5**1.5, 0.1 * 0.5**0.5])


def test_coherence_without_power_is_zero():
    truth = waves(16, [(1, 3, 0, 0)])[None]
    _, coherence = metrics.coherence_spectrum(np.zeros((1, 16, 16)), truth)
    np.testing.assert_array_equal(coherence, 0)


@pytest.mark.parametrize("shape", [(1, 8, 9), (8, 8), (2, 8, 8)])
def test_coherence_of_unequal_shapes_is_refused(shape):
    with pytest.raises(ValueError, match="same shape"):
        metrics.coherence_spectrum(np.ones((1, 8, 8)), np.ones(shape))


@pytest.mark.parametrize("kind", REGULARIZATIONS)
def test_log_prior_is_that_of_a_gaussian(kind):
    sources = np.random.default_rng(0).standard_normal((3, 6, 6))
    strengths = np.array([0.3, 7.0, 1e4])
    matrix = regularization_matrix(kind, 6).toarray()
    expected = [
        stats.multivariate_normal(cov=np.linalg.inv(strength * matrix)).logpdf(source.ravel())
        for source, strength in zip(sources, strengths, strict=True)
    ]
    np.testing.assert_allclose(metrics.log_prior(sources, strengths, kind), expected, rtol=1e-9)
    one = metrics.log_prior(sources[:1], 0.3, kind)
    np.testing.assert_allclose(one, expected[:1], rtol=1e-9)


def test_distance_is_the_papers():
    """Section 3 of the paper: 85 in log-prior is about 13 sigma; 0.02 is 0.2 sigma."""
    found = metrics.log_prior_distance(np.array([-85.0, 85.0, -0.02]), np.zeros(3))
    np.testing.assert_allclose(found, [-13.0384, 13.0384, -0.2], rtol=1e-4)


def test_draws_from_the_prior_are_likely_draws():
    strength, side = 40.0, 8
    root = np.linalg.cholesky(strength * regularization_matrix("gradient", side).toarray())
    white = np.random.default_rng(5).standard_normal((2000, side**2))
    sources = np.linalg.solve(root.T, white.T).T.reshape(-1, side, side)
    found = metrics.prior_significance(sources, strength)
    assert stats.kstest(found, "norm").pvalue > 1e-3
    assert np.std(metrics.log_prior(sources, strength)) == pytest.approx(
        np.sqrt(side**2 / 2), rel=0.05
    )
    assert np.all(metrics.prior_significance(3 * sources, strength) > 10)


@pytest.mark.parametrize("strength", [0, -1.0, np.nan, [1.0, np.inf]])
def test_strengths_that_are_none_are_refused(strength):
    with pytest.raises(ValueError, match="`strength` must be positive"):
        metrics.log_prior(np.ones((2, 4, 4)), strength)
    with pytest.raises(ValueError, match="`source` must be"):
        metrics.log_prior(np.ones((4, 4)), 1.0)


def test_summary_states_each_bin():
    noise = np.array([0.002, 0.005, 0.02, 0.05, 0.06])
    rms = np.array([1.0, 2.0, 3.0, 4.0, 8.0])
    flux = np.array([-0.1, 0.2, -0.3, 0.1, 0.1])
    significance = np.array([4.0, 2.9, 3.1, -5.0, 0.0])
    summary = metrics.summarise(rms, flux, np.ones(5), significance, noise)
    assert list(summary) == ["all", "0.1-1%", "1-3%", "3-10%"]
    assert summary["all"]["median_rms_error"] == 3
    assert summary["0.1-1%"]["systems"] == 2
    assert summary["0.1-1%"]["median_abs_flux_error"] == pytest.approx(0.15)
    assert summary["0.1-1%"]["flux_bias"] == pytest.approx(0.05)
    assert summary["3-10%"]["median_rms_error"] == 6
    assert summary["all"]["share_with_signal_left"] == pytest.approx(2 / 5)
    assert summary["0.1-1%"]["share_with_signal_left"] == pytest.approx(1 / 2)
    assert summary["3-10%"]["share_with_signal_left"] == 0
    two = metrics.summarise(rms[:2], flux[:2], np.ones(2), significance[:2], noise[:2])
    assert "1-3%" not in two


def test_summary_has_the_90th_percentile_and_the_median_of_chi2():
    rms, chi2 = np.array([4.0, 1.0, 8.0, 2.0, 3.0]), np.array([0.9, 1.0, 1.3, 5.0, 1.1])
    noise = np.array([0.02, 0.02, 0.05, 0.05, 0.05])
    summary = metrics.summarise(rms, np.zeros(5), chi2, np.zeros(5), noise)
    assert summary["all"]["rms_error_90th_percentile"] == pytest.approx(6.4)
    assert summary["1-3%"]["rms_error_90th_percentile"] == pytest.approx(3.7)
    assert summary["all"]["median_chi2_per_pixel"] == pytest.approx(1.1)
    assert summary["3-10%"]["median_chi2_per_pixel"] == pytest.approx(1.3)

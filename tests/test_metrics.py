import numpy as np
import pytest

from rim_lensing import metrics


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
    assert metrics.chi2_per_pixel(residual, noise)[0] == pytest.approx(1, abs=0.04)


def test_summary_states_each_bin():
    noise = np.array([0.002, 0.005, 0.02, 0.05, 0.06])
    rms = np.array([1.0, 2.0, 3.0, 4.0, 8.0])
    flux = np.array([-0.1, 0.2, -0.3, 0.1, 0.1])
    summary = metrics.summarise(rms, flux, np.ones(5), noise)
    assert list(summary) == ["all", "0.1-1%", "1-3%", "3-10%"]
    assert summary["all"]["median_rms_error"] == 3
    assert summary["0.1-1%"]["systems"] == 2
    assert summary["0.1-1%"]["median_abs_flux_error"] == pytest.approx(0.15)
    assert summary["0.1-1%"]["flux_bias"] == pytest.approx(0.05)
    assert summary["3-10%"]["median_rms_error"] == 6
    assert "1-3%" not in metrics.summarise(rms[:2], flux[:2], np.ones(2), noise[:2])

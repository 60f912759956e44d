"""The benchmark of what a linear method has to be told, against dense linear algebra."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal import correlate2d

from rim_lensing.galaxies.procedural import draw_procedural_galaxies
from rim_lensing.inversion.linear_system import LinearSystem

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import told_truth  # noqa: E402

SIDE = 12
FWHM = 4.0


def drawn_system(noise: float) -> tuple[LinearSystem, np.ndarray]:
    """A random response of 12 x 12 source pixels to 10 x 10 image pixels, and its source."""
    random = np.random.default_rng(2)
    truth = gaussian_filter(random.normal(size=(SIDE, SIDE)), 1.0) + 0.2
    lensing = random.uniform(size=(100, SIDE**2)) * (random.uniform(size=(100, SIDE**2)) < 0.1)
    psf = np.outer([1.0, 2.0, 1.0], [1.0, 2.0, 1.0]) / 16
    rms = np.full((10, 10), noise)
    clean = LinearSystem(lensing, psf, np.zeros((10, 10)), rms).predict(truth.ravel())
    image = clean.reshape(10, 10) + noise * random.normal(size=(10, 10))
    return LinearSystem(lensing, psf, image, rms), truth


def dense_estimate(system: LinearSystem, truth: np.ndarray) -> np.ndarray:
    """The posterior mean, its covariance written out pixel by pixel."""
    sigma = FWHM / 2.354820045
    told = gaussian_filter(truth, sigma, mode="constant")
    detail = truth - told
    spread = np.sqrt(gaussian_filter(detail**2, sigma, mode="constant")).ravel()
    correlation = correlate2d(np.tile(detail, (2, 2))[:-1, :-1], detail, mode="valid")
    y, x = np.divmod(np.arange(SIDE**2), SIDE)
    lags = correlation[(y[:, None] - y) % SIDE, (x[:, None] - x) % SIDE] / np.sum(detail**2)
    covariance = spread[:, None] * lags * spread
    response = system.response().toarray()
    gain = covariance @ response.T
    weights = np.linalg.solve(
        response @ gain + np.eye(len(response)), system.data - response @ told.ravel()
    )
    return told + (gain @ weights).reshape(SIDE, SIDE)


@pytest.mark.parametrize("noise", [0.01, 0.3])
def test_the_estimate_is_the_dense_posterior_mean(noise):
    system, truth = drawn_system(noise)
    found = told_truth.estimate_detail(system, truth, FWHM)
    expected = dense_estimate(system, truth)
    assert np.std(expected - told_truth.blur(truth, FWHM)) > 0.01
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_without_data_there_is_what_was_told():
    system, truth = drawn_system(1e8)
    found = told_truth.estimate_detail(system, truth, FWHM)
    told = gaussian_filter(truth, FWHM / 2.354820045, mode="constant")
    np.testing.assert_allclose(found, told, atol=1e-6)


def test_rows_hold_medians_by_noise_and_the_reach_of_the_coherence():
    truth = draw_procedural_galaxies(3, 4, side=32)
    noise = np.array([0.005, 0.02, 0.05])
    rms = np.array([0.01, 0.02, 0.04])[:, None, None] * truth.max(axis=(1, 2), keepdims=True)
    text = told_truth.table({"exact": truth, "off": truth + rms}, truth, noise)
    head, _, exact, off = [line.strip("| ").split(" | ") for line in text.splitlines()]
    assert head[1:4] == ["all", "0.1-1% of noise", "1-3% of noise"]
    assert exact[0] == "exact" and exact[1].startswith("0.000%") and exact[-1] == "16"
    assert [cell.split(" ± ")[0] for cell in off[1:5]] == ["2.000%", "1.000%", "2.000%", "4.000%"]


def test_from_the_command_line(capsys, tiny_folder, galaxy_file):
    """An untrained network is no match for who knows the truth but for its detail."""
    told_truth.main([str(tiny_folder), "--galaxies", str(galaxy_file), "--systems", "3"])
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert len(lines) == 1 + 2 * len(told_truth.BEAMS)
    errors = [float(line[1].split("%")[0]) for line in lines]
    assert max(errors[1:]) < errors[0]
    assert errors[1::2] == sorted(errors[1::2])
    # The widest beam is the only one that takes more from 16 x 16 pixels than noise gives.
    assert errors[-1] < 0.9 * errors[-2]

"""Visibilities as a user gives them: conventions, pointing, weights."""

import numpy as np
import pytest

from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.observation.visibilities import VisibilityObservation, alma_primary_beam

pytest.importorskip("ducc0")

RADIANS = np.pi / 180 / 3600
GRID = PixelGrid(32, 0.1)


def baselines(count=400, seed=0):
    return np.random.default_rng(seed).normal(0, 2e5, (2, count))


def point(u, v, x, y, sign=-1):
    """Return the visibilities of 1 Jy at (x, y) arcsec, with this sign of the phase."""
    return np.exp(sign * 2j * np.pi * RADIANS * (u * x + v * y))


def peak(seen, grid=GRID):
    """Return x and y of the dirty image's brightest pixel."""
    image = seen.on_grid(grid).image
    row, column = np.unravel_index(np.argmax(image), image.shape)
    x, y = grid.coordinates()
    return x[row, column], y[row, column]


def test_in_the_image_convention_x_is_to_the_right():
    u, v = baselines()
    seen = VisibilityObservation(u, v, point(u, v, 0.75, -0.35), 1.0)
    assert peak(seen) == pytest.approx((0.75, -0.35))


def test_in_casas_convention_east_is_left():
    """l = 0.75" to the East, m = -0.35" to the South, exp(+2 pi i (ul + vm))."""
    u, v = baselines()
    seen = VisibilityObservation(u, v, point(u, v, 0.75, -0.35, +1), 1.0, convention="casa")
    assert peak(seen) == pytest.approx((-0.75, -0.35))


def test_the_phase_centre_is_where_it_is_said_to_be():
    u, v = baselines()
    seen = VisibilityObservation(u, v, np.ones(len(u)), 1.0, phase_centre=(0.55, -0.85))
    assert peak(seen) == pytest.approx((0.55, -0.85))
    moved = PixelGrid(32, 0.1, (0.3, -0.2))
    assert peak(seen, moved) == pytest.approx((0.55, -0.85))


@pytest.mark.parametrize("x, factor", [(0.0, 1.0), (1.0, 0.5)])
def test_the_primary_beam_has_half_its_peak_half_its_width_from_the_phase_centre(x, factor):
    u, v = baselines()
    grid = PixelGrid(33, 0.1)
    seen = VisibilityObservation(
        u, v, np.ones(len(u)), 1.0, phase_centre=(0.2, 0.1), primary_beam=2.0
    )
    sky = np.zeros((33, 33))
    sky[17, 18 + round(x / 0.1)] = 1.0
    np.testing.assert_allclose(np.abs(seen.predict(sky, grid)), factor, rtol=1e-7)


def test_chi2_of_the_grid_is_that_of_the_predicted_visibilities():
    u, v = baselines()
    generator = np.random.default_rng(1)
    data = generator.normal(size=(2, len(u))).T @ [1, 1j]
    seen = VisibilityObservation(u, v, data, 2.0, (0.2, 0.3), primary_beam=3.0)
    sky = generator.exponential(size=(32, 32))
    chi2 = 2.0 * np.sum(np.abs(data - seen.predict(sky, GRID)) ** 2)
    assert seen.on_grid(GRID).chi2(sky) == pytest.approx(chi2, rel=1e-8)


def test_a_grid_is_made_once():
    u, v = baselines()
    seen = VisibilityObservation(u, v, np.ones(len(u)), 1.0)
    assert seen.on_grid(GRID) is seen.on_grid(PixelGrid(32, 0.1))


def test_channels_are_one_set():
    u, v = baselines(30)
    channels = np.array([1.0, 1.01, 1.02])[:, None]
    seen = VisibilityObservation(u * channels, v * channels, point(u * channels, 0, 0.1, 0), 1.0)
    assert len(seen) == 90


def test_alma_primary_beam():
    """26 arcsec at 230 GHz, 19 arcsec... of the Technical Handbook: 20.6" at 300 GHz by 1.13."""
    assert alma_primary_beam(300e9) == pytest.approx(19.41, abs=0.01)
    assert alma_primary_beam(300e9, 7.0) == pytest.approx(19.41 * 12 / 7, abs=0.02)


@pytest.mark.parametrize("channels", [1, 3])
def test_weights_by_the_scatter_of_neighbours_in_time(channels):
    """Weights 5 times too large, behind a source that is bright and varies slowly."""
    generator = np.random.default_rng(2)
    first, second = np.triu_indices(12, 1)
    time = np.repeat(np.arange(60.0), len(first) * channels)
    u = np.tile(np.repeat(generator.normal(0, 1e5, len(first)), channels), 60)
    u = u * np.tile(1 + 0.01 * np.arange(channels), 60 * len(first)) + 10 * time
    antennas = np.tile(np.repeat([first, second], channels, axis=1), 60)
    rms = generator.uniform(0.5, 2, len(u))
    data = 20 * point(u, u, 0.3, 0.2) + rms * (generator.normal(size=(2, len(u))).T @ [1, 1j])
    mixed = generator.permutation(len(u))
    seen = VisibilityObservation(
        *(each[mixed] for each in (u, u, data, 5 / rms**2)),
        time=time[mixed],
        antennas=antennas[:, mixed],
    )
    factor, error = seen.weight_factor()
    assert factor == pytest.approx(0.2, abs=4 * error) and error < 0.01
    np.testing.assert_allclose(seen.reweighted().weights, factor * seen.weights)


def test_without_times_there_are_no_neighbours():
    u, v = baselines(5)
    with pytest.raises(ValueError, match="time"):
        VisibilityObservation(u, v, np.ones(5), 1.0).reweighted()


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(ValueError) as error:
        VisibilityObservation(
            np.ones(3), np.ones(4), ["a"] * 3, 1.0, primary_beam=-1.0, convention="other"
        )
    for name in ("convention", "visibilities"):
        assert f"`{name}`" in str(error.value)
    with pytest.raises(ValueError, match="one shape"):
        VisibilityObservation(np.ones(3), np.ones(4), np.ones(3), 1.0)
    with pytest.raises(ValueError, match="`weights`"):
        VisibilityObservation(np.ones(3), np.ones(3), np.ones(3), [-1.0, 1, 1])
    with pytest.raises(ValueError, match="weight of 0"):
        VisibilityObservation(np.ones(3), np.ones(3), [np.nan, 1, 1], 1.0)
    with pytest.raises(ValueError, match="primary_beam"):
        VisibilityObservation(np.ones(3), np.ones(3), np.ones(3), 1.0, primary_beam=0)


def test_flagged_visibilities_may_be_nan():
    u, v = baselines()
    data = point(u, v, 0.25, 0.25)
    data[::2] = np.nan
    weights = np.where(np.isnan(data), 0.0, 1.0)
    seen = VisibilityObservation(u, v, data, weights)
    assert peak(seen) == pytest.approx((0.25, 0.25))
    assert np.isfinite(seen.on_grid(GRID).square)

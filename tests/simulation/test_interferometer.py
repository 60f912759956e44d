"""Mock coverages of the uv plane, against closed forms."""

import numpy as np
import pytest

from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.simulation.interferometer import (
    ALMA_LATITUDE,
    Coverages,
    draw_array,
    hour_angle_limit,
    observe_sky,
    uv_track,
)


def test_at_the_zenith_baselines_are_what_they_are_on_the_ground():
    positions = np.random.default_rng(0).normal(size=(5, 2))
    u, v = uv_track(positions, np.zeros(1), ALMA_LATITUDE)
    first, second = np.triu_indices(5, 1)
    np.testing.assert_allclose(np.stack([u[0], v[0]], 1), positions[second] - positions[first])


def test_tracks_of_baselines_to_the_east_are_ellipses():
    """u^2 + (v / sin delta)^2 is the length squared (Thompson, Moran & Swenson, equation 4.3)."""
    positions = np.array([[0.0, 0.0], [300.0, 0.0]])
    u, v = uv_track(positions, np.linspace(-5, 5, 21), -40.0)
    length = np.hypot(u, v / np.sin(np.radians(-40.0)))
    np.testing.assert_allclose(length, 300.0)


def test_a_source_low_in_the_north_is_seen_foreshortened():
    u, v = uv_track(np.array([[0.0, 0.0], [0.0, 100.0]]), np.zeros(1), 20.0)
    assert u[0, 0] == pytest.approx(0, abs=1e-9)
    assert v[0, 0] == pytest.approx(100 * np.cos(np.radians(20 - ALMA_LATITUDE)))


def test_hour_angle_limit():
    limit = hour_angle_limit(-30.0)
    low = np.sin(np.radians(ALMA_LATITUDE)) * np.sin(np.radians(-30)) + np.cos(
        np.radians(ALMA_LATITUDE)
    ) * np.cos(np.radians(-30)) * np.cos(np.pi / 12 * limit)
    assert np.degrees(np.arcsin(low)) == pytest.approx(20)
    with pytest.raises(ValueError, match="rises"):
        hour_angle_limit(60.0)


def test_arrays_are_as_large_as_they_are_to_be():
    positions = draw_array(np.random.default_rng(1), 43, 1000.0)
    apart = np.hypot(*(positions[:, None] - positions[None]).transpose(2, 0, 1))
    assert apart.max() == pytest.approx(1000.0)
    assert apart[np.triu_indices(43, 1)].min() > 10


def test_drawn_coverages_keep_to_their_ranges():
    ranges = Coverages(longest_baseline=(2e5, 4e5), antennas=(10, 14), integrations=5)
    for seed in range(5):
        u, v = ranges.draw(np.random.default_rng(seed))
        assert np.hypot(u, v).max() <= 4e5 * (1 + 1e-9)
        assert len(u) % 5 == 0 and 45 * 5 <= len(u) <= 78 * 5


def test_noise_is_what_it_is_to_be():
    pytest.importorskip("ducc0")
    generator = np.random.default_rng(2)
    grid = PixelGrid(24, 0.1)
    x, y = grid.coordinates()
    sky = np.exp(-(x**2 + y**2) / 0.2)
    u, v = Coverages(longest_baseline=(5e5, 5e5)).draw(generator)
    seen = observe_sky(sky, grid, u, v, 0.05, generator)
    dirty = seen.on_grid(grid)
    clean = observe_sky(sky, grid, u, v, 1e-9, generator).on_grid(grid).image.max()
    assert dirty.noise / clean == pytest.approx(0.05, rel=1e-6)
    assert dirty.chi2(sky) / dirty.n_data == pytest.approx(1, abs=5 * np.sqrt(2 / dirty.n_data))

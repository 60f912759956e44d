"""Starts for visibilities, on mocks of one lensed Gaussian whose visibilities are direct sums."""

import numpy as np
import pytest

import rim_lensing as rl
from rim_lensing.forward_model.uv_plane import UVPlane
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.mass_model import deflections_on_rays
from rim_lensing.visibility_fit.visibility_start import visibility_starts

pytest.importorskip("ducc0")

GRID = PixelGrid(40, 0.1)
LENS = np.array([1.15, 0.12, -0.08, 0.02, -0.03, 0.04, -0.03])


def observe(significance, seed=0, symmetry=None):
    """Return visibilities in which the arcs together have this significance, in sigma."""
    generator = np.random.default_rng(seed)
    u, v = generator.normal(0, 4e5, (2, 2000))
    alpha = np.asarray(deflections_on_rays(np.float32(LENS)[None], GRID))[0]
    beta = np.stack(GRID.coordinates()) - alpha
    sky = np.exp(-0.5 * np.sum((beta - [[[0.15]], [[-0.1]]]) ** 2, axis=0) / 0.12**2)
    data = UVPlane(u, v, GRID).as_matrix() @ sky.ravel()
    weight = significance**2 / np.sum(np.abs(data) ** 2)
    noise = generator.normal(size=(2, 2000)).T @ [1, 1j] / np.sqrt(weight)
    return rl.VisibilityObservation(u, v, data + noise, weight)


@pytest.fixture(autouse=True)
def fewer(monkeypatch):
    monkeypatch.setattr("rim_lensing.visibility_fit.visibility_start.CANDIDATES", 512)
    monkeypatch.setattr("rim_lensing.visibility_fit.visibility_start.CLIMBING", 8)


@pytest.mark.parametrize("significance, tolerance", [(200, 0.01), (25, 0.05)])
def test_the_best_start_is_the_lens(significance, tolerance):
    found = visibility_starts(observe(significance), GRID, seed=1)
    np.testing.assert_allclose(found.lenses[0, 0], LENS[0], rtol=tolerance)
    np.testing.assert_allclose(found.sources[0, :2], [0.15, -0.1], atol=3 * tolerance)
    assert found.significance[0] == pytest.approx(significance, rel=0.1)
    assert np.all(np.diff(found.significance) <= 0)


def test_starts_differ_and_lie_within_the_priors():
    priors = rl.Priors(theta_E=(0.8, 1.4), shear=(0.0, 0.1))
    found = visibility_starts(observe(50), GRID, priors, count=4)
    assert 1 <= len(found) <= 4
    assert np.all((found.lenses[:, 0] >= 0.8) & (found.lenses[:, 0] <= 1.4))
    shapes = found.lenses[:, [0, 1, 2, 5, 6]]
    for i in range(len(found)):
        for j in range(i):
            assert np.abs(shapes[i] - shapes[j]).max() >= 0.05

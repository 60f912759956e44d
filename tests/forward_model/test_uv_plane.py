"""The Fourier sum of an interferometer, against its plain sum."""

import numpy as np
import pytest

from rim_lensing.forward_model.dirty_image import dirty_image
from rim_lensing.forward_model.uv_plane import UVPlane
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.symmetries import SYMMETRIES, transform_image

pytest.importorskip("ducc0")

RADIANS = np.pi / 180 / 3600


def baselines(count=300, seed=0, longest=4e5):
    """Return u and v, in wavelengths, some of them longer than the pixels of 0.1" resolve."""
    return np.random.default_rng(seed).uniform(-longest, longest, (2, count)) * 3


@pytest.mark.parametrize("grid", [PixelGrid(16, 0.1), PixelGrid(9, 0.2, (0.7, -0.35))])
def test_apply_is_the_plain_sum(grid):
    u, v = baselines()
    sky = np.random.default_rng(1).normal(size=(grid.side, grid.side))
    x, y = (each * RADIANS for each in grid.coordinates())
    plain = [np.sum(sky * np.exp(-2j * np.pi * (a * x + b * y))) for a, b in zip(u, v, strict=True)]
    plane = UVPlane(u, v, grid)
    scale = np.abs(sky).sum()
    np.testing.assert_allclose(plane.apply(sky), plain, atol=1e-9 * scale, rtol=0)
    np.testing.assert_allclose(plane.as_matrix() @ sky.ravel(), plain, atol=1e-9 * scale, rtol=0)


def test_a_point_has_the_phase_of_where_it_is():
    """By the closed form, at x = 0.45", y = -0.15"."""
    u, v = baselines()
    sky = np.zeros((10, 10))
    sky[3, 9] = 2.5
    phase = -2 * np.pi * RADIANS * (0.45 * u - 0.15 * v)
    found = UVPlane(u, v, PixelGrid(10, 0.1)).apply(sky)
    np.testing.assert_allclose(found, 2.5 * np.exp(1j * phase), atol=1e-8)


@pytest.mark.parametrize("side", [12, 13])
def test_adjoint(side):
    u, v = baselines()
    generator = np.random.default_rng(2)
    plane = UVPlane(u, v, PixelGrid(side, 0.1, (0.03, 0.4)))
    sky = generator.normal(size=(side, side))
    data = generator.normal(size=len(u)) + 1j * generator.normal(size=len(u))
    left = np.sum((plane.apply(sky).conj() * data).real)
    assert left == pytest.approx(np.sum(sky * plane.adjoint(data)), rel=1e-8)


@pytest.mark.parametrize("primary", [False, True])
@pytest.mark.parametrize("side", [11, 16])
def test_chi2_is_that_of_the_visibilities(side, primary, monkeypatch):
    monkeypatch.setattr("rim_lensing.forward_model.dirty_image.CHUNK", 128)
    generator = np.random.default_rng(3)
    u, v = baselines(500)
    grid = PixelGrid(side, 0.1, (-0.2, 0.1))
    beam = generator.uniform(0.3, 1, (side, side)) if primary else None
    weights = generator.uniform(0.5, 2.0, 500) * (generator.random(500) > 0.2)
    sky = generator.exponential(size=(side, side))
    matrix = UVPlane(u, v, grid).as_matrix()
    seen = matrix @ (sky if beam is None else sky * beam).ravel()
    data = seen + (generator.normal(size=500) + 1j * generator.normal(size=500))
    data[weights == 0] = 1e30
    dirty = dirty_image([(u, v, data, weights)], grid, beam)
    assert dirty.count == np.sum(weights > 0) and dirty.n_data == 2 * dirty.count
    used = weights > 0
    for model in (sky, 0 * sky, generator.normal(size=sky.shape)):
        predicted = matrix @ (model if beam is None else model * beam).ravel()
        true = np.sum((weights * np.abs(data - predicted) ** 2)[used])
        assert dirty.chi2(model) == pytest.approx(true, rel=1e-8)
        flat = dirty.as_matrix() @ model.ravel()
        np.testing.assert_allclose(
            dirty.convolved(model).ravel(), flat, atol=1e-8 * np.abs(flat).max() + 1e-12
        )
    assert dirty.log_noise == pytest.approx(-np.sum(np.log(weights[used])))
    left, other = dirty.without(sky), generator.normal(size=sky.shape)
    assert left.chi2(other) == pytest.approx(dirty.chi2(sky + other), rel=1e-10)
    assert dirty.scaled(3.0).chi2(sky / 3) == pytest.approx(dirty.chi2(sky), rel=1e-10)


def test_residual_of_noise_has_an_rms_of_one():
    generator = np.random.default_rng(4)
    u, v = baselines(4000)
    weights = generator.uniform(0.5, 2, 4000)
    noise = (generator.normal(size=(2, 4000)) / np.sqrt(weights)).T @ [1, 1j]
    grid = PixelGrid(32, 0.05)
    residual = dirty_image([(u, v, noise, weights)], grid).residual(np.zeros((32, 32)))
    assert residual.std() == pytest.approx(1, abs=0.1)


def test_flux_of_a_point_is_the_dirty_images_peak():
    u, v = baselines()
    sky = np.zeros((15, 15))
    sky[4, 9] = 0.7
    grid = PixelGrid(15, 0.1)
    dirty = dirty_image([(u, v, UVPlane(u, v, grid).apply(sky), np.full(300, 4.0))], grid)
    assert dirty.image[4, 9] == pytest.approx(0.7, rel=1e-8)
    assert dirty.noise == pytest.approx((4.0 * 300) ** -0.5)


def test_no_weights_is_refused():
    u, v = baselines(3)
    with pytest.raises(ValueError, match="weights"):
        dirty_image([(u, v, np.ones(3) + 0j, np.zeros(3))], PixelGrid(4, 0.1))


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_turned_baselines_see_a_turned_sky(symmetry):
    """A mirror of x is u -> -u, of y v -> -v, and a swap swaps them."""
    u, v = baselines()
    sky = np.random.default_rng(5).normal(size=(8, 8))
    seen = UVPlane(u, v, PixelGrid(8, 0.1)).apply(sky)
    u = -u if symmetry & 1 else u
    v = -v if symmetry & 2 else v
    u, v = (v, u) if symmetry & 4 else (u, v)
    turned = UVPlane(u, v, PixelGrid(8, 0.1)).apply(transform_image(sky, symmetry))
    np.testing.assert_allclose(turned, seen, atol=1e-8)


def test_copies_have_the_noise_of_the_visibilities():
    """Their dirty images scatter as W says, and chi^2 of the truth is that of noise."""
    generator = np.random.default_rng(6)
    u, v = baselines(200)
    grid, sky = PixelGrid(10, 0.1), generator.exponential(size=(10, 10))
    dirty = dirty_image([(u, v, np.zeros(200) + 0j, np.full(200, 3.0))], grid)
    noise = np.array([dirty.noise_of(generator.normal(size=(10, 10))) for _ in range(800)])
    ratio = noise.var(axis=0) / dirty.total_weight
    assert ratio.mean() == pytest.approx(1, abs=0.05)
    flat = noise.reshape(800, -1)
    covariance, true = flat.T @ flat / 800, dirty.as_matrix()
    assert np.abs(covariance - true).max() < 6 * dirty.total_weight / np.sqrt(800)
    images = dirty.per_pixel(dirty.convolved(sky) + noise)
    copies = dirty.copies(images, sky)
    np.testing.assert_allclose([each.chi2(sky) for each in copies], dirty.n_data, rtol=1e-8)
    gain = [sky.ravel() @ (each.projection - each.convolved(sky)).ravel() for each in copies]
    assert np.var(gain) == pytest.approx(sky.ravel() @ true @ sky.ravel(), rel=0.2)


def test_more_noise_has_less_weight():
    u, v = baselines()
    generator = np.random.default_rng(7)
    data, weights = generator.normal(size=(2, 300)).T @ [1, 1j], generator.uniform(1, 2, 300)
    grid, sky = PixelGrid(10, 0.1), generator.exponential(size=(10, 10))
    dirty = dirty_image([(u, v, data, weights)], grid).noisier(3.0)
    true = dirty_image([(u, v, data, weights / 9)], grid)
    assert dirty.chi2(sky) == pytest.approx(true.chi2(sky), rel=1e-9)
    assert dirty.log_noise == pytest.approx(true.log_noise)

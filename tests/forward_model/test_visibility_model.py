"""The forward model of visibilities, against their direct Fourier sum."""

import numpy as np
import pytest
from keras import ops

from rim_lensing.backend import gradient
from rim_lensing.forward_model.dirty_image import dirty_image
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.forward_model.ray_tracing import RayTracer
from rim_lensing.forward_model.uv_plane import UVPlane
from rim_lensing.forward_model.visibility_model import VisibilityModel

pytest.importorskip("ducc0")

LENS = np.array([[0.9, 0.12, -0.08, 0.03, -0.02, 0.03, 0.02]] * 2)
GEOMETRY = Geometry(14, 0.3, 10, 0.24, psf_side=5)
SHAPE = (2, 10, 10)


def make(primary=False, dtype="float64"):
    """Return a model of two systems, image, noise, and f, d and V'C^-1 V of the visibilities."""
    generator = np.random.default_rng(0)
    grid, parts, dense = GEOMETRY.image_grid, [], []
    lensing = RayTracer(LENS, grid, GEOMETRY.source_grid, dtype="float64").as_matrix()
    beams = generator.uniform(0.4, 1.0, (2, 14, 14)) if primary else [None, None]
    for matrix, beam in zip(lensing, beams, strict=True):
        u, v = generator.normal(0, 2e5, (2, 300))
        weights = generator.uniform(20, 60, 300)
        seen = UVPlane(u, v, grid).as_matrix() * (1.0 if beam is None else beam.ravel())
        data = generator.normal(size=(2, 300)).T @ [1, 1j]
        dirty = dirty_image([(u, v, data, weights)], grid, beam)
        parts.append(dirty)
        root = np.sqrt(weights)
        dense.append((root[:, None] * (seen @ matrix.toarray()), root * data))
    model = VisibilityModel(
        LENS,
        np.stack([each.per_pixel(each.kernel) for each in parts]),
        grid,
        GEOMETRY.source_grid,
        dtype=dtype,
        primary_beam=beams if primary else None,
    )
    image = np.stack([each.per_pixel(each.projection) for each in parts])
    noise = np.stack([np.full((14, 14), each.noise / each.beam_area) for each in parts])
    return model, image, noise, dense, parts


@pytest.mark.parametrize("primary", [False, True])
def test_log_likelihood_is_that_of_the_visibilities(primary):
    model, image, noise, dense, parts = make(primary)
    source = np.random.default_rng(1).normal(size=SHAPE)
    found = ops.convert_to_numpy(model.log_likelihood(source, image, noise))
    for value, s, (f, d), dirty in zip(found, source, dense, parts, strict=True):
        chi2 = np.sum(np.abs(d - f @ s.ravel()) ** 2)
        assert dirty.square - 2 * value == pytest.approx(chi2, rel=1e-7)


@pytest.mark.parametrize("primary", [False, True])
def test_gradient_projection_and_normal_matrix(primary):
    model, image, noise, dense, _ = make(primary)
    source = np.random.default_rng(2).normal(size=SHAPE)
    slope = model.log_likelihood_gradient(ops.convert_to_tensor(source), image, noise)
    slope, projected, normal = (
        ops.convert_to_numpy(each).reshape(2, -1)
        for each in (slope, model.projected(image, noise), model.normal(source, noise))
    )
    for i, (f, d) in enumerate(dense):
        s = source[i].ravel()
        true = (f.conj().T @ (d - f @ s)).real
        scale = np.abs((f.conj().T @ f).real @ s).max()
        np.testing.assert_allclose(slope[i], true, atol=1e-6 * scale)
        np.testing.assert_allclose(projected[i], (f.conj().T @ d).real, atol=1e-6 * scale)
        np.testing.assert_allclose(normal[i], (f.conj().T @ f).real @ s, atol=1e-6 * scale)


def test_adjoint():
    model, *_ = make(primary=True)
    generator = np.random.default_rng(3)
    source, image = generator.normal(size=SHAPE), generator.normal(size=(2, 14, 14))
    left = ops.sum(model.predict(source) * image)
    assert float(left) == pytest.approx(float(ops.sum(source * model.adjoint(image))), rel=1e-10)


def test_best_factor_has_the_largest_likelihood():
    model, image, noise, *_ = make()
    source = np.random.default_rng(4).normal(size=SHAPE)
    factor = ops.convert_to_numpy(model.best_factor(source, image, noise))
    best = model.log_likelihood(factor * source, image, noise)
    for other in (0.99, 1.01):
        assert np.all(best > model.log_likelihood(other * factor * source, image, noise))


def test_likelihood_can_be_differentiated_with_respect_to_the_lens():
    model, image, noise, *_ = make()
    source = np.random.default_rng(5).uniform(size=SHAPE)
    beam = ops.convert_to_tensor(np.stack([each.per_pixel(each.kernel) for each in make()[-1]]))

    def value(lens):
        moved = VisibilityModel(
            lens, beam, GEOMETRY.image_grid, GEOMETRY.source_grid, dtype="float64"
        )
        return moved.log_likelihood(source, image, noise)

    slope = ops.convert_to_numpy(gradient(lambda lens: ops.sum(value(lens)), LENS))
    for column in range(7):
        step = np.zeros(7)
        step[column] = 1e-7
        difference = (value(LENS + step) - value(LENS - step)) / 2e-7
        np.testing.assert_allclose(slope[:, column], difference, rtol=2e-3, atol=1e-2)


def test_curvature_of_a_narrow_beam_is_that_of_independent_pixels():
    """Baselines that fill the uv plane: W is w(0), the beam one pixel wide."""
    grid, period = GEOMETRY.image_grid, 1 / (0.3 * np.pi / 648000)
    lattice = (np.arange(64) + 0.5) / 64 - 0.5
    u, v = (each.ravel() * period for each in np.meshgrid(lattice, lattice))
    dirty = dirty_image([(u, v, np.ones(len(u)) + 0j, np.ones(len(u)))], grid)
    assert dirty.beam_area == pytest.approx(1, abs=1e-6)
    beam = dirty.per_pixel(dirty.kernel)[None]
    model = VisibilityModel(LENS[:1], beam, grid, GEOMETRY.source_grid, dtype="float64")
    noise = np.full((1, 14, 14), dirty.noise / dirty.beam_area)
    ones = np.ones((1, 10, 10))
    np.testing.assert_allclose(model.curvature(noise), model.normal(ones, noise), rtol=1e-4)


def test_a_beam_of_another_side_is_refused():
    with pytest.raises(ValueError, match="beam"):
        VisibilityModel(LENS, np.ones((2, 13, 13)), GEOMETRY.image_grid, GEOMETRY.source_grid)

"""The linear inversion of visibilities, against dense algebra with the visibilities themselves."""

import numpy as np
import pytest

from rim_lensing.forward_model.dirty_image import dirty_image
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.forward_model.ray_tracing import RayTracer
from rim_lensing.forward_model.uv_plane import UVPlane
from rim_lensing.inversion.evidence import log_evidence, maximise_evidence
from rim_lensing.inversion.exact import ExactEngine
from rim_lensing.inversion.matrix_free import MatrixFreeEngine
from rim_lensing.inversion.regularization import regularization_matrix
from rim_lensing.inversion.visibility_system import VisibilitySystem

pytest.importorskip("ducc0")

LENS = np.float32([[0.9, 0.12, -0.08, 0.03, -0.02, 0.03, 0.02]])
GEOMETRY = Geometry(14, 4.0 / 14, 10, 0.24, psf_side=5)
STRENGTH = 30.0


def make(primary=False, count=400):
    """Return a system, and f and d with the real and imaginary parts of the visibilities."""
    generator = np.random.default_rng(0)
    u, v = generator.normal(0, 2e5, (2, count))
    weights = generator.uniform(2, 6, count)
    grid = GEOMETRY.image_grid
    beam = generator.uniform(0.4, 1.0, (grid.side,) * 2) if primary else None
    lensing = RayTracer(LENS, grid, GEOMETRY.source_grid).as_matrix()[0]
    x, y = GEOMETRY.source_grid.coordinates()
    galaxy = np.exp(-0.5 * np.hypot(x - 0.2, y + 0.1) ** 2 / 0.3**2).ravel()
    seen = UVPlane(u, v, grid).as_matrix()
    if primary:
        seen = seen * beam.ravel()
    complex_response = seen @ lensing.toarray()
    noise = generator.normal(size=(2, count)).T @ [1, 1j] / np.sqrt(weights)
    data = complex_response @ galaxy + noise
    scale = np.sqrt(weights)
    response = np.concatenate(
        [(complex_response * scale[:, None]).real, (complex_response * scale[:, None]).imag]
    )
    system = VisibilitySystem(lensing, dirty_image([(u, v, data, weights)], grid, beam))
    data = np.concatenate([(data * scale).real, (data * scale).imag])
    return system, response, data, np.concatenate([weights, weights])


@pytest.mark.parametrize("primary", [False, True])
def test_the_system_is_that_of_the_visibilities(primary):
    system, response, data, _ = make(primary)
    source = np.random.default_rng(1).normal(size=100)
    fisher = response.T @ response
    scale = np.abs(fisher).max()
    np.testing.assert_allclose(system.fisher(), fisher, atol=1e-8 * scale)
    np.testing.assert_allclose(system.normal(source), fisher @ source, atol=1e-7 * scale)
    np.testing.assert_allclose(system.projection(), response.T @ data, rtol=1e-7)
    assert system.square() == pytest.approx(data @ data)
    assert system.chi2(source) == pytest.approx(np.sum((data - response @ source) ** 2))
    left = system.without(source)
    np.testing.assert_allclose(
        left.projection(), response.T @ (data - response @ source), rtol=1e-6
    )
    assert left.square() == pytest.approx(system.chi2(source))


@pytest.mark.parametrize("engine", [ExactEngine, MatrixFreeEngine])
def test_mean_errors_and_evidence_are_those_of_dense_algebra(engine):
    system, response, data, weights = make()
    prior = regularization_matrix("gradient", 10).toarray()
    inverse = np.linalg.inv(response.T @ response + STRENGTH * prior)
    found = engine(system, "gradient")
    std = np.sqrt(np.diag(inverse))
    mean = inverse @ response.T @ data
    exact = engine is ExactEngine
    assert np.abs((found.mean(STRENGTH) - mean) / std).max() < (1e-6 if exact else 0.02)
    np.testing.assert_allclose(found.standard_deviation(STRENGTH), std, rtol=1e-6 if exact else 0.3)
    if not exact:
        ratio = found.standard_deviation(STRENGTH) / std
        assert ratio.mean() == pytest.approx(1, abs=0.05)
    covariance = np.eye(len(data)) + response @ np.linalg.solve(STRENGTH * prior, response.T)
    log_det = np.linalg.slogdet(2 * np.pi * covariance)[1] - np.sum(np.log(weights))
    true = -0.5 * (data @ np.linalg.solve(covariance, data) + log_det)
    value, error = log_evidence(found, found.terms(STRENGTH))
    assert value == pytest.approx(true, abs=1e-4 if exact else 4 * error + 0.3)


def test_the_best_strength_has_the_largest_evidence():
    system, *_ = make()
    engine = ExactEngine(system, "gradient")
    best = maximise_evidence(engine)
    values = [log_evidence(engine, engine.terms(best * factor))[0] for factor in (0.9, 1.0, 1.1)]
    assert values[1] > values[0] and values[1] > values[2]


def test_noise_has_the_covariance_of_the_visibilities():
    system, response, *_ = make()
    generator = np.random.default_rng(3)
    draws = np.array([system.projected_noise(generator) for _ in range(600)])
    fisher = response.T @ response
    ratio = draws.var(axis=0) / np.diag(fisher)
    assert np.median(ratio) == pytest.approx(1, abs=0.05)
    white = np.linalg.solve(np.linalg.cholesky(fisher + 1e-3 * np.eye(100)), draws.T)
    assert np.mean(white**2) == pytest.approx(1, abs=0.1)

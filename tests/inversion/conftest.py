"""Small systems for the tests of the inversion, and their answers by dense linear algebra."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.forward_model.psf_kernels import gaussian_on_pixels
from rim_lensing.forward_model.ray_tracing import RayTracer
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.inversion.regularization import regularization_matrix

LENS = np.float32([[0.9, 0.12, -0.08, 0.03, -0.02, 0.03, 0.02]])


def _make_system(
    image_side: int, source_side: int, sigma: float = 0.8, rms: float = 0.03, seed: int = 0
) -> LinearSystem:
    """A lensed off-centre galaxy of peak 1 in a frame with a noise gradient and a masked corner."""
    geometry = Geometry(image_side, 4.0 / image_side, source_side, 2.4 / source_side, psf_side=5)
    lensing = RayTracer(LENS, geometry.image_grid, geometry.source_grid).as_matrix()[0]
    psf = gaussian_on_pixels(np.array([sigma]), 5)[0]
    psf[0, 1] += 0.02  # Nothing may rely on a symmetric kernel.
    noise = np.tile(np.linspace(0.7, 1.5, image_side) * rms, (image_side, 1))
    noise[:3, :4] = np.inf
    x, y = geometry.source_grid.coordinates()
    galaxy = np.exp(-0.5 * np.hypot(x - 0.2, y + 0.1) ** 2 / 0.2**2)
    blank = LinearSystem(lensing, psf, np.zeros_like(noise), noise)
    image = blank.predict(galaxy.ravel()).reshape(noise.shape)
    finite = np.where(np.isfinite(noise), noise, 0)
    image = image + finite * np.random.default_rng(seed).standard_normal(noise.shape)
    return LinearSystem(lensing, psf, np.where(np.isfinite(noise), image, np.nan), noise)


def _dense_response(system: LinearSystem) -> np.ndarray:
    """W B L by its definition: every source pixel lensed and convolved pixel by pixel."""
    m, half = system.image_side, len(system.psf) // 2
    lensed = system.lensing.toarray().T.reshape(-1, m, m)
    padded = np.pad(lensed, ((0, 0), (half, half), (half, half)))
    blurred = np.zeros_like(lensed)
    for i, row in enumerate(system.psf):
        for j, weight in enumerate(row):
            top, left = 2 * half - i, 2 * half - j
            blurred += weight * padded[:, top : top + m, left : left + m]
    return blurred.reshape(-1, m * m).T * system.weight[:, None]


def _dense_answer(system: LinearSystem, kind: str, strength: float) -> SimpleNamespace:
    """Everything about the posterior from explicit dense inverses and determinants."""
    response = _dense_response(system)
    prior = regularization_matrix(kind, system.source_side).toarray()
    inverse = np.linalg.inv(response.T @ response + strength * prior)
    mean = inverse @ response.T @ system.data
    return SimpleNamespace(
        mean=mean,
        std=np.sqrt(np.diag(inverse)),
        chi2=np.sum((system.data - response @ mean) ** 2),
        prior_norm=mean @ prior @ mean,
        log_det=-np.linalg.slogdet(inverse)[1],
        effective_parameters=len(mean) - strength * np.trace(inverse @ prior),
    )


def _dense_log_evidence(system: LinearSystem, kind: str, strength: float) -> float:
    """log P(d) of the Gaussian that the prior and the noise imply for the used pixels."""
    used = system.weight > 0
    response = _dense_response(system)[used]
    prior = regularization_matrix(kind, system.source_side).toarray()
    covariance = np.eye(used.sum()) + response @ np.linalg.solve(strength * prior, response.T)
    data = system.data[used]
    exponent = data @ np.linalg.solve(covariance, data)
    log_det = np.linalg.slogdet(2 * np.pi * covariance)[1] - 2 * np.sum(np.log(system.weight[used]))
    return -0.5 * (exponent + log_det)


def _dense_best_strength(system: LinearSystem, kind: str) -> float:
    """The evidence's maximum from the eigenvalues of R^-1/2 F R^-1/2, by another optimiser."""
    response = _dense_response(system)
    factor = np.linalg.cholesky(regularization_matrix(kind, system.source_side).toarray())
    whitened = np.linalg.solve(factor, response.T)
    left, singular, _ = np.linalg.svd(whitened, full_matrices=False)
    gamma, projected = singular**2, (left.T @ whitened @ system.data) ** 2

    def minus_slope_squared(log_strength):
        strength = np.exp(log_strength)
        effective = np.sum(gamma / (gamma + strength))
        return (effective - np.sum(strength * projected / (gamma + strength) ** 2)) ** 2

    grid = np.linspace(-12, 18, 301)
    best = grid[
        np.argmax(
            [
                0.5 * np.sum(projected / (gamma + np.exp(x)))
                + 0.5 * np.sum(x - np.log(gamma + np.exp(x)))
                for x in grid
            ]
        )
    ]
    found = minimize_scalar(
        minus_slope_squared, bounds=(best - 0.2, best + 0.2), options={"xatol": 1e-9}
    )
    return float(np.exp(found.x))


@pytest.fixture(scope="session")
def make_system():
    """Return a function that makes a small system."""
    return _make_system


@pytest.fixture(scope="session")
def dense():
    """Return the oracles: response, answer, log_evidence and best_strength."""
    return SimpleNamespace(
        response=_dense_response,
        answer=_dense_answer,
        log_evidence=_dense_log_evidence,
        best_strength=_dense_best_strength,
    )

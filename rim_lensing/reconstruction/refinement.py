"""What a RIM leaves in the residuals, taken up by a linear inversion of them.

A RIM that does not fit the data to the noise (little noise, or a source unlike those that it was
trained on) leaves d - f s. Its error is taken to be a Gaussian field whose rms is everywhere the
same fraction of the source's brightness: the source is s + w u, with w the smoothed brightness and
the pixels of u independent, of one rms e. That is the semilinear inversion (section 3) of the
residuals, with f w for f and the prior "zeroth" at the strength e^-2, which the evidence finds.
Where the residuals are noise its maximum is at or near e = 0, and the source stays.
"""

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.sparse import diags
from tqdm.auto import tqdm

from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.inversion.evidence import (
    Engine,
    NoMaximumError,
    log_evidence,
    maximise_evidence,
)
from rim_lensing.inversion.exact import ExactEngine
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.inversion.matrix_free import MatrixFreeEngine
from rim_lensing.observation.normalised import NormalisedObservation
from rim_lensing.program import is_crash
from rim_lensing.reconstruction.linear_systems import linear_system

SMOOTHING, FLOOR = 2.0, 0.01
"""Of the brightness, in pixels, and the least of it over its largest. On development galaxies and
on text, 1 to 4 pixels and 0.001 to 0.01 changed errors by a few per cent of themselves."""

LARGEST_EXACT_SIDE = 32
"""Sources with more pixels a side go to the matrix-free engine: exact determinants took seconds a
lens at 64. With e small its own differ between neighbouring lenses by 0.1 or less, at 0.1% of noise
by 1 in 1000."""


def error_scale(source: np.ndarray) -> np.ndarray:
    """Return w, (n, n): a source's smoothed brightness over its largest, FLOOR at least.

    Args:
        source: (n, n); black, it has no error.
    """
    brightness = gaussian_filter(np.abs(np.asarray(source, "float64")), SMOOTHING)
    if not brightness.any():
        return brightness
    return np.maximum(brightness / brightness.max(), FLOOR)


def refine(
    observation: NormalisedObservation,
    sources: np.ndarray,
    geometry: Geometry,
    counted: str = "system",
    strength: float | None = None,
) -> tuple[np.ndarray, dict[int, str]]:
    """Return sources with what the residuals say of their errors, and where that failed.

    Args:
        observation: The systems.
        sources: Of a RIM, (batch, n, n), in the observation's units.
        geometry: Grids and supersampling.
        counted: What the progress bar calls the systems.
        strength: e^-2 of all systems; by default each one's of the largest evidence.

    Returns:
        Sources (batch, n, n); and, by the number of the system, why a source stays as it is: the
        conjugate gradients of its matrix-free engine do not converge.
    """
    refined, failures = np.array(sources), {}
    numbers = range(len(refined))
    for i in tqdm(numbers, "refining", unit=counted, disable=len(numbers) == 1):
        lensing = observation[i : i + 1].lensing_matrices(geometry)[0]
        system = linear_system(observation, lensing, i)
        engine = _engine(residual_system(system, refined[i]))
        try:
            found = _best_strength(engine) if strength is None else strength
            change = engine.mean(found) if np.isfinite(found) else None
        except RuntimeError as error:
            if is_crash(error):
                raise
            failures[i] = str(error)
            continue
        if change is not None:
            refined[i] += error_scale(refined[i]) * change.reshape(refined[i].shape)
    return refined, failures


def residual_system(system: LinearSystem, source: np.ndarray) -> LinearSystem:
    """Return the system d - f s = f w u + n of what a source (n, n) leaves; its source is u."""
    scale = diags(error_scale(source).ravel())
    left = system.without(np.asarray(source, "float64").ravel())
    return left.with_lensing(system.lensing @ scale)


def best_strength(system: LinearSystem, source: np.ndarray) -> float:
    """Return the e^-2 of the largest evidence; infinite where no error is found.

    Args:
        system: Of the data.
        source: Of a RIM, (n, n).
    """
    return _best_strength(_engine(residual_system(system, source)))


def log_marginal_likelihood(system: LinearSystem, source: np.ndarray, strength: float) -> float:
    """Return log P(d | lens, s, e), integrated over u, with every constant.

    Args:
        system: Of the data.
        source: Of a RIM, (n, n).
        strength: e^-2; infinite, the source has no error.
    """
    left = residual_system(system, source)
    if np.isinf(strength):
        constants = left.n_data * np.log(2 * np.pi) / 2 + left.log_noise
        return float(-0.5 * left.square() - constants)
    engine = _engine(left)
    return log_evidence(engine, engine.held_terms(strength))[0]


def _best_strength(engine: Engine) -> float:
    try:
        return maximise_evidence(engine)
    except NoMaximumError:
        return np.inf


def _engine(left: LinearSystem) -> Engine:
    kind = ExactEngine if left.source_side <= LARGEST_EXACT_SIDE else MatrixFreeEngine
    return kind(left, "zeroth")

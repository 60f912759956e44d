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
from tqdm import tqdm

from rim_lensing.inference.observation import Observation
from rim_lensing.inversion.evidence import NoMaximumError, maximise_evidence
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.inversion.matrix_free import MatrixFreeEngine
from rim_lensing.lensing.geometry import Geometry
from rim_lensing.lensing.ray_tracing import lensing_matrices

SMOOTHING, FLOOR = 2.0, 0.01
"""Of the brightness, in pixels, and the least of it over its largest. On development galaxies and
on text, 1 to 4 pixels and 0.001 to 0.01 changed errors by a few per cent of themselves."""


def error_scale(source: np.ndarray) -> np.ndarray:
    """Return w, (n, n): a source's smoothed brightness over its largest, FLOOR at least.

    Args:
        source: (n, n), not zero everywhere.
    """
    brightness = gaussian_filter(np.abs(np.asarray(source, "float64")), SMOOTHING)
    return np.maximum(brightness / brightness.max(), FLOOR)


def refine(observation: Observation, sources: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return sources with what the residuals say of their errors, (batch, n, n).

    Args:
        observation: The systems.
        sources: Of a RIM, (batch, n, n), in the observation's units.
        geometry: Grids and supersampling.

    Raises:
        RuntimeError: Conjugate gradients do not converge.
    """
    refined = np.array(sources)
    numbers = range(len(refined))
    for i in tqdm(numbers, "refining", unit="system", disable=len(numbers) == 1):
        lensing = lensing_matrices(observation.lens[i : i + 1], geometry)[0]
        system = LinearSystem(
            lensing, observation.psf[i], observation.image[i], observation.noise[i]
        )
        refined[i] += _correction(system, np.asarray(sources[i], "float64"))
    return refined


def _correction(system: LinearSystem, source: np.ndarray) -> np.ndarray:
    """Return w u, (n, n); zero if the evidence finds no error, or there is no brightness."""
    if not source.any():
        return source
    scale = error_scale(source)
    left = system.without(source.ravel()).with_lensing(system.lensing @ diags(scale.ravel()))
    engine = MatrixFreeEngine(left, "zeroth")
    try:
        strength = maximise_evidence(engine)
    except NoMaximumError:
        return np.zeros_like(source)
    return scale * engine.mean(strength).reshape(source.shape)

"""Light that is known in shape and not in amount, marginalised: d = f s + B a + n, a ~ N(0, 1).

What a subtracted galaxy may have left in an image is a sum of maps B (templates) whose amplitudes a
nobody knows. Integrated over them the data are Gaussian around f s with C = C_N + B B'. Where W
makes n white (W'W = C_N^-1, see `whitening`) and W B = Q S V', P W makes all of it white, with

    P = 1 - Q (1 - 1 / sqrt(1 + S^2)) Q',
    C^-1 = W' P P W,
    log det C = log det C_N + sum log(1 + S^2),

and the most probable amplitudes of a residual r = d - f s are (1 + B' C_N^-1 B)^-1 B' C_N^-1 r.
Templates as columns of f would make its condition number 1e10: here the source's own stays.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rim_lensing.forward_model.whitening import whitening

SMALLEST = 1e-3
"""Of S, 0 among them: such a mode does nothing."""


@dataclass(frozen=True)
class TemplateModes:
    """P of one image.

    Args:
        modes: Q times the root of 1 - 1 / sqrt(1 + S^2), (j, m, m): P x = x - modes' (modes x).
        log_det: sum of log(1 + S^2).
        white: W B, (j, m, m).
    """

    modes: np.ndarray
    log_det: float
    white: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return P x of maps (..., m, m)."""
        along = np.tensordot(values, self.modes, ((-2, -1), (-2, -1)))
        return values - np.tensordot(along, self.modes, 1)

    def amplitudes(self, white_residual: np.ndarray) -> np.ndarray:
        """Return the most probable a, (j,), of W (d - f s), (m, m)."""
        columns = self.white.reshape(len(self.white), -1)
        gram = np.eye(len(columns)) + columns @ columns.T
        return np.linalg.solve(gram, columns @ np.ravel(white_residual))


def template_modes(
    templates: np.ndarray, noise: np.ndarray, correlation: np.ndarray | None = None
) -> TemplateModes:
    """Return P.

    Args:
        templates: B in the image's unit, (j, m, m).
        noise: rms, (m, m); infinite where masked.
        correlation: Of the noise of neighbouring pixels, (k, k); None, they are independent.
    """
    arrays = [np.ascontiguousarray(each, "float64") for each in (templates, noise)]
    if correlation is not None:
        arrays.append(np.ascontiguousarray(correlation, "float64"))
    return _template_modes(*((each.tobytes(), each.shape) for each in arrays))


@lru_cache(maxsize=8)
def _template_modes(*contents: tuple[bytes, tuple[int, ...]]) -> TemplateModes:
    templates, noise, *correlation = (
        np.frombuffer(values).reshape(shape) for values, shape in contents
    )
    white = templates / noise
    if correlation:
        white = whitening(correlation[0], np.isfinite(noise)).whiten(white)
    columns = white.reshape(len(white), -1)
    # Of W B B' W', which has as many as there are templates.
    values, vectors = np.linalg.eigh(columns @ columns.T)
    values = np.maximum(values, SMALLEST**2)
    modes = vectors.T @ columns / np.sqrt(values)[:, None]
    modes *= np.sqrt(1 - 1 / np.sqrt(1 + values))[:, None]
    log_det = float(np.log1p(values).sum())
    return TemplateModes(modes.reshape(-1, *noise.shape), log_det, white)

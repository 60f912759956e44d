"""Least squares in few non-linear parameters, with the linear ones solved at every step.

Variable projection (Golub & Pereyra 1973): the residuals of the best amplitudes, as a function of
the shapes alone. Which amplitudes are held at 0 changes from step to step, and not within the
differences that stand for a derivative: so only the others are computed there.
"""

from collections.abc import Callable

import numpy as np
from scipy.optimize import OptimizeResult, least_squares


def search_shapes(
    residuals: Callable[[np.ndarray, np.ndarray | slice], tuple[np.ndarray, np.ndarray]],
    start: np.ndarray,
    steps: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    most_steps: int,
    tolerance: float = 1e-4,
) -> OptimizeResult:
    """Return where the sum of squares of residuals is least, near a start.

    Args:
        residuals: Returns residuals over sigma, and which amplitudes are not 0; of a vector of
            parameters, and of the amplitudes that may differ from 0.
        start: The vector, (p,).
        steps: Of the differences, and the unit of each parameter, (p,).
        bounds: Lowest and highest, (p,) each.
        most_steps: Largest number of steps.
        tolerance: Of the relative change of the sum of squares.
    """

    def derivative(vector):
        here, active = residuals(vector, slice(None))
        columns = []
        for k, step in enumerate(steps):
            step = -step if vector[k] + step > bounds[1][k] else step
            moved = vector.copy()
            moved[k] += step
            columns.append((residuals(moved, active)[0] - here) / step)
        return np.stack(columns, axis=1)

    width = bounds[1] - bounds[0]
    inside = np.clip(start, bounds[0] + 1e-6 * width, bounds[1] - 1e-6 * width)
    return least_squares(
        lambda vector: residuals(vector, slice(None))[0],
        inside,
        jac=derivative,
        bounds=bounds,
        x_scale=steps * 10,
        ftol=tolerance,
        xtol=1e-6,
        max_nfev=most_steps,
    )

"""Least squares from many starts at once, in lock-step: Gauss-Newton with a search along the step.

scipy's `least_squares` goes from one start, and asks for one point at a time. Here the points of
all starts are looked at together, which a network on a GPU does in the time of one. Two calls make
an iteration: the differences for the Jacobians, and several lengths of the Gauss-Newton step. The
lengths stand in for Levenberg's damping, and reach further than the full step where a rough
function makes the Jacobian, and with it the curvature, look larger than it is.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LENGTHS = (0.1, 0.4, 1.0, 2.5, 6.0)
"""Of the trials, in full Gauss-Newton steps."""

TOLERANCE = 0.1
"""Differences are narrowed, and at last the search ends, when chi^2 falls by less: 0.3 sigma."""


@dataclass(frozen=True)
class LeastSquares:
    """Where each start has come to.

    Args:
        x: Best points, (starts, p).
        chi2: Sums of squares there, (starts,).
        converged: Which starts ended because no step helped, and not for lack of time, (starts,).
        iterations: Of the start that took longest.
    """

    x: np.ndarray
    chi2: np.ndarray
    converged: np.ndarray
    iterations: int


def gauss_newton(
    residuals: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    steps: np.ndarray,
    max_iterations: int = 30,
    watch: Callable[[float], None] | None = None,
) -> LeastSquares:
    """Minimise the sum of the squared residuals within bounds.

    Args:
        residuals: Maps points (k, p) to residuals (k, n), in units of their rms.
        start: (starts, p), within the bounds.
        lower: Bounds, (p,).
        upper: Bounds, (p,).
        steps: For the forward differences, (levels, p), the widest first: wide ones see past the
            small kinks of a rough function.
        max_iterations: Of each start.
        watch: Told the smallest chi^2 after every iteration.
    """
    x = np.array(start, "float64")
    found = residuals(x)
    chi2, level = np.sum(found**2, axis=1), np.zeros(len(x), int)
    iterations = 0
    active = np.arange(len(x))
    while len(active) and iterations < max_iterations:
        iterations += 1
        jacobians = _jacobians(residuals, x[active], found[active], upper, steps[level[active]])
        problems = zip(x[active], found[active], jacobians, strict=True)
        full = np.array([_step(*problem, lower, upper) for problem in problems])
        trials = x[active, None] + np.array(LENGTHS)[:, None] * full[:, None]
        trials = np.clip(trials, lower, upper)
        tried = residuals(trials.reshape(-1, x.shape[1])).reshape(*trials.shape[:2], -1)
        values = np.sum(tried**2, axis=2)
        for row, i in enumerate(active):
            best = values[row].argmin()
            if chi2[i] - values[row, best] < TOLERANCE:
                level[i] += 1
            if values[row, best] < chi2[i]:
                x[i], chi2[i] = trials[row, best], values[row, best]
                found[i] = tried[row, best]
        active = active[level[active] < len(steps)]
        if watch:
            watch(float(chi2.min()))
    return LeastSquares(x, chi2, level == len(steps), iterations)


def _jacobians(residuals, points, found, upper, widths) -> np.ndarray:
    """Return the derivatives (k, n, p) at points (k, p) with residuals `found`, (k, n)."""
    count, parameters = points.shape
    # Away from the upper bound where a step would cross it.
    signed = np.where(points + widths > upper, -widths, widths)
    shifted = points[:, None] + signed[:, :, None] * np.eye(parameters)
    values = residuals(shifted.reshape(-1, parameters)).reshape(count, parameters, -1)
    return ((values - found[:, None]) / signed[:, :, None]).transpose(0, 2, 1)


def _step(x, residual, jacobian, lower, upper) -> np.ndarray:
    """Return the full Gauss-Newton step; what leads out of a bound is left out."""
    gradient = jacobian.T @ residual
    free = ~(((x <= lower) & (gradient > 0)) | ((x >= upper) & (gradient < 0)))
    step = np.zeros_like(x)
    # A parameter that the data do not see stays: lstsq returns the shortest step.
    scale = np.maximum(np.linalg.norm(jacobian[:, free], axis=0), 1e-30)
    step[free] = -np.linalg.lstsq(jacobian[:, free] / scale, residual, rcond=1e-4)[0] / scale
    return step

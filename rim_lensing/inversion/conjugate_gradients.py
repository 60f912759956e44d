"""Preconditioned conjugate gradients that stop at a stated distance from the solution."""

from collections import deque
from collections.abc import Callable

import numpy as np

_DELAY = 10


def conjugate_gradients(
    product: Callable[[np.ndarray], np.ndarray],
    right_side: np.ndarray,
    precondition: Callable[[np.ndarray], np.ndarray],
    tolerance: float,
    max_iterations: int,
) -> np.ndarray:
    """Return x = A^-1 b for a symmetric, positive definite A.

    The distance |x - x_k|_A^2 is the sum of the squared steps of all later iterations (Hestenes &
    Stiefel 1952). It is estimated by the last ten (Strakos & Tichy 2002), or by what follows if the
    steps go on to shrink as they did over these ten, whichever is more. If A^-1 is the covariance
    of x, no component is further from the solution than |x - x_k|_A standard deviations.

    Args:
        product: x to A x.
        right_side: b, (size,).
        precondition: b to M^-1 b, with M near A, symmetric and positive definite.
        tolerance: Stop at this |x - x_k|_A.
        max_iterations: Give up after this many.

    Raises:
        RuntimeError: The tolerance is not reached; the message says how near it came.
    """
    solution = np.zeros_like(right_side)
    if not right_side.any():
        return solution
    residual = right_side.copy()
    direction = precondition(residual)
    size = residual @ direction
    steps: deque[float] = deque(maxlen=_DELAY)
    for _ in range(max_iterations):
        image = product(direction)
        length = size / (direction @ image)
        solution += length * direction
        residual -= length * image
        steps.append(length * size)
        conditioned = precondition(residual)
        previous, size = size, residual @ conditioned
        # Few distinct eigenvalues: the residual vanishes before ten steps are done.
        if _squared_distance(steps) <= tolerance**2 or size <= np.finfo("float64").eps ** 2 * sum(
            steps
        ):
            return solution
        direction = conditioned + (size / previous) * direction
    raise RuntimeError(
        f"Conjugate gradients are {np.sqrt(_squared_distance(steps)):.3g} from the solution after "
        f"{max_iterations} iterations (|x - x_k|_A, in standard deviations), and should be "
        f"{tolerance:.3g}"
    )


def _squared_distance(steps: deque) -> float:
    """Estimate |x - x_k|_A^2 from the last squared steps; infinite before there are enough."""
    if len(steps) < _DELAY:
        return np.inf
    older, newer = sum(list(steps)[: _DELAY // 2]), sum(list(steps)[_DELAY // 2 :])
    return (older + newer) * max(1.0, newer / (older - newer)) if newer < older else np.inf

"""The maximum of a lens posterior that is a sum of squares, by Gauss and Newton's steps.

chi^2 as a function of the lens has a kink wherever a ray crosses from one source pixel to the next:
a gradient sees the nearest of them. The residuals' derivatives by differences over a good part of a
source pixel see past them, and tell the curvature, too: some steps do what takes a gradient dozens.
"""

import numpy as np

from rim_lensing.lens_fit.lens_covariance import known_by_priors
from rim_lensing.lens_fit.lens_support import LensSupport
from rim_lensing.lens_fit.lockstep import Ask
from rim_lensing.lens_fit.search_questions import Question, Wanted

DAMPINGS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Of a step, over the curvature's diagonal (Marquardt 1963). All are tried, as one batch."""

LENGTHS = (1.0, 0.4)
"""Of each of these steps, times its own: 16 in all, as many as a batch has."""

TOLERANCES = (1.0, 0.1)
"""Of the log-posterior, with wide differences and with narrow ones: a step that gains less is the
last. A standard deviation is worth 0.5."""


def climb(
    start: np.ndarray,
    support: LensSupport,
    widths: np.ndarray,
    budget: int,
    ask: Ask,
) -> tuple[np.ndarray, float, bool]:
    """Return a maximum near the start (f,), its log-posterior, and whether it has converged.

    Args:
        start: Free parameters, (f,).
        support: Of the posterior.
        widths: Of the differences, wide and narrow, (2, f), or the wide ones alone: the narrow ones
            go on where these gain nothing more.
        budget: Most sources to reconstruct.
        ask: Answers a `Question`.
    """

    def tried(points):
        points = support.nearest(points)
        return points, *ask(Question(points, Wanted.RESIDUALS))

    points, values, residuals = tried(start[None])
    here = points[0], values[0], residuals[0]
    known, asked = known_by_priors(support), 1
    for width, tolerance in zip(widths, TOLERANCES, strict=False):
        while True:
            lens, value, residual = here
            shifts = np.diag(width)
            neighbours = tried(np.concatenate([lens + shifts, lens - shifts]))
            up, down = np.split(neighbours[2], 2)
            reach = np.linalg.norm(np.subtract(*np.split(neighbours[0], 2)), axis=1)
            jacobian = (up - down) / reach[:, None]
            if not np.all(np.isfinite(jacobian)):
                return lens, float(value), False
            slope = support.log_prior_gradient(lens[None])[0] - jacobian @ residual
            curvature = jacobian @ jacobian.T + np.diag(known)
            scale = np.diag(np.diag(curvature))
            steps = [np.linalg.solve(curvature + each * scale, slope) for each in DAMPINGS]
            trials = tried(lens + np.concatenate([length * np.array(steps) for length in LENGTHS]))
            asked += len(neighbours[0]) + len(trials[0])
            points, values, residuals = map(np.concatenate, zip(neighbours, trials, strict=True))
            values = np.where(np.isfinite(values), values, -np.inf)
            best = int(np.argmax(values))
            if values[best] > value:
                here = points[best], values[best], residuals[best]
            if not values[best] >= value + tolerance:
                break
            if asked > budget:
                return here[0], float(here[1]), False
    return here[0], float(here[1]), True

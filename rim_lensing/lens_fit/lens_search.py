"""The maximum of a lens posterior, from many starts in lock-step.

With little noise the posterior is a narrow valley with a rough floor: L is bilinear, and chi^2 has
a kink wherever a ray crosses from one source pixel to the next, the deeper the less noise there is.
A search from some arcseconds' hundredths away ends in one of them. So the noise is lowered step by
step (graduated optimisation, Blake & Zisserman 1987): with more noise the RIM makes a smoother
source, and the valley is wide and smooth enough to walk to where the next one begins.
"""

import functools

import numpy as np
from scipy.optimize import minimize
from tqdm.auto import tqdm

from rim_lensing.lens_fit import gauss_newton
from rim_lensing.lens_fit.lens_posterior import LensPosterior
from rim_lensing.lens_fit.lens_support import LensSupport
from rim_lensing.lens_fit.lockstep import Ask, in_lockstep
from rim_lensing.lens_fit.search_questions import Question, Wanted
from rim_lensing.lens_fit.search_questions import answer as answer_all

METHODS = ("lbfgs", "simplex", "gauss-newton")
"""The first uses the gradient, the second is the paper's, the third takes a sum of squares."""

NOISE_STEPS = (0.03, 0.006)
"""Of the image's peak: with less noise than that, it is raised to it first."""

_MAX_EVALUATIONS = {"lbfgs": (400, 150), "simplex": (800, 800), "gauss-newton": (600, 300)}
"""Of every start, at the first noise, which has the whole way to go, and at every later one."""
_LOG_POSTERIOR_TOLERANCE = 0.05
_RELATIVE_TOLERANCE = 1e-5
_MIN_NOISE_RATIO = 1.5
_BOX_HALF_WIDTH = 3.0
"""Half the side of the box, in the posterior's wider steps."""


def default_method(posterior: LensPosterior) -> str:
    """Return the method that is used if the user does not choose."""
    return "lbfgs" if posterior.differentiable else "simplex"


def maximise(
    posterior: LensPosterior, starts: np.ndarray, method: str, rough: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Climb from every start to a maximum of the log-posterior.

    Args:
        posterior: Of the lens.
        starts: Free parameters of the posterior's support, (starts, f).
        method: One of METHODS.
        rough: Stop with differences of the posterior's wider steps, near the maximum: for a start
            of another search.

    Returns:
        Lenses (starts, f), log-posteriors (starts,) and whether each has converged (starts,),
        the best first.
    """
    climb = {"lbfgs": _lbfgs, "simplex": _simplex, "gauss-newton": gauss_newton.climb}[method]
    support = posterior.support
    lenses = support.nearest(starts)
    with tqdm(desc="optimising the lens", unit="source", leave=False) as progress:
        for number, factor in enumerate(noise_factors(posterior)):
            budget = _MAX_EVALUATIONS[method][min(number, 1)]
            # At a noise that is raised it looks for the next one's start alone.
            alone = rough or (method == "gauss-newton" and factor > 1)
            steps = posterior.steps[:1] if alone else posterior.steps
            blurred = posterior.with_noise(factor)

            def answer(questions: list[Question], blurred=blurred) -> list:
                before = blurred.evaluations
                replies = answer_all(blurred, questions)
                progress.update(blurred.evaluations - before)
                return replies

            searches = [functools.partial(climb, lens, support, steps, budget) for lens in lenses]
            found = in_lockstep(searches, answer)
            posterior.evaluations += blurred.evaluations
            lenses, values, converged = (np.array(column) for column in zip(*found, strict=True))
    order = np.argsort(-values)
    return lenses[order], values[order], converged[order]


def noise_factors(posterior: LensPosterior) -> list[float]:
    """Return by how much the noise is raised in each step of the search; 1 in the last."""
    noise = float(posterior.observation.noise_level[0])
    raised = [step / noise for step in NOISE_STEPS if step > _MIN_NOISE_RATIO * noise]
    return [*raised, 1.0]


def _simplex(
    start: np.ndarray, support: LensSupport, steps: np.ndarray, budget: int, ask: Ask
) -> tuple[np.ndarray, float, bool]:
    """Maximise from one start by Nelder and Mead's simplex, as wide as the wider steps."""
    unit = steps[0]
    bounds = np.stack([support.lower, support.upper], axis=1) / unit[:, None]
    # Away from the nearer edge: a simplex that lies in an edge never leaves it.
    towards = np.where(support.upper - start >= start - support.lower, 1.0, -1.0)
    corners = start / unit + np.concatenate([np.zeros((1, len(start))), np.diag(towards)])
    found = minimize(
        lambda point: -ask(Question(support.nearest((point * unit)[None])))[0],
        start / unit,
        method="Nelder-Mead",
        bounds=bounds,
        options={
            "initial_simplex": np.clip(corners, *bounds.T),
            "xatol": 0.05,
            "fatol": _LOG_POSTERIOR_TOLERANCE,
            "maxfev": budget,
            "adaptive": True,
        },
    )
    return support.nearest((found.x * unit)[None])[0], -float(found.fun), found.status == 0


def _lbfgs(
    start: np.ndarray, support: LensSupport, steps: np.ndarray, budget: int, ask: Ask
) -> tuple[np.ndarray, float, bool]:
    """Maximise from one start by L-BFGS, until no neighbour is better.

    L-BFGS ends at the first kink of chi^2 that its line search falls into. Neighbours at both of
    the posterior's steps look over it; from a better one the search goes on. A kink also fakes a
    curvature that sends the next step anywhere: no run may leave a box around its start, and one
    that ends on a side of the box is followed by the next.
    """
    unit = steps[0]
    edges = np.stack([support.lower, support.upper]) / unit
    shifts = np.concatenate([sign * np.diag(step) for step in steps for sign in (1, -1)])

    def value_and_gradient(point):
        lens = support.nearest((point * unit)[None])
        values, slopes = ask(Question(lens, Wanted.GRADIENTS))
        return -values[0], -support.pull_back(point * unit, slopes[0]) * unit

    lens, left = start, budget
    while True:
        box = np.clip(lens / unit + [[-_BOX_HALF_WIDTH], [_BOX_HALF_WIDTH]], *edges)
        found = minimize(
            value_and_gradient,
            lens / unit,
            jac=True,
            method="L-BFGS-B",
            bounds=box.T,
            options={"maxfun": left, "ftol": _RELATIVE_TOLERANCE},
        )
        lens, value = support.nearest((found.x * unit)[None])[0], -float(found.fun)
        left -= found.nfev
        on_a_side = np.any((found.x == box) & (box != edges))
        if not on_a_side:
            neighbours = support.nearest(lens + shifts)
            values = ask(Question(neighbours))
            left -= len(neighbours)
            if values.max() < value + _LOG_POSTERIOR_TOLERANCE:
                return lens, value, True
            lens, value = neighbours[values.argmax()], float(values.max())
        if left <= 0:
            return lens, value, False

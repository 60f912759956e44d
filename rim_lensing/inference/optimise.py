"""The most probable lens of an image, the source reconstructed anew at every step (section 3)."""

import time
import warnings
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from tqdm import tqdm

from rim_lensing.inference.gauss_newton import gauss_newton
from rim_lensing.inference.lens_posterior import (
    LensPosterior,
    RIMLensPosterior,
    SourceModel,
    lens_posterior,
)
from rim_lensing.inference.observation import Observation, check_observation
from rim_lensing.inference.result import Reconstruction
from rim_lensing.inference.source_coverage import MAX_OUTSIDE, flux_outside
from rim_lensing.lensing.lens_parameters import as_lens_array
from rim_lensing.simulation.priors import Priors

METHODS = ("gauss-newton", "lbfgs", "simplex")
"""Of `optimise_lens`. The second uses the gradient, the third is the paper's."""

DEMAGNIFIED = 0.9
"""A magnification below this fraction of the priors' smallest is no lens: RIM sources of the true
lens have it right to 2.5%."""

_MAX_EVALUATIONS = {"lbfgs": 400, "simplex": 800}
_LOG_POSTERIOR_TOLERANCE = 0.05


@dataclass(frozen=True)
class LensOptimum:
    """The most probable lens, and what it cost.

    Args:
        lens: (7,) or (8,), see `lens_parameters`.
        log_posterior: There, up to a constant; see `lens_posterior`.
        reconstruction: Of the source behind this lens.
        converged: The search ended because no step helped, and not for lack of time.
        demagnified: The total magnification is less than the priors allow: the search has shrunk
            the source onto the arcs, or switched the lens off, and this is not the answer.
        edges: Parameters on an edge of the priors: the best lens may lie beyond.
        evaluations: Sources that were reconstructed on the way.
        seconds: Of wall-clock time.
        start_lenses: Where every start has come to, (starts, 7 or 8), the best first.
        start_log_posteriors: There, (starts,).
    """

    lens: np.ndarray
    log_posterior: float
    reconstruction: Reconstruction
    converged: bool
    demagnified: bool
    edges: tuple[str, ...]
    evaluations: int
    seconds: float
    start_lenses: np.ndarray
    start_log_posteriors: np.ndarray


def optimise_lens(
    image,
    noise,
    psf,
    start,
    source_model: SourceModel,
    method: str | None = None,
    mask=None,
    priors: Priors | None = None,
) -> LensOptimum:
    """Find the most probable lens from one or more starts.

    Args:
        image: (m, m), lens light and background subtracted, in any unit.
        noise: rms in the image's unit: a number or a map (m, m).
        psf: Width (standard deviation) of a Gaussian in arcsec; or a normalised kernel (k, k).
        start: A lens, or (starts, 7 or 8) of them: SIE or EPL, and external shear. What lies
            outside of the priors is moved to their edge.
        source_model: A RIM (the likelihood of its source is maximised), or a linear inversion (its
            evidence is).
        method: "gauss-newton", all starts in lock-step, for a RIM alone, and the default there;
            "lbfgs", by the gradient; "simplex" (Nelder and Mead 1965), the paper's, and the default
            of the linear inversion, whose evidence has no residuals and no cheap gradient.
        mask: True where a pixel is USED, (m, m).
        priors: Their ranges bound the search, and their smallest magnification tells a lens
            from none; by default those that the RIM was trained on, or `Priors()`.

    Raises:
        ValueError: Bad input (see `check_observation`), an unknown method or one that this source
            model does not offer, or no start whose arcs fall on the source grid in the end.
        TypeError: `source_model` is neither of the two.

    Warns:
        UserWarning: Every start ends at a lens that does not magnify.
    """
    began = time.perf_counter()
    starts = as_lens_array(start)
    observation = check_single(image, noise, psf, starts[0], mask, source_model)
    posterior = lens_posterior(source_model, observation, priors)
    method = method or default_method(posterior)
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {METHODS}. Received: {method!r}")
    if method == "gauss-newton" and not isinstance(posterior, RIMLensPosterior):
        raise ValueError(
            "`method` 'gauss-newton' needs residuals, and the evidence of a linear inversion is "
            "more than their sum of squares: choose 'simplex' or 'lbfgs'. "
            f"Received: {method!r} with a {type(source_model).__name__}"
        )
    lenses, values, converged = maximise(posterior, starts, method)
    best, result = choose(posterior, source_model, lenses)
    if result is None:
        raise ValueError(
            "`start` has led to no lens that brings the arcs onto the source grid: start closer "
            f"to the lens, or from more places. Received: {len(starts)} start(s), ending at "
            f"{lenses.round(3).tolist()}"
        )
    demagnified = is_demagnified(result, posterior)
    if demagnified:
        warnings.warn(
            "No start has led to a lens that magnifies: the source is the arcs themselves, "
            f"shrunk {result.metrics()['total_magnification']:.2f} times. Start closer to the "
            "lens, or from more places.",
            UserWarning,
            stacklevel=2,
        )
    return LensOptimum(
        lens=lenses[best],
        log_posterior=float(values[best]),
        reconstruction=result,
        converged=bool(converged[best]),
        demagnified=demagnified,
        edges=posterior.support.edges(lenses[best]),
        evaluations=posterior.evaluations,
        seconds=time.perf_counter() - began,
        start_lenses=lenses,
        start_log_posteriors=values,
    )


def check_single(image, noise, psf, lens, mask, source_model: SourceModel) -> Observation:
    """Check the observation of one system; raises as `check_observation`, and for a batch."""
    if np.ndim(image) != 2:
        raise ValueError(
            "`image` must be one image (y, x): give the systems of a batch one by one. "
            f"Received: shape {np.shape(image)}"
        )
    return check_observation(
        image,
        noise,
        psf,
        lens,
        mask,
        image_grid=source_model.image_grid,
        psf_side=source_model.psf_side,
    )


def default_method(posterior: LensPosterior) -> str:
    """Return the method that takes the fewest reconstructions."""
    return "gauss-newton" if isinstance(posterior, RIMLensPosterior) else "simplex"


def maximise(
    posterior: LensPosterior, starts: np.ndarray, method: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Climb from every start to a maximum of the log-posterior.

    Args:
        posterior: Of the lens.
        starts: (starts, 7 or 8).
        method: One of METHODS.

    Returns:
        Lenses (starts, 7 or 8), log-posteriors (starts,) and whether each has converged (starts,),
        the best first.
    """
    support = posterior.support
    starts = support.nearest(starts)
    with tqdm(desc="optimising the lens", unit="source", leave=False) as progress:

        def watch(*_):
            progress.update(posterior.evaluations - progress.n)

        if method == "gauss-newton":
            found = gauss_newton(
                lambda lenses: posterior.residuals(support.nearest(lenses)),
                starts,
                support.lower,
                support.upper,
                posterior.steps,
                watch=watch,
            )
            lenses, values, converged = found.x, -0.5 * found.chi2, found.converged
        else:
            climb = _simplex if method == "simplex" else _lbfgs
            rows = [climb(posterior, start, watch) for start in starts]
            lenses, values, converged = (np.array(column) for column in zip(*rows, strict=True))
    order = np.argsort(-values)
    return support.nearest(lenses[order]), values[order], converged[order]


def _simplex(posterior: LensPosterior, start: np.ndarray, watch) -> tuple[np.ndarray, float, bool]:
    """Maximise from one start by Nelder and Mead's simplex, as wide as the wider steps."""
    support, unit = posterior.support, posterior.steps[0]
    corners = start / unit + np.concatenate([np.zeros((1, len(start))), np.eye(len(start))])
    bounds = np.stack([support.lower, support.upper], axis=1) / unit[:, None]
    found = minimize(
        lambda point: -posterior.log_posterior(support.nearest((point * unit)[None]))[0],
        start / unit,
        method="Nelder-Mead",
        bounds=bounds,
        callback=watch,
        options={
            "initial_simplex": np.clip(corners, *bounds.T),
            "xatol": 0.05,
            "fatol": _LOG_POSTERIOR_TOLERANCE,
            "maxfev": _MAX_EVALUATIONS["simplex"],
            "adaptive": True,
        },
    )
    return support.nearest((found.x * unit)[None])[0], -float(found.fun), found.status == 0


def _lbfgs(posterior: LensPosterior, start: np.ndarray, watch) -> tuple[np.ndarray, float, bool]:
    """Maximise from one start by L-BFGS, until no neighbour is better.

    L-BFGS ends at the first kink of chi^2 that its line search falls into. Neighbours at both of
    the posterior's steps look over it; from a better one the search goes on.
    """
    support, unit = posterior.support, posterior.steps[0]
    bounds = np.stack([support.lower, support.upper], axis=1) / unit[:, None]
    shifts = np.concatenate([sign * np.diag(step) for step in posterior.steps for sign in (1, -1)])

    def value_and_gradient(point):
        values, slopes = posterior.log_posterior_and_gradient(support.nearest((point * unit)[None]))
        return -values[0], -slopes[0] * unit

    lens, left = start, _MAX_EVALUATIONS["lbfgs"]
    while True:
        before = posterior.evaluations
        found = minimize(
            value_and_gradient,
            lens / unit,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            callback=watch,
            options={"maxfun": left},
        )
        lens, value = support.nearest((found.x * unit)[None])[0], -float(found.fun)
        neighbours = support.nearest(lens + shifts)
        values = posterior.log_posterior(neighbours)
        watch()
        if values.max() < value + _LOG_POSTERIOR_TOLERANCE:
            return lens, value, True
        lens, value = neighbours[values.argmax()], float(values.max())
        left -= posterior.evaluations - before
        if left <= 0:
            return lens, value, False


def choose(
    posterior: LensPosterior, source_model: SourceModel, lenses: np.ndarray
) -> tuple[int, Reconstruction | None]:
    """Return the first lens that magnifies, and its reconstruction.

    A source shrunk onto the arcs can fit as well as the truth, so that no likelihood refuses it.
    If no lens magnifies it is the first that leads the arcs to the source grid; if none does that
    either, the first, and None.

    Args:
        posterior: Of the lens.
        source_model: Which reconstructs.
        lenses: (k, 7 or 8), the best first.
    """
    second_best = 0, None
    for index, lens in enumerate(lenses):
        if misses_arcs(posterior, source_model, lens):
            continue
        result = reconstruct(posterior, source_model, lens)
        if not is_demagnified(result, posterior):
            return index, result
        if second_best[1] is None:
            second_best = index, result
    return second_best


def misses_arcs(posterior: LensPosterior, source_model: SourceModel, lens: np.ndarray) -> bool:
    """Return whether a lens leads the arcs to outside of the source grid."""
    observation = posterior.at(lens)
    outside = flux_outside(observation, source_model.image_grid, source_model.source_grid)
    return bool(outside[0] > MAX_OUTSIDE)


def reconstruct(
    posterior: LensPosterior, source_model: SourceModel, lens: np.ndarray
) -> Reconstruction:
    """Reconstruct the source of the posterior's observation behind a lens (7 or 8,)."""
    observation, unit = posterior.observation, posterior.observation.flux_unit[0]
    with warnings.catch_warnings():
        # On the way to the lens, those about the lens say nothing.
        warnings.simplefilter("ignore", UserWarning)
        return source_model.reconstruct(
            observation.image[0] * unit,
            noise=observation.noise[0] * unit,
            psf=observation.psf[0],
            lens=lens,
        )


def is_demagnified(result: Reconstruction, posterior: LensPosterior) -> bool:
    """Return whether a source is hardly smaller than its image."""
    magnification = result.metrics()["total_magnification"]
    return bool(magnification < DEMAGNIFIED * posterior.priors.min_magnification)

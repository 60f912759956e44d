"""The most probable lens of an image, the source reconstructed anew at every step (section 3)."""

import functools
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rim_lensing.inversion.evidence import NoMaximumError
from rim_lensing.lens_fit.lens_covariance import gauss_newton_covariance
from rim_lensing.lens_fit.lens_posterior import LensPosterior, lens_posterior
from rim_lensing.lens_fit.lens_priors import LensPriors
from rim_lensing.lens_fit.lens_search import METHODS, default_method, maximise
from rim_lensing.lens_fit.shrunk_source import MULTIPLY_IMAGED, images_of_source
from rim_lensing.lensing.given_deflections import Deflections
from rim_lensing.lensing.mass_model import Form, MassModel, as_lens, form_of
from rim_lensing.notebooks import as_html, lens_table
from rim_lensing.observation.checks import check_observation, one_image
from rim_lensing.observation.leftover_light import refuse_lens_light
from rim_lensing.observation.normalised import NormalisedObservation
from rim_lensing.reconstruction.source_coverage import (
    MAX_OUTSIDE,
    check_source_coverage,
    flux_outside,
)
from rim_lensing.reconstruction.source_model import SourceModel, check_source_model
from rim_lensing.reconstruction.training_range import warn_outside_training
from rim_lensing.results.constrained import warn_of_unconstrained
from rim_lensing.results.in_words import named_lens
from rim_lensing.results.result import Reconstruction
from rim_lensing.simulation.priors import Priors

DEMAGNIFIED = 0.9
"""A magnification below this fraction of the priors' smallest is no lens, unless it shows its
source more than once: RIM sources of the true lens have it right to 2.5%."""

NOTABLE_LOG_POSTERIOR = 10.0
"""A lens that is passed over is told if its log-posterior is higher by more than this."""


@dataclass(frozen=True, repr=False)
class LensOptimum:
    """The most probable lens, and what it cost.

    Args:
        lens: (p,): of the short forms 7 or 8 numbers, see `lens_parameters`; else by the names of
            `mass_model`.
        log_posterior: There, up to a constant; see `lens_posterior`.
        reconstruction: Of the source behind this lens.
        converged: The search ended because no step helped, and not for lack of time.
        demagnified: The total magnification is less than the priors allow, and the source has one
            image, see `is_demagnified`: the search has shrunk the source onto the arcs, or switched
            the lens off, and this is not the answer.
        edges: Parameters on an edge of the priors: the best lens may lie beyond.
        evaluations: Sources that were reconstructed on the way.
        seconds: Of wall-clock time.
        start_lenses: Where every start has come to, (starts, p), the best first.
        start_log_posteriors: There, (starts,).
        posterior: What was maximised.
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
    posterior: LensPosterior | None = None

    @property
    def std(self) -> np.ndarray:
        """Standard deviations by the curvature of the log-posterior, (p,), as of `lens`.

        See `covariance`.
        """
        return np.sqrt(np.diag(self.covariance))

    @functools.cached_property
    def covariance(self) -> np.ndarray:
        """Covariance by the curvature of the log-posterior, (p, p), as of `lens`.

        That of the residuals' squares (Gauss-Newton): of a parameter that is held 0. It takes the
        likelihood at its word, as `sample_lens_posterior` does; see there.

        Raises:
            TypeError: Of an evidence, as that of a linear inversion, which is no sum of squares:
                sample it.
        """
        if self.posterior is None or not self.posterior.least_squares:
            raise TypeError(
                "The standard deviations of a lens that maximises an evidence are those of a "
                "chain: sample_lens_posterior(...).std"
            )
        support = self.posterior.support
        middle = support.select(self.lens[None])[0]
        free = gauss_newton_covariance(self.posterior, middle)
        # Of what is held `sources` is -1: a row of zeros.
        return np.pad(free, (0, 1))[np.ix_(support.sources, support.sources)]

    @property
    def mass_model(self) -> MassModel:
        """The lens as an object, with names and values."""
        return self.reconstruction.form.with_values(self.lens)

    def __repr__(self) -> str:
        """Return one line."""
        facts = [
            "converged" if self.converged else "NOT converged",
            f"lens {named_lens(self.lens, self.reconstruction.form)}",
            f"log-posterior {self.log_posterior:.6g}",
            f"chi^2 per pixel {self.reconstruction.chi2:.4g}",
            f"{len(self.start_lenses)} start(s)",
            f"{self.evaluations} sources in {self.seconds:.3g} s",
        ]
        facts += ["demagnified"] if self.demagnified else []
        facts += [f"on the edge of the priors: {', '.join(self.edges)}"] if self.edges else []
        return f"LensOptimum({', '.join(facts)})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the lens and its source."""
        facts = {
            "search": "converged" if self.converged else "NOT converged",
            "sources": self.evaluations,
            "chi^2": f"{self.reconstruction.chi2:.3f}",
        }
        facts |= {"on the edge of the priors": ", ".join(self.edges)} if self.edges else {}
        rows = lens_table(self.mass_model.labels, self.lens)
        return as_html("LensOptimum", facts, rows, self.reconstruction.plot())


def optimise_lens(
    image,
    noise=None,
    psf=None,
    source_model: SourceModel | None = None,
    start=None,
    method: str | None = None,
    mask=None,
    priors: LensPriors | Priors | Mapping | None = None,
    pixel_scale: float | None = None,
    allow_lens_light: bool = False,
    rough: bool = False,
) -> LensOptimum:
    """Find the most probable lens from one or more starts.

    Args:
        image: An `Observation`, and `source_model` and `start` by name; or (m, m), lens light and
            background subtracted, in any unit.
        noise: rms in the image's unit: a number or a map (m, m).
        psf: Width (standard deviation) of a Gaussian in arcsec; or a normalised kernel (k, k) on
            the image's pixels (not oversampled).
        source_model: A RIM (the likelihood of its source is maximised), a linear inversion (its
            evidence is), or another `SourceModel`.
        start: A lens: a MassModel, or of a power law in shear LensParameters, a dictionary, or 7 or
            8 numbers; or several, to start from each. What lies outside of the priors is moved to
            their edge. An EPL that starts isothermal needs a MassModel, a dictionary that names the
            slope, or the array of 8; with little noise starts at several slopes are worth their
            time, for one alone may end in a side maximum.
        method: "lbfgs", by the gradient, the default with a RIM; "simplex" (Nelder and Mead
            1965), the paper's, and the default with a linear inversion, whose evidence has no
            cheap gradient; "gauss-newton", by the residuals' derivatives, with a RIM: it sees past
            the kinks of chi^2, and ends a little higher. All starts go in lock-step: a batch of
            sources at every step.
        mask: True where a pixel is USED, (m, m).
        priors: By parameter name, see `LensPriors`: ranges, distributions, what is held, what
            follows what. Or Priors, whose ranges bound the search, and whose smallest magnification
            tells a lens from none, see `is_demagnified`; by default those that the RIM was trained
            on, or `Priors()`.
        pixel_scale: The image's arcsec per pixel, if known, to be compared with the model's.
        allow_lens_light: Search where the lens galaxy's light seems to be left in the image, too.
        rough: Stop near the maximum, with "gauss-newton": for a start of another search, on other
            grids.

    Raises:
        ValueError: Bad input (see `check_observation`), lens light in the image (see
            `leftover_light`), an unknown method, or no start whose arcs fall on the source grid in
            the end.
        TypeError: `source_model` is no `SourceModel`.

    Warns:
        UserWarning: A start lies outside of the priors; every start ends at a lens that does not
            magnify, or to better ones than that which is the answer, which do not; the mask hides
            the arcs; the system is unlike those that the RIM was trained
            on; part of the arcs' flux comes from outside of the source grid; a source cannot be
            refined, or is cut off; the evidence is that of a matrix-free engine, too rough to be
            optimised; or chi^2 is not that of noise.
    """
    began = time.perf_counter()
    starts, form = as_lens(start, name="start")
    observation = check_single(image, noise, psf, starts[0], mask, source_model, pixel_scale, form)
    refuse_lens_light(observation, source_model.image_grid, allow_lens_light)
    posterior = lens_posterior(source_model.search_model, observation, priors)
    method = method or default_method(posterior)
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {METHODS}. Received: {method!r}")
    if method == "gauss-newton" and not posterior.least_squares:
        raise ValueError(
            "`method` must be 'lbfgs' or 'simplex' where the likelihood is no sum of squares of an "
            "image's pixels, as that of visibilities and the evidence of a linear inversion. "
            "Received: 'gauss-newton'"
        )
    if rough and method != "gauss-newton":
        raise ValueError(
            f"`rough` must be False unless `method` is 'gauss-newton'. Received: {method!r}"
        )
    starts = nearest_starts(posterior, starts)
    lenses, values, converged = maximise(posterior, starts, method, rough)
    best, result = choose(posterior, source_model, lenses)
    if result is None:
        raise ValueError(
            "`start` has led to no lens that brings the arcs onto the source grid: start closer "
            f"to the lens, or from more places. Received: {len(starts)} start(s), ending at "
            f"{posterior.support.expand(lenses).round(3).tolist()}"
        )
    demagnified = is_demagnified(result, posterior)
    if demagnified:
        warnings.warn(
            "No start has led to a lens that magnifies as the priors want, "
            f"{posterior.priors.min_magnification:g} times, or shows a source twice: the source is "
            f"the arcs themselves, shrunk ({in_words(result)}). Start closer to the "
            "lens, or from more places; or, where that is the truth, allow it: "
            "priors=Priors(min_magnification=...), on the command line --min-magnification.",
            UserWarning,
            stacklevel=2,
        )
    passed_over = values[0] - values[best]
    if passed_over > NOTABLE_LOG_POSTERIOR:
        other = named_lens(posterior.support.expand(lenses)[0], posterior.observation.form)
        warnings.warn(
            f"A lens with a log-posterior higher by {passed_over:.6g} is passed over: "
            f"{other} leads the arcs past the source grid, or shrinks the source onto them. "
            "Compare the two (`start_lenses`, `start_log_posteriors`); where it is the truth, "
            "allow it: priors=Priors(min_magnification=...).",
            UserWarning,
            stacklevel=2,
        )
    warn_of_optimum(posterior, source_model, result)
    return LensOptimum(
        lens=posterior.support.expand(lenses)[best],
        log_posterior=float(values[best]),
        reconstruction=source_model.with_uncertainties(posterior.behind(result.lens), result),
        converged=bool(converged[best]),
        demagnified=demagnified,
        edges=posterior.support.edges(lenses[best]),
        evaluations=posterior.evaluations,
        seconds=time.perf_counter() - began,
        start_lenses=posterior.support.expand(lenses),
        start_log_posteriors=values,
        posterior=posterior,
    )


def nearest_starts(posterior: LensPosterior, starts: np.ndarray) -> np.ndarray:
    """Return the allowed free parameters (k, f) next to lenses (k, p); warn if one is moved."""
    starts = posterior.support.select(starts)
    nearest = posterior.support.nearest(starts)
    # To the rounding of float32, in which an edge may lie outside of itself.
    moved = np.abs(nearest - starts).max(axis=1) > 1e-6
    if moved.any():
        warnings.warn(
            "`start` lies outside of the priors, and is moved to their edge: widen `priors` (on "
            "the command line --range, --centre-range, --prior) if the lens may lie there. "
            f"Received: {starts[moved][0].round(4).tolist()}, moved to "
            f"{nearest[moved][0].round(4).tolist()}",
            UserWarning,
            stacklevel=3,
        )
    return nearest


def check_single(
    image,
    noise,
    psf,
    lens: np.ndarray,
    mask,
    source_model: SourceModel,
    pixel_scale: float | None = None,
    form: Form | None = None,
) -> NormalisedObservation:
    """Check the observation of one system; raises as `check_observation`, and for a batch.

    Its lens is (p,), checked already, of the form that is given, or of 7 or 8 numbers.

    Raises:
        TypeError: `source_model` is none, such as the name of one.
    """
    check_source_model(source_model)
    lens = np.asarray(lens)
    form = form_of(lens, form)
    return check_observation(
        one_image(image, noise, psf, mask, pixel_scale),
        lens=form.with_values(lens) if isinstance(form, MassModel) else Deflections(*lens),
        image_grid=source_model.image_grid,
        psf_side=source_model.psf_side,
    )


def choose(
    posterior: LensPosterior, source_model: SourceModel, lenses: np.ndarray
) -> tuple[int, Reconstruction | None]:
    """Return the first lens that magnifies (`is_demagnified`), and its reconstruction.

    A source shrunk onto the arcs can fit as well as the truth, so that no likelihood refuses it.
    If no lens magnifies it is the first that leads the arcs to the source grid and explains
    something of the data; if none does that either, the first, and None.

    Args:
        posterior: Of the lens.
        source_model: Which reconstructs.
        lenses: Free parameters (k, f), the best first.
    """
    second_best = 0, None
    for index, lens in enumerate(lenses):
        if misses_arcs(posterior, source_model, lens):
            continue
        result = reconstruct(posterior, source_model, lens)
        if result is None:
            continue
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
) -> Reconstruction | None:
    """Reconstruct the source of the posterior's observation behind a lens (f,).

    None if the lens explains nothing, as where an evidence has no maximum.
    """
    try:
        return source_model.reconstruct_checked(posterior.at(lens))
    except NoMaximumError:
        return None


def warn_of_optimum(
    posterior: LensPosterior, source_model: SourceModel, result: Reconstruction
) -> None:
    """Warn of what `reconstruct` warns of, once and of the lens that is found.

    Args:
        posterior: Of the lens.
        source_model: Which reconstructed, refined or not as the result was to be.
        result: Behind a lens that `misses_arcs` does not speak against.
    """
    observation = posterior.behind(result.lens)
    if source_model.priors:
        warn_outside_training(observation, source_model.priors)
    check_source_coverage(observation, source_model.image_grid, source_model.source_grid)
    warn_of_unconstrained(result.source, result.constrained)
    source_model.warn_of_result(observation, result)


def is_demagnified(result: Reconstruction, posterior: LensPosterior) -> bool:
    """Return whether a source is the arcs themselves, shrunk.

    It is where its total magnification is less than DEMAGNIFIED times the priors' smallest, or not
    constrained, and it has fewer than MULTIPLY_IMAGED images: doubles are magnified 1.5 to 3 times
    only, where trainings ask for 3. Who asks for more than that is not content with two images.
    """
    smallest = posterior.priors.min_magnification
    if result.metrics()["total_magnification"] >= DEMAGNIFIED * smallest:
        return False
    wanted = smallest > Priors().min_magnification
    return wanted or images_of_source(result) < MULTIPLY_IMAGED


def in_words(result: Reconstruction) -> str:
    """Return how much and how often a source is imaged, in words."""
    magnification = result.metrics()["total_magnification"]
    known = f"{magnification:.2f} times" if np.isfinite(magnification) else "unknown"
    return f"magnification {known}, {images_of_source(result):.2f} images of the source"

"""Algorithm 1 of the paper: from an image to lens and source, without a hand."""

import logging
import warnings
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from rim_lensing.lens_fit.lens_posterior import LensPosterior, SourceModel, lens_posterior
from rim_lensing.lens_fit.lens_predictor import LensPrediction
from rim_lensing.lens_fit.lens_search import default_method, maximise
from rim_lensing.lens_fit.optimise import (
    check_single,
    choose,
    is_demagnified,
    misses_arcs,
    nearest_starts,
    reconstruct,
    warn_of_optimum,
    what,
    with_uncertainties,
)
from rim_lensing.lens_fit.residual_test import FALSE_ALARM, ResidualTest, check_residuals
from rim_lensing.lensing.lens_parameters import as_lens_array
from rim_lensing.observation.correlated_noise import check_noise_correlation
from rim_lensing.observation.leftover_light import refuse_lens_light
from rim_lensing.observation.observation import PIXEL_SCALE_TOLERANCE
from rim_lensing.program import is_crash
from rim_lensing.reconstruction.linear_result import LinearReconstruction
from rim_lensing.reconstruction.result import Reconstruction, named_lens
from rim_lensing.simulation.priors import Priors

START_STD = (0.05, 0.06, 0.06, 0.03, 0.03, 0.03, 0.03)
"""Of a lens that is given, in the units of the parameters: how far around it later rounds look."""

_DRAWS, _STARTS = 16, 3
_FIRST_WIDENING = 2.0
_FAR_BEYOND = 2.0

_logger = logging.getLogger(__name__)


class LensModel(Protocol):
    """What predicts a lens from an image: a lens CNN."""

    def predict(self, image, noise, psf, mask=None) -> tuple[np.ndarray, np.ndarray]:
        """Return the lens and its standard deviation, each (7,) or (1, 7)."""


@dataclass(frozen=True, repr=False)
class Round:
    """One pass through the loop of Algorithm 1; the first has the predicted lens.

    Args:
        lens: (7,).
        reconstruction: Behind this lens; None if the arcs do not fall on the source grid, or the
            evidence of a linear inversion has no maximum.
        test: Of the residuals; None without a reconstruction.
        starts: Lenses that the optimiser started from; 0 for the predicted lens.
        evaluations: Sources that it reconstructed.
        demagnified: The lens magnifies less than the priors allow, see `LensOptimum`.
        edges: Parameters on an edge of the priors.
    """

    lens: np.ndarray
    reconstruction: Reconstruction | None
    test: ResidualTest | None
    starts: int
    evaluations: int
    demagnified: bool
    edges: tuple[str, ...]

    def __repr__(self) -> str:
        """Return one line."""
        facts = [f"lens {named_lens(self.lens)}"]
        if self.reconstruction is not None:
            facts.append(f"chi^2 per pixel {self.reconstruction.chi2:.4g}")
        facts += [f"{self.starts} start(s)", f"{self.evaluations} sources", self.findings]
        return f"Round({', '.join(facts)})"

    @property
    def log_posterior(self) -> float:
        """Of this lens, up to a constant; -inf without a reconstruction.

        -chi^2 / 2 of a RIM's source; of a linear one the log evidence: chi^2 falls as long as the
        prior is allowed to weaken.
        """
        if self.reconstruction is None:
            return -np.inf
        if isinstance(self.reconstruction, LinearReconstruction):
            return float(self.reconstruction.log_evidence)
        return -0.5 * float(self.reconstruction.chi2) * int(self.reconstruction.mask.sum())

    @property
    def succeeded(self) -> bool:
        """The residuals are consistent with noise, and the lens is one."""
        return self.test is not None and self.test.consistent and not self.demagnified

    @property
    def findings(self) -> str:
        """What speaks against the lens, or for it."""
        if self.reconstruction is None:
            return "the lens leads less than half of the arcs to the source grid, or explains none"
        said = [str(self.test)]
        if self.demagnified:
            magnified = self.reconstruction.metrics()["total_magnification"]
            said.append(
                f"the lens hardly magnifies, {magnified:.2f} times: the source is the arcs, shrunk"
            )
        if self.edges:
            said.append(f"on the edge of the priors: {', '.join(self.edges)}")
        return "; ".join(said)

    @property
    def advice(self) -> str:
        """What to do about the findings; empty where nothing is known."""
        said = []
        if self.demagnified:
            said.append(
                "where so little magnification is the truth, allow it: "
                "priors=Priors(min_magnification=...), on the command line --min-magnification"
            )
        if self.edges:
            centre = "x" in self.edges or "y" in self.edges
            options = ["--centre-range ARCSEC"] if centre else []
            names = [name for name in self.edges if name not in ("x", "y")]
            # As `Priors` and the command line call it.
            names = ["axis_ratio" if name == "ellipticity" else name for name in names]
            options += [f"--range {name}=LOW,HIGH" for name in names]
            crop = "crop around the lens, or " if centre else ""
            said.append(
                f"to look beyond the edge, {crop}widen `priors`, on the command line "
                f"{' '.join(options)}"
            )
        return "; ".join(said)


@dataclass(frozen=True, repr=False)
class AutomatedFit:
    """What Algorithm 1 ends with.

    Args:
        lens: Of the last round if it converged, else of the most probable round, (7,).
        reconstruction: Behind this lens; by a refined RIM, if that is what was asked for and if it
            could (`Reconstruction.refined`).
        rounds: All of them, in order.
        converged: The residuals are consistent with noise: of a RIM, before they are refined, for
            that takes up what a wrong lens leaves, too.
        verdict: Converged, or not and why, in words.
        prediction: What the lens model answered, before it was moved into the priors (the first
            round has it moved): a LensPrediction, or lens and standard deviation; None if the
            start was given.
    """

    lens: np.ndarray
    reconstruction: Reconstruction
    rounds: tuple[Round, ...]
    converged: bool
    verdict: str
    prediction: LensPrediction | tuple[np.ndarray, np.ndarray] | None = None

    def __repr__(self) -> str:
        """Return one line; why it ended so is in the verdict."""
        return (
            f"AutomatedFit({self.verdict.partition(':')[0]}, {len(self.rounds)} round(s), "
            f"lens {named_lens(self.lens)}, {self.reconstruction.model}, "
            f"chi^2 per pixel {self.reconstruction.chi2:.4g})"
        )


def automated_fit(
    image,
    noise=None,
    psf=None,
    source_model: SourceModel | None = None,
    lens_model: LensModel | None = None,
    mask=None,
    priors: Priors | None = None,
    max_rounds: int = 4,
    false_alarm: float = FALSE_ALARM,
    seed: int = 0,
    noise_correlation: np.ndarray | None = None,
    pixel_scale: float | None = None,
    start=None,
    allow_lens_light: bool = False,
) -> AutomatedFit:
    """Predict the lens, reconstruct the source, and optimise while the residuals are not noise.

    The first optimisation starts from the predicted lens. If that is not enough, the next ones
    start from the best lens so far and from the best three of 16 that are drawn around the
    prediction, with twice its standard deviation, then four times, and so on, until such a round
    finds no better lens. Every round is logged (logger `rim_lensing.lens_fit.automated_fit`,
    level INFO).

    Args:
        image: An `Observation`, and all models by name; or (m, m), lens light and background
            subtracted, in any unit.
        noise: rms in the image's unit: a number or a map (m, m).
        psf: Width (standard deviation) of a Gaussian in arcsec; or a normalised kernel (k, k) on
            the image's pixels (not oversampled).
        source_model: A RIM, or a linear inversion. A refined RIM is a RIM until the lens is found.
        lens_model: Predicts where to start, such as a lens CNN; or None, and `start`.
        mask: True where a pixel is USED, (m, m).
        priors: Their ranges bound the search, and their smallest magnification tells a lens
            from none; by default those that the RIM was trained on, or `Priors()`.
        max_rounds: Largest number of optimisations; 0 takes the predicted lens and tests it.
        false_alarm: Of the test of the residuals, see `check_residuals`.
        seed: Of the test's noise and of the starts.
        noise_correlation: Of the noise of neighbouring pixels, (k, k), for the test of the
            residuals, see `check_residuals`; by default that of an `Observation`. The search takes
            pixels for independent, still.
        pixel_scale: The image's arcsec per pixel, if known, to be compared with the model's.
        start: Instead of a prediction, a lens near the true one: an SIE and external shear.
        allow_lens_light: Search where the lens galaxy's light seems to be left in the image, too.

    Raises:
        ValueError: Bad input (see `check_observation`, `check_noise_correlation`), lens light in
            the image (see `leftover_light`), both or neither of `lens_model` and `start`, a start
            that is no SIE, a lens model for other pixels, a prediction that is not finite, or no
            round whose arcs fall on the source grid.
        TypeError: `source_model` is neither of the two, or `lens_model` cannot predict.

    Warns:
        UserWarning: The predicted lens lies far outside of the priors, or `start` outside; the mask
            hides the arcs; the system is unlike those that a network was trained on; part of the
            arcs' flux comes from outside of the source grid; the source cannot be refined, or is
            cut off; the evidence is that of a matrix-free engine, too rough to be optimised; or
            chi^2 is not that of noise.
    """
    if int(max_rounds) != max_rounds or max_rounds < 0:
        raise ValueError(f"`max_rounds` must be an integer, 0 or more. Received: {max_rounds}")
    if not 0 < false_alarm < 1:
        raise ValueError(f"`false_alarm` must lie between 0 and 1. Received: {false_alarm}")
    if (lens_model is None) == (start is None):
        raise ValueError(
            "Exactly one of `lens_model` and `start` must be given. "
            f"Received: {'neither' if start is None else 'both'}"
        )
    if start is not None:
        start = _one_isothermal(start)
    elif not callable(getattr(lens_model, "predict", None)):
        raise TypeError(
            "`lens_model` must have a method predict(image, noise, psf, mask), as "
            'load_pretrained("lens_cnn_euclid64") has. '
            f"Received: {what(lens_model)}"
        )
    observation = check_single(image, noise, psf, np.zeros(7), mask, source_model, pixel_scale)
    refuse_lens_light(observation, source_model.image_grid, allow_lens_light)
    if noise_correlation is None:
        noise_correlation = getattr(image, "noise_correlation", None)
    if noise_correlation is not None:
        noise_correlation = check_noise_correlation(noise_correlation, observation.image.shape[-2:])
    _check_same_pixels(lens_model, source_model)
    refined = getattr(source_model, "refines", False) and source_model
    if refined:
        source_model = source_model.refined(False)
    posterior = lens_posterior(source_model, observation, priors)
    prediction, first, begun = None, "given", (start, START_STD)
    if start is None:
        prediction = lens_model.predict(**observation.user_arrays())
        first, begun = "predicted", prediction
    predicted, spread = (np.asarray(value, "float64").reshape(-1) for value in begun)
    if not (predicted.shape == spread.shape == (7,) and np.all(np.isfinite([predicted, spread]))):
        raise ValueError(
            "`lens_model` must predict seven finite parameters and their standard deviations. "
            f"Received: {predicted} and {spread}"
        )
    if start is None:
        nearest = posterior.support.nearest(predicted[None])[0]
        # Predictions scatter about the edges by their error; one far beyond was meant otherwise.
        if np.any(np.abs(nearest - predicted) > _FAR_BEYOND * spread):
            warnings.warn(
                "The predicted lens lies far outside of the priors, and is moved to their edge: "
                "widen `priors` if the lens may lie there. "
                f"Received: {predicted.round(4).tolist()}, moved to {nearest.round(4).tolist()}",
                UserWarning,
                stacklevel=2,
            )
    else:
        nearest = nearest_starts(posterior, predicted[None])[0]
    predicted = nearest
    generator = np.random.default_rng(seed)
    rounds: list[Round] = []
    for number in range(int(max_rounds) + 1):
        before = posterior.evaluations
        starts, lens, result = np.empty((0, len(predicted))), predicted, None
        if number:
            best = _best(rounds).lens
            starts = _starts(posterior, best, predicted, spread, number, generator)
            lenses, _, _ = maximise(posterior, starts, default_method(posterior))
            chosen, result = choose(posterior, source_model, lenses)
            lens = lenses[chosen]
        elif not misses_arcs(posterior, source_model, lens):
            result = reconstruct(posterior, source_model, lens)
        fitted = result is not None
        rounds.append(
            Round(
                lens=lens,
                reconstruction=result,
                test=check_residuals(
                    result,
                    source_model,
                    false_alarm,
                    seed=seed,
                    noise_correlation=noise_correlation,
                )
                if fitted
                else None,
                starts=len(starts),
                evaluations=posterior.evaluations - before,
                demagnified=fitted and is_demagnified(result, posterior),
                edges=posterior.support.edges(lens),
            )
        )
        how = f"{rounds[-1].evaluations} sources" if number else f"{first} lens"
        _logger.info("round %d, %s: %s", number, how, rounds[-1].findings)
        if rounds[-1].succeeded or _nothing_better(rounds):
            break
    found = _conclude(rounds, first)
    result = with_uncertainties(found.reconstruction, posterior, source_model)
    found = replace(found, reconstruction=result, prediction=prediction)
    if refined:
        result = reconstruct(posterior, refined, found.lens)
        said = _judge_refined(
            result, refined, false_alarm, seed=seed, noise_correlation=noise_correlation
        )
        found = replace(found, reconstruction=result, verdict=f"{found.verdict}; {said}")
    warn_of_optimum(posterior, refined or source_model, found.reconstruction)
    return found


def _judge_refined(result: Reconstruction, refined: SourceModel, *options, **more) -> str:
    """Say whether a refined source leaves noise, or why that is not known."""
    if not result.refined:
        return "the source could not be refined"
    try:
        return f"of the refined source, {check_residuals(result, refined, *options, **more)}"
    except RuntimeError as error:
        # The search has taken minutes: what it found is not to be lost.
        if is_crash(error):
            raise
        return f"the refined source could not be tested: {error}"


def _one_isothermal(start) -> np.ndarray:
    """Return the lens (7,) that a user gave."""
    lens = as_lens_array(start, name="start")
    if lens.shape != (1, 7):
        raise ValueError(
            "`start` must be one lens without a slope: Algorithm 1 fits isothermal ellipsoids. "
            f"Received: {len(lens)} of {lens.shape[1]} parameters"
        )
    return lens[0].astype("float64")


def _check_same_pixels(lens_model: LensModel, source_model: SourceModel) -> None:
    """Refuse a lens model that knows its pixels and takes others than the source model."""
    taken, wanted = getattr(lens_model, "image_grid", None), source_model.image_grid
    if taken is None:
        return
    same_scale = abs(taken.pixel_scale / wanted.pixel_scale - 1) <= PIXEL_SCALE_TOLERANCE
    if taken.side != wanted.side or not same_scale:
        raise ValueError(
            f"`lens_model` must take the images of `source_model`, {wanted}: "
            f"lens_model.with_image_grid({wanted.side}, {wanted.pixel_scale:g}) averages such "
            f"images to its own pixels. Received: {taken}"
        )


def _starts(
    posterior: LensPosterior, best, predicted, spread, number: int, generator
) -> np.ndarray:
    """Return the lenses that an optimisation starts from."""
    if number == 1:
        return best[None]
    widening = _FIRST_WIDENING ** (number - 1)
    draws = predicted + widening * spread * generator.standard_normal((_DRAWS, len(predicted)))
    draws = posterior.support.nearest(draws)
    promising = np.argsort(-posterior.log_posterior(draws))[:_STARTS]
    return np.concatenate([best[None], draws[promising]])


def _best(rounds: list[Round]) -> Round:
    """Return the most probable round of those that magnify, or else of those with a source."""
    return min(
        rounds,
        key=lambda one: (one.reconstruction is None, one.demagnified, -one.log_posterior),
    )


def _nothing_better(rounds: list[Round]) -> bool:
    """Return whether starts from several places have led to no better lens than was known.

    Better: the log-posterior rises by more than 1/2 (chi^2 falls by 1). Without, the residuals hold
    what no lens explains, or the test has raised a false alarm: more rounds would say the same.
    """
    best = _best(rounds[:-1]) if len(rounds) > 2 else None
    if best is None or best.reconstruction is None:
        return False
    if best.demagnified and _best(rounds) is rounds[-1]:
        # The first lens that magnifies may fit worse than the arcs themselves, shrunk.
        return False
    return rounds[-1].log_posterior - best.log_posterior < 0.5


def _conclude(rounds: list[Round], first: str) -> AutomatedFit:
    """Say how it ended; the first lens was "predicted" or "given"."""
    converged = rounds[-1].succeeded
    best = rounds[-1] if converged else _best(rounds)
    if best.reconstruction is None:
        raise ValueError(
            f"Neither the {first} lens nor any optimised one leads the arcs to the source grid: "
            "give a lens model trained on such images, or a `start` closer to the lens, or allow "
            f"more optimisations. Received: the {first} lens {rounds[0].lens.round(3).tolist()}, "
            f"max_rounds={len(rounds) - 1}"
        )
    optimisations = len(rounds) - 1
    outcome = "converged" if converged else "not converged"
    how = f"with the {first} lens" if optimisations == 0 else f"after {optimisations} optimisation"
    plural = "s" if optimisations > 1 else ""
    found = "; ".join(filter(None, [best.findings, best.advice]))
    stopped = "" if converged or not _nothing_better(rounds) else "; no start finds a better lens"
    return AutomatedFit(
        lens=best.lens,
        reconstruction=best.reconstruction,
        rounds=tuple(rounds),
        converged=converged,
        verdict=f"{outcome} {how}{plural}: {found}{stopped}",
    )

"""Algorithm 1 of the paper: from an image to lens and source, without a hand."""

import logging
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np

from rim_lensing.lens_fit.fit_rounds import (
    AutomatedFit,
    Round,
    best_round,
    conclude,
    nothing_better,
)
from rim_lensing.lens_fit.lens_posterior import LensPosterior, lens_posterior
from rim_lensing.lens_fit.lens_priors import LensPriors, as_lens_priors
from rim_lensing.lens_fit.lens_search import default_method, maximise
from rim_lensing.lens_fit.optimise import (
    check_single,
    choose,
    is_demagnified,
    misses_arcs,
    nearest_starts,
    reconstruct,
    warn_of_optimum,
)
from rim_lensing.lens_fit.power_law import price_of_slope
from rim_lensing.lens_fit.residual_test import FALSE_ALARM, check_residuals
from rim_lensing.lensing.mass_model import SHORT_FORMS, MassModel, as_lens
from rim_lensing.observation.checks import PIXEL_SCALE_TOLERANCE
from rim_lensing.observation.correlated_noise import check_noise_correlation
from rim_lensing.observation.leftover_light import refuse_lens_light
from rim_lensing.program import is_crash
from rim_lensing.reconstruction.source_model import SourceModel, what
from rim_lensing.results.result import Reconstruction
from rim_lensing.simulation.priors import Priors

START_STD = {"theta_E": 0.05, "e1": 0.06, "e2": 0.06, "slope": 0.1}
"""Of a lens that is given, in the units of the parameters: how far around it later rounds look."""

OTHER_START_STD = 0.03
"""Of all others."""

FIRST_SLOPES = (0.8, 1.0, 1.2)
"""Where a power law's slope starts: one start alone may end in a side maximum."""

_DRAWS, _STARTS = 16, 3
_FIRST_WIDENING = 2.0
_MAX_SIGMAS_OUTSIDE = 2.0

_logger = logging.getLogger(__name__)


class LensModel(Protocol):
    """What predicts a lens from an image: a lens CNN."""

    def predict(self, image, noise, psf, mask=None) -> tuple[np.ndarray, np.ndarray]:
        """Return the lens and its standard deviation, each (7,) or (1, 7)."""


def automated_fit(
    image,
    noise=None,
    psf=None,
    source_model: SourceModel | None = None,
    lens_model: LensModel | None = None,
    mask=None,
    priors: LensPriors | Priors | Mapping | None = None,
    max_rounds: int = 4,
    false_alarm: float = FALSE_ALARM,
    seed: int = 0,
    noise_correlation: np.ndarray | None = None,
    pixel_scale: float | None = None,
    start=None,
    allow_lens_light: bool = False,
    epl: bool | None = None,
) -> AutomatedFit:
    """Predict the lens, reconstruct the source, and optimise while the residuals are not noise.

    The first optimisation starts from the predicted lens. If that is not enough, the next ones
    start from the best lens so far and from the best three of 16 that are drawn around the
    prediction, with twice its standard deviation, then four times, and so on, until such a round
    finds no better lens. Every round is logged (logger `rim_lensing.lens_fit.automated_fit`,
    level INFO).

    The lens is an SIE in shear, or what `start` is. Where the residuals of an SIE are not noise, a
    power law (EPL) is fitted from the best SIE in one more round, and kept if the data tell it from
    the SIE: if the log-posterior rises by more than ln(N) / 2, N the number of used pixels, the
    price of a parameter by Schwarz's criterion (1978).

    Args:
        image: An `Observation`, and all models by name; or (m, m), lens light and background
            subtracted, in any unit.
        noise: rms in the image's unit: a number or a map (m, m).
        psf: Width (standard deviation) of a Gaussian in arcsec; or a normalised kernel (k, k) on
            the image's pixels (not oversampled).
        source_model: A RIM, a linear inversion, or another `SourceModel`. A refined RIM is a RIM
            until the lens is found.
        lens_model: Predicts where to start, such as a lens CNN; or None, and `start`.
        mask: True where a pixel is USED, (m, m).
        priors: By parameter name, see `LensPriors`: ranges, distributions, what is held, what
            follows what. Or Priors, whose ranges bound the search, and whose smallest magnification
            tells a lens from none, see `optimise.is_demagnified`; by default those that the RIM was
            trained on, or `Priors()`.
        max_rounds: Largest number of optimisations; 0 takes the predicted lens and tests it.
        false_alarm: Of the test of the residuals, see `check_residuals`.
        seed: Of the test's noise and of the starts.
        noise_correlation: Of the noise of neighbouring pixels, (k, k), in the likelihood and in the
            test of the residuals; by default that of an `Observation`, of which it is the short
            form.
        pixel_scale: The image's arcsec per pixel, if known, to be compared with the model's.
        start: Instead of a prediction, a lens near the true one: a MassModel, or of a power law in
            shear LensParameters, a dictionary, or 7 or 8 numbers.
        allow_lens_light: Search where the lens galaxy's light seems to be left in the image, too.
        epl: Fit a power law from the first round on (True), or none (False); by default by the rule
            above, and from the first round on where `start` or `priors` has a slope.

    Raises:
        ValueError: Bad input (see `check_observation`, `check_noise_correlation`), lens light in
            the image (see `leftover_light`), both or neither of `lens_model` and `start`, several
            starts, a lens model for other pixels, a prediction that is not finite, or no round
            whose arcs fall on the source grid.
        TypeError: `source_model` is no `SourceModel`, or `lens_model` cannot predict.

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
    if start is None and not callable(getattr(lens_model, "predict", None)):
        raise TypeError(
            "`lens_model` must have a method predict(image, noise, psf, mask), as "
            'load_pretrained("lens_cnn_euclid64") has. '
            f"Received: {what(lens_model)}"
        )
    asked = epl or (epl is None and _names_slope(priors))
    given, form = _given(start, asked)
    observation = check_single(image, noise, psf, given, mask, source_model, pixel_scale, form)
    refuse_lens_light(observation, source_model.image_grid, allow_lens_light)
    if noise_correlation is not None:
        noise_correlation = check_noise_correlation(noise_correlation, observation.image.shape[-2:])
        observation = replace(observation, noise_correlation=noise_correlation)
    _check_same_pixels(lens_model, source_model)
    refined, source_model = source_model, source_model.search_model
    posterior = lens_posterior(source_model, observation, priors)
    support, prediction, first = posterior.support, None, "given"
    if start is None:
        prediction = lens_model.predict(**observation.user_arrays())
        first = "predicted"
        given, spread = _predicted(prediction, form)
        given, spread = support.select(given[None])[0], support.select(spread[None])[0]
        predicted = support.nearest(given[None])[0]
        # Predictions scatter about the edges by their error; one far beyond was meant otherwise.
        if np.any(np.abs(predicted - given) > _MAX_SIGMAS_OUTSIDE * spread):
            warnings.warn(
                "The predicted lens lies far outside of the priors, and is moved to their edge: "
                "widen `priors` if the lens may lie there. "
                f"Received: {given.round(4).tolist()}, moved to {predicted.round(4).tolist()}",
                UserWarning,
                stacklevel=2,
            )
    else:
        predicted = nearest_starts(posterior, given[None])[0]
        spread = support.select(_start_std(form)[None])[0]

    def judged(
        posterior: LensPosterior, lens, result, starts: int, before: int, passed_over: float = 0.0
    ) -> Round:
        """Return the round that ends with a lens (f,)."""
        test = None
        if result is not None:
            test = check_residuals(result, source_model, false_alarm, seed=seed)
        return Round(
            lens=posterior.support.expand(lens[None])[0],
            reconstruction=result,
            test=test,
            starts=starts,
            evaluations=posterior.evaluations - before,
            demagnified=result is not None and is_demagnified(result, posterior),
            edges=posterior.support.edges(lens),
            form=posterior.observation.form,
            passed_over=passed_over,
        )

    generator = np.random.default_rng(seed)
    rounds: list[Round] = []
    for number in range(int(max_rounds) + 1):
        if number:
            best = support.select(best_round(rounds).lens[None])[0]
            starts = _starts(posterior, best, predicted, spread, number, generator)
            rounds.append(_optimise(posterior, source_model, starts, judged))
        else:
            before = posterior.evaluations
            missed = misses_arcs(posterior, source_model, predicted)
            result = None if missed else reconstruct(posterior, source_model, predicted)
            rounds.append(judged(posterior, predicted, result, 0, before))
        how = f"{rounds[-1].evaluations} sources" if number else f"{first} lens"
        _logger.info("round %d, %s: %s", number, how, rounds[-1].findings)
        if rounds[-1].succeeded or nothing_better(rounds):
            break
    found = conclude(rounds, first)
    if epl is None and max_rounds and form == SHORT_FORMS[7] and not found.converged:
        power_law = replace(observation, lens=np.zeros((1, 8), "float32"))
        steeper = lens_posterior(source_model, power_law, priors)
        starts = steeper.support.select([[*found.lens, slope] for slope in FIRST_SLOPES])
        rounds.append(_optimise(steeper, source_model, steeper.support.nearest(starts), judged))
        found, chosen = _choose_power_law(found, rounds[-1], rounds, first)
        posterior = steeper if chosen else posterior
        _logger.info("round %d, a power law: %s", len(rounds) - 1, rounds[-1].findings)
    observation = posterior.behind(found.reconstruction.lens)
    result = source_model.with_uncertainties(observation, found.reconstruction)
    found = replace(found, reconstruction=result, prediction=prediction)
    if refined is not source_model:
        result = refined.reconstruct_checked(observation)
        said = _judge_refined(result, refined, false_alarm, seed=seed)
        found = replace(found, reconstruction=result, verdict=f"{found.verdict}; {said}")
    warn_of_optimum(posterior, refined, found.reconstruction)
    return found


def _optimise(posterior: LensPosterior, source_model: SourceModel, starts, judged) -> Round:
    """Return the round that optimises from some starts, free parameters (k, f)."""
    before = posterior.evaluations
    lenses, values, _ = maximise(posterior, starts, default_method(posterior))
    chosen, result = choose(posterior, source_model, lenses)
    passed_over = float(values[0] - values[chosen])
    return judged(posterior, lenses[chosen], result, len(starts), before, passed_over)


def _choose_power_law(
    found: AutomatedFit, power_law: Round, rounds: list[Round], first: str
) -> tuple[AutomatedFit, bool]:
    """Return the fit with the power law or without it, and whether with it.

    Args:
        found: Without it.
        power_law: The last round.
        rounds: All of them.
        first: The first lens was "predicted" or "given".
    """
    sie = best_round(rounds[:-1])
    wanted = price_of_slope(found.reconstruction.mask.sum())
    gained = power_law.log_posterior - sie.log_posterior
    better = power_law.reconstruction is not None and gained > wanted
    # The first lens that magnifies may fit worse than the arcs themselves, shrunk.
    better = (better and not power_law.demagnified) or (sie.demagnified and power_law.succeeded)
    said = (
        f"log-posterior {gained:+.1f} with a power law, where {wanted:.1f} tell it from an SIE"
        if np.isfinite(gained)
        else "no power law leads the arcs to the source grid"
    )
    if better:
        found = conclude([power_law], first, optimisations=len(rounds) - 1, known=rounds)
    return replace(found, rounds=tuple(rounds), verdict=f"{found.verdict}; {said}"), better


def _judge_refined(result: Reconstruction, refined: SourceModel, *options, **more) -> str:
    """Say whether a refined source leaves noise, or why that is not known."""
    if result.model != refined.name:
        return "the source could not be refined"
    try:
        return f"of the refined source, {check_residuals(result, refined, *options, **more)}"
    except RuntimeError as error:
        # The search has taken minutes: what it found is not to be lost.
        if is_crash(error):
            raise
        return f"the refined source could not be tested: {error}"


def _names_slope(priors) -> bool:
    """Return whether a user has named the slope among the priors."""
    named = as_lens_priors(priors, Priors()).named
    return any(name.split(".")[-1] == "slope" for name in named)


def _given(start, epl: bool | None) -> tuple[np.ndarray, MassModel]:
    """Return the lens (p,) that a fit begins with, and its form.

    Args:
        start: What the user gave; None, a prediction will take the place of what is returned.
        epl: Whether the user asked for a power law.

    Raises:
        ValueError: It is not one lens with parameters.
    """
    if start is None:
        form = SHORT_FORMS[8 if epl else 7]
        return form.values, form
    lens, form = as_lens(start, name="start")
    if len(lens) != 1 or not form.parameters:
        raise ValueError(
            "`start` must be one lens with parameters. "
            f"Received: {len(lens)} of {len(form.parameters)} parameters"
        )
    if epl and form == SHORT_FORMS[7]:
        lens, form = np.append(lens, [[1.0]], axis=1), SHORT_FORMS[8]
    return lens[0].astype("float64"), form


def _predicted(prediction, form: MassModel) -> tuple[np.ndarray, np.ndarray]:
    """Return what a lens model predicted and its standard deviation, (7,) or (8,) each."""
    lens, spread = (np.asarray(value, "float64").reshape(-1) for value in prediction)
    if not (lens.shape == spread.shape == (7,) and np.all(np.isfinite([lens, spread]))):
        raise ValueError(
            "`lens_model` must predict seven finite parameters and their standard deviations. "
            f"Received: {lens} and {spread}"
        )
    if len(form.names) == 8:
        return np.append(lens, 1.0), np.append(spread, START_STD["slope"])
    return lens, spread


def _start_std(form: MassModel) -> np.ndarray:
    """Return how far around a lens that is given later rounds look, (p,)."""
    return np.array([START_STD.get(each.name, OTHER_START_STD) for each in form.parameters])


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
        return _at_slopes(posterior, best)
    widening = _FIRST_WIDENING ** (number - 1)
    draws = predicted + widening * spread * generator.standard_normal((_DRAWS, len(predicted)))
    draws = posterior.support.nearest(draws)
    promising = np.argsort(-posterior.log_posterior(draws))[:_STARTS]
    return np.concatenate([best[None], draws[promising]])


def _at_slopes(posterior: LensPosterior, lens: np.ndarray) -> np.ndarray:
    """Return a lens (f,) as it is, or of an isothermal power law that may have others, at each."""
    form, support = posterior.observation.form, posterior.support
    columns = [
        i
        for i, column in enumerate(support.columns)
        if form.names[column].endswith(".slope") and lens[i] == 1.0
    ]
    starts = np.repeat(lens[None], len(FIRST_SLOPES) if columns else 1, axis=0)
    for i in columns:
        starts[:, i] = FIRST_SLOPES
    return support.nearest(starts)

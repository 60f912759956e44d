"""The posterior of the lens by Markov chains, a source reconstructed for every lens (figure 9)."""

import contextlib
import hashlib
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from rim_lensing.lens_fit.lens_posterior import LensPosterior, lens_posterior
from rim_lensing.lens_fit.lens_priors import LensPriors
from rim_lensing.lens_fit.lens_support import LensSupport
from rim_lensing.lens_fit.optimise import check_single, nearest_starts
from rim_lensing.lensing.mass_model import SHORT_FORMS, as_lens, describe_form
from rim_lensing.observation.leftover_light import refuse_lens_light
from rim_lensing.plain_numbers import plain
from rim_lensing.reconstruction.source_coverage import check_source_coverage
from rim_lensing.reconstruction.source_model import SourceModel
from rim_lensing.reconstruction.training_range import warn_outside_training
from rim_lensing.sampling.chain_file import ChainFile, alone_with
from rim_lensing.sampling.ensemble_sampler import ensemble_sampler
from rim_lensing.sampling.lens_chain import LensChain
from rim_lensing.sampling.nuts_sampler import check_threads, nuts_sampler
from rim_lensing.sampling.sampling_settings import MAX_STEPS, SAMPLERS, check_settings
from rim_lensing.simulation.priors import Priors

_START_WIDTH = 0.1
"""In the posterior's narrower steps. An ensemble grows to the posterior's width within some ten
steps, but walkers that start in another kink of chi^2 stay there: at 1% of noise and a width of 1
R-hat was 4 after 1500 steps."""

_SAMPLERS = {"emcee": ensemble_sampler, "nuts": nuts_sampler}


def sample_lens_posterior(
    image,
    noise=None,
    psf=None,
    source_model: SourceModel | None = None,
    start=None,
    mask=None,
    priors: LensPriors | Priors | Mapping | None = None,
    temperature: float = 1.0,
    method: str = "emcee",
    walkers: int | None = None,
    max_steps: int = MAX_STEPS,
    seed: int = 0,
    path: str | os.PathLike | None = None,
    pixel_scale: float | None = None,
    allow_lens_light: bool = False,
) -> LensChain:
    """Draw lenses from their posterior, until the draws can be trusted.

    Where `priors` names no distribution, the prior is flat in the parameters, (e1, e2) and (gamma1,
    gamma2) among them, within the ranges of `priors`: that of the axis ratio goes as (1 - q) / (1 +
    q)^3 and that of the shear's modulus as the modulus, where `Priors.draw` has both uniform.

    The likelihood is that of the RIM's source, or the evidence of the linear inversion, see
    `lens_posterior`. Both are too sure of themselves: a RIM's source is one estimate, whose own
    error the intervals do not know, and galaxies are no draw from the linear inversion's prior.
    That of a refined RIM (`RIMReconstructor.refined`) integrates over the error of its source, at
    five to ten times the cost; for both others there is `temperature`. benchmarks/README.md,
    Posterior of the lens, says what they are worth.

    The chain ends when it is longer than 50 autocorrelation times, emcee's own rule, in every
    parameter, and R-hat is at most 1.05; the first fifth is burn-in and does not count. With
    `path`, an interrupted call goes on where it was when it is made again, and a longer
    `max_steps` lengthens a chain that was not long enough.

    Args:
        image: An `Observation`, and `source_model` and `start` by name; or (m, m), lens light and
            background subtracted, in any unit.
        noise: rms in the image's unit: a number or a map (m, m).
        psf: Width (standard deviation) of a Gaussian in arcsec; or a normalised kernel (k, k) on
            the image's pixels (not oversampled).
        source_model: A RIM, a refined one, a linear inversion, or another `SourceModel`.
        start: A lens at or near the best one, such as `automated_fit(...).lens`: a MassModel, or of
            a power law in shear LensParameters, a dictionary, or 7 or 8 numbers. What lies outside
            of the priors is moved to their edge. An EPL that starts isothermal needs a MassModel, a
            dictionary that names the slope, or the array of 8. A chain that goes on does not look
            at it.
        mask: True where a pixel is USED, (m, m).
        priors: By parameter name, see `LensPriors`: ranges, distributions, what is held, what
            follows what; the chain has the parameters that are left free. Or Priors, whose ranges
            bound the lens; by default those that the RIM was trained on, or `Priors()`.
        temperature: The log-likelihood is divided by it: 1 takes it at its word, more widens all
            intervals, of a Gaussian by the square root.
        method: "emcee", an ensemble that needs no gradient; or "nuts", many chains that follow the
            gradient of a RIM (needs TensorFlow Probability).
        walkers: Of the ensemble, 32 by default, at least twice the number of parameters; or number
            of chains of NUTS, 16 by default.
        max_steps: Of every walker, those of interrupted runs included.
        seed: Of the random numbers.
        path: HDF5 file in which the chain is kept, one step after the other.
        pixel_scale: The image's arcsec per pixel, if known, to be compared with the model's.
        allow_lens_light: Sample where the lens galaxy's light seems to be left in the image, too.

    Raises:
        ValueError: Bad input (see `check_observation`), lens light in the image (see
            `leftover_light`), a start that leads the arcs to outside of the source grid, a
            temperature below 1, or a method that this source model, or this process (see
            `nuts_sampler.check_threads`), does not offer.
        TypeError: `source_model` is no `SourceModel`.
        FileExistsError: `path` holds a chain of something else.
        FileNotFoundError: There is no such folder.
        ImportError: NUTS without TensorFlow Probability.

    Warns:
        UserWarning: The chain has not converged after `max_steps`; the system is unlike those
            that the RIM was trained on; the mask hides the arcs; the start lies outside of the
            priors; or the evidence is that of a matrix-free engine, too rough to be sampled.
    """
    lens, form = as_lens(start, name="start")
    if len(lens) != 1:
        raise ValueError(f"`start` must be one lens. Received: {len(lens)}")
    observation = check_single(image, noise, psf, lens[0], mask, source_model, pixel_scale, form)
    refuse_lens_light(observation, source_model.image_grid, allow_lens_light)
    posterior = lens_posterior(source_model, observation, priors)
    posterior = posterior.tempered(temperature)
    if method == "nuts" and not (posterior.differentiable and posterior.least_squares):
        raise ValueError(
            "`method` 'nuts' needs a gradient, which the evidence of a linear inversion, of an "
            "image or of what a refined RIM leaves, has only by differences: choose 'emcee'. "
            f"Received: {method!r} with a {type(source_model).__name__}"
        )
    if source_model.priors:
        warn_outside_training(observation, source_model.priors)
    nearest = nearest_starts(posterior, lens)[0]
    check_source_coverage(posterior.at(nearest), source_model.image_grid, source_model.source_grid)
    description = _describe(source_model, posterior)
    return sample_posterior(posterior, nearest, description, method, walkers, max_steps, seed, path)


def sample_posterior(
    posterior: LensPosterior,
    start: np.ndarray,
    description: dict,
    method: str = "emcee",
    walkers: int | None = None,
    max_steps: int = MAX_STEPS,
    seed: int = 0,
    path: str | os.PathLike | None = None,
) -> LensChain:
    """Sample a log-posterior; arguments, errors and warnings are those of `sample_lens_posterior`.

    Args:
        posterior: What is sampled.
        start: Free parameters of the posterior's support, (f,).
        description: What tells this posterior from others, with the `source_model` and its `name`.
        method: As there, and so are the rest.
        walkers: Number of them.
        max_steps: Of every walker.
        seed: Of the random numbers.
        path: HDF5 file.
    """
    # A seed that is an array would draw other numbers.
    seed = plain(seed)
    walkers = check_settings(method, walkers, max_steps, len(posterior.support.lower))
    if method == "nuts":
        check_threads()
    start = posterior.support.nearest(np.asarray(start, "float64")[None])[0]
    # A chain of before there was a temperature is one of 1.
    heat = {"temperature": posterior.temperature} if posterior.temperature != 1 else {}
    description = (description | heat) | {
        "method": method,
        "walkers": walkers,
        "seed": seed,
        "start": start.tolist(),
    }
    with tempfile.TemporaryDirectory() as scratch, alone_with(path or Path(scratch) / "chain.h5"):
        file = ChainFile(path or Path(scratch) / "chain.h5", description)
        if file.steps < max_steps:
            start = np.array(file.description["start"])
            positions = _positions(posterior, start, walkers, seed)
            _run(file, posterior.held_at(start), positions, method, int(max_steps), seed)
        chain = LensChain.from_file(file)
    if not chain.converged:
        warnings.warn(chain.verdict, UserWarning, stacklevel=3)
    return chain


def _run(file: ChainFile, posterior, positions, method: str, max_steps: int, seed: int) -> None:
    """Add steps to a chain until it has converged or has as many as it may have."""
    before, began = file.note("seconds"), time.perf_counter()
    with (
        tqdm(total=max_steps, initial=file.steps, unit="step", desc="sampling") as progress,
        _interrupts_between_steps() as interrupt,
    ):

        def watch() -> None:
            progress.update()
            interrupt()

        advance = _SAMPLERS[method](posterior, file, positions, seed, watch)
        try:
            while file.steps < max_steps:
                if file.steps and LensChain.from_file(file).converged:
                    return
                advance(min(SAMPLERS[method].interval, max_steps - file.steps))
                chain, progress.n = LensChain.from_file(file), file.steps
                progress.set_postfix_str(
                    f"{len(chain.walkers) / np.max(chain.autocorrelation_time):.0f} of 50 "
                    "autocorrelation times"
                )
        finally:
            file.keep(seconds=before + time.perf_counter() - began)


@contextlib.contextmanager
def _interrupts_between_steps() -> Iterator[Callable[[], None]]:
    """Hold a first ctrl-C back until the function that is yielded is called.

    Within a likelihood emcee prints a traceback of it, TensorFlow makes another error of it, and
    within a write HDF5 loses the step.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: None
        return
    asked = threading.Event()

    def interrupt() -> None:
        if asked.is_set():
            raise KeyboardInterrupt

    def ask(number, frame) -> None:
        interrupt()
        asked.set()

    signal.signal(signal.SIGINT, ask)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt()


def _positions(posterior: LensPosterior, start: np.ndarray, walkers: int, seed: int) -> np.ndarray:
    """Return lenses close around the start, inside of the support, (walkers, f)."""
    generator = np.random.default_rng(seed)
    width = _START_WIDTH * np.minimum(posterior.steps[-1], posterior.support.narrowest)
    found = np.empty((0, len(start)))
    while len(found) < walkers:
        draws = start + width * generator.standard_normal((64 * walkers, len(start)))
        found = np.concatenate([found, draws[posterior.support.contains(draws)]])
    return found[:walkers]


def _describe(source_model: SourceModel, posterior: LensPosterior) -> dict:
    """Return what tells this posterior from another, as JSON can hold it."""
    seen = posterior.observation
    correlation = [] if seen.noise_correlation is None else [seen.noise_correlation]
    # A chain of before the support had inner edges is not that of a support that has some.
    support = posterior.support
    inner = {disc.name: disc.smallest for disc in support.discs}
    inner = {"inner_edges": inner} if any(inner.values()) else {}
    return (
        inner
        | {
            "source_model": source_model.description(),
            "image_noise_psf": _digest(
                seen.image, seen.noise, seen.blur, seen.flux_unit, *correlation
            ),
            "priors": asdict(posterior.priors),
            "parameters": len(posterior.support.lower),
        }
        | _scene(posterior)
    )


def _scene(posterior: LensPosterior) -> dict:
    """Return what tells a lens from 7 or 8 free parameters in ranges: of these, nothing.

    So chains of before there were others go on.
    """
    form, support = posterior.observation.form, posterior.support
    usual = LensSupport.from_priors(posterior.priors, form).to_dict()
    if form in SHORT_FORMS.values() and usual == support.to_dict():
        return {}
    return {"lens": describe_form(form), "support": support.to_dict()}


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

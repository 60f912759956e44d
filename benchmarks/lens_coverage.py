"""Are the intervals of the lens posterior honest? Coverage over simulated systems.

    python train/train_rim.py --preset tiny16 --steps 4000 --batch 16 --seed 1 --output runs/tiny16
    python train/publish.py runs/tiny16 --name rim_tiny16 --systems 200 --output runs/zoo
    python benchmarks/lens_coverage.py --model runs/zoo/rim_tiny16 --output runs/coverage

samples the lens posterior of every system with emcee: with the RIM, with the evidence of the linear
inversion, and with that evidence on systems whose sources are drawn from its own prior, where
coverage must be nominal at its true strength; of the first systems with NUTS; and of other systems
with likelihoods that are tempered by what the first systems' intervals lacked. The true lenses
are drawn from the prior that the sampler assumes, flat on `LensSupport`: otherwise coverage means
nothing. (Systems that the frame cannot hold, or that hardly magnify, are drawn again, as in
training, and the sampler does not know it.) The chains start at the truth: this tests intervals,
not the search. They end when they have converged, or with their largest number of steps. The linear
inversion has one strength for all lenses of a chain: on galaxies that of the largest evidence at
the true lens, on its own sources the one that they were drawn with. `sample_lens_posterior` by
default finds every lens a strength of its own, which takes several times as long; what that changes
is told by the same draws, weighed anew (importance sampling). Every chain is kept in a file of its
own: an interrupted run goes on with the same command. Then it writes measures.npz, table.md,
coverage.png and, of the first system, corner.png (figure 9); `--draw-only` does that again from the
chains that are there.
"""

import argparse
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from resumable import claim_run, in_processes, run_parser, write_arrays, write_figure, write_text

from rim_lensing.program import run

SEED = 2_019_883_015
DRAWS_KEPT = 4000
DRAWS_REWEIGHTED = 1000


@dataclass(frozen=True)
class Kind:
    """A posterior and its sampler.

    Args:
        title: In tables.
        own_prior: The sources are drawn from the linear inversion's prior, and not galaxies.
        method: Of `sample_posterior`.
        walkers: Number of them. An evidence costs the same alone and in a batch: fewer walkers
            forget their start for less.
        max_steps: Of every walker: some 25 autocorrelation times, half of what emcee asks of a
            chain, and enough for intervals: see R-hat and effective samples in the table.
        held: The kind, of a held strength, whose draws are weighed anew by the evidence at a
            strength for every lens; None samples.
        stretch: By how much the intervals of the systems before FIRST_TEMPERED had to be stretched.
            The log-likelihood is divided by its square and, of a RIM, by chi^2 per pixel of the
            best lens that L-BFGS finds, if that is above 1. None: taken at its word.
    """

    title: str
    own_prior: bool
    method: str
    walkers: int
    max_steps: int
    held: str | None = None
    stretch: float | None = None


FIRST_TEMPERED = 52
KINDS = {
    "rim": Kind("RIM", False, "emcee", 32, 1500),
    "nuts": Kind("RIM, NUTS", False, "nuts", 16, 300),
    "linear": Kind("linear", False, "emcee", 16, 1500),
    "own": Kind("linear, sources of its prior", True, "emcee", 16, 1500),
}
KINDS |= {
    f"{name}_free": replace(KINDS[name], title=f"{KINDS[name].title}, free strength", held=name)
    for name in ("linear", "own")
}
KINDS["rim_tempered"] = replace(KINDS["rim"], title="RIM, tempered", stretch=1.43)
KINDS["linear_tempered"] = replace(KINDS["linear"], title="linear, tempered", stretch=1.34)
KINDS["rim_refined"] = Kind("RIM, refined", False, "emcee", 16, 1500)
RIM_KINDS, COMPARED = ("rim", "nuts", "rim_tempered", "rim_refined"), ("rim", "linear")


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = run_parser(__doc__.split("\n")[0], systems=56, model=None)
    parser.add_argument("--nuts-systems", type=int, default=4, help="the first so many")
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="what to sample; default all"
    )
    parser.add_argument("--draw-only", action="store_true", help="no new chain")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Sample what is missing, measure, draw."""
    options = parse_arguments(arguments)
    if options.systems < 8 or options.nuts_systems < 0:
        raise ValueError(
            "--systems must be at least 8 (half of them calibrate), and --nuts-systems not negative"
        )
    claim_run(options, {"kinds": {name: asdict(kind) for name, kind in KINDS.items()}})
    # System by system: a run that is cut short has as many of every kind.
    numbered = [
        (kind, count + (FIRST_TEMPERED if KINDS[kind].stretch else 0))
        for count in range(options.systems)
        for kind in options.kinds
        if kind != "nuts" or count < options.nuts_systems
    ]
    jobs = [
        (kind, system, options)
        for kind, system in numbered
        if not _path(options.output, kind, system).exists()
    ]
    if options.draw_only:
        jobs = []
    # Not in a worker, which has a single thread: see `nuts_sampler.check_threads`.
    for job in jobs:
        if job[0] == "nuts":
            _sample(job)
    sampled = [job for job in jobs if job[0] != "nuts" and not KINDS[job[0]].held]
    weighed = [job for job in jobs if KINDS[job[0]].held]
    for do, several in ((_sample, sampled), (_weigh, weighed)):
        if several:
            in_processes(do, several, options.workers, "chain")
    _report(options.output)
    return 0


def _path(directory: Path, kind: str, system: int) -> Path:
    return directory / f"{kind}_{system:04d}.npz"


_loaded: dict = {}


def _posterior(kind: Kind, name: str, number: int, options: argparse.Namespace) -> tuple:
    """Return the posterior of a system, its true lens and its noise over the peak."""
    from rim_lensing.galaxies.galaxy_pool import unseen_galaxies
    from rim_lensing.lens_fit.lens_posterior import lens_posterior
    from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion
    from rim_lensing.simulation.mock_observations import MockSimulator
    from rim_lensing.zoo.zoo import load_pretrained

    if not _loaded:
        model = load_pretrained(options.model)
        galaxies = unseen_galaxies(options.galaxies)
        _loaded["model"], _loaded["priors"] = model, flat_lens_priors()
        _loaded["simulator"] = MockSimulator(galaxies, _loaded["priors"], model.network.config)
    model, priors = _loaded["model"], _loaded["priors"]
    geometry = model.network.config
    generator = np.random.default_rng([SEED, number, kind.own_prior])
    if kind.own_prior:
        observation, noise_level, strength = own_prior_system(generator, priors, geometry)
    else:
        observation, noise_level = _galaxy_system(generator, _loaded["simulator"])
    if name in RIM_KINDS:
        source_model = model.refined(name == "rim_refined")
    elif kind.held:
        source_model = SemilinearInversion(geometry=geometry)
    else:
        if not kind.own_prior:
            strength = _best_strength(observation, geometry)
        source_model = SemilinearInversion(strength=strength, geometry=geometry)
    posterior = lens_posterior(source_model, observation, priors)
    truth = observation.lens[0].astype("float64")
    return posterior.held_at(truth), truth, noise_level


def _sample(job: tuple) -> None:
    """Sample the posterior of one system, and write what is measured."""
    import warnings

    from rim_lensing.sampling.sample import sample_posterior

    name, number, options = job
    kind = KINDS[name]
    posterior, truth, noise_level = _posterior(kind, name, number, options)
    if kind.stretch:
        posterior = posterior.tempered(kind.stretch**2 * _misfit(posterior, truth))
    with warnings.catch_warnings():
        # That a chain is short is in the table.
        warnings.filterwarnings("ignore", message="NOT converged")
        chain = sample_posterior(
            posterior,
            truth,
            {"source_model": {"name": name}},
            kind.method,
            kind.walkers,
            kind.max_steps,
            seed=number,
        )
    kept = _spread(len(chain.samples), DRAWS_KEPT)
    arrays = {
        "truth": truth,
        "samples": chain.samples[kept],
        "log_posterior": chain.log_posterior[kept],
        "true_log_posterior": posterior.log_posterior(truth[None])[0],
        "temperature": posterior.temperature,
        "noise_level": noise_level,
        "pixels": posterior.observation.mask.sum(),
        "r_hat": chain.r_hat,
        "effective_samples": chain.effective_samples,
        "draws": len(chain.samples),
        "converged": chain.converged,
        "acceptance": chain.acceptance,
        "seconds": chain.seconds,
        "evaluations": posterior.evaluations,
    }
    write_arrays(_path(options.output, name, number), arrays)


def _misfit(posterior, start: np.ndarray) -> float:
    """Return chi^2 per pixel of the best lens near the start, 1 if it is less or no RIM's."""
    from rim_lensing.lens_fit.lens_search import maximise

    if not posterior.least_squares:
        return 1.0
    _, values, _ = maximise(posterior, start[None], "lbfgs")
    return max(-2 * values[0] / posterior.observation.mask.sum(), 1.0)


def _weigh(job: tuple) -> None:
    """Weigh the draws of a held strength anew, and write what is measured."""
    name, number, options = job
    kind = KINDS[name]
    path = _path(options.output, kind.held, number)
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: --kinds {name} needs {kind.held}, too")
    held = dict(np.load(path))
    posterior, truth, _ = _posterior(kind, name, number, options)
    started = time.perf_counter()
    kept = _spread(len(held["samples"]), DRAWS_REWEIGHTED)
    values = posterior.log_posterior(held["samples"][kept])
    chosen, worth = importance_draws(
        values - held["log_posterior"][kept], np.random.default_rng([SEED, number])
    )
    weighed = {
        "samples": held["samples"][kept][chosen],
        "log_posterior": values[chosen],
        "true_log_posterior": posterior.log_posterior(truth[None])[0],
        "effective_samples": held["effective_samples"] * worth,
        "draws": len(chosen),
        "seconds": held["seconds"] + time.perf_counter() - started,
        "evaluations": held["evaluations"] + posterior.evaluations,
    }
    write_arrays(_path(options.output, name, number), held | weighed)


def _spread(available: int, wanted: int) -> np.ndarray:
    """Return so many numbers of draws, evenly over those that there are."""
    return np.linspace(0, available - 1, min(wanted, available)).astype(int)


def importance_draws(
    log_weights: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Draw as often as there are weights, by systematic resampling (Kitagawa 1996).

    Returns:
        (numbers of the draws, and what share of equally many equal weights they are worth: Kish's
        (sum w)^2 / sum w^2 over their number).
    """
    weights = np.exp(log_weights - np.max(log_weights))
    count = len(weights)
    ladder = (generator.uniform() + np.arange(count)) / count
    # Rounding may leave the sum below the last rung.
    steps = np.minimum(np.searchsorted(np.cumsum(weights) / weights.sum(), ladder), count - 1)
    return steps, float(weights.sum() ** 2 / np.sum(weights**2) / count)


def _best_strength(observation, geometry) -> float:
    """Return the strength of the largest evidence at the observation's lens."""
    from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion

    unit = observation.flux_unit[0]
    result = SemilinearInversion(geometry=geometry).reconstruct(
        observation.image[0] * unit,
        noise=observation.noise[0] * unit,
        psf=observation.psf[0],
        lens=observation.lens[0],
        uncertainties=False,
    )
    return float(result.strength)


def flat_lens_priors():
    """Return `Priors` whose lenses are drawn from the sampler's prior, flat on `LensSupport`."""
    from rim_lensing.lens_fit.lens_support import LensSupport
    from rim_lensing.simulation.priors import Priors

    class FlatLensPriors(Priors):
        def draw(self, generator, count):
            support = LensSupport.from_priors(self, 7)
            lenses = np.empty((0, 7))
            while len(lenses) < count:
                draws = generator.uniform(support.lower, support.upper, (4 * count, 7))
                lenses = np.concatenate([lenses, draws[support.contains(draws)]])
            return super().draw(generator, count) | {"lens": lenses[:count].astype("float32")}

    return FlatLensPriors()


def _galaxy_system(generator, simulator):
    """Return the observation of a galaxy that meets the simulator's constraints, and its noise."""
    mocks = simulator.draw(generator, 1)
    observation = _observation(
        mocks.image[0], mocks.noise[0], mocks.psf[0], mocks.lens[0], simulator.geometry
    )
    return observation, mocks.noise_level[0]


def own_prior_system(generator, priors, geometry):
    """Return an observation whose source is drawn from the gradient prior, its noise and strength.

    Nothing but data decides whether a system is drawn again, and the noise does not depend on
    source or lens: the evidence at this strength is then the exact likelihood.

    Returns:
        (observation, rms of the noise, strength): the strength makes the rms of the sources'
        pixels 1/3, so that their peaks are about 1, as those of galaxies are.
    """
    from keras import ops

    from rim_lensing.forward_model.forward_model import ForwardModel
    from rim_lensing.forward_model.psf import gaussian_kernel
    from rim_lensing.inversion.regularization import regularization_modes

    side = geometry.source_side
    modes, eigenvalues = regularization_modes("gradient", side)
    strength = 9 * float(np.mean(1 / eigenvalues))
    for _ in range(100):
        drawn = priors.draw(generator, 1)
        white = generator.standard_normal((side, side))
        source = modes @ (white / np.sqrt(strength * eigenvalues)) @ modes.T
        psf = gaussian_kernel(drawn["psf_sigma"], geometry.psf_side, geometry.image_pixel_scale)
        forward = ForwardModel(
            drawn["lens"], psf, geometry.image_grid, geometry.source_grid, geometry.supersampling
        )
        image = ops.convert_to_numpy(forward.predict(source[None].astype("float32")))[0]
        rms = float(drawn["noise"][0])
        image = image + rms * generator.standard_normal(image.shape)
        try:
            kernel = ops.convert_to_numpy(psf)[0]
            observation = _observation(image, rms, kernel, drawn["lens"][0], geometry)
        except ValueError:  # no signal
            continue
        return observation, rms, strength
    raise RuntimeError("None of 100 sources drawn from the prior stands out of the noise")


def _observation(image, noise, psf, lens, geometry):
    from rim_lensing.observation.checks import check_observation

    return check_observation(
        image, noise, psf, lens, image_grid=geometry.image_grid, psf_side=geometry.psf_side
    )


def _both_of_first_system(directory: Path) -> list[dict] | None:
    """Return the chains of COMPARED of the first system that has both; None if there is none."""
    numbers = [
        {path.name.removeprefix(f"{name}_") for path in directory.glob(f"{name}_[0-9]*.npz")}
        for name in COMPARED
    ]
    common = sorted(set.intersection(*numbers))
    if not common:
        return None
    return [dict(np.load(directory / f"{name}_{common[0]}")) for name in COMPARED]


def _report(directory: Path) -> None:
    """Measure and draw what the chains say."""
    from coverage_report import coverage_figure, measure, table

    from rim_lensing.figures import lens_contours
    from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES

    measures = {}
    for name in KINDS:
        paths = sorted(directory.glob(f"{name}_[0-9]*.npz"))
        if paths:
            chains = [dict(np.load(path)) for path in paths]
            measures[name] = measure(chains, is_chi2=name in RIM_KINDS and not KINDS[name].stretch)
    if not measures:
        raise FileNotFoundError(f"There are no chains in {directory}")
    flat = {
        f"{name}_{key}": value for name, found in measures.items() for key, value in found.items()
    }
    write_arrays(directory / "measures.npz", flat)
    titles = {name: KINDS[name].title for name in measures}
    text = table(measures, titles)
    write_text(directory / "table.md", text)
    figure = coverage_figure(measures, titles)
    if figure:
        write_figure(directory / "coverage.png", figure)
    pair = _both_of_first_system(directory)
    if pair:
        contours = lens_contours(
            [one["samples"] for one in pair],
            [KINDS[name].title for name in COMPARED],
            PARAMETER_NAMES,
            pair[0]["truth"],
        )
        write_figure(directory / "corner.png", contours, dpi=60)
    print(text)


if __name__ == "__main__":
    run(main, "interrupted; the same command goes on")

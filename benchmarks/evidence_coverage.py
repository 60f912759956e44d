"""Is the evidence the likelihood that it says it is? Coverage of one lens parameter at a time.

    python benchmarks/evidence_coverage.py --output runs/evidence_coverage

draws lenses from the flat prior and sources from the linear inversion's own prior, as
lens_coverage.py does, and integrates the posterior of each lens parameter on a grid, the others
held at their true values: no chain that may be too short. At the strength that the sources were
drawn with, the fraction of the posterior below the truth is uniform if the evidence is right (Talts
et al. 2018), and intervals hold the truth as often as they say. Every system is kept in a file: an
interrupted run goes on with the same command. It writes table.md.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from coverage_report import LEVELS, wilson
from lens_coverage import flat_lens_priors, own_prior_system
from resumable import claim, in_processes, write_arrays, write_text

from rim_lensing.program import run

SEED = 180_406_788
PRESET = "tiny16"
POINTS = 121
_TAIL = 1e-4


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--systems", type=int, default=200)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--output", type=Path, required=True, help="directory of the run")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Integrate what is missing, and write the table."""
    options = parse_arguments(arguments)
    if options.systems < 1 or options.workers < 1:
        raise ValueError("--systems and --workers must be positive")
    claim(options.output, {"preset": PRESET, "points": POINTS, "seed": SEED})
    paths = [options.output / f"system_{number:04d}.npz" for number in range(options.systems)]
    jobs = [(number, path) for number, path in enumerate(paths) if not path.exists()]
    if jobs:
        in_processes(_integrate, jobs, options.workers, "system")
    below = np.array([np.load(path)["below"] for path in paths])
    text = table(below)
    write_text(options.output / "table.md", text)
    print(text)
    return 0


def _integrate(job: tuple) -> None:
    """Write the fraction of every parameter's posterior below the truth, of one system."""
    from rim_lensing.lens_fit.lens_posterior import lens_posterior
    from rim_lensing.networks.presets import get_preset
    from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion

    number, path = job
    geometry, priors = get_preset(PRESET), flat_lens_priors()
    generator = np.random.default_rng([SEED, number])
    observation, _, strength = own_prior_system(generator, priors, geometry)
    inversion = SemilinearInversion(strength=strength, geometry=geometry)
    posterior = lens_posterior(inversion, observation, priors)
    truth = observation.lens[0].astype("float64")
    widths = posterior.support.upper - posterior.support.lower
    below = []
    for i, width in enumerate(widths):

        def along(values, i=i):
            lenses = np.repeat(truth[None], len(values), axis=0)
            lenses[:, i] = values
            return posterior.log_posterior(lenses)

        below.append(mass_below(along, truth[i], width))
    write_arrays(path, {"below": np.array(below), "truth": truth})


def mass_below(log_density, point: float, reach: float) -> float:
    """Return what fraction of a density on a line lies below a point, within `reach` of it.

    The grid has the point in its middle, and shrinks until the density fills a quarter of it.

    Args:
        log_density: Of values (k,); up to a constant, (k,).
        point: Where the density is not far from its largest value.
        reach: Half the width of the first grid.
    """
    while True:
        offsets = np.linspace(-reach, reach, POINTS)
        values = log_density(point + offsets)
        mass = np.exp(values - values.max())
        total = np.cumsum(mass) / mass.sum()
        inside = offsets[(total > _TAIL) & (total - mass / mass.sum() < 1 - _TAIL)]
        filled = np.abs(inside).max() + reach / POINTS
        if filled > reach / 4:
            middle = POINTS // 2
            return float(total[middle] - 0.5 * mass[middle] / mass.sum())
        reach = 1.2 * filled


def table(below: np.ndarray) -> str:
    """Return what was found, as Markdown.

    Args:
        below: Fraction of every parameter's posterior below the truth, (systems, p).
    """
    from scipy.stats import kstest

    from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES

    first, second = LEVELS
    lines = [
        f"| parameter | systems | in {first:.0%} | in {second:.0%} | uniform (KS test) |",
        "|---|---|---|---|---|",
    ]
    for name, column in zip(PARAMETER_NAMES, below.T, strict=True):
        cells = []
        for level in LEVELS:
            hits = int(np.sum(2 * np.abs(column - 0.5) <= level))
            low, high = wilson(hits, len(column))
            cells.append(f"{hits / len(column):.1%} ({low:.1%} to {high:.1%})")
        p_value = kstest(column, "uniform").pvalue
        lines.append(f"| {name} | {len(column)} | {cells[0]} | {cells[1]} | p = {p_value:.2f} |")
    pooled = [np.mean(2 * np.abs(below - 0.5) <= level) for level in LEVELS]
    lines.append(f"| all | {len(below)} | {pooled[0]:.1%} | {pooled[1]:.1%} | |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run(main, "interrupted; the same command goes on")

"""The searches for the lens against each other: L-BFGS on the RIM's gradient, and the simplex.

    python benchmarks/optimisation.py --galaxies galaxies.h5 --output runs/optimisation

optimises the first systems of the frozen validation set from the truth plus Gaussian errors of the
size that a lens CNN makes, as an SIE and as an EPL, both in shear. It prints what each search
costs, and how much more probable than the true lens it ends. Interrupted, it goes on with the same
command.
"""

import argparse
import warnings

import numpy as np
from automated_fit import Scatter
from resumable import (
    claim_run,
    in_processes,
    read_arrays,
    run_parser,
    write_arrays,
    write_text,
)

from rim_lensing.program import run

PROFILES = {"SIE": 7, "EPL": 8}


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    return run_parser(__doc__.split("\n")[0], systems=12).parse_args(arguments)


def main(arguments=None) -> int:
    """Search where it has not been done, and print the table."""
    options = parse_arguments(arguments)
    from rim_lensing.lens_fit.lens_search import METHODS

    claim_run(options)
    cases = [(method, profile) for method in METHODS for profile in PROFILES]
    files = {
        (*case, i): options.output / f"{'_'.join(case)}_{i:04d}.npz"
        for i in range(options.systems)
        for case in cases
    }
    jobs = [(*key, path, options) for key, path in files.items() if not path.exists()]
    if jobs:
        in_processes(_search, jobs, options.workers, "search")
    text = table(
        {case: read_arrays([files[(*case, i)] for i in range(options.systems)]) for case in cases}
    )
    write_text(options.output / "table.md", text)
    print(text)
    return 0


_loaded: dict = {}


def _search(job: tuple) -> None:
    """Optimise one system, and write where it ended."""
    from rim_lensing.lens_fit.lens_posterior import lens_posterior
    from rim_lensing.lens_fit.optimise import check_single, optimise_lens
    from rim_lensing.simulation.validation_set import validation_set
    from rim_lensing.zoo.zoo import load_pretrained

    method, profile, number, path, options = job
    if not _loaded:
        _loaded["model"] = load_pretrained(options.model)
        _loaded["set"] = validation_set(_loaded["model"].network.config, options.galaxies)
    model, mock = _loaded["model"], _loaded["set"].mocks([number])
    truth, start = (
        np.append(lens, np.ones(PROFILES[profile] - 7)).astype("float64")
        for lens in (mock.lens[0], Scatter(mock.lens[0], number, 1.0).lens)
    )
    data = {"image": mock.image[0], "noise": mock.noise[0], "psf": mock.psf[0]}
    observation = check_single(**data, lens=truth, mask=None, source_model=model)
    posterior = lens_posterior(model, observation)
    before = posterior.log_posterior(np.array([truth, posterior.support.nearest(start[None])[0]]))
    with warnings.catch_warnings():
        # The edges of the priors, seen through the noise, look like the outside.
        warnings.simplefilter("ignore", UserWarning)
        found = optimise_lens(**data, start=start, source_model=model, method=method)
    row = {
        "noise_level": mock.noise_level[0],
        "start_chi2": 2 * (before[0] - before[1]),
        "chi2": 2 * (before[0] - found.log_posterior),
        "start_theta_E": abs(start[0] - truth[0]),
        "theta_E": abs(found.lens[0] - truth[0]),
        "evaluations": found.evaluations,
        "seconds": found.seconds,
        "converged": found.converged,
    }
    write_arrays(path, {name: np.array(value)[None] for name, value in row.items()})


def table(cases: dict) -> str:
    """Return what was found, as Markdown."""
    lines = [
        "| search | sources, median (largest) | seconds, median (largest) | chi^2 less that of the "
        "true lens, median (largest) | as probable as the true lens | abs. theta_E error, median |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (method, profile), found in cases.items():
        columns = [
            f"{np.median(found[name]):.{digits}f} ({np.max(found[name]):.{digits}f})"
            for name, digits in (("evaluations", 0), ("seconds", 0), ("chi2", 1))
        ]
        # An optimum that chi^2 does not tell from the truth: seven or eight parameters' worth.
        reached = np.mean(found["chi2"] < 2)
        lines.append(
            f"| {method}, {profile} + shear | {' | '.join(columns)} | {reached:.0%} | "
            f'{np.median(found["theta_E"]):.4f}" |'
        )
    first = next(iter(cases.values()))
    return "\n".join(
        [
            *lines,
            "",
            f"{len(first['chi2'])} systems; at the start chi^2 is larger than the true lens's by "
            f"{np.median(first['start_chi2']):.0f} (median), theta_E is off by "
            f'{np.median(first["start_theta_E"]):.4f}".',
            "",
        ]
    )


if __name__ == "__main__":
    run(main, "interrupted; the same command goes on")

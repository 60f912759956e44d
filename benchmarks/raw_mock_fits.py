"""Raw mocks through `rim-lensing fit`, a command each, beside the truth.

    python benchmarks/raw_mock_fits.py --mocks runs/raw_mocks --output runs/raw_mock_fits

--mocks is a folder of `benchmarks/raw_mocks.py`: of mocks 0 to 199 nothing was tuned. No option is
chosen for a mock. The command goes on where it was stopped.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from real_lens_inputs import Case
from real_lenses import run
from tqdm import tqdm

from rim_lensing.files.whole_files import whole_file

LENS = ("theta_E", "e1", "e2", "x", "y", "gamma1", "gamma2", "slope")


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mocks", type=Path, required=True, help="folder of raw_mocks.py")
    parser.add_argument("--output", type=Path, required=True, help="directory of the run")
    parser.add_argument("--first", type=int, default=0, help="the first so many are left out")
    parser.add_argument("--every", type=int, default=1, help="of the others")
    parser.add_argument("--report-only", action="store_true", help="no new fit")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Fit what is missing, print the table."""
    options = parse_arguments(arguments)
    truths = sorted(options.mocks.glob("raw_mock_????.json"))[options.first :: options.every]
    if not truths:
        raise FileNotFoundError(f"There is no mock of raw_mocks.py in {options.mocks}")
    options.output.mkdir(parents=True, exist_ok=True)
    pairs = []
    for truth in tqdm(truths, unit="mock"):
        row = options.output / f"{truth.stem}.json"
        image = truth.with_suffix(".fits")
        if not row.exists() and not options.report_only:
            run(Case(truth.stem, image, f"{image}[NOISE]", f"{image}[PSF]"), options.output)
        if row.exists():
            pairs.append((json.loads(truth.read_text()), json.loads(row.read_text())))
    report = table(pairs)
    print(report)
    with whole_file(options.output / "table.md") as temporary:
        temporary.write_text(report + "\n")
    return 0


def table(pairs: list[tuple[dict, dict]]) -> str:
    """Return a line for every mock, and what they add up to, in Markdown."""
    lines = [
        "| mock | what it is | verdict | right | theta_E - truth | errors / std: theta_E, e1, e2, "
        "gamma1, gamma2 | flux of the source / truth - 1 | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_line(*pair) for pair in pairs]
    return "\n".join([*lines, "", *_summary(pairs)])


def _verdict(row: dict) -> str:
    metrics = row["metrics"]
    return f"exit status {row['status']}" if metrics is None else metrics["verdict"]


def _is_right(truth: dict, row: dict) -> bool:
    return _verdict(row) in truth["right_verdicts"]


def _errors(truth: dict, row: dict) -> dict[str, float] | None:
    """Return what the lens is off by, by parameter; None where there is none to compare."""
    lens = (row["metrics"] or {}).get("lens")
    if not lens or truth["kind"] != "lens":
        return None
    return {name: lens[name] - truth["lens"][name] for name in LENS if name in lens}


def _flux_error(truth: dict, row: dict) -> float | None:
    metrics = row["metrics"] or {}
    if truth["kind"] != "lens" or "source_flux" not in metrics:
        return None
    return metrics["source_flux"] / truth["source_flux"] - 1


def _line(truth: dict, row: dict) -> str:
    errors, flux = _errors(truth, row), _flux_error(truth, row)
    pulls = ""
    if errors:
        std = row["metrics"]["lens_std"]
        names = ("theta_E", "e1", "e2", "gamma1", "gamma2")
        pulls = ", ".join(f"{errors[name] / std[name]:+.1f}" for name in names)
    cells = [
        row["name"].removeprefix("raw_mock_"),
        f"{truth['kind']}, {truth['instrument']}",
        _verdict(row),
        "yes" if _is_right(truth, row) else "no",
        f"{errors['theta_E']:+.4f}" if errors else "",
        pulls,
        "" if flux is None else f"{flux:+.1%}",
        f"{row['seconds']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _summary(pairs: list[tuple[dict, dict]]) -> list[str]:
    """Return the bars, in words."""
    right = sum(_is_right(*pair) for pair in pairs)
    said = [f"- Right verdict: {right} of {len(pairs)} ({right / len(pairs):.0%})."]
    converged = [pair for pair in pairs if _verdict(pair[1]) == "converged" and _errors(*pair)]
    if not converged:
        return said
    theta = np.array([_errors(*pair)["theta_E"] for pair in converged])
    flux = np.array([_flux_error(*pair) for pair in converged])
    error = 1.2533 / np.sqrt(len(converged))
    return [
        *said,
        f"- Converged lenses: {len(converged)}. theta_E: median error {np.median(abs(theta)):.4f}"
        f'", bias {np.median(theta):+.4f}" +- {error * theta.std():.4f}".',
        f"- Flux of the source: median error {np.median(abs(flux)):.1%}, bias "
        f"{np.median(flux):+.1%} +- {error * flux.std():.1%}.",
    ]


if __name__ == "__main__":
    sys.exit(main())

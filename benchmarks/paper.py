"""The paper's figures 3 to 10 with our models, and its numbers beside ours.

    python benchmarks/paper.py --fidelity runs/fidelity --automated-fit runs/automated_fit \\
        --coverage runs/coverage --out-of-distribution runs/out_of_distribution_text \\
        --output runs/paper

reads what those programs have written, draws figure3.png to figure10.png and writes table.md.
Nothing is computed again: seconds, and no TensorFlow. What was not given is left out, with the
command that makes it.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paper_figures as figures
from paper_arrays import (
    Fidelity,
    Fits,
    check_same_systems,
    read_chains,
    read_fidelity,
    read_fits,
    read_out_of_distribution,
)
from paper_lens_rows import chain_rows, fit_rows
from paper_source_rows import fidelity_rows, out_of_distribution_rows
from paper_table import as_markdown
from resumable import write_figure, write_text

from rim_lensing.program import run

_READERS = {
    "fidelity": read_fidelity,
    "automated_fit": read_fits,
    "coverage": read_chains,
    "out_of_distribution": read_out_of_distribution,
}
_ROWS = {
    "fidelity": fidelity_rows,
    "automated_fit": fit_rows,
    "coverage": chain_rows,
    "out_of_distribution": out_of_distribution_rows,
}
_COMMANDS = {
    "fidelity": "benchmarks/fidelity.py --galaxies galaxies.h5 --systems 200 "
    "--engine matrix-free --output runs/fidelity",
    "automated_fit": "benchmarks/automated_fit.py --galaxies galaxies.h5 --output "
    "runs/automated_fit",
    "coverage": "benchmarks/lens_coverage.py --model runs/zoo/rim_tiny16 --galaxies galaxies.h5 "
    "--systems 52 --nuts-systems 1 --output runs/coverage",
    "out_of_distribution": "benchmarks/out_of_distribution.py --galaxies galaxies.h5 "
    "--systems 10 --output runs/out_of_distribution_text",
}
_NEEDS = {
    3: ("fidelity",),
    4: ("fidelity", "automated_fit"),
    5: ("fidelity",),
    6: ("fidelity",),
    7: ("automated_fit",),
    8: ("automated_fit",),
    9: ("coverage",),
    10: ("out_of_distribution",),
}


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in _COMMANDS:
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=Path, help=f"run of benchmarks/{name}.py")
    parser.add_argument("--output", type=Path, required=True, help="directory for the figures")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Read all, then draw all."""
    options = parse_arguments(arguments)
    runs = _read(options)
    drawings, skipped = _drawings(runs)
    targets = [options.output / f"figure{number}.png" for number in drawings]
    targets.append(options.output / "table.md")
    existing = [path for path in targets if path.exists()]
    if existing and not options.overwrite:
        raise FileExistsError(f"{existing[0]} exists; --overwrite replaces it")
    options.output.mkdir(parents=True, exist_ok=True)
    for path, draw in zip(targets, drawings.values(), strict=False):
        write_figure(path, draw())
    text = _table(runs)
    write_text(targets[-1], text)
    print(text)
    for line in skipped:
        print(line)
    return 0


def _read(options: argparse.Namespace) -> dict:
    """Return the runs that were given, by name.

    Raises:
        ValueError: None was given, or one is damaged, or two do not go together.
        FileNotFoundError: There is no such run.
    """
    given = {name: getattr(options, name) for name in _READERS}
    runs = {name: _READERS[name](path) for name, path in given.items() if path is not None}
    if not runs:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in _READERS)
        raise ValueError(f"Nothing to draw: give at least one of {names}")
    if "fidelity" in runs and "automated_fit" in runs:
        check_same_systems(runs["fidelity"], runs["automated_fit"])
    return runs


def _drawings(runs: dict) -> tuple[dict[int, Callable], list[str]]:
    """Return what can be drawn, by the figure's number, and a line for what cannot."""
    makers = {
        3: lambda: figures.reconstructions_figure(runs["fidelity"].examples),
        4: lambda: figures.flux_figure(*_fluxes(runs["fidelity"], runs["automated_fit"])),
        5: lambda: figures.coherence_figure(
            {
                "RIM": runs["fidelity"].measures["rim_coherence"],
                "linear inversion": runs["fidelity"].measures["linear_coherence"],
            }
        ),
        6: lambda: figures.comparison_figure(runs["fidelity"].examples),
        7: lambda: figures.lens_examples_figure(runs["automated_fit"].examples, "predicted"),
        8: lambda: figures.lens_examples_figure(runs["automated_fit"].examples, "fitted"),
        9: lambda: figures.posterior_figure(runs["coverage"].rim[0], runs["coverage"].linear[0]),
        10: lambda: figures.out_of_distribution_figure(runs["out_of_distribution"].classes),
    }
    drawings, skipped = {}, []
    for number, make in makers.items():
        missing = [name for name in _NEEDS[number] if name not in runs]
        if not missing and number in (7, 8) and not runs["automated_fit"].examples:
            missing = ["automated_fit"]
        if missing:
            commands = " and ".join(f"python {_COMMANDS[name]}" for name in missing)
            skipped.append(f"figure {number} skipped, no arrays: {commands}")
        else:
            drawings[number] = make
    return drawings, skipped


def _fluxes(fidelity: Fidelity, fits: Fits) -> tuple[np.ndarray, dict]:
    """Return the true fluxes, and by lens the systems and their flux errors."""
    true = fidelity.measures["true_flux"]
    shared = fits.numbers < len(true)
    errors = {"true lens": (np.arange(len(true)), fidelity.measures["rim_flux_error"])}
    for name, title in (("predicted", "CNN's lens"), ("fitted", "optimised lens")):
        errors[title] = (fits.numbers[shared], fits.measures[f"{name}_flux_error"][shared])
    return true, errors


def _table(runs: dict) -> str:
    """Return the table as Markdown, with the models that were measured."""
    rows = [row for name, found in runs.items() for row in _ROWS[name](found)]
    lines = [_described(name, found) for name, found in runs.items()]
    return "\n".join([*lines, "", as_markdown(rows)])


def _described(name: str, found) -> str:
    """Return a line about a run: its models and grids."""
    words = [found.run[key] for key in ("model", "lens_model") if found.run.get(key)]
    if name == "fidelity":
        sides = [found.examples[key].shape[-1] for key in ("image", "true_source")]
        words.append(
            f"image {sides[0]} x {sides[0]}, source {sides[1]} x {sides[1]} pixels (the paper: "
            "192 x 192 both)"
        )
    return f"- {name.replace('_', ' ')}: {', '.join(words)}"


if __name__ == "__main__":
    run(main)

"""Long benchmarks: a directory that belongs to one run, files that are whole, all cores at work.

What is done lies in files; an interrupted run goes on with the same command.
"""

import argparse
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from galaxy_options import add_galaxies, check_galaxies
from tqdm import tqdm

from rim_lensing.files.whole_files import whole_file
from rim_lensing.plain_numbers import plain
from rim_lensing.zoo.zoo import PretrainedModel, find_pretrained, sha256

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST = 2000
"""Systems of a frozen validation set."""


def run_parser(title: str, systems: int, model: str | None = "rim_euclid64"):
    """Return an argparse parser with what all runs have in common.

    Args:
        title: One line.
        systems: Their number by default.
        model: The RIM by default; None if it has to be said.
    """
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument(
        "--model", default=model, required=model is None, help="of the zoo, or a folder"
    )
    add_galaxies(parser)
    parser.add_argument(
        "--systems", type=int, default=systems, help=f"the first so many of {LARGEST}"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--output", type=Path, required=True, help="directory of the run")
    return parser


def claim_run(options: argparse.Namespace, settings: dict | None = None) -> PretrainedModel:
    """Check the options of `run_parser`, claim the directory, and return the RIM.

    Args:
        options: What the user said.
        settings: What else tells this run from another, as JSON.

    Raises:
        ValueError: A number out of range, or an unknown model.
        FileNotFoundError: There is no such galaxy file.
        FileExistsError: The directory holds another run.
    """
    model = find_pretrained(options.model, "rim")
    check_galaxies(options)
    if not 1 <= options.systems <= LARGEST or options.workers < 1:
        raise ValueError(f"--systems must be from 1 to {LARGEST}, and --workers positive")
    description = {
        "model": model.name,
        "weights_sha256": sha256(model.weights),
        "galaxies_sha256": sha256(options.galaxies) if options.galaxies else None,
    }
    claim(options.output, description | (settings or {}))
    return model


def claim(directory: Path, description: dict) -> None:
    """Make the directory this run's, or make sure that it is.

    Raises:
        FileExistsError: It holds a run with another description.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path, text = directory / "run.json", json.dumps(plain(description), indent=2) + "\n"
    if path.exists() and json.loads(path.read_text()) != json.loads(text):
        raise FileExistsError(
            f"{directory} holds a run with other settings ({path.name}): choose another directory"
        )
    write_text(path, text)


def write_arrays(path: Path, arrays: dict) -> None:
    """Write an .npz file, whole or not at all."""
    with whole_file(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text)


def write_figure(path: Path, figure: "Figure", dpi: int = 100) -> None:
    """Write a matplotlib figure as PNG, whole or not at all."""
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi)


def read_arrays(paths: Sequence[Path]) -> dict:
    """Return the arrays of several files, one after the other."""
    parts = [dict(np.load(path)) for path in paths]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def in_processes(
    function: Callable[[object], None], jobs: Sequence, workers: int, unit: str
) -> None:
    """Do jobs in processes that share the cores, with a progress bar.

    Args:
        function: Does one job. Of a module, not a closure.
        jobs: What it is called with.
        workers: Number of processes.
        unit: Of the progress bar.
    """
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
    ):
        os.environ[name] = threads
    # The bars of the workers themselves: tqdm reads this when it is imported.
    os.environ["TQDM_DISABLE"] = "1"
    context = multiprocessing.get_context("spawn")
    with (
        context.Pool(min(workers, len(jobs)), initializer=_ignore_interrupts) as pool,
        tqdm(total=len(jobs), unit=unit, disable=False) as progress,
    ):
        for _ in pool.imap_unordered(function, jobs):
            progress.update()
        pool.close()
        pool.join()


def _ignore_interrupts() -> None:
    """Leave ctrl-C to the parent, which ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

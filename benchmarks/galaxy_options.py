"""Options of benchmarks about which galaxies they lens, and how many systems they draw."""

import argparse
from pathlib import Path


def add_galaxies(parser: argparse.ArgumentParser) -> None:
    """Add --galaxies, which `check_galaxies` checks."""
    parser.add_argument("--galaxies", type=Path, help="HDF5 file; default: procedural galaxies")


def check_galaxies(options: argparse.Namespace) -> None:
    """Raise FileNotFoundError for a file of --galaxies that is not there."""
    if options.galaxies and not options.galaxies.exists():
        raise FileNotFoundError(f"There is no file {options.galaxies}")


def read_options(
    parser: argparse.ArgumentParser,
    arguments,
    systems: int,
    batch: int,
    counted: str = "how many",
) -> argparse.Namespace:
    """Add --galaxies and --systems to a parser, and read the command line.

    Args:
        parser: With the benchmark's other options.
        arguments: Of the command line.
        systems: By default.
        batch: Systems that are drawn at a time: --systems must be a multiple of it.
        counted: What --systems is.

    Raises:
        ValueError: --systems is no multiple of `batch`.
        FileNotFoundError: There is no such galaxy file.
    """
    add_galaxies(parser)
    text = f"{counted}, a multiple of {batch}"
    parser.add_argument("--systems", type=int, default=systems, help=text)
    options = parser.parse_args(arguments)
    if options.systems < batch or options.systems % batch:
        raise ValueError(f"--systems must be a multiple of {batch}. Received: {options.systems}")
    check_galaxies(options)
    return options

"""`rim-lensing survey`: many raw cutouts, a row of a table each."""

import argparse
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rim_lensing.commands.results import check_directory, verify_files

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rim_lensing.commands.survey_columns import SurveyTable
    from rim_lensing.survey.rows import Record


def add_survey(commands: argparse._SubParsersAction) -> None:
    """Add the command `survey`."""
    command = commands.add_parser(
        "survey",
        help="fit the raw cutouts that a table lists, on many cores or machines",
        description="Fits each row of a table as `rim-lensing fit` fits a raw cutout. A row that "
        "fails is a row of the results with a reason. The same command goes on where it was "
        "stopped: rows with a result are kept, the others are fitted. docs/survey.md has more.",
        epilog="Writes results.ecsv, results.parquet and index.html into DIR, and a folder for "
        "each row into DIR/lenses. Exit status: 0 when all rows have ended, 2 after an error, 130 "
        "after ctrl-C.",
    )
    command.add_argument(
        "table",
        metavar="TABLE",
        type=Path,
        help="CSV, ECSV, FITS or Parquet; columns name, image, psf, and if wanted noise, x, y (the "
        "lens's pixel, from 1), and options of `fit`, such as pixel_scale or mask; relative paths "
        "are relative to the table",
    )
    command.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="made if missing"
    )
    workers = command.add_mutually_exclusive_group()
    workers.add_argument(
        "--workers",
        type=_number,
        metavar="N",
        help="processes on this machine (default: one a core)",
    )
    workers.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a dask scheduler, or its file: its workers do the rows; they must see the same "
        "files. Who reaches a scheduler can run code on it",
    )
    command.set_defaults(run=survey)


def _number(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a positive whole number. Received: {text!r}")
    return int(text)


def survey(options: argparse.Namespace) -> int:
    """Fit what is left to fit of a table; returns the exit status."""
    _check_packages()

    from rim_lensing.commands.survey_columns import parse_row, read_survey
    from rim_lensing.commands.survey_row import UNITS, fit_row
    from rim_lensing.survey.survey import Survey
    from rim_lensing.zoo.zoo import find_pretrained

    check_directory(options.output)
    table = read_survey(options.table)
    for name in {parse_row(row.arguments, options.output).model for row in table.rows}:
        verify_files(find_pretrained(name, "rim"))
    _tell_table(table, options.table)
    survey = Survey(options.output, table.rows, table.carried, UNITS, str(options.table))
    records = survey.run(fit_row, workers=options.workers, scheduler=options.scheduler)
    _tell(records, options.output)
    return 0


def _check_packages() -> None:
    """Refuse to begin without what not everyone has."""
    missing = [name for name in ("distributed", "pyarrow") if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"`rim-lensing survey` needs {' and '.join(missing)}: pip install 'rim_lensing[survey]'"
        )


def _tell_table(table: "SurveyTable", path: Path) -> None:
    """Say what is remarkable of a table, before work begins."""
    if table.carried:
        print(f"columns handed on to the results, not read: {', '.join(table.carried)}")
    if not table.missing:
        return
    name, file = next(iter(table.missing.items()))
    said = f"{len(table.missing)} of {len(table.rows)} rows name files that are not there"
    if len(table.missing) == len(table.rows):
        raise FileNotFoundError(
            f"All rows of {path} name files that are not there, such as {file} of {name}: relative "
            "paths are relative to the table"
        )
    print(f"warning: {said}, such as {file} of {name}: they end as failures", file=sys.stderr)


def _tell(records: "Iterable[Record]", output: Path) -> None:
    """Print how many rows have ended in what way."""
    ends = Counter(
        f"{record.verdict}: {record.failure}" if record.failure else record.verdict
        for record in records
    )
    for end, number in sorted(ends.items(), key=lambda pair: -pair[1]):
        print(f"{number:6d}  {end}")
    print(f"look through them: {output / 'index.html'}")

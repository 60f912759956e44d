"""The table of results: a row for each row that has ended, in the order of the survey's table."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rim_lensing.files.whole_files import whole_file
from rim_lensing.survey.rows import Record

if TYPE_CHECKING:
    from astropy.table import Table

RESULTS = "results.ecsv", "results.parquet"

FIRST = ("name", "verdict", "failure", "reason")
LAST = (
    "seconds",
    "began",
    "worker",
    "deaths",
    "peak_memory",
    "folder",
    "files",
    "rim_lensing_version",
)

ABOUT = {
    "verdict": (None, "how the fit ended; failed where there is none"),
    "failure": (None, "why there is none, by name"),
    "reason": (None, "of the verdict, or of the failure"),
    "seconds": ("s", "wall time of the row"),
    "began": (None, "UTC"),
    "worker": (None, "which fitted it"),
    "deaths": (None, "workers that died while they worked on the row"),
    "peak_memory": ("GiB", "largest of the worker's process during the row"),
    "folder": (None, "of the row's files"),
    "files": (None, "in the folder"),
}
"""Unit and description of a column."""


def as_columns(
    records: Iterable[Record],
    carried: Mapping[str, Mapping[str, object]],
    units: Mapping[str, str],
) -> "tuple[dict[str, list], dict[str, tuple]]":
    """Return the columns of the results, None where a row has no value.

    Args:
        records: Of the rows that have ended.
        carried: Columns of the survey's table that are handed on: name of the column, then the
            rows' names, to values.
        units: Of what the task has found.

    Returns:
        Columns by name; and unit and description of those that have some.
    """
    records = list(records)
    rows = [_as_row(record) for record in records]
    found = dict.fromkeys(name for record in records for name in record.numbers)
    names = [*FIRST, *found, *LAST]
    columns = {name: [row.get(name) for row in rows] for name in names}
    for name, values in carried.items():
        columns[name] = [values[record.name] for record in records]
    return columns, ABOUT | {name: (unit, None) for name, unit in units.items()}


def _as_row(record: Record) -> dict:
    own = {
        "name": record.name,
        "verdict": record.verdict,
        "failure": record.failure,
        "reason": record.reason,
        "seconds": record.seconds,
        "began": record.began,
        "worker": record.worker,
        "deaths": "; ".join(record.deaths),
        "peak_memory": record.peak_memory,
        "folder": f"lenses/{record.folder}",
        "files": " ".join(record.files),
        "rim_lensing_version": record.version,
    }
    return record.numbers | own


def write_results(
    columns: Mapping[str, Sequence], about: Mapping[str, tuple], output: Path
) -> None:
    """Write the results as ECSV and Parquet, each whole or not at all.

    Args:
        columns: Of `as_columns`, and so is `about`.
        about: Unit and description.
        output: Folder.
    """
    import pyarrow
    from pyarrow import parquet

    table = _as_table(columns, about)
    ecsv, in_parquet = (output / name for name in RESULTS)
    with whole_file(ecsv) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)
    arrays = {name: pyarrow.array(_of_one_type(values)) for name, values in columns.items()}
    with whole_file(in_parquet) as temporary:
        parquet.write_table(pyarrow.table(arrays), temporary)


def _as_table(columns: Mapping[str, Sequence], about: Mapping[str, tuple]) -> "Table":
    from astropy.table import MaskedColumn, Table

    table = Table()
    for name, values in columns.items():
        values = _of_one_type(values)
        missing = [value is None for value in values]
        filler = next((type(value)() for value in values if value is not None), "")
        plain = [filler if value is None else value for value in values]
        unit, description = about.get(name, (None, None))
        column = MaskedColumn(plain, name=name, unit=unit, description=description)
        # A word that is not there is an empty one.
        column.mask = missing if not isinstance(filler, str) else False
        table[name] = column
    return table


def _of_one_type(values: Sequence) -> list:
    """Return numbers as floats where some are, and all as words where some are; NaN is none."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float, bool} and kinds != {bool}:
        number = float if float in kinds else int
        return [None if value is None or math.isnan(value) else number(value) for value in values]
    if len(kinds) > 1:
        return [None if value is None else str(value) for value in values]
    return list(values)

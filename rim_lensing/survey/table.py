"""The table of a survey, read: one row a lens."""

import math
from pathlib import Path

FORMATS = {
    ".csv": "ascii.csv",
    ".ecsv": "ascii.ecsv",
    ".fits": "fits",
    ".fit": "fits",
    ".fits.gz": "fits",
}
"""astropy's names, by the end of a file's name."""

PARQUET = ".parquet"


def read_table(path: Path) -> dict[str, list]:
    """Return the columns of a table, in Python's own numbers and words; None where a cell is empty.

    Masked cells, empty words and NaN are empty.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no table of FORMATS or PARQUET, it has no rows, or a column has several
            values a row.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no table {path}")
    if not path.name.lower().endswith((*FORMATS, PARQUET)):
        known = ", ".join((*FORMATS, PARQUET))
        raise ValueError(f"TABLE must end with one of {known}. Received: {path}")
    read = _read_parquet if path.suffix.lower() == PARQUET else _read_by_astropy
    try:
        columns = read(path)
    except ImportError:
        raise
    except Exception as error:
        # Readers raise what they meet; each is a file that is no table.
        raise ValueError(f"{path} cannot be read as a table: {error}") from error
    for name, cells in columns.items():
        if any(isinstance(cell, list | dict) for cell in cells):
            raise ValueError(f"A column of {path} must have one value a row. Received: {name}")
    if not columns or not len(next(iter(columns.values()))):
        raise ValueError(f"{path} has no rows")
    return {name: [_value(cell) for cell in cells] for name, cells in columns.items()}


def _read_by_astropy(path: Path) -> dict[str, list]:
    from astropy.table import Table

    ends = [end for end in FORMATS if path.name.lower().endswith(end)]
    table = Table.read(path, format=FORMATS[max(ends, key=len)])
    return {name: table[name].tolist() for name in table.colnames}


def _read_parquet(path: Path) -> dict[str, list]:
    """Read without pandas, which astropy's reader needs."""
    from pyarrow import parquet

    return parquet.read_table(path).to_pydict()


def _value(cell):
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", errors="replace")
    if isinstance(cell, str):
        return cell.strip() or None
    if isinstance(cell, float) and math.isnan(cell):
        return None
    return cell

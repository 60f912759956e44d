"""From a survey's table to what `rim-lensing fit` is asked of each row."""

import argparse
import difflib
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rim_lensing.commands.fit import LENS_LIGHT, add_fit
from rim_lensing.commands.fit_cutout import read_asked
from rim_lensing.commands.inputs import parse_centre
from rim_lensing.survey.results_table import FIRST, LAST
from rim_lensing.survey.rows import Row, folder_of
from rim_lensing.survey.table import read_table

NEEDED = ("name", "image", "psf")
FILES = ("image", "noise", "psf", "mask", "keep", "noise_correlation", "priors")
"""Columns of files, or of numbers in their place."""

SEVERAL = ("prior", "hold", "link", "range")
"""Columns of options that may be said more than once: parts are separated by semicolons."""

OPTIONS = (
    *FILES[1:],
    *SEVERAL,
    "psf_oversampling",
    "mask_marks",
    "pixel_scale",
    "crop_centre",
    "lens_light",
    "exposure",
    "zero_point",
    "start",
    "epl",
    "seed",
    "centre_range",
    "model",
)
"""Columns that are options of `rim-lensing fit` of raw cutouts, dashes as underscores."""

PLACE = ("x", "y")
KNOWN = ("name", "image", *OPTIONS, *PLACE)

LARGEST_REPORT = 20
"""Problems of rows that are listed; of the others, the number."""


@dataclass(frozen=True)
class SurveyTable:
    """A survey's table, understood.

    Args:
        rows: In its order.
        carried: Columns that are not read but handed on to the results: by their name, the rows'
            names to values.
        missing: Rows of which a file is not there, and which.
    """

    rows: tuple[Row, ...]
    carried: dict[str, dict[str, object]]
    missing: dict[str, str]


class _RowParser(argparse.ArgumentParser):
    """Raises what is wrong instead of ending the process."""

    def error(self, message: str):
        raise ValueError(message)


@lru_cache(maxsize=1)
def _parser() -> _RowParser:
    parser = _RowParser(prog="rim-lensing", add_help=False)
    add_fit(parser.add_subparsers(dest="command", required=True))
    return parser


def parse_row(arguments: tuple[str, ...], output: Path) -> argparse.Namespace:
    """Return a row's options, as `rim-lensing fit` has them.

    Args:
        arguments: Of the row.
        output: Where its files go.

    Raises:
        ValueError: They are not understood.
    """
    return _parser().parse_args([*arguments, f"--output={output}", "--overwrite"])


def read_survey(path: Path) -> SurveyTable:
    """Return what a table asks; all that is wrong with any row is said at once.

    Files that are not there are no error here: their rows fail, by name.

    Raises:
        ValueError: Columns or cells are not understood, or names are not one for each row.
        FileNotFoundError: There is no such table.
    """
    columns = read_table(path)
    _check_columns(columns)
    count = len(columns["name"])
    carried = [name for name in columns if name not in KNOWN]
    problems, rows, missing = _name_problems(columns["name"]), [], {}
    for index in range(count):
        cells = {name: columns[name][index] for name in columns if name in KNOWN}
        cells = {name: cell for name, cell in cells.items() if cell is not None}
        name = str(cells.get("name", f"row {index + 1}"))
        try:
            arguments = _arguments(cells, path.absolute().parent)
            _check(arguments)
        except (ValueError, OSError) as error:
            said = getattr(error, "problems", [error])
            problems += [f"{name}: {' '.join(str(each).split())}" for each in said]
            continue
        rows.append(Row(name, folder_of(name), arguments))
        gone = _missing_file(cells, path.absolute().parent)
        if gone:
            missing[name] = gone
    _raise(problems)
    return SurveyTable(
        tuple(rows),
        {
            column: dict(zip((row.name for row in rows), columns[column], strict=True))
            for column in carried
        },
        missing,
    )


def _check_columns(columns: dict[str, list]) -> None:
    """Refuse columns that are missing, or whose names are nearly, or otherwise, known."""
    absent = [name for name in NEEDED if name not in columns]
    if absent:
        raise ValueError(
            f"TABLE must have the columns {', '.join(NEEDED)}. Received: {', '.join(columns)}"
        )
    if ("x" in columns) != ("y" in columns) or {"x", "crop_centre"} <= set(columns):
        raise ValueError("TABLE must have x and y, or crop_centre, or neither")
    problems = []
    for name in columns:
        if name in KNOWN:
            continue
        plain = name.lower().strip().replace("-", "_").replace(" ", "_")
        near = difflib.get_close_matches(plain, KNOWN, n=1, cutoff=0.85)
        if near:
            problems.append(f"TABLE has a column {name!r}: is {near[0]!r} meant?")
        elif name in (*FIRST, *LAST):
            problems.append(f"TABLE has a column {name!r}, as the results have: rename it")
    _raise(problems)


def _name_problems(names: list) -> list[str]:
    problems = [f"row {i}: it has no name" for i, name in enumerate(names, 1) if name is None]
    given = [str(name) for name in names if name is not None]
    # Of names that differ in case alone some file systems make one.
    folders = Counter(folder_of(name).lower() for name in given)
    twice = sorted({name for name in given if folders[folder_of(name).lower()] > 1})
    return problems + [f"{name}: another row has this name" for name in twice]


def _arguments(cells: dict[str, object], base: Path) -> tuple[str, ...]:
    """Return the command line of a row, without its output."""
    for name in ("image", "psf"):
        if name not in cells:
            raise ValueError(f"it must have {name}")
    made = ["fit", _path(cells["image"], base)]
    for name in OPTIONS:
        if name not in cells:
            continue
        option, cell = f"--{name.replace('_', '-')}", cells[name]
        if name == "epl":
            made.append(option if _is_true(cell) else "--no-epl")
        elif name in SEVERAL:
            parts = [part.strip() for part in str(cell).split(";")]
            made += [f"{option}={part}" for part in parts if part]
        elif name in FILES or (name == "start" and "=" not in str(cell)):
            made.append(f"{option}={_path(cell, base)}")
        else:
            made.append(f"{option}={_number(cell)}")
    if ("x" in cells) != ("y" in cells):
        raise ValueError("it must have both x and y, or neither")
    if "x" in cells:
        made.append(f"--crop-centre={cells['x']},{cells['y']}")
    if "lens_light" not in cells:
        made.append(f"--lens-light={LENS_LIGHT[0]}")
    return tuple(made)


def _path(cell: object, base: Path) -> str:
    """Return a number as it is, and a path relative to the table as an absolute one."""
    try:
        return repr(float(cell))
    except ValueError:
        return str(base / str(cell))


def _number(cell: object) -> str:
    """Return a cell as text: a whole number without a point, which a float column adds."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)


def _is_true(cell: object) -> bool:
    said = str(cell).lower()
    if said not in ("true", "false", "1", "0", "yes", "no"):
        raise ValueError(f"epl must be true or false. Received: {cell!r}")
    return said in ("true", "1", "yes")


def _check(arguments: tuple[str, ...]) -> None:
    """Raise what is wrong with a row's options; its images are not read."""
    options = parse_row(arguments, Path("output"))
    if options.lens_light == "none":
        raise ValueError(
            "lens_light must be multi-gaussian, sersic or double-sersic: a survey's rows are raw "
            "cutouts, with the lens galaxy's light in them. Received: none"
        )
    parse_centre(options.crop_centre)
    _check_priors(
        *(options.model, options.start, options.epl, options.priors),
        *(tuple(getattr(options, name)) for name in ("prior", "hold", "link")),
    )


@lru_cache(maxsize=256)
def _check_priors(model, start, epl, priors, prior, hold, link) -> None:
    """Raise what is wrong with these options; many rows have the same."""
    read_asked(
        argparse.Namespace(
            model=model, start=start, epl=epl, priors=priors, prior=prior, hold=hold, link=link
        )
    )


def _missing_file(cells: dict[str, object], base: Path) -> str | None:
    """Return a file of a row that is not there."""
    for name in FILES:
        if not isinstance(cells.get(name), str):
            continue
        text = _path(cells[name], base)
        path = Path(re.sub(r"\[[^\[\]]+\]$", "", text))
        if path.is_absolute() and not path.is_file() and not Path(text).is_file():
            return str(path)
    return None


def _raise(problems: list[str]) -> None:
    """Raise these as one error, of which the command prints a line each."""
    if not problems:
        return
    listed = problems[:LARGEST_REPORT]
    if len(problems) > len(listed):
        listed.append(f"... and {len(problems) - len(listed)} problems more")
    together = ValueError("\n".join(listed))
    together.problems = listed
    raise together

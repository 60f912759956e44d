"""Tables of surveys, in all forms, and what is wrong with them."""

import numpy as np
import pyarrow
import pytest
from astropy.table import MaskedColumn, Table
from pyarrow import parquet

from rim_lensing.commands.survey_columns import parse_row, read_survey
from rim_lensing.survey.rows import folder_of
from rim_lensing.survey.table import read_table

PLAIN = {"name": ["a", "b"], "image": ["a.fits", "b.fits"], "psf": [0.05, 0.07]}


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a table and returns its path."""

    def write(columns: dict, name: str = "table.csv"):
        path = tmp_path / name
        if name.endswith(".parquet"):
            parquet.write_table(pyarrow.table(columns), path)
        else:
            given = {
                key: MaskedColumn(
                    ["" if cell is None and _is_text(cells) else cell or 0 for cell in cells],
                    mask=[cell is None for cell in cells],
                )
                for key, cells in columns.items()
            }
            Table(given).write(path)
        return path

    return write


def _is_text(cells) -> bool:
    return any(isinstance(cell, str) for cell in cells)


@pytest.mark.parametrize("name", ["t.csv", "t.ecsv", "t.fits", "t.parquet"])
def test_all_formats_say_the_same(written, name):
    columns = PLAIN | {"noise": ["n.fits[ERR]", None], "seed": [3, None], "exposure": [None, 2.5]}
    path = written(columns, name)
    assert read_table(path) == columns
    rows = read_survey(path).rows
    first, second = (parse_row(row.arguments, "out") for row in rows)
    assert (first.noise.endswith("/n.fits[ERR]"), second.noise) == (True, None)
    assert (first.seed, second.seed) == (3, 0)
    assert (first.exposure, second.exposure) == (None, 2.5)
    assert (first.psf, second.psf) == ("0.05", "0.07")


def test_paths_are_relative_to_the_table_and_options_are_those_of_fit(written, tmp_path):
    columns = PLAIN | {
        "image": ["sub/a.fits[SCI]", "/elsewhere/b.fits"],
        "x": [12, None],
        "y": [34.5, None],
        "epl": [None, "false"],
        "prior": ["lens.x=0±0.02; lens.y=0,0.1", None],
        "start": [None, "theta_E=1.2,e1=0.1"],
        "range": ["theta_E=0.5,2", None],
        "redshift": [0.3, 0.7],
    }
    table = read_survey(written(columns))
    first, second = (parse_row(row.arguments, tmp_path / "out") for row in table.rows)
    assert (first.image, second.image) == (str(tmp_path / "sub/a.fits[SCI]"), "/elsewhere/b.fits")
    assert (first.crop_centre, second.crop_centre) == ("12,34.5", None)
    assert (first.epl, second.epl) == (None, False)
    assert first.prior == ["lens.x=0±0.02", "lens.y=0,0.1"] and not second.prior
    assert (first.start, second.start) == (None, "theta_E=1.2,e1=0.1")
    assert first.range == [("theta_E", (0.5, 2.0))]
    assert table.carried == {"redshift": {"a": 0.3, "b": 0.7}}
    assert set(table.missing) == {"a", "b"}


def test_all_that_is_wrong_with_all_rows_is_said_at_once(written):
    columns = {
        "name": ["a", "a", "b", "c", "d", "e", None],
        "image": ["i.fits", "i.fits", None, "i.fits", "i.fits", "i.fits", "i.fits"],
        "psf": ["0.1", "0.1", "0.1", "0.1", "0.1", None, "0.1"],
        "prior": [None, None, None, "lens.q=0.5,1", None, None, None],
        "lens_light": [None, None, None, None, "none", None, None],
        "model": [None, None, None, None, None, "rim_of_no_one", None],
    }
    with pytest.raises(ValueError) as raised:
        read_survey(written(columns))
    said = raised.value.problems
    for words in (
        "a: another",
        "b: it must have image",
        "c: ",
        "d: lens_light",
        "e: ",
        "row 7: it",
    ):
        assert any(line.startswith(words) for line in said), words
    assert len(said) == 6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pixelscale": [1, 1]}, "'pixel_scale' meant"),
        ({"x": [1, 1]}, "x and y"),
        ({"x": [1, 1], "y": [1, 1], "crop_centre": ["5,5", "5,5"]}, "x and y, or crop_centre"),
        ({"verdict": ["good", "bad"]}, "'verdict', as the results have"),
        ({"psf": None}, "must have the columns name, image, psf"),
        ({"epl": ["maybe", "true"]}, "epl must be true or false"),
    ],
)
def test_columns_that_are_wrong(written, changes, words):
    columns = {name: cells for name, cells in (PLAIN | changes).items() if cells is not None}
    with pytest.raises(ValueError, match=words):
        read_survey(written(columns))


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no table"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "a.txt").write_text("name\n")
    with pytest.raises(ValueError, match="must end with one of .csv"):
        read_table(tmp_path / "a.txt")
    for name in ("a.csv", "a.fits", "a.ecsv", "a.parquet"):
        (tmp_path / name).write_bytes(b"\x00\x01")
        with pytest.raises(ValueError, match="cannot be read as a table|has no rows"):
            read_table(tmp_path / name)
    (tmp_path / "empty.csv").write_text("name,image,psf\n")
    with pytest.raises(ValueError, match="has no rows"):
        read_table(tmp_path / "empty.csv")
    Table({"name": ["a"], "psf": [np.ones((3, 3))]}).write(tmp_path / "wide.fits")
    with pytest.raises(ValueError, match="one value a row"):
        read_table(tmp_path / "wide.fits")


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "..", ".", ".hidden", "a/b", "a\x00b", "a" * 300, "é", " "],
)
def test_no_name_leads_out_of_the_folder(name, tmp_path):
    folder = folder_of(name)
    path = tmp_path / folder
    path.mkdir()
    assert path.resolve().parent == tmp_path.resolve()
    assert not folder.startswith(".") and folder != folder_of(name + "x")


def test_plain_names_are_their_folders():
    assert folder_of("SDSSJ1630+4520_v1.2") == "SDSSJ1630+4520_v1.2"
    assert folder_of("a b") != folder_of("a/b")

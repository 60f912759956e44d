"""How the examples answer what they are not given, and what they leave alone."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
HST_FILES = [f"{name}_SDSSJ1630+4520_F555W" for name in ("image", "psf", "result")]
HST_FILES = [*(f"{name}.h5" for name in HST_FILES[:2]), f"{HST_FILES[2]}.json"]


@pytest.fixture
def ended(monkeypatch):
    """Run an example as a program and return with what it has ended."""

    def ended(name: str, *arguments) -> str | int:
        if name == "real_lenses":
            pytest.importorskip("lenstronomy")
        monkeypatch.syspath_prepend(EXAMPLES)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        with pytest.raises(SystemExit) as found:
            runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return found.value.code

    return ended


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def touch(directory: Path, *names: str) -> None:
    directory.mkdir(exist_ok=True)
    for name in names:
        (directory / name).touch()


@pytest.mark.parametrize("missing", HST_FILES)
def test_names_the_missing_file_before_it_reads_any(ended, folder, tmp_path, missing):
    touch(folder, *(name for name in HST_FILES if name != missing))
    told = ended("real_lenses", folder, "--output", tmp_path / "out")
    assert told.startswith("error: FOLDER must hold") and told.endswith(f"without {missing}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "names, received", [((), "neither"), (("mask_extra_galaxies.fits",), "neither")]
)
def test_a_folder_without_a_lens_is_refused(ended, folder, tmp_path, names, received):
    touch(folder, *names)
    told = ended("real_lenses", folder, "--output", tmp_path / "out")
    assert "or one FITS file that is no mask" in told and told.endswith(f"with {received}")


def test_two_lenses_in_a_folder_are_refused(ended, folder, tmp_path):
    touch(folder, "1_a.fits", "2_b.fits")
    told = ended("real_lenses", folder, "--output", tmp_path / "out")
    assert told.endswith("with 1_a.fits, 2_b.fits")


@pytest.mark.parametrize("result", ["_light.png", "_rounds.png", ".png", ".fits"])
@pytest.mark.parametrize(
    "files, name", [(HST_FILES, "slacs_j1630"), (["102018665_x.fits"], "euclid_102018665")]
)
def test_results_of_a_real_lens_are_not_replaced(ended, folder, tmp_path, files, name, result):
    touch(folder, *files)
    touch(tmp_path / "out", name + result, f"{name}_chain.h5")
    told = ended("real_lenses", folder, "--output", tmp_path / "out")
    assert f"out holds {name}{result}: say --overwrite" in told


@pytest.mark.parametrize(
    "names, options",
    [
        (["slacs_j1630_chain.h5", "euclid_1.fits"], []),
        (["slacs_j1630_chain.h5", "slacs_j1630.png"], ["--overwrite"]),
    ],
)
def test_a_chain_and_another_lens_are_no_hindrance(ended, folder, tmp_path, names, options):
    """The example gets as far as to read the image, which is none."""
    touch(folder, *HST_FILES)
    touch(tmp_path / "out", *names)
    told = ended("real_lenses", folder, "--output", tmp_path / "out", "--steps", 10, *options)
    assert "holds" not in told and "file" in told


@pytest.mark.parametrize("name", ["rounds.png", "source_linear.png", "corner.png"])
def test_pictures_of_the_walkthrough_are_not_replaced(ended, tmp_path, name):
    touch(tmp_path, name, "chain_rim.h5")
    told = ended("walkthrough", "--output", tmp_path)
    assert f"holds {name}: say --overwrite" in told


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
def test_ctrl_c_ends_the_walkthrough_in_one_line(ended, tmp_path, monkeypatch, capsys, options):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("rim_lensing.demo.read_demo_lens", interrupted)
    touch(tmp_path, "chain_rim.h5", *(["corner.png"] if options else []))
    assert ended("walkthrough", "--output", tmp_path, *options) == 130
    assert "the same command goes on with the chains" in capsys.readouterr().err

"""Options that benchmarks share: what is wrong with them is said before anything is drawn."""

import argparse
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import galaxy_options  # noqa: E402
import preparation  # noqa: E402
import raw_mocks  # noqa: E402


def test_options_are_read(tmp_path):
    (tmp_path / "g.h5").touch()
    arguments = ["--galaxies", str(tmp_path / "g.h5"), "--systems", "16"]
    options = galaxy_options.read_options(argparse.ArgumentParser(), arguments, 24, 8)
    assert (options.galaxies, options.systems) == (tmp_path / "g.h5", 16)
    assert galaxy_options.read_options(argparse.ArgumentParser(), [], 24, 8).systems == 24


@pytest.mark.parametrize("systems", ["0", "12", "-8"])
def test_systems_that_are_no_multiple_are_refused(systems):
    with pytest.raises(ValueError, match=f"a multiple of 8. Received: {systems}"):
        galaxy_options.read_options(argparse.ArgumentParser(), [f"--systems={systems}"], 24, 8)


@pytest.mark.parametrize("option", ["--galaxies", "--psfs"])
@pytest.mark.parametrize("program", [raw_mocks, preparation])
def test_files_that_are_not_there_are_said_at_once(program, option, tmp_path):
    arguments = [option, str(tmp_path / "nothing"), "--output", str(tmp_path / "out")]
    with pytest.raises(FileNotFoundError, match="nothing"):
        program.main(arguments if program is raw_mocks else arguments[:2])
    assert not (tmp_path / "out").exists()

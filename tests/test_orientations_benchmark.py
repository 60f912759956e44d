"""The benchmark of the eight orientations, on errors that are known."""

import sys
from pathlib import Path

import numpy as np
import pytest

from rim_lensing.simulation.procedural import draw_procedural_galaxies

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import orientations  # noqa: E402
from orientations import main, table  # noqa: E402


def rows(text: str) -> dict[str, list[str]]:
    """By noise, the other columns."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines()[2:]]
    return {line[0]: line[1:] for line in lines}


def test_errors_that_differ_cancel_in_the_mean_and_those_that_are_shared_stay():
    truth = np.zeros((3, 8, 8))
    truth[:, 2:4, 2:4] = 1.0
    noise = np.array([0.005, 0.02, 0.05])
    shared = np.array([0.0, 0.01, 0.02])[:, None, None]
    sources = np.array([truth + shared + 0.01, truth + shared - 0.01])
    found = rows(table(noise, sources, truth))
    assert found["0.1-1%"] == ["1", "1.000%", "0.000%", "0.000"]
    assert found["1-3%"] == ["1", "2.000%", "1.000%", "0.500"]
    assert found["3-10%"] == ["1", "3.000%", "2.000%", "0.667"]
    assert found["all"] == ["3", "2.000%", "1.000%", "0.500"]
    assert "mean of 2" in table(noise, sources, truth)


def test_noise_that_no_system_has_is_left_out():
    truth = np.ones((1, 4, 4))
    assert list(rows(table(np.array([0.02]), np.array([truth]), truth))) == ["all", "1-3%"]


def test_of_a_new_network_from_the_command_line(capsys, monkeypatch, tiny_folder):
    few = draw_procedural_galaxies(3, 9)
    monkeypatch.setattr(orientations, "development_galaxies", lambda path: few)
    main([str(tiny_folder), "--systems", "2"])
    found = rows(capsys.readouterr().out)
    assert found["all"][0] == "2"
    assert all(np.isfinite(float(cell.strip("%"))) for cell in found["all"])


def test_no_systems_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(ValueError, match="--systems must be positive. Received: 0"):
        main(["rim_euclid64", "--systems", "0"])
    with pytest.raises(FileNotFoundError, match="There is no file"):
        main(["rim_euclid64", "--galaxies", str(tmp_path / "no.h5")])

"""`rim-lensing survey`: what it says before work begins, and one that is real."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from rim_lensing.cli import main
from rim_lensing.commands.survey_row import numbers_of
from rim_lensing.demo import RAW_DEMO_FILE, RAW_DEMO_LENS


@pytest.fixture
def table(tmp_path):
    """Return a function that writes a table, and returns its path as text."""

    def write(*lines: str, head: str = "name,image,noise,psf") -> str:
        path = tmp_path / "table.csv"
        path.write_text("\n".join((head, *lines)) + "\n")
        return str(path)

    return write


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["a,i.fits,1,0.05", "a,i.fits,1,0.05"], "error: a: another row has this name"),
        (["a,i.fits,1,0.05", "b,j.fits,1,0.05"], "error: All rows of"),
        (["a,,1,0.05"], "error: a: it must have image"),
    ],
)
def test_errors_are_said_before_work_begins(table, tmp_path, capsys, lines, words):
    assert main(["survey", table(*lines), "--output", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_workers_are_a_positive_number(table, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["survey", table(), "--output", str(tmp_path), "--workers", "0"])
    assert "--workers: must be a positive whole number" in capsys.readouterr().err


def test_a_scheduler_that_is_not_there_is_said_in_a_line(table, tmp_path, capsys, monkeypatch):
    import dask
    import distributed  # noqa: F401  its defaults would go with the setting otherwise

    lines = f"a,{RAW_DEMO_FILE},{RAW_DEMO_FILE}[NOISE],{RAW_DEMO_FILE}[PSF]"
    arguments = ["survey", table(lines), "--output", str(tmp_path / "out")]
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        assert main([*arguments, "--scheduler", "tcp://127.0.0.1:1"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: --scheduler must be the address") and "\n" not in said


def test_a_row_of_the_results_without_a_lens_has_no_numbers_of_one():
    light = dict.fromkeys(
        ("flux", "half_light_radius", "axis_ratio", "angle", "sky", "chi2", "twist"), 1.5
    )
    facts = {"light": light, "noise_factor": None, "seed": 0, "weights_sha256": "ab"}
    numbers = numbers_of(facts)
    assert numbers["light_flux"] == 1.5 and np.isnan(numbers["chi2_per_pixel"])
    assert np.isnan(numbers["noise_factor"]) and "theta_E" not in numbers
    facts |= {"lens": {"theta_E": 1.2}, "lens_std": {"theta_E": 0.1}, "chi2_per_pixel": 1.01}
    numbers = numbers_of(facts)
    assert (numbers["theta_E"], numbers["theta_E_std"]) == (1.2, 0.1)
    assert numbers["chi2_per_pixel"] == 1.01


@pytest.mark.slow
def test_a_survey_fits_what_fit_does(table, tmp_path, capsys):
    head = "name,image,noise,psf,redshift"
    file = str(RAW_DEMO_FILE)
    path = table(f"<b>,{file},{file}[NOISE],{file}[PSF],0.3", "gone,no.fits,0.1,0.05,", head=head)
    command = ["survey", path, "--output", str(tmp_path / "out"), "--workers", "1"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "1  converged" in said.out and "1  failed: file not found" in said.out
    assert "1 of 2 rows name files that are not there" in said.err
    lens, failed = Table.read(tmp_path / "out" / "results.ecsv")
    assert lens["theta_E"] == pytest.approx(RAW_DEMO_LENS["theta_E"], abs=0.01)
    assert 0 < lens["theta_E_std"] < 0.02 and lens["redshift"] == 0.3
    assert failed["failure"] == "file not found"
    folder = tmp_path / "out" / lens["folder"]
    assert {path.name for path in folder.iterdir()} >= {
        *("summary.png", "result.fits", "metrics.json", "lens.json", "cutout.png"),
        *("lens_light.png", "thumbnail.png", "index.html", "log.txt", "record.json"),
    }
    # The command on the lens's page does the same.
    arguments = json.loads((folder / "record.json").read_text())["arguments"]
    assert main([*arguments, "--output", str(tmp_path / "alone")]) == 0
    alone = json.loads((tmp_path / "alone" / "metrics.json").read_text())
    assert alone["lens"] == json.loads((folder / "metrics.json").read_text())["lens"]
    # All is done but the failure, which is tried again.
    before = Path(folder / "record.json").stat().st_mtime_ns
    assert main(command) == 0
    assert "1 of 2 rows have a result, 1 failed ones are tried again" in capsys.readouterr().out
    assert Path(folder / "record.json").stat().st_mtime_ns == before

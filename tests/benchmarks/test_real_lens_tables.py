"""What the tables of real lenses and raw mocks add up to."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import raw_mock_fits
import real_lenses
from real_lens_inputs import Case

LENS = {"theta_E": 1.0, "e1": 0.1, "e2": 0.0, "x": 0, "y": 0, "gamma1": 0.0, "gamma2": 0.0}


def row(name: str, theta_E: float, verdict: str = "converged", p_value: float = 0.5) -> dict:
    metrics = {
        "verdict": verdict,
        "converged": verdict == "converged",
        "lens": LENS | {"theta_E": theta_E},
        "lens_std": dict.fromkeys(LENS, 0.01),
        "residual_test": {"p_value": p_value},
        "chi2_per_pixel": 1.0,
        "source_flux": 2.1,
    }
    return {
        "name": name,
        "status": 0,
        "seconds": 60.0,
        "memory_gb": 1.5,
        "metrics": metrics,
    }


PUBLISHED = {
    "A": {"bolton_bSIE": 1.0, "shajib_thetaE": 1.2, "shajib_q": 0.82},
    "B": {"bolton_bSIE": 1.0},
    "C": {"bolton_bSIE": 1.0, "bolton_q": 0.5},
}


def test_lenses_are_compared_with_the_nearest_published_value():
    rows = [row("A", 1.19), row("B", 1.15), row("C", 1.04, "not noise", 1e-5)]
    rows.append({"name": "D", "status": 2, "seconds": 5.0, "memory_gb": 0.5, "metrics": None})
    said = real_lenses.table(rows, PUBLISHED)
    assert "within 5% of a published value: 2 of 3 (67%); within 10%: 2." in said
    assert "Converged: 2; of these off by more than 10%: 1 B." in said
    assert "consistent with noise: 2 of 3 (67%)" in said
    assert "q within 0.1 of a published value: 1 of 2." in said
    assert "| D | exit status 2 |" in said
    lines = [line for line in said.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1


def test_mocks_are_compared_with_the_truth():
    truth = {
        "kind": "lens",
        "instrument": "hst",
        "lens": LENS | {"slope": 1.0},
        "source_flux": 2.0,
        "right_verdicts": ["converged"],
    }
    none = {"kind": "elliptical", "instrument": "hst", "right_verdicts": ["no lensed arcs found"]}
    pairs = [
        (truth, row("raw_mock_0000", 1.02)),
        (truth, row("raw_mock_0001", 1.04)),
        (none, row("raw_mock_0002", 1.0)),
    ]
    said = raw_mock_fits.table(pairs)
    assert "Right verdict: 2 of 3 (67%)" in said
    assert 'theta_E: median error 0.0300", bias +0.0300"' in said
    assert "median error 5.0%, bias +5.0%" in said
    assert "+2.0, +0.0, +0.0, +0.0, +0.0" in said


def test_variances_become_an_rms(tmp_path):
    import numpy as np
    from astropy.io import fits

    fits.writeto(tmp_path / "var.fits", np.full((3, 3), 4.0))
    case = Case("a", tmp_path / "a.fits", tmp_path / "var.fits", "0.05", variance=True)
    arguments = case.arguments(tmp_path / "out")
    assert fits.getdata(arguments[arguments.index("--noise") + 1])[1, 1] == pytest.approx(2.0)

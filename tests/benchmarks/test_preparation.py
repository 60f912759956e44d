"""The benchmark of preparation: what it measures of one mock, and its table."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import preparation  # noqa: E402
import raw_mocks  # noqa: E402


def test_a_mock_is_measured_against_its_truth():
    observed, truth = raw_mocks.raw_mock(1003)
    row = preparation.measured(observed, truth)
    assert 0 <= row["centre (mas)"] < 20
    assert row["noise"] == pytest.approx(1, abs=0.05)
    assert abs(row["correlation"]) < 0.1
    assert row["arcs masked"] < 0.02 and row["neighbours left"] < 0.1
    assert np.isnan(row["rays left"]) == (truth["cosmic_rays"] == 0 or truth["rays_masked"])
    lines = preparation.table([row, {**row, "noise": np.nan}]).splitlines()
    assert len(lines) == 2 + len(row)
    assert lines[2].startswith("| centre (mas) | ")

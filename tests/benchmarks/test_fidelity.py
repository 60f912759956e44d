"""The measures and the table of the fidelity benchmark, of errors that are known."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from fidelity_methods import METHODS  # noqa: E402
from fidelity_report import measure, table  # noqa: E402

ERRORS = {"rim": 0.01, "refined": 0.005, "linear": 0.02, "oracle": 0.04}
LEFT = {"rim": 0.02, "refined": 0.01, "linear": 0.04, "oracle": 0.0}
"""What the models leave of the image; the noise is 0.02."""


def systems(side: int = 48) -> dict[str, np.ndarray]:
    """Six systems alike: a bright square, constant errors, constant residuals."""
    truth, image = np.zeros((6, side, side)), np.ones((6, 12, 12))
    truth[:, 8:16, 8:16] = 1
    numbers = {
        "noise_level": 0.02,
        "noise_rms": 0.02,
        "magnification": 5.0,
        "linear_strength": 3.0,
        "oracle_strength": 3.0,
        "fitted_parameters": 40.0,
    }
    arrays = {name: np.full(6, value) for name, value in numbers.items()}
    arrays |= {"true_source": truth, "image": image}
    for name in METHODS:
        arrays[f"{name}_source"] = truth + ERRORS[name]
        arrays[f"{name}_model"] = image - LEFT[name]
    return arrays


def cells(text: str) -> dict[str, list[str]]:
    """Return the cells of a table in Markdown by the first of their line."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:2] == "| "]
    return {line[0]: line[1:] for line in lines}


def test_measures_of_known_errors():
    found = measure(systems(), METHODS, "gradient")
    for name, error in ERRORS.items():
        np.testing.assert_allclose(found[f"{name}_rms_error"], error)
        np.testing.assert_allclose(found[f"{name}_galaxy_error"], error)
        np.testing.assert_allclose(found[f"{name}_flux_error"], error * 48**2 / 64)
        np.testing.assert_allclose(found[f"{name}_chi2"], (LEFT[name] / 0.02) ** 2, atol=1e-12)
    # The linear inversion fits 40 of the 144 data, the RIM none.
    for name, chi2, degrees in (("rim", 144, 144), ("refined", 36, 144), ("linear", 576, 104)):
        # Of the smaller tail: the other one is 1 to double precision.
        above, below = stats.chi2.sf(chi2, degrees), stats.chi2.cdf(chi2, degrees)
        expected = stats.norm.isf(above) if above < below else stats.norm.ppf(below)
        np.testing.assert_allclose(
            found[f"{name}_chi2_significance"], expected, rtol=1e-6, atol=1e-6
        )


def test_cells_of_known_errors():
    arrays = systems()
    row = cells(table(measure(arrays, METHODS, "gradient"), METHODS))
    assert row["number"][0] == "6"
    for title, error in (("RIM", "1.00%"), ("RIM, refined", "0.50%"), ("linear, oracle", "4.00%")):
        assert row[f"rms error, {title}"][0].startswith(f"{error} ±")
        assert row[f"rms error inside of the galaxy, {title}"][0].startswith(f"{error} ±")
    assert row["RIM / linear"][0] == "0.50 ± 0.00" and row["RIM / oracle"][0] == "0.25 ± 0.00"
    assert row["RIM, refined / linear"][0] == "0.25 ± 0.00"
    assert row["worst RIM / linear"][0] == "0.50"
    assert row["RIM worse there than linear, at worst by"][0] == "0.0%, 0.50"
    assert row["chi2 more than 3 sigma below that of noise, RIM, refined"][0] == "100.0%"
    assert row["chi2 more than 3 sigma above that of noise, RIM"][0] == "0.0%"


@pytest.mark.parametrize("side, reached", [(24, [10]), (48, [10, 20])])
def test_the_table_has_the_wavenumbers_that_the_spectra_reach(side, reached):
    text = table(measure(systems(side), METHODS, "gradient"), METHODS)
    for k in (10, 20):
        assert (f"coherence at k = {k}, RIM" in cells(text)) == (k in reached)


def test_wavenumbers_at_which_the_linear_inversion_coheres_better():
    measures = measure(systems(), METHODS, "gradient")
    linear = np.full((6, 12), 0.5)
    ours = linear + 0.1
    ours[:, [6, 8]] -= np.array([0.11, 0.15])
    # Of one system alone: the mean is what counts.
    ours[0, 2] -= 0.2
    measures |= {"linear_coherence": linear, "rim_coherence": ours, "refined_coherence": linear + 1}
    row = cells(table(measures, METHODS))
    title = "k with coherence below the linear one's, "
    assert row[f"{title}RIM"][0] == "2, from 7 to 9, by 0.050 at most"
    assert row[f"{title}RIM, refined"][0] == "none"

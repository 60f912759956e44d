"""The benchmark of the prior's borders: its forms, and its dense algebra against the engine's."""

import sys
from pathlib import Path

import numpy as np
import pytest

from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.forward_model.ray_tracing import lensing_matrices
from rim_lensing.inversion.evidence import log_evidence, maximise_evidence
from rim_lensing.inversion.exact import ExactEngine
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.inversion.regularization import regularization_matrix

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import borders  # noqa: E402


def roughness(differences: np.ndarray) -> np.ndarray:
    """R of a source of which D are the differences along one axis."""
    one, same = differences.T @ differences, np.eye(differences.shape[1])
    return np.kron(same, one) + np.kron(one, same)


@pytest.mark.parametrize("order", borders.ORDERS)
def test_zero_outside_is_the_form_that_is_used(order):
    found = roughness(borders.zero_outside(order, 6))
    np.testing.assert_allclose(found, regularization_matrix(order, 6).toarray(), atol=1e-12)


def test_appendix_falls_back_to_lower_orders():
    """Suyu et al. 2006, equations A2 and A3, of the source 1, 4, 9, 16."""
    squares = np.arange(1.0, 5.0) ** 2
    np.testing.assert_array_equal(borders.appendix("gradient", 4) @ squares, [3, 5, 7, 16])
    np.testing.assert_array_equal(borders.appendix("curvature", 4) @ squares, [2, 2, 7, 16])


@pytest.mark.parametrize("order", borders.ORDERS)
def test_mean_of_both_is_the_mean_of_appendix_and_mirror(order):
    one = borders.appendix(order, 7)
    both = roughness(one) + roughness(one[:, ::-1])
    np.testing.assert_allclose(roughness(borders.tied(order, 7, 0.5)), both / 2, atol=1e-12)


@pytest.mark.parametrize("order", borders.ORDERS)
def test_finds_what_the_exact_engine_finds(order):
    geometry = Geometry(14, 0.25, 10, 0.2, psf_side=1)
    matrix = lensing_matrices([[1.0, 0.1, 0.05, 0.0, 0.02, 0.03, 0.0]], geometry)[0]
    y, x = np.mgrid[-1:1:10j, -1:1:10j]
    galaxy = np.exp(-8 * ((x - 0.2) ** 2 + y**2)).ravel()
    draws = np.random.default_rng(0).standard_normal((14, 14))
    image, noise = (matrix @ galaxy).reshape(14, 14) + 0.05 * draws, np.full((14, 14), 0.05)
    system = LinearSystem(matrix, np.ones((1, 1)), image, noise)
    engine = ExactEngine(system, order)
    strength = maximise_evidence(engine)
    value, source = borders.best_source(system, borders.zero_outside(order, 10))
    np.testing.assert_allclose(source, engine.mean(strength), atol=1e-4)
    constants = -0.5 * system.n_data * np.log(2 * np.pi) - system.log_noise
    expected = log_evidence(engine, engine.terms(strength))[0]
    assert value + constants == pytest.approx(expected, abs=1e-5)


def test_table_tells_bins_and_ratios():
    base = np.array([[10.0, 0.2, 0.1], [20.0, 0.4, 0.1], [30.0, 0.1, 0.1]])
    forms = {borders.APPENDIX: base, "zero outside": base * [1, 0.5, 2] + [3, 0, 0]}
    text = borders.table(np.array([0.01, 0.01, 0.5]), {"gradient": forms})
    rows = [line.strip("| ").split(" | ") for line in text.splitlines()[2:]]
    assert [row[:3] for row in rows] == [
        ["below 2%, 2 systems", "gradient", "zero outside"],
        ["above 30%, 1 systems", "gradient", "zero outside"],
    ]
    assert [cell.split(" ± ")[0] for cell in rows[0][3:]] == ["+3.0", "+3.0", "0.500", "2.000"]

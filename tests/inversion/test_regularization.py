"""The priors: against their definition in loops, and their algebra against dense numpy."""

import numpy as np
import pytest

from rim_lensing.inversion.regularization import (
    REGULARIZATIONS,
    difference_matrix,
    log_det_regularization,
    regularization_matrix,
    regularization_modes,
)


def energy_by_loops(kind: str, source: np.ndarray) -> float:
    """s'Rs = 2 E_S as appendix A of Suyu et al. 2006 writes it, equations A1 to A3."""
    n, total = len(source), 0.0
    if kind == "zeroth":
        return sum(float(value) ** 2 for value in source.ravel())
    for lines in (source, source.T):
        for line in lines:
            for i in range(n):
                if kind == "curvature" and i < n - 2:
                    total += (line[i] - 2 * line[i + 1] + line[i + 2]) ** 2
                elif i < n - 1:
                    total += (line[i] - line[i + 1]) ** 2
                else:
                    total += line[i] ** 2
    return total


@pytest.mark.parametrize("kind", REGULARIZATIONS)
@pytest.mark.parametrize("side", [1, 2, 3, 7])
def test_is_the_sum_of_its_definition(kind, side):
    source = np.random.default_rng(side).standard_normal((side, side))
    flat, expected = source.ravel(), energy_by_loops(kind, source)
    assert flat @ regularization_matrix(kind, side) @ flat == pytest.approx(expected, rel=1e-12)
    differences = difference_matrix(kind, side) @ flat
    assert differences @ differences == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", REGULARIZATIONS)
@pytest.mark.parametrize("side", [2, 9, 24])
def test_log_det_is_that_of_the_dense_matrix(kind, side):
    matrix = regularization_matrix(kind, side).toarray()
    sign, log_det = np.linalg.slogdet(matrix)
    assert sign == 1 and np.linalg.eigvalsh(matrix).min() > 0
    assert log_det_regularization(kind, side) == pytest.approx(log_det, rel=1e-9)


@pytest.mark.parametrize("kind", REGULARIZATIONS)
def test_modes_diagonalise(kind):
    modes, eigenvalues = regularization_modes(kind, 6)
    both = np.kron(modes, modes)
    np.testing.assert_allclose(both @ both.T, np.eye(36), atol=1e-12)
    rebuilt = both @ np.diag(eigenvalues.ravel()) @ both.T
    np.testing.assert_allclose(rebuilt, regularization_matrix(kind, 6).toarray(), atol=1e-12)


def test_smallest_eigenvalue_of_a_large_gradient_prior_is_the_closed_form():
    # The differences of a line with one free and one fixed end: 2 - 2 cos(pi / (2 n + 1)).
    _, eigenvalues = regularization_modes("gradient", 200)
    expected = 2 * 4 * np.sin(np.pi / (2 * (2 * 200 + 1))) ** 2
    assert eigenvalues.min() == pytest.approx(expected, rel=1e-10)


def test_refuses_unknown_kinds():
    for function in (regularization_matrix, difference_matrix, regularization_modes):
        with pytest.raises(ValueError, match="`regularization` must be one of.*'second'"):
            function("second", 4)

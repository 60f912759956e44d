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
from rim_lensing.lensing.symmetries import SYMMETRIES, transform_image


def energy_by_loops(kind: str, source: np.ndarray) -> float:
    """s'Rs = 2 E_S: squared differences over the whole plane, which is 0 outside of the grid."""
    plane = np.pad(source, 3)
    if kind == "zeroth":
        return sum(float(value) ** 2 for value in plane.ravel())
    total = 0.0
    for lines in (plane, plane.T):
        for line in lines:
            for i in range(1, len(line) - 1):
                if kind == "curvature":
                    total += (line[i - 1] - 2 * line[i] + line[i + 1]) ** 2
                else:
                    total += (line[i + 1] - line[i]) ** 2
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


def test_modes_of_a_large_gradient_prior_are_the_closed_form():
    """Differences of a line with two fixed ends: sines, and 2 - 2 cos(pi k / (n + 1))."""
    side = 200
    modes, eigenvalues = regularization_modes("gradient", side)
    numbers = np.arange(1, side + 1)
    expected = 4 * np.sin(np.pi * numbers / (2 * (side + 1))) ** 2
    found = np.sort(np.diag(eigenvalues)) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    sines = np.sin(np.pi * np.outer(numbers, numbers) / (side + 1)) * np.sqrt(2 / (side + 1))
    overlap = np.abs(sines.T @ modes[:, np.argsort(np.diag(eigenvalues))])
    np.testing.assert_allclose(overlap, np.eye(side), atol=1e-9)


@pytest.mark.parametrize("kind", REGULARIZATIONS)
@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_knows_no_orientation(kind, symmetry):
    """R of a turned source is that of the source, pixel by pixel."""
    turned = transform_image(np.arange(49).reshape(7, 7), symmetry).ravel()
    matrix = regularization_matrix(kind, 7).toarray()
    np.testing.assert_array_equal(matrix[np.ix_(turned, turned)], matrix)


def test_refuses_unknown_kinds():
    for function in (regularization_matrix, difference_matrix, regularization_modes):
        with pytest.raises(ValueError, match="`regularization` must be one of.*'second'"):
            function("second", 4)

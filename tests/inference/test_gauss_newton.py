"""Least squares in lock-step, against scipy and closed forms."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from rim_lensing.inference.gauss_newton import gauss_newton

WIDE = np.full(2, 10.0)


def linear_problem(parameters=3, data=20):
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((data, parameters))
    return matrix, rng.standard_normal(data)


def test_a_linear_problem_is_solved_as_by_lstsq():
    matrix, data = linear_problem()
    found = gauss_newton(
        lambda x: x @ matrix.T - data,
        np.array([[5.0, -5.0, 5.0], [0.0, 0.0, 0.0]]),
        np.full(3, -100.0),
        np.full(3, 100.0),
        np.full((1, 3), 1e-3),
    )
    best, chi2 = np.linalg.lstsq(matrix, data, rcond=None)[:2]
    np.testing.assert_allclose(found.x, [best, best], atol=1e-8)
    np.testing.assert_allclose(found.chi2, [chi2[0], chi2[0]])
    assert found.converged.all() and found.iterations <= 2


def test_every_start_ends_where_scipy_ends():
    """Rosenbrock's valley, in units that make chi^2 tell."""

    def residuals(x):
        return 100 * np.stack([10 * (x[:, 1] - x[:, 0] ** 2), 1 - x[:, 0]], axis=1)

    starts = np.array([[-1.2, 1.0], [2.0, 2.0], [0.0, -1.0]])
    found = gauss_newton(residuals, starts, -WIDE, WIDE, np.full((2, 2), 1e-5))
    for start, x in zip(starts, found.x, strict=True):
        expected = least_squares(lambda p: residuals(p[None])[0], start).x
        np.testing.assert_allclose(x, expected, atol=1e-3)
    assert found.converged.all()


@pytest.mark.parametrize("edge", [0.5, 2.0])
def test_bounds_hold_and_what_is_free_is_still_fitted(edge):
    """The optimum lies at (1, 1), outside of the box along x, whose edge is the best there."""
    matrix, _ = linear_problem(2)
    data = matrix @ np.ones(2)
    lower, upper = np.array([-3.0, -3.0]), np.array([edge, 3.0])
    if edge > 1:
        lower, upper = np.array([edge, -3.0]), np.array([3.0, 3.0])
    start = np.array([[(lower[0] + upper[0]) / 2, -2.0]])
    tried = []

    def residuals(x):
        tried.append(x)
        return (x @ matrix.T - data) * 100

    found = gauss_newton(residuals, start, lower, upper, np.full((1, 2), 1e-3))
    assert found.x[0, 0] == edge
    column = matrix[:, 1]
    rest = data - edge * matrix[:, 0]
    assert found.x[0, 1] == pytest.approx(column @ rest / (column @ column), abs=1e-4)
    assert np.all(np.concatenate(tried) <= upper)


def test_a_parameter_that_the_data_do_not_see_stays():
    found = gauss_newton(
        lambda x: 10 * (x[:, :1] - np.array([[1.0, 2.0]])),
        np.array([[0.0, 0.7]]),
        -WIDE,
        WIDE,
        np.full((1, 2), 1e-3),
    )
    np.testing.assert_allclose(found.x, [[1.5, 0.7]], atol=1e-6)


def test_wide_differences_see_past_kinks():
    """Waves that narrow differences fall into; the bottom without them lies at 0."""

    def residuals(x):
        return 30 * np.stack([x[:, 0] + 0.02 * np.sin(300 * x[:, 0]), np.ones(len(x))], axis=1)

    start, lower, upper = np.array([[0.8123]]), np.array([-1.0]), np.array([1.0])
    found = gauss_newton(residuals, start, lower, upper, np.array([[0.1], [0.01]]))
    assert abs(found.x[0, 0]) < 0.02


def test_says_when_it_ran_out_of_iterations():
    def residuals(x):
        return 100 * np.stack([10 * (x[:, 1] - x[:, 0] ** 2), 1 - x[:, 0]], axis=1)

    start, steps = np.array([[-1.2, 1.0]]), np.full((1, 2), 1e-5)
    found = gauss_newton(residuals, start, -WIDE, WIDE, steps, max_iterations=1)
    assert not found.converged[0] and found.iterations == 1
    assert found.chi2[0] < np.sum(residuals(start) ** 2)

import numpy as np
import pytest

from rim_lensing.inversion.conjugate_gradients import conjugate_gradients

SIZE = 200


def problem(seed, decades=5):
    generator = np.random.default_rng(seed)
    vectors, _ = np.linalg.qr(generator.standard_normal((SIZE, SIZE)))
    dense = (vectors * np.logspace(0, decades, SIZE)) @ vectors.T
    return dense, generator.standard_normal(SIZE) * np.sqrt(np.diag(dense))


def solve(dense, right_side, tolerance, max_iterations=3000):
    diagonal = np.diag(dense)
    return conjugate_gradients(
        lambda x: dense @ x, right_side, lambda x: x / diagonal, tolerance, max_iterations
    )


@pytest.mark.parametrize("tolerance", [1.0, 0.01, 1e-5])
@pytest.mark.parametrize("seed", range(3))
def test_stops_at_the_stated_distance(tolerance, seed):
    dense, right_side = problem(seed)
    error = solve(dense, right_side, tolerance) - np.linalg.solve(dense, right_side)
    # The estimate is a delayed sum, good to a factor of a few.
    assert np.sqrt(error @ dense @ error) < 3 * tolerance
    assert np.all(np.abs(error) < 3 * tolerance * np.sqrt(np.diag(np.linalg.inv(dense))))


def test_a_perfect_preconditioner_takes_one_iteration():
    dense, right_side = problem(0)
    inverse = np.linalg.inv(dense)
    products = []

    def product(x):
        products.append(x)
        return dense @ x

    solution = conjugate_gradients(product, right_side, lambda x: inverse @ x, 1e-3, 50)
    np.testing.assert_allclose(solution, inverse @ right_side, rtol=1e-6)
    assert len(products) <= 11


def test_nothing_to_solve():
    assert not solve(problem(0)[0], np.zeros(SIZE), 0.01).any()


def test_says_how_near_it_came():
    with pytest.raises(RuntimeError, match="after 30 iterations.*should be 1e-06$"):
        solve(*problem(0), 1e-6, max_iterations=30)

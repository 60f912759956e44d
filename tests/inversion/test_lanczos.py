import numpy as np
import pytest

from rim_lensing.inversion.lanczos import LanczosQuadrature

SHIFT = 0.7
FUNCTIONS = {
    "log": lambda x: np.log(x + SHIFT),
    "inverse": lambda x: 1 / (x + SHIFT),
    "inverse_square": lambda x: 1 / (x + SHIFT) ** 2,
}


def matrix(size=120, rank=80, seed=0):
    """Positive semi-definite, eigenvalues over eight decades and exact zeros."""
    generator = np.random.default_rng(seed)
    vectors, _ = np.linalg.qr(generator.standard_normal((size, size)))
    eigenvalues = np.r_[np.logspace(-3, 5, rank), np.zeros(size - rank)]
    return (vectors * eigenvalues) @ vectors.T, vectors, eigenvalues


def quadrature(steps, start=None, **kwargs):
    dense, vectors, eigenvalues = matrix(**kwargs)
    if start is None:
        start = np.random.default_rng(1).choice([-1.0, 1.0], len(dense))
    run = LanczosQuadrature(lambda x: dense @ x, start)
    run.extend(steps)
    return run, lambda f: (vectors.T @ start) ** 2 @ f(eigenvalues)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("steps", [5, 20, 40])
def test_the_truth_lies_between_gauss_and_radau(function, steps):
    run, exact = quadrature(steps)
    low, high = np.sort(run.bracket(function))
    assert low < exact(function) < high


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_converges_to_the_eigenvalue_sum(function):
    run, exact = quadrature(400)
    np.testing.assert_allclose(run.bracket(function), exact(function), rtol=1e-8)


def test_extending_in_pieces_changes_nothing():
    whole, _ = quadrature(40)
    pieces, _ = quadrature(13)
    pieces.extend(27)
    np.testing.assert_array_equal(whole.bracket(FUNCTIONS["log"]), pieces.bracket(FUNCTIONS["log"]))


def test_stops_when_the_space_is_exhausted():
    _, vectors, eigenvalues = matrix()
    run, exact = quadrature(50, start=vectors[:, 75] + vectors[:, 70])
    assert run.exhausted and len(run) < 5
    np.testing.assert_allclose(run.bracket(FUNCTIONS["log"]), exact(FUNCTIONS["log"]), rtol=1e-10)


def test_a_zero_vector_and_a_zero_matrix():
    run = LanczosQuadrature(lambda x: 0 * x, np.zeros(9))
    run.extend(3)
    assert run.exhausted and not run.bracket(FUNCTIONS["log"]).any()
    run = LanczosQuadrature(lambda x: 0 * x, np.ones(9))
    run.extend(3)
    np.testing.assert_allclose(run.bracket(FUNCTIONS["log"]), 9 * np.log(SHIFT))

"""Both factorisations against numpy's dense linear algebra."""

import numpy as np
import pytest

from rim_lensing.inversion.factorisation import (
    DenseCholesky,
    SparseCholesky,
    factorisation,
    inverse_diagonal,
)
from rim_lensing.inversion.regularization import regularization_matrix

KINDS = [DenseCholesky, SparseCholesky]


def matrices(make_system, image_side=12, source_side=10):
    response = make_system(image_side, source_side).response()
    return (response.T @ response).tocsr(), regularization_matrix("curvature", source_side)


@pytest.mark.parametrize("kind", KINDS)
def test_solves_and_has_the_determinant_at_every_strength(make_system, kind):
    if kind is SparseCholesky:
        pytest.importorskip("cvxopt")
    fisher, prior = matrices(make_system)
    factor, right_side = kind(fisher, prior), np.random.default_rng(0).standard_normal(100)
    for strength in (30.0, 0.02, 4e5):
        factor.factorise(strength)
        matrix = (fisher + strength * prior).toarray()
        assert factor.log_det() == pytest.approx(np.linalg.slogdet(matrix)[1], rel=1e-11)
        expected = np.linalg.solve(matrix, right_side)
        np.testing.assert_allclose(factor.solve(right_side), expected, rtol=1e-8)
        np.testing.assert_allclose(
            inverse_diagonal(fisher, prior, strength), np.diag(np.linalg.inv(matrix)), rtol=1e-9
        )


@pytest.mark.parametrize("kind", KINDS)
def test_says_what_to_do_when_the_prior_is_too_weak(make_system, kind):
    if kind is SparseCholesky:
        pytest.importorskip("cvxopt")
    fisher, prior = matrices(make_system, image_side=10, source_side=20)
    factor = kind(fisher, prior)
    with pytest.raises(np.linalg.LinAlgError, match="strength=1e-40.*Give a larger strength"):
        factor.factorise(1e-40)
    factor.factorise(1.0)
    assert np.isfinite(factor.log_det())
    with pytest.raises(np.linalg.LinAlgError, match="Give a larger strength"):
        inverse_diagonal(fisher, prior, 1e-40)


def test_the_dense_one_serves_where_cvxopt_is_missing(make_system, monkeypatch):
    fisher, prior = matrices(make_system)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert isinstance(factorisation(fisher, prior), DenseCholesky)

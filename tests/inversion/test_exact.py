"""The exact engine against explicit dense inverses."""

import numpy as np
import pytest

from rim_lensing.inversion.exact import ExactEngine
from rim_lensing.inversion.factorisation import DenseCholesky
from rim_lensing.inversion.regularization import REGULARIZATIONS


@pytest.mark.parametrize("kind", REGULARIZATIONS)
@pytest.mark.parametrize("sides", [(16, 16), (32, 32), (12, 20)])
def test_gives_what_dense_inverses_give(make_system, dense, kind, sides):
    system = make_system(*sides)
    engine = ExactEngine(system, kind)
    for strength in (3.0, 40.0, 2000.0):
        expected, terms = dense.answer(system, kind, strength), engine.terms(strength)
        scale = np.abs(expected.mean).max()
        np.testing.assert_allclose(engine.mean(strength), expected.mean, atol=1e-9 * scale)
        assert terms.strength == strength
        for name in ("chi2", "prior_norm", "log_det"):
            assert getattr(terms, name) == pytest.approx(getattr(expected, name), rel=1e-7), name
        assert terms.effective_parameters == pytest.approx(expected.effective_parameters, rel=1e-7)
        assert terms.log_det_error == terms.effective_parameters_error == 0
        held = ExactEngine(system, kind).held_terms(strength)
        assert held.strength == strength and held.log_det_error == 0
        for name in ("chi2", "prior_norm", "log_det"):
            assert getattr(held, name) == pytest.approx(getattr(expected, name), rel=1e-9), name
    np.testing.assert_allclose(engine.standard_deviation(2000.0), expected.std, rtol=1e-8)


def test_a_held_strength_takes_one_factorisation(make_system, monkeypatch):
    engine, factorised = ExactEngine(make_system(16, 16), "gradient"), []
    once = engine._factor.factorise
    monkeypatch.setattr(
        engine._factor, "factorise", lambda strength: (factorised.append(strength), once(strength))
    )
    engine.held_terms(10.0)
    assert factorised == [10.0]


def test_lapack_and_cholmod_give_the_same(make_system, monkeypatch):
    pytest.importorskip("cvxopt")
    system = make_system(16, 16)
    sparse = ExactEngine(system, "gradient").terms(10.0)
    monkeypatch.setattr("rim_lensing.inversion.exact.factorisation", DenseCholesky)
    dense = ExactEngine(system, "gradient").terms(10.0)
    for name, value in vars(dense).items():
        assert getattr(sparse, name) == pytest.approx(value, rel=1e-8), name


@pytest.mark.parametrize("full", [0.0, 2.0])
def test_dense_and_sparse_products_give_the_same(make_system, dense, monkeypatch, full):
    monkeypatch.setattr("rim_lensing.inversion.linear_system.DENSE_FRACTION", full)
    system = make_system(16, 16)
    expected, found = dense.answer(system, "gradient", 40.0), ExactEngine(system, "gradient")
    np.testing.assert_allclose(found.mean(40.0), expected.mean, atol=1e-9 * expected.mean.max())
    assert found.terms(40.0).log_det == pytest.approx(expected.log_det, rel=1e-9)


def test_source_pixels_that_no_ray_meets_are_what_the_prior_makes_them(make_system, dense):
    system = make_system(8, 16)
    unseen = np.diff(system.lensing.tocsc().indptr) == 0
    engine = ExactEngine(system, "zeroth")
    assert unseen.sum() > 10
    np.testing.assert_array_equal(engine.mean(9.0)[unseen], 0)
    np.testing.assert_allclose(engine.standard_deviation(9.0)[unseen], 1 / 3)

"""The matrix-free engine against dense algebra, and its stated errors against their spread."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.signal import convolve2d

from rim_lensing.forward_model.psf_kernels import gaussian_on_pixels
from rim_lensing.forward_model.ray_tracing import RayTracer
from rim_lensing.inversion import matrix_free
from rim_lensing.inversion.evidence import log_evidence, maximise_evidence
from rim_lensing.inversion.exact import ExactEngine
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.inversion.matrix_free import MatrixFreeEngine
from rim_lensing.inversion.regularization import REGULARIZATIONS, regularization_matrix
from rim_lensing.lensing.grids import PixelGrid

LENS = [[0.9, 0.1, -0.15, 0.02, -0.03, 0.04, 0.02]]


def make_system(side=16, noise=0.02, psf=1.2, seed=0):
    """A galaxy of two Gaussians; a corner of the image is masked, and the noise is not uniform."""
    image_grid, source_grid = PixelGrid(side + 8, 4.0 / (side + 8)), PixelGrid(side, 2.4 / side)
    lensing = RayTracer(np.array(LENS), image_grid, source_grid).as_matrix()[0]
    kernel = np.asarray(gaussian_on_pixels(np.array([psf]), 9))[0]
    x, y = source_grid.coordinates()
    source = np.exp(-((x - 0.1) ** 2 + y**2) / 0.08) + 0.5 * np.exp(
        -((x + 0.3) ** 2 + (y - 0.2) ** 2) / 0.02
    )
    rms = noise * (1 + np.linspace(0, 1, image_grid.side**2).reshape(image_grid.side, -1))
    rms[:4, :5] = np.inf
    noiseless = LinearSystem(lensing, kernel, np.zeros(rms.shape), np.ones(rms.shape))
    image = noiseless.apply(source.ravel()).reshape(rms.shape)
    image = image + np.where(np.isfinite(rms), rms, 0) * np.random.default_rng(
        seed
    ).standard_normal(rms.shape)
    return LinearSystem(lensing, kernel, image, rms)


class Dense:
    """The formulas of DESIGN section 5, as they stand."""

    def __init__(self, system, regularization):
        lensed = system.lensing.toarray().T.reshape(-1, system.image_side, system.image_side)
        blurred = [convolve2d(image, system.psf, mode="same").ravel() for image in lensed]
        self.response = system.weight[:, None] * np.transpose(blurred)
        self.fisher, self.data = self.response.T @ self.response, system.data
        self.prior = regularization_matrix(regularization, system.source_side).toarray()

    def matrix(self, strength):
        return self.fisher + strength * self.prior

    def mean(self, strength):
        return np.linalg.solve(self.matrix(strength), self.response.T @ self.data)

    def terms(self, strength):
        mean = self.mean(strength)
        return {
            "chi2": np.sum((self.data - self.response @ mean) ** 2),
            "prior_norm": mean @ self.prior @ mean,
            "log_det": np.linalg.slogdet(self.matrix(strength))[1],
            "effective_parameters": np.trace(np.linalg.solve(self.matrix(strength), self.fisher)),
        }

    def best_strength(self):
        def slope(log_strength):
            terms = self.terms(np.exp(log_strength))
            return terms["effective_parameters"] - np.exp(log_strength) * terms["prior_norm"]

        return np.exp(brentq(slope, np.log(1e-3), np.log(1e6)))

    def standard_deviation(self, strength):
        return np.sqrt(np.diag(np.linalg.inv(self.matrix(strength))))


SMALL = make_system()


@pytest.mark.parametrize("side", [16, 32])
@pytest.mark.parametrize("regularization", REGULARIZATIONS)
def test_mean_is_the_dense_one_to_its_tolerance(regularization, side):
    system = make_system(side)
    engine, dense = MatrixFreeEngine(system, regularization), Dense(system, regularization)
    for strength in (0.1, 10.0, 1000.0):
        error = engine.mean(strength) - dense.mean(strength)
        distance = np.abs(error) / dense.standard_deviation(strength)
        assert distance.max() < 2 * matrix_free.MEAN_TOLERANCE


@pytest.mark.parametrize("side", [16, 32])
@pytest.mark.parametrize("regularization", REGULARIZATIONS)
def test_terms_are_the_dense_ones_within_the_stated_errors(regularization, side):
    system = make_system(side)
    engine, dense = MatrixFreeEngine(system, regularization), Dense(system, regularization)
    for strength in (1.0, 100.0):
        terms, exact = engine.terms(strength), dense.terms(strength)
        assert abs(terms.log_det - exact["log_det"]) < 5 * terms.log_det_error
        effective_error = terms.effective_parameters_error
        assert abs(terms.effective_parameters - exact["effective_parameters"]) < 5 * effective_error
        allowed = 0.1 * max(effective_error, 0.01 * terms.effective_parameters)
        assert abs(strength * (terms.prior_norm - exact["prior_norm"])) < allowed
        assert abs(terms.chi2 - exact["chi2"]) < allowed + 0.1 * terms.log_det_error


@pytest.mark.parametrize("regularization", REGULARIZATIONS)
def test_stated_errors_match_the_spread_over_seeds(regularization):
    strength, names = 30.0, ("log_det", "effective_parameters")
    exact = Dense(SMALL, regularization).terms(strength)
    seeds = range(30)
    terms = [MatrixFreeEngine(SMALL, regularization, seed=seed).terms(strength) for seed in seeds]
    for name in names:
        errors = np.array([getattr(t, name) for t in terms]) - exact[name]
        stated = np.array([getattr(t, name + "_error") for t in terms])
        spread = np.sqrt(np.mean(errors**2))
        assert 1 / 1.5 < spread / np.sqrt(np.mean(stated**2)) < 1.5
        assert abs(errors.mean()) < 3.5 * spread / np.sqrt(len(seeds))


@pytest.mark.parametrize("regularization", REGULARIZATIONS)
def test_best_strength_and_its_error(regularization):
    exact = Dense(SMALL, regularization).best_strength()
    scores = []
    for seed in range(10):
        engine = MatrixFreeEngine(SMALL, regularization, seed=seed)
        best = maximise_evidence(engine)
        scores.append(np.log(best / exact) / engine.strength_error(best))
    assert 0.5 < np.sqrt(np.mean(np.square(scores))) < 1.8
    assert np.max(np.abs(scores)) < 6


def test_log_evidence_is_that_of_the_data_covariance():
    """The data are a Gaussian vector of covariance N + f R^-1 f' / lambda: the same number."""
    strength = 20.0
    engine = MatrixFreeEngine(SMALL, "gradient", probes=64)
    value, error = log_evidence(engine, engine.terms(strength))
    dense, used = Dense(SMALL, "gradient"), SMALL.weight > 0
    response, data = dense.response[used], SMALL.data[used]
    covariance = np.eye(len(data)) + response @ np.linalg.solve(strength * dense.prior, response.T)
    exact = -0.5 * (
        data @ np.linalg.solve(covariance, data)
        + np.linalg.slogdet(covariance)[1]
        + len(data) * np.log(2 * np.pi)
    ) + np.sum(np.log(SMALL.weight[used]))
    assert abs(value - exact) < 4 * error


@pytest.mark.parametrize("regularization", REGULARIZATIONS)
def test_standard_deviations_and_their_error(regularization):
    engine = MatrixFreeEngine(SMALL, regularization, samples=200)
    strength = 30.0
    ratio = engine.standard_deviation(strength) / Dense(SMALL, regularization).standard_deviation(
        strength
    )
    assert engine.standard_deviation_error == 0.05
    assert 0.8 < np.sqrt(np.mean((ratio - 1) ** 2)) / engine.standard_deviation_error < 1.25
    # Neighbours share their errors: the mean of all pixels is good to a few times less.
    assert abs(ratio.mean() - 1) < engine.standard_deviation_error


def test_a_strength_gives_one_answer_and_a_seed_too():
    engine, again = (MatrixFreeEngine(SMALL, "gradient", samples=3, seed=3) for _ in range(2))
    first = engine.terms(30.0)
    engine.terms(0.01)
    assert engine.terms(30.0) == first == again.terms(30.0)
    assert MatrixFreeEngine(SMALL, "gradient", seed=4).terms(30.0).log_det != first.log_det
    np.testing.assert_array_equal(engine.standard_deviation(30.0), again.standard_deviation(30.0))


def test_without_data_on_the_source_the_prior_is_left():
    shape = (24, 24)
    system = LinearSystem(0 * SMALL.lensing, SMALL.psf, np.ones(shape), np.ones(shape))
    engine = MatrixFreeEngine(system, "gradient")
    terms = engine.terms(2.0)
    prior = regularization_matrix("gradient", 16).toarray()
    assert terms.effective_parameters == terms.prior_norm == terms.log_det_error == 0
    assert terms.chi2 == 24**2
    np.testing.assert_allclose(terms.log_det, np.linalg.slogdet(2 * prior)[1])
    assert not engine.mean(2.0).any()


def test_warns_of_runs_that_are_too_short():
    system = make_system(32, noise=1e-4)
    with pytest.warns(UserWarning, match="At a larger strength they are better known"):
        terms = MatrixFreeEngine(system, "gradient", max_iterations=20).terms(1.0)
    exact = Dense(system, "gradient").terms(1.0)
    # The error that is stated grows with the bracket.
    assert abs(terms.log_det - exact["log_det"]) < 3 * terms.log_det_error


@pytest.mark.parametrize("strength", [0.0, -1.0, np.nan, np.inf])
@pytest.mark.parametrize("method", ["mean", "terms", "held_terms", "standard_deviation"])
@pytest.mark.parametrize("engine", [MatrixFreeEngine, ExactEngine])
def test_refuses_a_strength_that_is_not_positive(engine, method, strength):
    with pytest.raises(ValueError, match="`strength` must be a positive number. Received"):
        getattr(engine(SMALL, "gradient"), method)(strength)


@pytest.mark.parametrize("name, value", [("probes", 1), ("samples", 0), ("max_iterations", 2.5)])
def test_refuses_counts_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be an integer of at least"):
        MatrixFreeEngine(SMALL, "gradient", **{name: value})

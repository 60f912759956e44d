"""The linear inversion of images with correlated noise, against dense covariances."""

import numpy as np
import pytest
from scipy import stats

from rim_lensing.inversion.evidence import log_evidence, maximise_evidence
from rim_lensing.inversion.exact import ExactEngine
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.inversion.matrix_free import MatrixFreeEngine
from rim_lensing.inversion.regularization import regularization_matrix

SIDE = 24
CORRELATION = np.array([[0.15, 0.35, 0.15], [0.35, 1.0, 0.35], [0.15, 0.35, 0.15]])


@pytest.fixture(scope="module")
def correlated(make_system):
    """The system of `make_system` with correlated noise, and C_N of its used pixels."""
    plain = make_system(SIDE, 12)
    used = plain.weight > 0
    used[200:203] = False
    rms = np.where(used, 1 / np.where(used, plain.weight, 1), np.inf)
    row, column = np.divmod(np.flatnonzero(used), SIDE)
    down, right = np.abs(row[:, None] - row), np.abs(column[:, None] - column)
    near = (down <= 1) & (right <= 1)
    between = CORRELATION[1 + np.minimum(down, 1), 1 + np.minimum(right, 1)]
    covariance = np.where(near, between, 0.0) * np.outer(rms[used], rms[used])
    truth = plain.predict(np.random.default_rng(1).uniform(size=144))
    noise = np.linalg.cholesky(covariance) @ np.random.default_rng(2).standard_normal(used.sum())
    image = np.full(SIDE**2, np.nan)
    image[used] = truth[used] + noise
    maps = image.reshape(SIDE, SIDE), rms.reshape(SIDE, SIDE)
    return LinearSystem(plain.lensing, plain.psf, *maps, noise_correlation=CORRELATION), covariance


@pytest.fixture(scope="module")
def exact(correlated):
    """Return the posterior and the evidence at a strength, by dense algebra."""
    system, covariance = correlated
    used = system.weight > 0
    operator = (system.blur() @ system.lensing).toarray()[used]
    # Whitened by W, the data are not told any more: the image is solved for.
    image = np.linalg.solve(system.whitening.matrix[used][:, used].toarray(), system.data[used])
    image /= system.weight[used]
    prior = regularization_matrix("gradient", system.source_side).toarray()

    def answer(strength):
        inverse = np.linalg.inv(
            operator.T @ np.linalg.solve(covariance, operator) + strength * prior
        )
        mean = inverse @ operator.T @ np.linalg.solve(covariance, image)
        total = covariance + operator @ np.linalg.solve(strength * prior, operator.T)
        evidence = stats.multivariate_normal(cov=total).logpdf(image)
        return mean, np.sqrt(np.diag(inverse)), evidence

    return answer


@pytest.mark.parametrize("strength", [2.0, 100.0])
def test_posterior_and_evidence_are_those_of_dense_algebra(correlated, exact, strength):
    system, _ = correlated
    engine = ExactEngine(system, "gradient")
    mean, std, evidence = exact(strength)
    assert np.max(np.abs(engine.mean(strength) - mean) / std) < 0.05
    np.testing.assert_allclose(engine.standard_deviation(strength), std, rtol=0.01)
    value, error = log_evidence(engine, engine.terms(strength))
    # chi^2 is known to one in a thousand.
    assert value == pytest.approx(evidence, abs=1e-3 * system.n_data) and error == 0


def test_both_engines_agree(correlated):
    system, _ = correlated
    engine, other = ExactEngine(system, "gradient"), MatrixFreeEngine(system, "gradient", probes=32)
    strength = maximise_evidence(engine)
    std = engine.standard_deviation(strength)
    assert np.max(np.abs(engine.mean(strength) - other.mean(strength)) / std) < 0.05
    value, error = log_evidence(other, other.terms(strength))
    assert abs(value - log_evidence(engine, engine.terms(strength))[0]) < 4 * error + 0.01


def test_apply_adjoint_and_precision_are_those_of_the_response(correlated):
    system, _ = correlated
    response = system.response().toarray()
    generator = np.random.default_rng(3)
    source, data = generator.standard_normal(144), generator.standard_normal(SIDE**2)
    np.testing.assert_allclose(system.apply(source), response @ source, atol=1e-9)
    np.testing.assert_allclose(system.adjoint(data), response.T @ data, atol=1e-9)
    weighted = system.whitening.matrix.multiply(system.weight)
    np.testing.assert_allclose(system.precision(), (weighted.T @ weighted).diagonal(), atol=1e-9)


def test_the_unit_does_not_matter(correlated):
    """Image and noise times a number: the evidence is a density per unit of flux."""
    system, _ = correlated
    used = system.weight > 0
    rms = np.where(used, 1 / np.where(used, system.weight, 1), np.inf)
    image = np.zeros(SIDE**2)
    image[used] = np.linalg.solve(
        system.whitening.matrix[used][:, used].toarray(), system.data[used]
    )
    image[used] *= rms[used]
    values = []
    for unit in (1.0, 1e6):
        maps = (unit * image).reshape(SIDE, SIDE), (unit * rms).reshape(SIDE, SIDE)
        scaled = LinearSystem(system.lensing, system.psf, *maps, noise_correlation=CORRELATION)
        engine = ExactEngine(scaled, "gradient")
        strength = maximise_evidence(engine)
        evidence = log_evidence(engine, engine.terms(strength))[0]
        values.append((strength * unit**2, evidence + used.sum() * np.log(unit)))
    np.testing.assert_allclose(values[0], values[1], rtol=1e-6)

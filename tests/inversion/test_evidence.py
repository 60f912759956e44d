"""Evidence and strength: against the Gaussian of the data, another optimiser, and draws."""

import numpy as np
import pytest
from scipy import stats

from rim_lensing.inversion.evidence import log_evidence, maximise_evidence
from rim_lensing.inversion.exact import ExactEngine
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.inversion.regularization import REGULARIZATIONS, regularization_modes


@pytest.mark.parametrize("kind", REGULARIZATIONS)
@pytest.mark.parametrize("sides", [(16, 16), (32, 32), (20, 12)])
def test_log_evidence_is_that_of_the_gaussian_of_the_data(make_system, dense, kind, sides):
    system = make_system(*sides)
    engine = ExactEngine(system, kind)
    for strength in (2.0, 300.0):
        expected = dense.log_evidence(system, kind, strength)
        value, error = log_evidence(engine, engine.terms(strength))
        assert value == pytest.approx(expected, rel=1e-8) and error == 0


@pytest.mark.parametrize("kind", REGULARIZATIONS)
@pytest.mark.parametrize("sides, rms", [((16, 16), 0.03), ((32, 32), 0.03), ((32, 32), 0.001)])
def test_finds_the_strength_that_another_optimiser_finds(make_system, dense, kind, sides, rms):
    system = make_system(*sides, rms=rms)
    engine = ExactEngine(system, kind)
    strength = maximise_evidence(engine)
    assert strength == pytest.approx(dense.best_strength(system, kind), rel=1e-6)
    exact = dense.answer(system, kind, strength)
    assert strength * exact.prior_norm == pytest.approx(exact.effective_parameters, rel=1e-6)
    best = log_evidence(engine, engine.terms(strength))[0]
    for factor in (0.5, 0.9, 1.1, 2.0, 100.0):
        assert log_evidence(engine, engine.terms(strength * factor))[0] < best


def test_refuses_data_that_say_nothing(make_system):
    system = make_system(16, 16)
    image = 1e-3 * np.tile([1.0, -1.0], (16, 8))
    silent = LinearSystem(system.lensing, system.psf, image, np.ones((16, 16)))
    with pytest.raises(ValueError, match="The evidence has no maximum"):
        maximise_evidence(ExactEngine(silent, "gradient"))


@pytest.fixture(scope="module", params=REGULARIZATIONS)
def draws(request, make_system):
    """Twenty-four sources from the prior of strength 50, observed and inverted."""
    kind, true_strength, generator = request.param, 50.0, np.random.default_rng(4)
    template = make_system(20, 16, rms=0.05)
    noise = np.where(template.weight > 0, 1 / np.maximum(template.weight, 1e-9), np.inf)
    modes, eigenvalues = regularization_modes(kind, 16)
    rows = []
    for _ in range(24):
        white = generator.standard_normal((16, 16))
        truth = (modes @ (white / np.sqrt(true_strength * eigenvalues)) @ modes.T).ravel()
        image = template.predict(truth)
        image[noise < np.inf] += (noise * generator.standard_normal(400))[noise < np.inf]
        system = LinearSystem(
            template.lensing, template.psf, image.reshape(20, 20), noise.reshape(20, 20)
        )
        engine = ExactEngine(system, kind)
        strength, terms = maximise_evidence(engine), engine.terms(true_strength)
        error = (engine.mean(true_strength) - truth) / engine.standard_deviation(true_strength)
        rows.append((strength, terms, error, system.n_data))
    return true_strength, rows


def test_recovers_the_strength_that_sources_were_drawn_with(draws):
    true_strength, rows = draws
    log_ratio = np.log([strength / true_strength for strength, *_ in rows])
    # The evidence's curvature in log lambda is about half of the effective parameters.
    spread = np.sqrt(2 / np.mean([terms.effective_parameters for _, terms, *_ in rows]))
    assert abs(log_ratio.mean()) < 4 * spread / np.sqrt(len(rows))
    assert 0.4 * spread < log_ratio.std() < 2.5 * spread


def test_residuals_and_prior_are_chi2_distributed_together(draws):
    _, rows = draws
    # d'(1 + f R^-1 f' / lambda)^-1 d = chi^2 + lambda s'Rs, with N_d degrees of freedom.
    total = [terms.chi2 + terms.strength * terms.prior_norm for _, terms, *_ in rows]
    assert stats.kstest(total, stats.chi2(rows[0][3]).cdf).pvalue > 1e-3


def test_pixel_errors_are_calibrated(draws):
    _, rows = draws
    errors = np.array([error for _, _, error, _ in rows])
    assert np.mean(errors**2) == pytest.approx(1, abs=0.2)
    assert np.mean(np.abs(errors) < 1) == pytest.approx(0.683, abs=0.05)
    assert np.mean(np.abs(errors) < 2) == pytest.approx(0.954, abs=0.03)

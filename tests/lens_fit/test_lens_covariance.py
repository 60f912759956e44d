"""The curvature of a log-posterior, and what it says of the maximum."""

import numpy as np
import pytest
from scipy.stats import cauchy, norm

from rim_lensing.lens_fit.lens_covariance import known_by_priors, lens_curvature
from rim_lensing.lens_fit.lens_support import LensSupport
from rim_lensing.lensing.mass_model import SHORT_FORMS
from rim_lensing.simulation.priors import Priors

HERE = np.array([1.1, 0.1, -0.05, 0.02, -0.01, 0.03, 0.02, 1.0])


class Quadratic:
    """Residuals that are linear in the lens, and a prior of the slope."""

    def __init__(self, temperature: float):
        self.support = LensSupport.from_priors(
            Priors(), SHORT_FORMS[8], {"lens.slope": norm(1.08, 0.2)}
        )
        generator = np.random.default_rng(3)
        self.temperature = temperature
        self.matrix = 200 * generator.standard_normal((8, 50))
        self.offset = generator.standard_normal(50)
        self.steps = np.full((2, 8), 0.01)

    def residuals(self, lenses):
        return (lenses - HERE) @ self.matrix + self.offset


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_gain_is_that_of_the_maximum_of_a_quadratic(temperature):
    posterior = Quadratic(temperature)
    found = lens_curvature(posterior, HERE)
    precision = posterior.matrix @ posterior.matrix.T / temperature
    precision[7, 7] += 1 / 0.2**2
    np.testing.assert_allclose(found.covariance(), np.linalg.inv(precision), rtol=0.01)

    def value(lens):
        chi2 = np.sum(posterior.residuals(lens) ** 2) / temperature
        return -0.5 * chi2 - 0.5 * ((lens[7] - 1.08) / 0.2) ** 2

    slope = -posterior.matrix @ posterior.offset / temperature
    slope[7] += 0.08 / 0.2**2
    best = HERE + np.linalg.solve(precision, slope)
    assert found.gain == pytest.approx(value(best) - value(HERE), rel=0.01)


def test_a_temperature_widens_what_the_data_know_and_not_what_priors_do():
    posterior = Quadratic(1.0)
    posterior.matrix[7] = 0
    wide, narrow = (lens_curvature(posterior, HERE).covariance(t) for t in (4.0, 1.0))
    assert wide[7, 7] == pytest.approx(0.2**2) and narrow[7, 7] == pytest.approx(0.2**2)
    np.testing.assert_allclose(np.diag(wide)[:7], 4 * np.diag(narrow)[:7], rtol=0.01)


def test_a_prior_without_a_variance_is_as_wide_as_its_middle_two_thirds():
    support = LensSupport.from_priors(Priors(), SHORT_FORMS[8], {"lens.slope": cauchy(1.0, 0.02)})
    low, high = cauchy(1.0, 0.02).ppf([0.16, 0.84])
    assert known_by_priors(support)[7] == pytest.approx(4 / (high - low) ** 2)
    assert np.all(np.isfinite(known_by_priors(support)))

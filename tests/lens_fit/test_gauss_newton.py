"""Gauss and Newton's steps on sums of squares whose maximum is known."""

import numpy as np
import pytest
from scipy.stats import norm

from rim_lensing.lens_fit.gauss_newton import climb
from rim_lensing.lens_fit.lens_support import LensSupport
from rim_lensing.lens_fit.search_questions import Wanted
from rim_lensing.lensing.mass_model import SHORT_FORMS
from rim_lensing.simulation.priors import Priors

TRUTH = np.array([1.1, 0.1, -0.05, 0.02, -0.01, 0.03, 0.02])
START = TRUTH + np.array([0.1, 0.05, 0.04, -0.05, 0.05, -0.03, 0.02])
WIDTHS = np.outer((0.02, 0.004), np.ones(7))


def support(named=None) -> LensSupport:
    return LensSupport.from_priors(Priors(), SHORT_FORMS[7], named or {})


def answers(kinks: float, prior: LensSupport):
    """Residuals (k, 30) of a curved model, with a kink every 0.01, and what was asked so far."""
    generator = np.random.default_rng(0)
    matrix, bend = 40 * generator.standard_normal((7, 30)), generator.standard_normal((7, 30))
    asked = []

    def answer(question):
        assert question.wanted is Wanted.RESIDUALS and np.all(prior.contains(question.lenses))
        asked.append(len(question.lenses))
        off = question.lenses - TRUTH
        saw = np.abs((off / 0.01 + 0.5) % 1 - 0.5)
        residuals = (off + kinks * 0.01 * saw) @ matrix + 100 * off**2 @ bend
        values = -0.5 * np.sum(residuals**2, axis=1) + prior.log_prior(question.lenses)
        return values, residuals

    return answer, asked


@pytest.mark.parametrize("kinks", [0.0, 0.3])
def test_finds_the_maximum_past_kinks(kinks):
    answer, asked = answers(kinks, support())
    lens, value, converged = climb(START, support(), WIDTHS, 1000, answer)
    assert converged and sum(asked) <= 300
    assert value > -0.5 if kinks else value > -0.02
    # An eighth of the error of the start; chi^2 of the truth is 0.
    assert np.abs(lens - TRUTH).max() < 0.006


def test_priors_pull_as_gaussians_do():
    """One parameter alone matters: the mean of two Gaussians, weighted by their precisions."""
    held = support({"lens.theta_E": norm(1.0, 0.01)})

    def answer(question):
        residuals = (question.lenses[:, :1] - 1.1) / 0.02 + np.zeros((1, 5)) / np.sqrt(5)
        residuals = residuals / np.sqrt(5)
        return -0.5 * np.sum(residuals**2, axis=1) + held.log_prior(question.lenses), residuals

    lens, _, converged = climb(held.nearest(START[None])[0], held, WIDTHS, 1000, answer)
    assert converged and lens[0] == pytest.approx((1.0 * 4 + 1.1) / 5, abs=2e-3)


def test_a_budget_ends_it():
    answer, asked = answers(0.0, support())
    far = support().nearest(START[None] + 0.3)[0]
    _, _, converged = climb(far, support(), WIDTHS, 20, answer)
    assert not converged and sum(asked) <= 31


def test_what_is_no_number_is_no_step_and_ends():
    answer, asked = answers(0.0, support())

    def broken(question):
        values, residuals = answer(question)
        return values, residuals if len(asked) == 1 else residuals * np.nan

    lens, _, _ = climb(START, support(), WIDTHS, 1000, broken)
    np.testing.assert_array_equal(lens, START)
    assert sum(asked) < 100

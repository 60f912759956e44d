"""When Algorithm 1 takes a power law for the answer: the rule on values, and on mocks."""

from dataclasses import replace

import numpy as np
import pytest

from rim_lensing.lens_fit.automated_fit import _choose_power_law, automated_fit
from rim_lensing.lens_fit.fit_rounds import Round, conclude
from rim_lensing.lens_fit.lens_covariance import gauss_newton_covariance
from rim_lensing.lens_fit.lens_posterior import lens_posterior
from rim_lensing.lens_fit.residual_test import ResidualTest
from rim_lensing.observation.checks import check_observation

LENS = np.array([1.1, 0.1, 0.05, 0.01, -0.02, 0.02, 0.03])
EPL = np.append(LENS, 1.25)


@pytest.fixture(scope="module")
def reconstructions(ridge_model, mock):
    """Return a function: reconstructions by SIE and power law that differ by a log-posterior."""
    both = [ridge_model.reconstruct(lens=lens, **mock(LENS)) for lens in (LENS, EPL)]

    def by(gain: float, used: int) -> list:
        mask = np.arange(256).reshape(16, 16) < used
        worse, better = (replace(each, mask=mask) for each in both)
        worse = replace(worse, chi2=3.0)
        return [worse, replace(better, chi2=3.0 - 2 * gain / used)]

    return by


def a_round(result, succeeded: bool = False, **changes) -> Round:
    test = ResidualTest(succeeded, 0.5, np.ones(2), np.ones(2), 0.001, np.ones(2))
    facts = {"starts": 1, "evaluations": 9, "demagnified": False, "edges": ()}
    facts |= {"lens": result.lens, "form": result.form} | changes
    return Round(reconstruction=result, test=test, **facts)


def chosen(sie: Round, power_law: Round) -> bool:
    rounds = [sie, power_law]
    fit, is_power_law = _choose_power_law(conclude([sie], "given"), power_law, rounds, "given")
    assert len(fit.lens) == (8 if is_power_law else 7) and len(fit.rounds) == 2
    return is_power_law


@pytest.mark.parametrize("used", [256, 100])
def test_a_parameter_costs_half_the_logarithm_of_the_number_of_used_pixels(reconstructions, used):
    """Schwarz (1978): 2.77 of 256 pixels, 2.30 of 100."""
    price = np.log(used) / 2
    for gain, expected in ((price - 0.01, False), (price + 0.01, True), (-50.0, False)):
        sie, power_law = reconstructions(gain, used)
        assert chosen(a_round(sie), a_round(power_law)) is expected, gain


def test_the_price_and_the_gain_are_told(reconstructions):
    sie, power_law = map(a_round, reconstructions(4.0, 256))
    fit, _ = _choose_power_law(conclude([sie], "given"), power_law, [sie, power_law], "given")
    assert "log-posterior +4.0 with a power law, where 2.8 tell it from an SIE" in fit.verdict


def test_a_shrunk_source_does_not_decide(reconstructions):
    """A power law that shrinks the source onto the arcs is none, however well it fits."""
    sie, power_law = reconstructions(40.0, 256)
    assert not chosen(a_round(sie), a_round(power_law, demagnified=True))
    # And one that succeeds takes the place of an SIE that does so.
    sie, power_law = reconstructions(-4.0, 256)
    assert chosen(a_round(sie, demagnified=True), a_round(power_law, succeeded=True))


def test_no_reconstruction_is_no_gain(reconstructions):
    sie, power_law = reconstructions(40.0, 256)
    none = replace(a_round(power_law), reconstruction=None, test=None)
    rounds = [a_round(sie), none]
    fit, is_power_law = _choose_power_law(conclude(rounds[:1], "given"), none, rounds, "given")
    assert not is_power_law and "no power law leads the arcs to the source grid" in fit.verdict


@pytest.mark.slow
def test_the_sie_of_an_sie_mock_is_kept(ridge_model, mock, monkeypatch):
    """Where residuals are never called noise, so that a power law is tried."""
    never = ResidualTest(False, 0.0, np.ones(2), np.ones(2), 0.001, np.ones(2))
    monkeypatch.setattr(
        "rim_lensing.lens_fit.automated_fit.check_residuals", lambda *arguments, **more: never
    )
    arguments = mock(LENS) | {"source_model": ridge_model, "start": LENS, "max_rounds": 1}
    fit = automated_fit(**arguments)
    assert len(fit.rounds) == 3 and len(fit.rounds[-1].lens) == 8
    assert fit.rounds[-1].log_posterior > fit.rounds[1].log_posterior - 1
    assert len(fit.lens) == 7 and "tell it from an SIE" in fit.verdict


@pytest.mark.slow
def test_a_steep_mock_gets_its_power_law(ridge_model, mock):
    data = mock(EPL, rms=0.005)
    fit = automated_fit(**data, source_model=ridge_model, start=LENS, max_rounds=1)
    assert len(fit.lens) == 8
    seen = check_observation(lens=fit.mass_model, image_grid=ridge_model.image_grid, **data)
    covariance = gauss_newton_covariance(lens_posterior(ridge_model, seen), fit.lens)
    assert abs(fit.lens[7] - 1.25) < 3 * np.sqrt(covariance[7, 7])

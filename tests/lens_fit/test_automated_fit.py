"""Algorithm 1 from end to end, with a lens model that errs on purpose."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from rim_lensing.lens_fit.automated_fit import _starts, automated_fit
from rim_lensing.lens_fit.lens_posterior import lens_posterior
from rim_lensing.lens_fit.optimise import optimise_lens
from rim_lensing.lens_fit.residual_test import check_residuals
from rim_lensing.lensing.given_deflections import Deflections
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.lens_parameters import LensParameters
from rim_lensing.observation.checks import check_observation
from rim_lensing.observation.observation import Observation
from rim_lensing.reconstruction import rim_reconstructor
from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor
from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion
from rim_lensing.sampling.sample import sample_lens_posterior

LENS = np.array([1.1, 0.1, 0.05, 0.01, -0.02, 0.02, 0.03])
STD = np.array([0.05, 0.05, 0.05, 0.02, 0.02, 0.02, 0.02])
ERROR = np.array([0.12, -0.06, 0.06, 0.02, 0.02, 0.02, -0.02])


class Guess:
    """A lens model that answers what it was told to, and keeps the mask that it was given."""

    def __init__(self, lens):
        self.lens = np.asarray(lens)

    def predict(self, image, noise, psf, mask=None):
        self.mask = mask
        return self.lens[None], STD[None]


def test_a_good_prediction_is_left_alone(ridge_model, mock):
    fit = automated_fit(**mock(LENS), source_model=ridge_model, lens_model=Guess(LENS))
    assert fit.converged and len(fit.rounds) == 1 and fit.rounds[0].evaluations == 0
    np.testing.assert_allclose(fit.lens, LENS)
    assert "converged with the predicted lens" in fit.verdict
    np.testing.assert_array_equal(fit.prediction, ([LENS], [STD]))


def test_a_lens_that_is_given_is_where_it_starts(ridge_model, mock):
    data = mock(LENS) | {"source_model": ridge_model, "max_rounds": 0}
    fit = automated_fit(**data, start=LensParameters(*LENS))
    assert fit.converged and fit.rounds[0].starts == 0 and fit.prediction is None
    np.testing.assert_allclose(fit.lens, LENS, rtol=1e-6)
    for x in (0.06, 0.3):
        with pytest.warns(UserWarning, match="`start` lies outside of the priors, and is moved"):
            automated_fit(**data, start={"theta_E": 1.1, "x": x})
    for wrong in ({"start": LENS, "lens_model": Guess(LENS)}, {}):
        with pytest.raises(ValueError, match="Exactly one of `lens_model` and `start`"):
            automated_fit(**data, **wrong)
    for several in ([LENS, LENS], Deflections(np.zeros((4, 4)), np.zeros((4, 4)))):
        with pytest.raises(ValueError, match="`start` must be one lens with parameters"):
            automated_fit(**data, start=several)


def test_a_bad_prediction_is_told_by_its_residuals_and_mended(ridge_model, mock, caplog):
    caplog.set_level(logging.INFO)
    fit = automated_fit(**mock(LENS), source_model=ridge_model, lens_model=Guess(LENS + ERROR))
    assert not fit.rounds[0].succeeded and not fit.rounds[0].test.consistent
    assert fit.converged and fit.rounds[-1].succeeded and fit.rounds[-1].evaluations > 0
    assert abs(fit.lens[0] - LENS[0]) < 0.02
    assert fit.reconstruction is fit.rounds[-1].reconstruction
    assert fit.verdict.startswith("converged after")
    assert len([r for r in caplog.records if r.message.startswith("round")]) == len(fit.rounds)


def test_what_no_lens_explains_ends_with_the_reason(ridge_model, mock):
    """A bright intruder beside the arcs: no round succeeds, and the verdict says so."""
    data = mock(LENS)
    data["image"][2:4, 8] += 3.0
    models = {"source_model": ridge_model, "lens_model": Guess(LENS), "epl": False}
    fit = automated_fit(**data, **models, max_rounds=2)
    assert not fit.converged and len(fit.rounds) == 3
    assert fit.verdict.startswith("not converged after 2 optimisations: residuals not noise")
    smallest = min(one.reconstruction.chi2 for one in fit.rounds if not one.demagnified)
    assert fit.reconstruction.chi2 == smallest


def test_ends_when_no_start_finds_a_better_lens(ridge_model, mock):
    """The same intruder, and rounds to spare: the second round of starts says nothing new."""
    data = mock(LENS)
    data["image"][2:4, 8] += 3.0
    models = {"source_model": ridge_model, "lens_model": Guess(LENS), "epl": False}
    fit = automated_fit(**data, **models, max_rounds=9)
    assert not fit.converged and 3 <= len(fit.rounds) < 10
    assert fit.verdict.endswith("no start finds a better lens")
    pixels = fit.reconstruction.mask.sum()
    chi2 = np.array([one.reconstruction.chi2 for one in fit.rounds]) * pixels
    assert np.all(np.diff(chi2[1:-1]) < -1) and chi2[-1] > chi2[:-1].min() - 1


def test_a_prediction_that_misses_the_arcs_is_a_start_like_others(ridge_model, mock):
    wide = np.array([2.1, 0.05, 0, 0, 0, 0.02, 0])
    small = np.array([0.3, 0, 0, 0, 0, 0, 0])
    arguments = mock(wide) | {"source_model": ridge_model, "lens_model": Guess(small), "epl": False}
    with pytest.raises(ValueError, match="Neither the predicted lens.*max_rounds=0"):
        automated_fit(**arguments, max_rounds=0)
    fit = automated_fit(**arguments, max_rounds=1)
    assert fit.rounds[0].reconstruction is None and not fit.rounds[0].succeeded
    assert "leads less than half of the arcs to the source grid" in fit.rounds[0].findings
    assert fit.lens[0] > 1.0 and fit.reconstruction is fit.rounds[1].reconstruction


def test_of_linear_reconstructions_the_evidence_decides(linear_model, mock):
    """A weak prior lets chi^2 fall, at a lens that is less probable."""
    from rim_lensing.lens_fit.fit_rounds import Round, best_round

    data, wrong = mock(LENS), LENS + 0.01 * ERROR
    right = linear_model.reconstruct(lens=LENS, **data)
    weak = SemilinearInversion(strength=right.strength / 1000, geometry=linear_model.geometry)
    rough = weak.reconstruct(lens=wrong, **data)
    assert rough.chi2 < right.chi2
    rest = {"test": None, "starts": 0, "evaluations": 0, "demagnified": False, "edges": ()}
    rounds = [
        Round(lens=lens, reconstruction=result, **rest)
        for lens, result in ((wrong, rough), (LENS, right), (LENS, None))
    ]
    assert best_round(rounds) is rounds[1]
    assert rounds[2].log_posterior == -np.inf
    shrunk = replace(rounds[0], demagnified=True)
    assert (
        best_round([rounds[2], shrunk]) is shrunk and best_round([shrunk, rounds[1]]) is rounds[1]
    )


def test_the_first_lens_that_magnifies_is_not_the_end(linear_model, mock):
    """It is the better one though the shrunk source of the rounds before fits as well."""
    from rim_lensing.lens_fit.fit_rounds import Round, nothing_better

    data = mock(LENS)
    right, worse = (
        linear_model.reconstruct(lens=lens, **data) for lens in (LENS, LENS + 0.3 * ERROR)
    )
    assert worse.log_evidence < right.log_evidence - 1
    rest = {"lens": LENS, "test": None, "starts": 0, "evaluations": 0, "edges": ()}
    shrunk = Round(reconstruction=right, demagnified=True, **rest)
    real = Round(reconstruction=worse, demagnified=False, **rest)
    assert not nothing_better([shrunk, shrunk, real])
    assert nothing_better([shrunk, shrunk, replace(shrunk)])
    assert nothing_better([shrunk, real, replace(real)])


def test_what_was_found_is_kept_where_the_source_cannot_be_refined(ridge_model, mock, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("do not converge")

    monkeypatch.setattr("rim_lensing.reconstruction.refinement._best_strength", fail)
    data = mock(LENS) | {"source_model": ridge_model.refined(), "max_rounds": 0}
    with pytest.warns(UserWarning, match="could not be refined, .* network's: do not converge"):
        fit = automated_fit(**data, start=LENS)
    assert fit.converged and fit.verdict.startswith("converged with the given lens")
    assert fit.verdict.endswith("; the source could not be refined")
    assert fit.reconstruction.model == "ridge" and not fit.reconstruction.refined
    np.testing.assert_array_equal(fit.reconstruction.history, fit.rounds[0].reconstruction.history)


def test_what_was_found_is_kept_where_no_copy_can_be_refined(ridge_model, mock, monkeypatch):
    refine = rim_reconstructor.refine

    def fails_at_many(observation, sources, *others):
        refined, failures = refine(observation, sources, *others)
        return refined, {i: "do not converge" for i in range(len(sources) - 1)} | failures

    monkeypatch.setattr(rim_reconstructor, "refine", fails_at_many)
    data = mock(LENS) | {"source_model": ridge_model.refined(), "max_rounds": 0}
    fit = automated_fit(**data, start=LENS)
    assert fit.reconstruction.refined
    assert "; the refined source could not be tested: 3 of 16 simulated copies" in fit.verdict


def test_the_linear_inversion_ends_with_standard_deviations(linear_model, mock):
    fit = automated_fit(**mock(LENS), source_model=linear_model, start=LENS, max_rounds=0)
    assert fit.rounds[0].reconstruction.source_std is None
    assert np.all(fit.reconstruction.source_std > 0)


def test_a_lens_far_beyond_the_priors_is_not_moved_silently(ridge_model, mock):
    far = LENS.copy()
    far[3] = 0.05 + 2.5 * STD[3]
    arguments = mock(LENS) | {"source_model": ridge_model, "max_rounds": 0}
    with pytest.warns(UserWarning, match="predicted lens lies far outside of the priors"):
        automated_fit(**arguments, lens_model=Guess(far))


def test_a_lens_model_for_other_pixels_is_refused(ridge_model, mock):
    model = Guess(LENS)
    model.image_grid = PixelGrid(16, 0.1)
    with pytest.raises(ValueError, match=r"`lens_model` must take.*with_image_grid\(16, 0.3\)"):
        automated_fit(**mock(LENS), source_model=ridge_model, lens_model=model)


def test_the_last_lens_is_warned_of(ridge_model, mock):
    strange = RIMReconstructor(
        ridge_model.network, "ridge", replace(ridge_model.priors, psf_sigma=(0.0, 0.01))
    )
    with pytest.warns(UserWarning, match="width sigma of the PSF"):
        automated_fit(**mock(LENS), source_model=strange, lens_model=Guess(LENS), max_rounds=0)


def test_likelihood_and_test_are_told_of_correlated_noise(ridge_model, mock):
    along = np.array([0.4, 1.0, 0.4])
    correlation = np.outer(along, along)
    arguments = mock(LENS) | {"source_model": ridge_model, "lens_model": Guess(LENS)}
    fit = automated_fit(**arguments, max_rounds=0, noise_correlation=correlation)
    assert np.array_equal(fit.reconstruction.noise_correlation, correlation)
    p_value = fit.rounds[0].test.p_value
    assert p_value == check_residuals(fit.reconstruction, ridge_model).p_value
    assert p_value != automated_fit(**arguments, max_rounds=0).rounds[0].test.p_value
    seen = Observation(**mock(LENS), noise_correlation=correlation)
    models = {name: arguments[name] for name in ("source_model", "lens_model")}
    again = automated_fit(seen, **models, max_rounds=0)
    assert p_value == again.rounds[0].test.p_value


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"max_rounds": -1}, "max_rounds"),
        ({"false_alarm": 1.5}, "false_alarm"),
        ({"image": np.ones((3, 16, 16))}, "one image"),
        ({"noise": np.nan}, "`noise` must be finite"),
        ({"pixel_scale": 0.15}, "`pixel_scale` must be the model's"),
        ({"noise_correlation": 0.4}, "`noise_correlation` must be a finite square"),
        ({"noise_correlation": np.full((3, 3), 2.0)}, "must be 1 in the middle"),
        ({"noise_correlation": np.ones((99, 99))}, "larger than the image"),
    ],
)
def test_refuses_before_any_work(ridge_model, mock, changes, message):
    class NoModel:
        def predict(self, *_, **__):
            raise AssertionError("asked too early")

    arguments = mock(LENS) | {"source_model": ridge_model, "lens_model": NoModel()} | changes
    with pytest.raises(ValueError, match=message):
        automated_fit(**arguments)


def test_a_lens_model_that_fails_is_named(ridge_model, mock):
    broken = Guess(np.full(7, np.nan))
    with pytest.raises(ValueError, match="`lens_model` must predict seven"):
        automated_fit(**mock(LENS), source_model=ridge_model, lens_model=broken)


def test_a_prediction_beyond_the_priors_starts_at_their_edge(ridge_model, mock):
    beyond = LENS.copy()
    beyond[3] = 0.2
    fit = automated_fit(
        **mock(LENS), source_model=ridge_model, lens_model=Guess(beyond), max_rounds=0
    )
    assert fit.rounds[0].lens[3] == 0.05 and fit.rounds[0].edges == ("x",)
    assert fit.prediction[0][0, 3] == 0.2
    assert (
        "on the edge of the priors: x; to look beyond the edge, crop around the lens, or widen "
        "`priors`, on the command line --centre-range ARCSEC" in fit.verdict
    )
    both = replace(fit.rounds[0], edges=("y", "ellipticity"))
    assert both.advice.endswith("line --centre-range ARCSEC --range axis_ratio=LOW,HIGH")
    large = replace(fit.rounds[0], edges=("theta_E",))
    said = "to look beyond the edge, widen `priors`, on the command line --range theta_E=LOW,HIGH"
    assert large.advice == said and replace(large, edges=()).advice == ""


def test_a_lens_that_hardly_magnifies_may_be_allowed(ridge_model, mock):
    data = mock(LENS) | {"source_model": ridge_model, "max_rounds": 0, "start": LENS}
    strict = automated_fit(**data, priors=replace(ridge_model.priors, min_magnification=1e3))
    assert "magnification is the truth, allow it: priors=Priors(min_" in strict.verdict


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("task", ["optimise", "fit", "sample"])
def test_masked_pixels_may_hold_anything(ridge_model, mock, task):
    mask = np.ones((16, 16), bool)
    mask[:3] = False
    data = mock(LENS) | {"mask": mask, "source_model": ridge_model}
    data["image"][:3] = np.nan
    if task == "sample":
        chain = sample_lens_posterior(**data, start=LENS, walkers=14, max_steps=10)
        assert np.isfinite(chain.log_posteriors).all()
        return
    guess = Guess(LENS)
    if task == "optimise":
        found = optimise_lens(**data, start=LENS, method="simplex")
    else:
        found = automated_fit(**data, lens_model=guess, max_rounds=0)
        np.testing.assert_array_equal(guess.mask, mask)
    np.testing.assert_array_equal(found.reconstruction.mask, mask)


@pytest.mark.parametrize(("number", "widening"), [(2, 2.0), (3, 4.0)])
def test_later_rounds_start_from_the_most_probable_draws(ridge_model, mock, number, widening):
    """Of 16 lenses around the prediction, which is not the best lens so far."""
    seen = check_observation(lens=LENS, image_grid=ridge_model.image_grid, **mock(LENS))
    posterior = lens_posterior(ridge_model, seen)
    predicted = LENS + np.eye(7)[0] * 0.3
    asked = []

    class Recorder:
        support = posterior.support

        def log_posterior(self, lenses):
            asked.append((lenses, posterior.log_posterior(lenses)))
            return asked[-1][1]

    # Little noise about the prediction, so that the priors' edges cut nothing off.
    generator = np.random.default_rng(0)
    starts = _starts(Recorder(), LENS, predicted, STD / 20, number, generator)
    ((draws, values),) = asked
    np.testing.assert_array_equal(starts[0], LENS)
    assert draws.shape == (16, 7) and starts.shape == (4, 7)
    assert posterior.support.contains(draws).all()
    chosen = [np.flatnonzero((draws == start).all(axis=1))[0] for start in starts[1:]]
    assert np.min(values[chosen]) >= np.max(np.delete(values, chosen))
    spread = np.sqrt(np.mean(((draws - predicted) / (STD / 20)) ** 2))
    assert spread == pytest.approx(widening, rel=0.25)

"""The search for the lens: every method, and the traps that others have fallen into."""

import warnings

import numpy as np
import pytest

from rim_lensing.files.fits_files import FitsImage
from rim_lensing.lens_fit import lens_search
from rim_lensing.lens_fit.lens_posterior import lens_posterior
from rim_lensing.lens_fit.lens_search import METHODS, noise_factors
from rim_lensing.lens_fit.optimise import nearest_starts, optimise_lens
from rim_lensing.observation.checks import check_observation
from rim_lensing.simulation.priors import Priors

LENS = np.array([1.1, 0.1, 0.05, 0.01, -0.02, 0.02, 0.03])
ERROR = np.array([0.03, -0.03, 0.03, 0.01, 0.01, 0.01, -0.01])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_lens(ridge_model, mock, method):
    found = optimise_lens(**mock(LENS), start=LENS + ERROR, source_model=ridge_model, method=method)
    truth = ridge_model.reconstruct(lens=LENS, **mock(LENS))
    start = ridge_model.reconstruct(lens=LENS + ERROR, **mock(LENS))
    assert found.converged and not found.demagnified
    assert abs(found.lens[0] - LENS[0]) < 0.015
    # As probable as the truth, to what seven parameters can take up of the noise.
    pixels = truth.mask.sum()
    assert found.reconstruction.chi2 * pixels < truth.chi2 * pixels + 4 < start.chi2 * pixels
    assert -2 * found.log_posterior == pytest.approx(found.reconstruction.chi2 * pixels, rel=1e-3)
    assert found.evaluations > 0 and found.seconds > 0


def test_restarts_share_the_work_and_the_best_wins(ridge_model, mock):
    starts = np.array([LENS + 6 * ERROR, LENS + ERROR])
    both = optimise_lens(**mock(LENS), start=starts, source_model=ridge_model)
    alone = optimise_lens(**mock(LENS), start=starts[1], source_model=ridge_model)
    assert both.start_lenses.shape == (2, 7)
    assert both.start_log_posteriors[0] == max(both.start_log_posteriors)
    assert both.log_posterior >= alone.log_posterior - 0.1


def test_restarts_go_as_they_would_alone(ridge_model, mock):
    """In lock-step, to what a batch of another size changes in float32."""
    starts = np.array([LENS + 2 * ERROR, LENS + ERROR])
    arguments = mock(LENS) | {"source_model": ridge_model}
    both = optimise_lens(start=starts, **arguments)
    alone = [optimise_lens(start=start, **arguments) for start in starts]
    assert both.evaluations <= 1.3 * sum(one.evaluations for one in alone)
    expected = sorted((one.log_posterior for one in alone), reverse=True)
    np.testing.assert_allclose(both.start_log_posteriors, expected, atol=1.5)


def test_the_linear_inversion_is_optimised_by_its_evidence(linear_model, mock):
    found = optimise_lens(
        **mock(LENS), start=LENS + ERROR, source_model=linear_model, method="simplex"
    )
    at_truth = linear_model.reconstruct(lens=LENS, uncertainties=False, **mock(LENS))
    assert abs(found.lens[0] - LENS[0]) < 0.015
    assert found.reconstruction.log_evidence > at_truth.log_evidence - 0.5
    assert 0.1 < found.reconstruction.strength / at_truth.strength < 10
    assert np.all(found.reconstruction.source_std > 0)


@pytest.mark.parametrize("kind", ["ridge_model", "linear_model"])
def test_the_search_raises_the_noise_first(kind, mock, request):
    model, data = request.getfixturevalue(kind), mock(LENS, rms=0.002)

    def posterior(noise):
        given = data | {"noise": noise}
        seen = check_observation(lens=LENS, image_grid=model.image_grid, **given)
        return lens_posterior(model, seen)

    quiet = posterior(data["noise"])
    level = float(quiet.observation.noise_level[0])
    assert noise_factors(quiet) == pytest.approx([0.03 / level, 0.006 / level, 1.0])
    quiet.log_posterior(LENS[None])
    raised = quiet.with_noise(5.0).log_posterior(LENS[None])
    expected = posterior(5 * data["noise"]).log_posterior(LENS[None])
    np.testing.assert_allclose(raised, expected, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_search_that_runs_out_of_time_says_so(ridge_model, mock, monkeypatch, method):
    monkeypatch.setitem(lens_search._MAX_EVALUATIONS, method, (20, 20))
    start = LENS + np.array([0.12, -0.06, 0.06, 0.02, 0.02, 0.02, -0.02])
    found = optimise_lens(**mock(LENS), start=start, source_model=ridge_model, method=method)
    assert not found.converged


@pytest.mark.parametrize("start", [0.7, 0.9])
def test_an_epl_is_found_too(ridge_model, mock, start):
    """At a quarter of the other mocks' noise, where the data tell the slope from either side.

    Not from 1.0: between there and 0.8 the posterior of so coarse a source has a side maximum.
    """
    data = mock(np.append(LENS, 0.8), rms=0.005) | {"source_model": ridge_model}
    found = optimise_lens(start=np.append(LENS, start), **data)
    isothermal = optimise_lens(start=LENS, **data)
    assert found.lens.shape == (8,)
    # The ridge, and not the noise, pulls the slope by 0.01: three draws of noise differ by 0.002.
    assert abs(found.lens[7] - 0.8) < 0.03
    # It exceeds any isothermal lens by some 110.
    assert found.log_posterior > isothermal.log_posterior + 50


def test_a_slope_outside_of_its_range_is_moved_and_told(ridge_model, mock):
    """No priors widen that range."""
    start = np.append(LENS, 1.8)[None]
    seen = check_observation(lens=start, image_grid=ridge_model.image_grid, **mock(LENS))
    posterior = lens_posterior(ridge_model, seen)
    with pytest.warns(UserWarning, match=r"--prior\) if the lens may lie there.*1\.5\]$"):
        moved = nearest_starts(posterior, start)
    np.testing.assert_allclose(moved, [[*LENS, 1.5]])


def test_an_edge_of_the_priors_is_named(ridge_model, mock):
    priors = Priors(theta_E=(0.3, 1.0), psf_sigma=(0, 0.5), min_magnification=2.0)
    found = optimise_lens(**mock(LENS), start=LENS, source_model=ridge_model, priors=priors)
    assert "theta_E" in found.edges and found.lens[0] == 1.0


@pytest.mark.parametrize("method", METHODS)
def test_a_start_on_upper_edges_leaves_them(ridge_model, mock, method):
    start = LENS + ERROR
    start[[0, 3, 4]] = 1.2, 0.05, 0.05
    priors = Priors(theta_E=(0.3, 1.2), psf_sigma=(0, 0.5), min_magnification=2.0)
    arguments = mock(LENS) | {"source_model": ridge_model, "priors": priors}
    found = optimise_lens(start=start, method=method, **arguments)
    assert found.edges == ()
    assert np.all(np.abs(found.lens - LENS)[[0, 3, 4]] < 0.03)


def test_a_start_on_the_lower_edge_of_a_narrow_range_leaves_it(ridge_model, mock):
    start, low = LENS + ERROR, LENS[3] - 0.01
    start[3] = low
    priors = Priors(
        theta_E=(0.3, 2.2), centre=(low, low + 0.02), psf_sigma=(0, 0.5), min_magnification=2.0
    )
    truth = LENS.copy()
    truth[4] = low + 0.01
    start[4] = low + 0.01
    found = optimise_lens(
        **mock(truth), start=start, method="simplex", source_model=ridge_model, priors=priors
    )
    assert found.lens[3] > low + 1e-4


def test_a_lens_that_is_switched_off_is_no_answer(ridge_model, mock):
    """Where only lenses that do not magnify are allowed, the fit says that it has found none."""
    off = Priors(theta_E=(0.0, 0.05), psf_sigma=(0, 0.5), shear=(0, 0.01), axis_ratio=(0.9, 1))
    nothing = np.array([0.02, 0, 0, 0, 0, 0, 0])
    with pytest.warns(UserWarning, match="magnifies"):
        found = optimise_lens(
            **mock(np.array([0.5, 0, 0, 0, 0, 0, 0])),
            start=nothing,
            source_model=ridge_model,
            priors=off,
        )
    assert found.demagnified


def test_of_two_fits_the_one_that_magnifies_is_chosen(ridge_model, mock):
    from rim_lensing.lens_fit.optimise import check_single, choose

    data = mock(LENS)
    observation = check_single(data["image"], data["noise"], data["psf"], LENS, None, ridge_model)
    posterior = lens_posterior(ridge_model, observation)
    off = np.array([0.31, 0, 0, 0, 0, 0, 0])
    index, result = choose(posterior, ridge_model, np.array([off, LENS]))
    assert index == 1 and np.allclose(result.lens, LENS, atol=1e-6)


def test_says_when_no_start_leads_the_arcs_to_the_source(ridge_model, mock):
    off = Priors(theta_E=(0.0, 0.05), psf_sigma=(0, 0.5), shear=(0, 0.01), axis_ratio=(0.9, 1))
    data, start = mock(np.array([2.1, 0, 0, 0, 0, 0, 0])), np.zeros(7)
    with pytest.raises(ValueError, match="`start` has led to no lens"):
        optimise_lens(**data, start=start, source_model=ridge_model, priors=off)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"method": "annealing"}, "`method` must be one of"),
        ({"image": np.ones((2, 16, 16))}, "one image"),
        ({"image": FitsImage(np.ones((16, 16)), 0.2, None)}, "`pixel_scale` must be the model"),
        ({"start": np.zeros(5)}, "`start` must have 7"),
        ({"noise": -1.0}, "`noise` must be positive"),
    ],
)
def test_refuses(ridge_model, mock, changes, message):
    arguments = mock(LENS) | {"start": LENS, "source_model": ridge_model} | changes
    with warnings.catch_warnings(), pytest.raises(ValueError, match=message):
        optimise_lens(**arguments)


def test_what_is_no_sum_of_squares_is_not_searched_as_one(linear_model, ridge_model, mock):
    with pytest.raises(ValueError, match="no sum of squares"):
        optimise_lens(**mock(LENS), start=LENS, source_model=linear_model, method="gauss-newton")
    with pytest.raises(ValueError, match="`rough` must be False"):
        optimise_lens(**mock(LENS), start=LENS, source_model=ridge_model, rough=True)

"""The bootstrap of the residuals: rate of false alarms, power, masks."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import binom, kstest, t

from rim_lensing.lens_fit import residual_test
from rim_lensing.lens_fit.residual_test import check_residuals, residual_statistics
from rim_lensing.reconstruction import rim_reconstructor
from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion

LENS = np.array([1.1, 0.1, 0.05, 0.01, -0.02, 0.02, 0.03])


def checked(model, data, lens=LENS, **options):
    return check_residuals(model.reconstruct(lens=lens, **data), model, **options)


def test_statistics_are_sums_over_the_arcs():
    """Where S / N is 1 the weight is 1/2; a lone pixel smoothed keeps 1/(4 pi sigma^2)."""
    residuals = np.zeros((1, 33, 33))
    residuals[0, 16, 16] = 3.0
    sums = residual_statistics(residuals, np.ones((1, 33, 33)), np.ones((33, 33)))[0]
    for unsmoothed, smoothed in sums:
        assert unsmoothed == pytest.approx(4.5)
        assert smoothed == pytest.approx(4.5 / (4 * np.pi), rel=1e-3)
    dark = residual_statistics(residuals, np.zeros((1, 33, 33)), np.ones((33, 33)))[0]
    np.testing.assert_array_equal(dark[0], 0.0)
    np.testing.assert_allclose(dark[1], [9.0, 9.0 / (4 * np.pi)], rtol=1e-3)


def test_noise_is_called_something_else_as_often_as_is_said(ridge_model, mock):
    """The RIM's own answer, lensed, with noise: the null hypothesis itself."""
    truth = ridge_model.reconstruct(lens=LENS, **mock(LENS))
    generator, alarms, trials = np.random.default_rng(1), 0, 60
    for _ in range(trials):
        noisy = truth.model_image + truth.noise * generator.standard_normal(truth.noise.shape)
        data = {"image": noisy, "noise": truth.noise, "psf": truth.psf}
        test = checked(ridge_model, data, false_alarm=0.2, copies=12, seed=5)
        assert test.consistent == (test.p_value >= 0.2)
        alarms += not test.consistent
    # Two statistics that go together share the rate, and a few copies are shared by all trials.
    assert binom.ppf(1e-4, trials, 0.07) <= alarms <= binom.ppf(1 - 1e-4, trials, 0.2)


@pytest.mark.parametrize("kind", ["RIM", "linear"])
def test_progress_bars_do_not_call_simulated_copies_systems(
    tiny_folder, tiny_mocks, kind, capsys, monkeypatch
):
    """One lens is one system; its residuals are tested on copies of it."""
    from rim_lensing.zoo.zoo import load_pretrained

    model = load_pretrained(tiny_folder).refined()
    if kind == "linear":
        model = SemilinearInversion(geometry=model.network.config)
    data = {name: getattr(tiny_mocks, name)[0] for name in ("image", "noise", "psf")}
    result = model.reconstruct(lens=tiny_mocks.lens[0], **data)
    capsys.readouterr()
    check_residuals(result, model, copies=4)
    said = capsys.readouterr().err
    assert "4/4" in said and "simulated copy" in said and "system" not in said


def test_significance_is_students_t(ridge_model, mock, monkeypatch):
    """Copies that all give the same model: the statistics scatter by their noise alone."""
    result, copies = ridge_model.reconstruct(lens=LENS, **mock(LENS)), 3
    monkeypatch.setattr(
        residual_test,
        "_reconstruct",
        lambda images, one, _: (np.broadcast_to(one.model_image, images.shape), 0 * images, {}),
    )
    generator, values = np.random.default_rng(0), []
    for seed in range(5000):
        noisy = result.model_image + result.noise * generator.standard_normal(result.noise.shape)
        test = check_residuals(replace(result, image=noisy), ridge_model, copies=copies, seed=seed)
        values.append(test.significance[0])
        expected = min(1, 2 * t.sf(test.significance.max(), copies - 1))
        assert test.p_value == pytest.approx(expected)
    assert kstest(values, t(copies - 1).cdf).pvalue > 1e-3


def test_copies_that_cannot_be_refined_are_left_out(ridge_model, mock, monkeypatch):
    """And are not warned of: the user has no such systems."""
    model = ridge_model.refined()
    result = model.reconstruct(lens=LENS, **mock(LENS))
    refine, failing = rim_reconstructor.refine, 0

    def fails_at_some(observation, sources, *others):
        refined, failures = refine(observation, sources, *others)
        refined[:failing] = 1e3
        return refined, failures | {i: "not near enough" for i in range(failing)}

    monkeypatch.setattr(rim_reconstructor, "refine", fails_at_some)
    seen = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for failing in (0, 3):
            seen[failing] = check_residuals(result, model, copies=6)
    # As good as if there had been the last three of six copies alone.
    assert np.all(np.abs(np.log(seen[3].excess / seen[0].excess)) < 0.2)
    expected = min(1, 2 * t.sf(seen[3].significance.max(), 2))
    assert seen[3].p_value == pytest.approx(expected)
    failing = 4
    with pytest.raises(RuntimeError, match="3 of 6 simulated copies must.*: 2, and not near"):
        check_residuals(result, model, copies=6)


def test_no_number_is_not_consistent_with_noise(ridge_model, mock, monkeypatch):
    result = ridge_model.reconstruct(**mock(LENS), lens=LENS)
    nothing = lambda residuals, models, noise: np.full((len(models), 2, 2), np.nan)  # noqa: E731
    monkeypatch.setattr("rim_lensing.lens_fit.residual_test.residual_statistics", nothing)
    test = check_residuals(result, ridge_model, copies=5)
    assert np.isnan(test.p_value) and not test.consistent


def test_a_wrong_lens_is_told(ridge_model, mock):
    wrong = LENS + np.array([0.15, 0, 0, 0, 0, 0, 0])
    test = checked(ridge_model, mock(LENS), wrong)
    assert not test.consistent and test.p_value < 1e-4 and np.all(test.excess > 1)
    assert "not noise" in str(test)
    assert checked(ridge_model, mock(LENS)).consistent


def test_texture_beside_the_arcs_is_noise_if_one_says_so_and_a_wrong_lens_is_not(ridge_model, mock):
    """A noise map that is 0.6 of the truth: residuals are 2.8 times too large everywhere."""
    truth = ridge_model.reconstruct(lens=LENS, **mock(LENS))
    generator, told, allowed, wrong = np.random.default_rng(2), 0, 0, 0
    for _ in range(8):
        noisy = truth.model_image + truth.noise * generator.standard_normal(truth.noise.shape)
        data = {"image": noisy, "noise": 0.6 * truth.noise, "psf": truth.psf}
        told += not checked(ridge_model, data, false_alarm=0.01).consistent
        test = checked(ridge_model, data, false_alarm=0.01, texture=4.0)
        allowed += test.consistent
        assert test.beside[0] == pytest.approx(0.6**-2, rel=0.35)
        off = LENS + np.array([0.15, 0, 0, 0, 0, 0, 0])
        wrong += checked(ridge_model, data, off, false_alarm=0.01, texture=4.0).consistent
    assert told >= 6 and allowed >= 7 and wrong == 0


def test_correlated_noise_is_noise_if_one_says_so(ridge_model, mock):
    """White noise smoothed by a Gaussian: its autocorrelation is one sqrt(2) times as wide."""
    truth = ridge_model.reconstruct(lens=LENS, **mock(LENS))
    white = np.random.default_rng(3).standard_normal((10, *truth.noise.shape))
    noise = 0.7 * np.sqrt(4 * np.pi) * gaussian_filter(white, (0, 0.7, 0.7), mode="wrap")
    along = np.exp(-(np.arange(-3, 4) ** 2) / (4 * 0.7**2))
    alarms = {"white": 0, "correlated": 0}
    for draw in noise:
        image = truth.model_image + truth.noise * draw
        data = {"image": image, "noise": truth.noise, "psf": truth.psf}
        for name, correlation in (("white", None), ("correlated", np.outer(along, along))):
            test = checked(ridge_model, data, false_alarm=0.01, noise_correlation=correlation)
            alarms[name] += not test.consistent
    # Less often than 1 in 1000 if the rate were what is asked for, and it is.
    assert binom.sf(alarms["white"] - 1, len(noise), 0.01) < 1e-3
    assert binom.sf(alarms["correlated"] - 1, len(noise), 0.01) > 1e-3


def test_what_is_masked_does_not_speak(ridge_model, mock):
    data = mock(LENS)
    mask = np.ones((16, 16), bool)
    mask[:3] = False
    dirty = data["image"].copy()
    dirty[:3] = np.nan
    results = [
        checked(ridge_model, data | {"image": image, "mask": mask})
        for image in (data["image"], dirty)
    ]
    assert results[0].p_value == results[1].p_value


def test_copies_of_a_faint_image_are_not_refused(ridge_model, mock):
    """The image stands out of the noise by a little more than is asked for, its copies do not."""
    data = mock(LENS)
    result = ridge_model.reconstruct(lens=LENS, **data)
    faint = replace(result, noise=np.full((16, 16), result.model_image.max()))
    test = check_residuals(faint, ridge_model)
    assert np.all(np.isfinite(test.significance))


def test_a_result_without_a_lens_is_refused(linear_model, mock):
    from rim_lensing.forward_model.ray_tracing import lensing_matrices

    matrix = lensing_matrices(LENS[None], linear_model.geometry)[0]
    result = linear_model.reconstruct(lensing_matrix=matrix, **mock(LENS))
    with pytest.raises(ValueError, match="must have been made with a `lens`"):
        check_residuals(result, linear_model)


def test_the_unit_does_not_matter(ridge_model, mock):
    data = mock(LENS)
    scaled = data | {"image": data["image"] * 1e-20, "noise": data["noise"] * 1e-20}
    tests = [checked(ridge_model, each) for each in (data, scaled)]
    np.testing.assert_allclose(tests[0].significance, tests[1].significance, atol=1e-3)


def test_serves_the_linear_inversion(linear_model, mock):
    assert checked(linear_model, mock(LENS), copies=6).consistent
    wrong = LENS + np.array([0.2, 0, 0, 0, 0, 0, 0])
    assert not checked(linear_model, mock(LENS), wrong, copies=6).consistent


@pytest.mark.parametrize(
    "changes, message",
    [({"copies": 2}, "copies"), ({"copies": 3.5}, "copies"), ({"false_alarm": 0}, "false_alarm")],
)
def test_refuses(ridge_model, mock, changes, message):
    with pytest.raises(ValueError, match=message):
        checked(ridge_model, mock(LENS), **changes)


def test_refuses_the_result_of_another_source_model(ridge_model, linear_model, mock):
    results = [model.reconstruct(lens=LENS, **mock(LENS)) for model in (ridge_model, linear_model)]
    curvature = SemilinearInversion("curvature", geometry=linear_model.geometry)
    for result, model in (
        (results[0], linear_model),
        (results[1], ridge_model),
        (results[1], curvature),
        (results[0], ridge_model.refined()),
    ):
        received = re.escape(f"a result of {result.model!r}, and {model!r}")
        with pytest.raises(ValueError, match=f"`source_model` must be what made .*{received}"):
            check_residuals(result, model)


def test_refuses_a_batch(ridge_model, mock):
    data = mock(LENS)
    batch = {"image": np.stack([data["image"]] * 2), "noise": 0.02, "psf": data["psf"]}
    with pytest.raises(ValueError, match="one system"):
        checked(ridge_model, batch)

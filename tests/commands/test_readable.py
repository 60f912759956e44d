"""What a user reads: reprs that fit on a screen, pictures with numbers, errors that say what to do.

The numbers themselves are tested beside the code that makes them.
"""

import warnings
from dataclasses import replace

import numpy as np
import pytest

import rim_lensing
from rim_lensing.figures import lens_contours, lens_fit, summary
from rim_lensing.lens_fit.fit_rounds import AutomatedFit, Round
from rim_lensing.lens_fit.lens_predictor import LensPrediction
from rim_lensing.lens_fit.optimise import LensOptimum
from rim_lensing.lens_fit.residual_test import ResidualTest
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.networks.presets import get_preset
from rim_lensing.results.linear_result import LinearReconstruction
from rim_lensing.results.result import Reconstruction
from rim_lensing.sampling.lens_chain import LensChain

GENERATOR = np.random.default_rng(0)
LENS = np.array([1.2345, 0.1, -0.05, 0.01, 0.02, 0.03, -0.04])
NAMES = ["theta_E", "e1", "e2", "x", "y", "gamma1", "gamma2"]
LINEAR = {"strength": 2.5, "log_evidence": -1234.5, "log_evidence_error": 0.0, "source_std": None}


def reconstruction(kind=Reconstruction, batch: int | None = None, lens=LENS, **more):
    """One of noise, or a batch whose chi^2 are 1, 2, ..."""
    arrays = {
        "source": np.zeros((12, 12)),
        "history": np.zeros((3, 12, 12)),
        **{name: np.zeros((16, 16)) for name in ("model_image", "image")},
        "noise": np.ones((16, 16)),
        "mask": np.ones((16, 16), bool),
        "lens": lens,
        "psf": np.ones((1, 1)),
        "chi2_history": np.ones(3),
    }
    chi2 = 1.25
    if batch:
        arrays = {name: np.stack([array] * batch) for name, array in arrays.items()}
        more = {
            name: value if value is None else np.full(batch, value) for name, value in more.items()
        }
        chi2 = 1.0 + np.arange(batch)
    return kind(
        **arrays,
        chi2=chi2,
        image_pixel_scale=0.3,
        source_pixel_scale=0.2,
        model="a RIM",
        **more,
    )


def prediction(batch: int | None = None) -> LensPrediction:
    lens, std = LENS, np.full(7, 0.0123)
    samples = np.stack([lens] * 5)
    arrays = (lens, std, 0.6 * std, 0.8 * std, samples)
    if batch:
        scales = 1 + np.arange(batch)
        arrays = [np.multiply.outer(scales, array) for array in arrays]
    return LensPrediction(*arrays)


def chain(walkers: np.ndarray | None = None, **changes) -> LensChain:
    walkers = GENERATOR.standard_normal((400, 16, 7)) if walkers is None else walkers
    arguments = {
        "walkers": walkers,
        "log_posteriors": np.zeros(walkers.shape[:2]),
        "burn_in": 100,
        "acceptance": 0.3,
        "seconds": 2.0,
        "source_model": "rim_euclid64",
        "method": "emcee",
    }
    return LensChain(**(arguments | changes))


def a_round(**changes) -> Round:
    test = ResidualTest(True, 0.34, np.array([1.02, 1.03]), np.array([0.2, 0.3]), 0.001, np.ones(2))
    arguments = {
        "lens": LENS,
        "reconstruction": reconstruction(),
        "test": test,
        "starts": 4,
        "evaluations": 321,
        "demagnified": False,
        "edges": (),
    }
    return Round(**(arguments | changes))


def optimum(**changes) -> LensOptimum:
    arguments = {
        "lens": LENS,
        "log_posterior": -2047.5,
        "reconstruction": reconstruction(),
        "converged": True,
        "demagnified": False,
        "edges": (),
        "evaluations": 321,
        "seconds": 12.3,
        "start_lenses": np.stack([LENS] * 3),
        "start_log_posteriors": np.zeros(3),
    }
    return LensOptimum(**(arguments | changes))


def fit(verdict: str) -> AutomatedFit:
    return AutomatedFit(LENS, reconstruction(), (a_round(), a_round()), True, verdict)


REPRS = {
    "one": (reconstruction(), "Reconstruction(a RIM, |16 x 16 of 0.3 arcsec|12 x 12 of 0.2|1.25"),
    "lens": (reconstruction(), "theta_E=1.234|e1=0.1|gamma2=-0.04"),
    "slope": (reconstruction(lens=np.append(LENS, 1.1)), "slope=1.1"),
    "matrix": (reconstruction(lens=np.full(7, np.nan)), "lens in a lensing matrix"),
    "batch": (reconstruction(batch=8), "Reconstruction(a RIM: 8 systems|16 x 16|chi^2|1 to 8"),
    "linear": (
        reconstruction(LinearReconstruction, **LINEAR),
        "LinearReconstruction(a RIM|theta_E=1.234|strength 2.5|log evidence -1234.5",
    ),
    "linear batch": (
        reconstruction(LinearReconstruction, batch=2, **LINEAR),
        "LinearReconstruction(a RIM: 2 systems|strength 2.5 to 2.5",
    ),
    "prediction": (prediction(), "LensPrediction(theta_E = 1.2345 +- 0.0123, e1 = |gamma2 = -0.04"),
    "predictions": (prediction(3), "LensPrediction(3 images, theta_E 1.234 to 3.7"),
    "chain": (
        chain(),
        "LensChain(rim_euclid64 (emcee): 400 steps x 16 walkers|theta_E|, converged",
    ),
    "drifting": (
        chain(GENERATOR.standard_normal((400, 16, 7)) + np.linspace(0, 9, 400)[:, None, None]),
        "NOT converged",
    ),
    "one step": (chain(np.ones((1, 16, 7))), "1 steps x 16 walkers|NOT converged"),
    "round": (a_round(), "Round(lens (theta_E=1.234|1.25|4 start|321 sources|consistent|p = 0.34"),
    "no source": (a_round(reconstruction=None, test=None), "theta_E=1.234|less than half"),
    "edges": (a_round(demagnified=True, edges=("x", "y")), "hardly magnifies|x, y"),
    "optimum": (
        optimum(),
        "LensOptimum(converged, |theta_E=1.234|-2047.5|1.25|3 start|321 sources in 12.3 s",
    ),
    "bad optimum": (
        optimum(converged=False, demagnified=True, edges=("x",)),
        "NOT converged|demagnified|on the edge of the priors: x",
    ),
    "fit": (
        fit(f"not converged after 2 optimisations: {'residuals not noise; ' * 20}"),
        "AutomatedFit(not converged after 2 optimisations, 2 round|theta_E=1.234|a RIM|1.25",
    ),
}


@pytest.mark.parametrize("name", REPRS)
def test_a_repr_is_a_short_line_with_the_main_numbers(name):
    result, expected = REPRS[name]
    said = repr(result)
    assert len(said) < 400 and "\n" not in said and "array" not in said
    for part in expected.split("|"):
        assert part in said


def test_a_model_says_its_name_and_its_grids(tiny_folder, tiny_cnn_folder):
    model, cnn = map(rim_lensing.load_pretrained, (tiny_folder, tiny_cnn_folder))
    geometry = get_preset("tiny16")
    linear = rim_lensing.SemilinearInversion(geometry=geometry, strength=2.5)
    seen, source = "image 16 x 16 of 0.3 arcsec", "source 16 x 16 of 0.15 arcsec"
    assert repr(model) == f"RIMReconstructor(untrained, {seen}, {source})"
    assert repr(model.refined()) == f"RIMReconstructor(untrained, refined, {seen}, {source})"
    assert repr(cnn) == f"LensPredictor(cnn_untrained, {seen})"
    assert repr(cnn.with_image_grid(32, 0.15)) == (
        f"RebinnedLensModel(image 32 x 32 of 0.15 arcsec, averaged for {cnn!r})"
    )
    said = f"exact, {seen}, {source})"
    assert repr(linear) == f"SemilinearInversion(gradient, strength 2.5, {said}"
    linear = rim_lensing.SemilinearInversion(geometry=geometry)
    assert repr(linear) == f"SemilinearInversion(gradient, strength of the evidence, {said}"


def test_a_prediction_of_a_batch_has_parts():
    batch = prediction(3)
    assert len(batch) == 3 and len(batch[1:]) == 2
    for name in ("lens", "std", "aleatoric", "epistemic", "samples"):
        np.testing.assert_array_equal(getattr(batch[1], name), 2 * getattr(prediction(), name))
    assert batch[-1].interval().shape == (2, 7) and not batch[-1].is_batch
    lens, std = batch
    assert lens is batch.lens and std is batch.std
    with pytest.raises(IndexError):
        batch[3]
    with pytest.raises(IndexError, match="none of the 3"):
        batch[3:]


def test_a_prediction_of_one_image_unpacks_and_has_no_parts():
    lens, std = one = prediction()
    assert list(one)[0] is lens and one.std is std
    with pytest.raises(TypeError, match="one image"):
        len(one)
    with pytest.raises(TypeError, match="lens, std = prediction"):
        one[0]


def contours(axis, color: str) -> list[np.ndarray]:
    """Vertices of the contours of a colour: the 68% and the 95%."""
    from matplotlib.colors import to_rgba

    drawn = [c for c in axis.collections if len(c.get_edgecolor())]
    (drawn,) = (c for c in drawn if np.allclose(c.get_edgecolor()[0], to_rgba(color)))
    return [path.vertices for path in drawn.get_paths()]


@pytest.mark.parametrize("truth", [None, np.full(2, -20.0)])
def test_contours_of_separate_posteriors_have_their_own_widths(truth):
    """The 95% contour of two Gaussian numbers reaches to sqrt(-2 ln 0.05) = 2.45 sigma."""
    centres, widths = (0.0, 10.0), (0.03, 1.0)
    samples = [
        centre + width * GENERATOR.standard_normal((100_000, 2))
        for centre, width in zip(centres, widths, strict=True)
    ]
    figure = lens_contours(samples, ["narrow", "wide"], ["a", "b"], truth)
    panel = figure.axes[2]
    for color, centre, width in zip(("k", "#D55E00"), centres, widths, strict=True):
        for level, drawn in zip((0.95, 0.68), contours(panel, color), strict=True):
            radii = np.linalg.norm(drawn - centre, axis=1) / width
            # Smoothing widens by 4%.
            np.testing.assert_allclose(np.median(radii), np.sqrt(-2 * np.log(1 - level)), rtol=0.08)
    low, high = panel.get_xlim()
    assert low < min(-0.1, -20 if truth is not None else 0) and high > 12


def test_a_single_posterior_shows_median_and_interval():
    draws = np.array([1.2, -0.01]) + [0.0034, 0.02] * GENERATOR.standard_normal((50_000, 2))
    titles = [axis.get_title() for axis in lens_contours([draws], ["one"], ["a", "b"]).axes[::3]]
    assert titles[0].startswith("a\n$1.2000^{+0.0034}_{-0.0034}$")
    assert titles[1].startswith("b\n$-0.010^{+0.020}_{-0.020}$")
    pair = lens_contours([draws, draws], ["one", "other"], ["a", "b"])
    assert not any(axis.get_title() for axis in pair.axes)


def test_tick_labels_leave_the_corners_free():
    draws = [0.3, -0.02, 0.0] + [0.0036, 0.02, 5.0] * GENERATOR.standard_normal((5000, 3))
    axes = np.array(lens_contours([draws], ["one"], ["a", "b", "c"]).axes).reshape(3, 3)
    for axis in (*axes[2, :2], axes[2, 2], axes[1, 0]):
        both = [(axis.get_xticks(), axis.get_xlim())]
        both += [] if axis is axes[2, 2] else [(axis.get_yticks(), axis.get_ylim())]
        for ticks, (low, high) in both:
            assert len(ticks) >= 1
            assert low + 0.08 * (high - low) < ticks[0] <= ticks[-1] < high - 0.08 * (high - low)


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_corner_names_chains_and_their_verdicts(tmp_path):
    good = chain()
    short = chain(good.walkers[:20])
    assert legend(good.corner()) == ["rim_euclid64 (emcee), converged"]
    figure = good.corner(other=short, truth=np.zeros(7))
    assert legend(figure) == [
        "this chain: rim_euclid64 (emcee), converged",
        "other: rim_euclid64 (emcee), NOT converged",
        "truth",
    ]
    figure.savefig(tmp_path / "corner.png", dpi=30)
    hot = good.corner(other=replace(good, temperature=4.0))
    assert legend(hot) == [
        "rim_euclid64 (emcee), converged",
        "rim_euclid64 (emcee, T = 4), converged",
    ]


def test_a_corner_warns_of_chains_of_different_data():
    one = chain(data_sha256="a")
    with pytest.warns(UserWarning, match="another image, noise or PSF"):
        one.corner(other=replace(one, data_sha256="b"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one.corner(other=replace(one, source_model="another"))
        one.corner(other=replace(one, data_sha256=""))


def test_a_chain_file_says_of_which_data_it_is(tmp_path):
    from emcee import State

    from rim_lensing.sampling.chain_file import ChainFile

    facts = {"source_model": {"name": "a"}, "method": "emcee", "image_noise_psf": "abc"}
    file = ChainFile(tmp_path / "chain.h5", facts)
    file.backend.reset(16, 7)
    file.backend.grow(1, None)
    state = State(np.ones((16, 7)), log_prob=np.zeros(16), random_state=())
    file.backend.save_step(state, np.ones(16, bool))
    assert LensChain.from_hdf5(tmp_path / "chain.h5").data_sha256 == "abc"


PANELS = {
    "image": GENERATOR.uniform(0, 1, (16, 16)),
    "noise": np.ones((16, 16)),
    "model_image": np.ones((16, 16)),
    "source": np.ones((12, 12)),
    "image_pixel_scale": 0.3,
    "source_grid": PixelGrid(12, 0.2),
    "critical_curves": (),
    "caustics": (),
}


@pytest.mark.parametrize(
    ("chi2", "labels"),
    [
        ([30.0, 4.0, 1.0], "0.5 1 2 5 10 20 50"),
        ([3.0, 1.5, 0.98], "0.5 1 2 5"),
        ([1e4, 50.0, 1.0], "1 10 100 1000 10000"),
    ],
)
def test_the_axis_of_chi2_is_labelled(chi2, labels):
    axis = summary(**PANELS, chi2_history=np.array(chi2)).axes[4]
    low, high = axis.get_ylim()
    ticks = zip(axis.get_yticks(), axis.get_yticklabels(), strict=True)
    assert [text.get_text() for at, text in ticks if low <= at <= high] == labels.split()
    assert not any(text.get_text() for text in axis.get_yticklabels(minor=True))


@pytest.mark.parametrize("rows", [1, 2])
def test_the_title_of_a_round_stands_above_its_row(rows, tmp_path):
    titles = [f"round {i}: chi^2 per pixel 1.32{i}" for i in range(rows)]
    figure = lens_fit([PANELS | {"title": title} for title in titles])
    assert [strip.get_suptitle() for strip in figure.subfigs] == titles
    figure.savefig(tmp_path / "rounds.png", dpi=40)
    for strip in figure.subfigs:
        (text,) = strip.texts
        below = [axis.get_tightbbox() for axis in strip.axes]
        assert len(below) == 8 and all(text.get_window_extent().y0 >= box.y1 for box in below)


DATA = {"image": np.zeros((16, 16)), "noise": 1.0, "psf": 0.1}


@pytest.mark.parametrize("given", ["rim_euclid64", None])
def test_what_is_no_source_model_is_refused(given):
    received = "load_pretrained.*SemilinearInversion.*Received: ('rim_euclid64'|NoneType, which)"
    with pytest.raises(TypeError, match=received):
        rim_lensing.automated_fit(**DATA, source_model=given, lens_model=Predicts())
    with pytest.raises(TypeError, match=received):
        rim_lensing.optimise_lens(**DATA, source_model=given, start=LENS)
    with pytest.raises(TypeError, match=received):
        rim_lensing.sample_lens_posterior(**DATA, source_model=given, start=LENS)


class Predicts:
    """A lens model that must not be asked."""

    def predict(self, *arguments, **more):
        raise AssertionError


@pytest.mark.parametrize("given", ["lens_cnn_euclid64", LENS])
def test_what_is_no_lens_model_is_refused(given):
    linear = rim_lensing.SemilinearInversion(geometry=get_preset("tiny16"))
    received = "`lens_model`.*predict.*Received: ('lens_cnn_euclid64'|ndarray)"
    with pytest.raises(TypeError, match=received):
        rim_lensing.automated_fit(**DATA, source_model=linear, lens_model=given)


@pytest.mark.parametrize("given", [Predicts(), "rim_euclid64"])
def test_what_is_no_geometry_is_refused(given):
    received = f"geometry=model.network.config. Received: {type(given).__name__}"
    with pytest.raises(TypeError, match=received):
        rim_lensing.SemilinearInversion(geometry=given)


def test_a_model_in_capitals_is_recognised(tiny_folder, monkeypatch):
    from rim_lensing.zoo import zoo

    monkeypatch.setattr(zoo, "zoo_directory", lambda: tiny_folder.parent)
    with pytest.raises(ValueError, match="Did you mean 'untrained'"):
        zoo.load_pretrained("UNTRAINED")

"""Doubles are lenses; a source that is the arcs, shrunk, is none.

Images, magnifications and numbers of images are lenstronomy's.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LensModel.Solver.lens_equation_solver import LensEquationSolver
from lenstronomy.Util.util import make_grid
from scipy.ndimage import gaussian_filter

from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.lens_fit import optimise
from rim_lensing.lens_fit.automated_fit import automated_fit
from rim_lensing.lens_fit.fit_rounds import Round, conclude
from rim_lensing.lens_fit.optimise import choose, is_demagnified, optimise_lens
from rim_lensing.lens_fit.shrunk_source import images_of_source
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.mass_model import form_of
from rim_lensing.observation.checks import check_observation
from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion
from rim_lensing.simulation.priors import Priors

GEOMETRY = Geometry(64, 0.1, 44, 0.11, psf_side=9)
FINE = 5


def keywords(lens) -> list[dict]:
    names = ("theta_E", "e1", "e2", "center_x", "center_y", "gamma1", "gamma2")
    values = dict(zip(names, map(float, lens), strict=True))
    return [
        {name: values[name] for name in names[:5]},
        {name: values[name] for name in names[5:]},
    ]


def double(lens, place, width: float, side=64, scale=0.1, rms=0.02, seed=0) -> tuple[dict, float]:
    """A Gaussian behind a lens as lenstronomy shoots the rays, with its magnification."""
    model = LensModel(["SIE", "SHEAR"])
    x, y = make_grid(side * FINE, scale / FINE)
    beta = model.ray_shooting(x, y, keywords(lens))
    light = np.exp(-0.5 * ((beta[0] - place[0]) ** 2 + (beta[1] - place[1]) ** 2) / width**2)
    magnification = light.sum() * (scale / FINE) ** 2 / (2 * np.pi * width**2)
    fine = gaussian_filter(light.reshape(side * FINE, -1), 0.1 / scale * FINE)
    image = fine.reshape(side, FINE, side, FINE).mean(axis=(1, 3))
    rms = rms * image.max()
    image += rms * np.random.default_rng(seed).standard_normal(image.shape)
    return {"image": image, "noise": rms, "psf": 0.1}, magnification


DOUBLES = {
    "1.5": ([1, -0.35, 0, 0, 0, 0, 0], (1.15, 0), 0.2),
    "1.7": ([1, -0.25, 0, 0, 0, 0, 0], (1.05, 0), 0.2),
    "1.9": ([1, -0.15, 0.05, 0, 0, 0.02, 0], (0.95, 0.1), 0.15),
    "2.3": ([1, -0.1, 0, 0, 0, 0, 0.02], (0.8, 0), 0.15),
    "2.6": ([1, 0, 0, 0, 0, 0, 0], (0.8, 0.05), 0.12),
}


def posterior(priors=None) -> SimpleNamespace:
    return SimpleNamespace(priors=priors or Priors())


@pytest.mark.parametrize(
    ("e1", "place", "images"),
    [(0.1, (0.7, 0.1), 2), (0.25, (0.02, 0.0), 4), (0.1, (1.4, 0.2), 1), (-0.2, (0.3, 0.2), 2)],
)
def test_the_number_of_images(e1, place, images):
    """Of a small source it is that of its middle."""
    lens = np.array([1, e1, 0, 0, 0, 0, 0])
    solver = LensEquationSolver(LensModel(["SIE", "SHEAR"]))
    found, _ = solver.image_position_from_source(
        *place, keywords(lens), min_distance=0.02, search_window=6
    )
    assert len(found) == images
    x, y = PixelGrid(80, 0.04).coordinates()
    source = np.exp(-0.5 * ((x - place[0]) ** 2 + (y - place[1]) ** 2) / 0.05**2)
    result = SimpleNamespace(
        image=np.zeros((64, 64)),
        mask=np.ones((64, 64), bool),
        image_pixel_scale=0.1,
        source=source,
        source_grid=PixelGrid(80, 0.04),
        constrained=np.ones((80, 80), bool),
        lens=lens,
        form=form_of(lens),
    )
    assert images_of_source(result) == pytest.approx(images, rel=0.05)
    # An image that is masked is none.
    half = np.ones((64, 64), bool)
    half[:, :32] = False
    right = sum(found > 0)
    if images == 2:
        result.mask = half
        assert images_of_source(result) == pytest.approx(right, rel=0.05)
    result.source = 0 * source
    assert images_of_source(result) == 0


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", DOUBLES)
def test_doubles_are_kept_and_shrunk_sources_refused(name):
    lens, place, width = DOUBLES[name]
    data, magnification = double(lens, place, width)
    assert magnification == pytest.approx(float(name), abs=0.1)
    linear = SemilinearInversion(geometry=GEOMETRY)
    found = linear.reconstruct(**data, lens=lens, uncertainties=False)
    assert not is_demagnified(found, posterior())
    for theta_E in (0.02, 0.2, 0.4):
        off = linear.reconstruct(**data, lens=[theta_E, *[0.0] * 6], uncertainties=False)
        assert is_demagnified(off, posterior())
    # Who asks for more than trainings do means it.
    assert is_demagnified(found, posterior(Priors(min_magnification=4.0)))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_of_many_lenses_the_double_is_chosen():
    lens, place, width = DOUBLES["1.9"]
    data, _ = double(lens, place, width)
    linear = SemilinearInversion(geometry=GEOMETRY)
    seen = check_observation(**data, lens=lens, image_grid=linear.image_grid, psf_side=9)
    from rim_lensing.lens_fit.lens_posterior import lens_posterior

    lenses = np.array([[0.1, *[0.0] * 6], lens, [0.9, *lens[1:]]])
    index, result = choose(lens_posterior(linear, seen), linear, lenses)
    assert index == 1
    np.testing.assert_allclose(result.lens, lens, atol=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_algorithm_1_ends_with_the_double(ridge_model):
    """Trainings ask for three times the source's flux, this lens has 2.4 times."""
    truth = np.array([1.0, -0.05, 0, 0, 0, 0, 0])
    data, magnification = double(truth, (0.8, 0.1), 0.2, side=16, scale=0.3)
    assert 2.2 < magnification < 2.65
    priors = Priors(theta_E=(0.3, 2.2), psf_sigma=(0, 0.5))
    start = truth + [0.08, 0.03, 0, 0.02, 0, 0, 0]
    fit = automated_fit(**data, source_model=ridge_model, start=start, priors=priors, max_rounds=2)
    assert not any(one.demagnified for one in fit.rounds[1:])
    assert "hardly magnifies" not in fit.verdict
    assert fit.rounds[-1].log_posterior == max(one.log_posterior for one in fit.rounds)
    assert abs(fit.lens[0] - 1.0) < 0.05
    found = optimise_lens(**data, source_model=ridge_model, start=start, priors=priors)
    assert not found.demagnified and abs(found.lens[0] - 1.0) < 0.05


LENS = np.array([1.1, 0.1, 0, 0, 0, 0.02, 0.03])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_verdict_tells_of_a_far_better_lens_that_is_not_the_answer(linear_model, mock):
    data = mock(LENS)
    right, worse = (
        linear_model.reconstruct(lens=lens, **data) for lens in (LENS, LENS + [0.1, *[0] * 6])
    )
    more = right.log_evidence - worse.log_evidence
    assert more > 10
    rest = {"test": None, "starts": 1, "evaluations": 0, "edges": ()}
    shrunk = Round(lens=LENS, reconstruction=right, demagnified=True, **rest)
    real = Round(lens=worse.lens, reconstruction=worse, demagnified=False, **rest)
    fit = conclude([real, shrunk], "given")
    assert fit.reconstruction is worse
    assert f"round 1 has found a lens with a log-posterior higher by {more:.6g}" in fit.verdict
    assert "theta_E=1.1" in fit.verdict and "min_magnification" in fit.verdict
    assert "round" not in conclude([real, replace(real)], "given").verdict
    # Within one search, too.
    beaten = replace(real, passed_over=2700.0)
    verdict = conclude([real, beaten], "given").verdict
    assert "log-posterior higher by 2700" in verdict and "min_magnification" in verdict


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_search_tells_of_a_far_better_lens_that_it_passes_over(ridge_model, mock, monkeypatch):
    off = np.array([0.31, 0, 0, 0, 0, 0, 0])

    def found(posterior, starts, method, rough):
        return np.array([off, LENS]), np.array([5000.0, 0.0]), np.array([True, True])

    monkeypatch.setattr(optimise, "maximise", found)
    arguments = mock(LENS) | {"source_model": ridge_model, "start": LENS}
    with pytest.warns(UserWarning, match="higher by 5000 is passed over.*theta_E=0.31"):
        answer = optimise_lens(**arguments)
    np.testing.assert_array_equal(answer.lens, LENS)

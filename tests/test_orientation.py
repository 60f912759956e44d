"""Mirror or turn the image, its noise, PSF and lens: what comes out is mirrored or turned with it.

Through the functions that users and networks call, with rays in single precision. The engines of
the linear inversion are in inversion/test_orientation.py, the lens CNN in networks.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from keras import ops

from rim_lensing import metrics
from rim_lensing.backend import gradient
from rim_lensing.files.cutouts import cutout
from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.forward_model.ray_tracing import lensing_matrices
from rim_lensing.galaxies.segmentation import Sky, central_segment
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.inversion.regularization import REGULARIZATIONS
from rim_lensing.lens_fit.lens_posterior import LensPosterior, lens_posterior
from rim_lensing.lens_fit.lens_search import maximise
from rim_lensing.lens_fit.lens_support import LensSupport
from rim_lensing.lens_fit.rebinned_lens_model import rebin
from rim_lensing.lens_fit.residual_test import check_residuals, residual_statistics
from rim_lensing.lensing.critical_curves import caustics, critical_curves, enclosed_area
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.symmetries import (
    SYMMETRIES,
    lens_matrix,
    restore_image,
    transform_image,
)
from rim_lensing.networks.flux_scale import estimate_flux_scale, source_peak
from rim_lensing.networks.initial_source import inverted
from rim_lensing.networks.rim_cell import preconditioned_gradient
from rim_lensing.observation.checks import check_observation
from rim_lensing.observation.correlated_noise import correlate_noise, noise_correlation
from rim_lensing.observation.normalised import NormalisedObservation
from rim_lensing.reconstruction.refinement import (
    best_strength,
    error_scale,
    log_marginal_likelihood,
    refine,
)
from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion
from rim_lensing.reconstruction.source_coverage import flux_outside
from rim_lensing.simulation.mock_observations import border_fraction
from rim_lensing.simulation.priors import Priors

GEOMETRY = Geometry(20, 0.2, 14, 0.14, psf_side=5)
LENS = np.array([1.1, 0.12, -0.08, 0.03, -0.02, 0.03, 0.05])
turned_and_mirrored = pytest.mark.parametrize("symmetry", range(1, SYMMETRIES))


def turned_lens(lens: np.ndarray, symmetry: int) -> np.ndarray:
    """Return a lens of 7 or 8 numbers under a symmetry; a slope stays."""
    lens = np.asarray(lens)
    turned = lens[..., :7] @ lens_matrix(symmetry).T.astype("float64")
    return np.concatenate([turned, lens[..., 7:]], axis=-1)


def _make_data() -> dict:
    """A galaxy that is bright on the source grid's border; nothing else has a symmetry either."""
    y, x = np.mgrid[-1:1:14j, -1:1:14j]
    source = np.exp(-0.5 * ((x - 0.5) ** 2 + (y - 0.2) ** 2 / 0.5) / 0.35**2)
    source += 0.3 * np.exp(-0.5 * ((x + 0.4) ** 2 + (y + 0.6) ** 2) / 0.15**2)
    psf = np.outer([0.1, 0.2, 0.5, 0.3, 0.0], [0.0, 0.2, 0.6, 0.2, 0.1])
    psf[0, 4] += 0.05
    psf /= psf.sum()
    noise = np.linspace(0.02, 0.03, 20)[:, None] * np.linspace(1, 1.3, 20)
    lens, source = np.float32(LENS)[None], np.float32(source)[None]
    grids = GEOMETRY.image_grid, GEOMETRY.source_grid
    image = ForwardModel(lens, np.float32(psf)[None], *grids).predict(source)
    draws = np.random.default_rng(2).standard_normal((20, 20))
    mask = np.ones((20, 20), bool)
    mask[:4, 12:] = False
    image = ops.convert_to_numpy(image)[0] + noise * draws
    return {"image": image, "noise": noise, "psf": psf, "mask": mask}


DATA = _make_data()


def turned_data(symmetry: int) -> dict:
    return {name: transform_image(value, symmetry) for name, value in DATA.items()}


def turned_observation(symmetry: int) -> NormalisedObservation:
    lens = turned_lens(LENS, symmetry)
    grid = GEOMETRY.image_grid
    return check_observation(**turned_data(symmetry), lens=lens, image_grid=grid)


def smooth_source(symmetry: int) -> np.ndarray:
    """A source (n, n) that fits the data nearly, as a RIM's does, under a symmetry."""
    y, x = np.mgrid[-1:1:14j, -1:1:14j]
    source = np.exp(-0.5 * ((x - 0.5) ** 2 + (y - 0.2) ** 2 / 0.5) / 0.4**2)
    return transform_image(np.float32(source), symmetry)


def linear_system(symmetry: int) -> LinearSystem:
    seen = turned_observation(symmetry)
    matrix = lensing_matrices(seen.lens, GEOMETRY)[0]
    return LinearSystem(matrix, seen.psf[0], seen.image[0], seen.noise[0])


@lru_cache
def linear_reconstruction(kind: str, symmetry: int):
    data, lens = turned_data(symmetry), turned_lens(LENS, symmetry)
    return SemilinearInversion(kind, geometry=GEOMETRY).reconstruct(**data, lens=lens)


@turned_and_mirrored
@pytest.mark.parametrize("kind", REGULARIZATIONS)
def test_linear_reconstructions_turn_with_the_image(kind, symmetry):
    here, there = (linear_reconstruction(kind, k) for k in (0, symmetry))
    assert there.log_evidence == pytest.approx(here.log_evidence, rel=1e-6)
    for name, value in here.metrics().items():
        expected = pytest.approx(value, rel=1e-4, abs=1e-6, nan_ok=True)
        assert there.metrics()[name] == expected, name
    for name in ("source", "source_std", "model_image", "residuals"):
        expected, found = getattr(here, name), restore_image(getattr(there, name), symmetry)
        atol = 2e-5 * np.nanmax(np.abs(expected))
        np.testing.assert_allclose(found, expected, atol=atol, err_msg=name)


@turned_and_mirrored
def test_matrix_free_reconstructions_turn_with_the_image(symmetry):
    linear = SemilinearInversion(engine="matrix-free", geometry=GEOMETRY)
    here, there = (
        linear.reconstruct(**turned_data(k), lens=turned_lens(LENS, k), uncertainties=False)
        for k in (0, symmetry)
    )
    assert there.log_evidence == pytest.approx(here.log_evidence, rel=1e-5)
    assert there.log_evidence_error == pytest.approx(here.log_evidence_error, rel=1e-2)
    found, atol = restore_image(there.source, symmetry), 1e-3 * here.source.max()
    np.testing.assert_allclose(found, here.source, atol=atol)


@pytest.mark.parametrize("symmetry", [2, 5])
def test_verdict_on_the_residuals_does_not_know_the_orientation(symmetry):
    """Even behind a wrong lens, and with correlated noise: the copies turn, too."""
    linear = SemilinearInversion(strength=30.0, geometry=GEOMETRY)
    lens = LENS + [0.02, 0, 0, 0, 0, 0, 0]
    correlation = np.array([[0.0, 0.1, 0.0], [0.3, 1.0, 0.3], [0.0, 0.1, 0.0]])
    here, there = (
        check_residuals(
            linear.reconstruct(**turned_data(k), lens=turned_lens(lens, k), uncertainties=False),
            linear,
            copies=4,
            noise_correlation=transform_image(correlation, k),
        )
        for k in (0, symmetry)
    )
    np.testing.assert_allclose(there.excess, here.excess, rtol=1e-4)
    np.testing.assert_allclose(there.significance, here.significance, rtol=1e-2)


def linear_posterior(lens: np.ndarray, symmetry: int, strength: float | None = None):
    seen = turned_observation(symmetry)
    seen = replace(seen, lens=np.float32(turned_lens(lens, symmetry))[None])
    return lens_posterior(SemilinearInversion("gradient", strength, geometry=GEOMETRY), seen)


@lru_cache
def posterior_values(slope: tuple, symmetry: int) -> np.ndarray:
    """Log-posteriors of some lenses, at the strength of their largest evidence."""
    lens = np.concatenate([LENS, slope])
    lenses = lens + 0.005 * np.random.default_rng(0).standard_normal((3, len(lens)))
    return linear_posterior(lens, symmetry).log_posterior(turned_lens(lenses, symmetry))


@turned_and_mirrored
@pytest.mark.parametrize("slope", [(), (0.9,)])
def test_posterior_of_the_lens_turns_with_the_image(slope, symmetry):
    here, there = (posterior_values(slope, k) for k in (0, symmetry))
    assert np.all(np.isfinite(here)) and np.ptp(here) > 1
    np.testing.assert_allclose(there, here, rtol=1e-6)


@turned_and_mirrored
def test_gradient_of_the_posterior_turns_with_the_image(symmetry):
    lens = LENS + 0.01
    here, there = (
        linear_posterior(lens, k, 30.0).log_posterior_and_gradient(turned_lens(lens, k)[None])[1]
        for k in (0, symmetry)
    )
    np.testing.assert_allclose(there, turned_lens(here, symmetry), atol=1e-3 * np.abs(here).max())


@turned_and_mirrored
def test_what_a_network_sees_turns_with_the_image(symmetry):
    """Start, likelihood maps and flux scale of the RIM; its convolutions are another matter."""

    def inputs(k: int) -> dict[str, np.ndarray]:
        seen = turned_observation(k)
        scale = estimate_flux_scale(seen.image, seen.noise)
        image, noise = seen.image / scale, seen.noise / scale
        model = ForwardModel(seen.lens, seen.psf, GEOMETRY.image_grid, GEOMETRY.source_grid)
        weight, source = 1 / noise**2, 0.2 * smooth_source(k)[None]
        curvature = model.adjoint(weight * model.predict(ops.ones((1, 14, 14))))
        slope = gradient(lambda s: ops.sum(model.log_likelihood(s, image, noise)), source)
        maps = {
            "start": inverted(model, image, noise, curvature),
            "gradient": slope,
            "curvature": curvature,
            "peak": source_peak(model, source, image, noise),
            "scale": scale,
        }
        for i, each in enumerate(preconditioned_gradient(slope, curvature)):
            maps[f"preconditioned {i}"] = each
        return {name: ops.convert_to_numpy(value)[0] for name, value in maps.items()}

    here, there = inputs(0), inputs(symmetry)
    for name, expected in here.items():
        found = restore_image(there[name], symmetry)
        atol = 1e-3 * np.abs(expected).max()
        np.testing.assert_allclose(found, expected, atol=atol, err_msg=name)


@turned_and_mirrored
def test_observations_and_curves_of_the_lens_turn(symmetry):
    here, there = turned_observation(0), turned_observation(symmetry)
    for name in ("image", "noise", "psf", "mask"):
        found = restore_image(getattr(there, name)[0], symmetry)
        np.testing.assert_allclose(found, getattr(here, name)[0], rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(there.psf_sigma, here.psf_sigma)

    def areas(lens: np.ndarray) -> list[float]:
        curves = [*critical_curves(lens), *caustics(lens)]
        return [enclosed_area(curve) for curve in curves]

    expected = areas(LENS)
    assert max(expected) > 1
    np.testing.assert_allclose(areas(turned_lens(LENS, symmetry)), expected, rtol=1e-3)


@turned_and_mirrored
def test_refinement_turns_with_the_image(symmetry):
    systems = [linear_system(k) for k in (0, symmetry)]
    sources = [smooth_source(k) for k in (0, symmetry)]
    np.testing.assert_allclose(
        restore_image(error_scale(sources[1]), symmetry), error_scale(sources[0]), rtol=1e-6
    )
    here, there = (best_strength(*pair) for pair in zip(systems, sources, strict=True))
    assert np.isfinite(here) and there == pytest.approx(here, rel=1e-4)
    values = [log_marginal_likelihood(*pair, here) for pair in zip(systems, sources, strict=True)]
    assert values[1] == pytest.approx(values[0], rel=1e-6)
    refined = [
        refine(turned_observation(k), source[None], GEOMETRY)[0][0]
        for k, source in zip((0, symmetry), sources, strict=True)
    ]
    change = np.abs(refined[0] - sources[0]).max()
    assert change > 0.02
    np.testing.assert_allclose(restore_image(refined[1], symmetry), refined[0], atol=1e-3 * change)


@turned_and_mirrored
def test_residual_statistics_and_coverage_of_the_source_grid_do_not_know_the_orientation(symmetry):
    def statistics(k: int) -> np.ndarray:
        seen, system = turned_observation(k), linear_system(k)
        model = system.predict(smooth_source(k).ravel()).reshape(1, 20, 20)
        residuals = np.where(seen.mask, seen.image - model, 0) / seen.noise
        outside = flux_outside(seen, GEOMETRY.image_grid, PixelGrid(14, 0.07))
        return np.concatenate([residual_statistics(residuals, model, seen.noise)[0, 0], outside])

    here = statistics(0)
    assert np.all(here > 0.05)
    np.testing.assert_allclose(statistics(symmetry), here, rtol=1e-4)


@turned_and_mirrored
def test_rebinning_turns_with_the_image(symmetry):
    correlation = np.array([[0.1, 0.3, 0.0], [0.4, 1.0, 0.4], [0.0, 0.3, 0.1]])

    def rebinned(k: int) -> list[np.ndarray]:
        image, noise, psf, mask = turned_data(k).values()
        noise = np.where(mask, noise, np.inf)
        correlated = transform_image(correlation, k)
        return rebin(image, noise, psf, PixelGrid(20, 0.2), PixelGrid(9, 0.41), correlated)

    for expected, found in zip(rebinned(0), rebinned(symmetry), strict=True):
        np.testing.assert_allclose(restore_image(found, symmetry), expected, rtol=1e-10, atol=1e-12)


@turned_and_mirrored
def test_correlated_noise_turns_with_the_image(symmetry):
    white = np.random.default_rng(4).standard_normal((1, 41, 41))
    kernel = np.array([[0.0, 0.1, 0.15], [0.3, 1.0, 0.3], [0.15, 0.1, 0.0]])
    blank = np.ones((41, 41), bool)
    blank[:20, :10] = False
    noise = correlate_noise(white, kernel)
    turned = correlate_noise(transform_image(white, symmetry), transform_image(kernel, symmetry))
    np.testing.assert_allclose(restore_image(turned, symmetry), noise, atol=1e-12)
    measured = noise_correlation(noise[0], blank, 3)
    again = noise_correlation(turned[0], transform_image(blank, symmetry), 3)
    np.testing.assert_allclose(restore_image(again, symmetry), measured, atol=1e-12)


@turned_and_mirrored
def test_measures_do_not_know_the_orientation(symmetry):
    one, other = np.random.default_rng(5).uniform(0.01, 1, (2, 1, 16, 16))
    turned = [transform_image(each, symmetry) for each in (one, other)]
    for measure in (
        metrics.rms_error,
        metrics.galaxy_error,
        metrics.flux_error,
        lambda *pair: metrics.coherence_spectrum(*pair)[1],
        lambda source, _: border_fraction(source),
        *(lambda source, _, k=kind: metrics.log_prior(source, 3.0, k) for kind in REGULARIZATIONS),
    ):
        np.testing.assert_allclose(measure(*turned), measure(one, other), rtol=1e-10)


@turned_and_mirrored
@pytest.mark.parametrize("rows, side, centre", [(9, 5, None), (10, 4, None), (9, 5, (3, 6))])
def test_cutouts_turn_with_the_image_where_pixels_can_be_centred(rows, side, centre, symmetry):
    """An even square around a pixel, or an odd one between two, lies half a pixel off by rule."""
    array = np.arange(rows**2).reshape(rows, rows)
    there = centre
    if centre is not None:
        marked = np.zeros_like(array)
        marked[centre] = 1
        there = tuple(np.argwhere(transform_image(marked, symmetry))[0])
    found = cutout(transform_image(array, symmetry), side, there)
    np.testing.assert_array_equal(restore_image(found, symmetry), cutout(array, side, centre))


@turned_and_mirrored
def test_support_of_the_lens_turns(symmetry):
    generator = np.random.default_rng(6)
    for priors in (Priors(), Priors(shear=(0.05, 0.15), axis_ratio=(0.3, 0.8))):
        support = LensSupport.from_priors(priors, 8)
        middle, half = (support.upper + support.lower) / 2, (support.upper - support.lower) / 2
        lenses = middle + half * generator.uniform(-1.05, 1.05, (200, 8))
        turned = turned_lens(lenses, symmetry)
        inside = support.contains(lenses)
        assert 0 < inside.sum() < len(lenses)
        np.testing.assert_array_equal(support.contains(turned), inside)
        expected = turned_lens(support.nearest(lenses), symmetry)
        np.testing.assert_allclose(support.nearest(turned), expected, rtol=1e-12, atol=1e-15)


class Valley(LensPosterior):
    """A smooth valley around a lens, whose axes are not those of the parameters."""

    def __init__(self, symmetry: int):
        super().__init__(turned_observation(symmetry), Priors(), 0.05)
        self._symmetry = symmetry
        root = np.random.default_rng(7).standard_normal((7, 7)) + 3 * np.eye(7)
        self._precision = root @ root.T / 0.05**2

    def _log_likelihood(self, lenses: np.ndarray) -> np.ndarray:
        # The matrix is orthogonal: its transpose turns back.
        shift = lenses @ lens_matrix(self._symmetry).astype("float64") - LENS
        return -0.5 * np.einsum("ki,ij,kj->k", shift, self._precision, shift)


@turned_and_mirrored
@pytest.mark.parametrize("method", ["lbfgs", "simplex"])
def test_searches_of_the_lens_turn_with_the_image(method, symmetry):
    starts = LENS + 0.02 * np.random.default_rng(8).standard_normal((2, 7))
    here = maximise(Valley(0), starts, method)[0]
    there = maximise(Valley(symmetry), turned_lens(starts, symmetry), method)[0]
    np.testing.assert_allclose(there, turned_lens(here, symmetry), atol=2e-3)


@turned_and_mirrored
def test_segments_of_galaxies_turn_with_the_picture(symmetry):
    """Of a picture without ties: no two pixels are alike."""
    y, x = np.mgrid[-1:1:80j, -1:1:80j]
    picture = np.exp(-((x - 0.05) ** 2 / 0.04 + y**2 / 0.02))
    picture += 0.6 * np.exp(-((x + 0.5) ** 2 + (y - 0.3) ** 2) / 0.004)
    picture += 0.002 * np.random.default_rng(9).standard_normal(picture.shape)
    segment, level = central_segment(picture, Sky(0.0, 0.002))
    turned, again = central_segment(transform_image(picture, symmetry), Sky(0.0, 0.002))
    np.testing.assert_array_equal(restore_image(turned, symmetry), segment)
    assert again == pytest.approx(level)

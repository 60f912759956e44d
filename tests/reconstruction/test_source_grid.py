"""Source grids of other pixels, and elsewhere: only where the source is said to lie changes."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.forward_model.psf import gaussian_kernel
from rim_lensing.lens_fit.optimise import optimise_lens
from rim_lensing.lens_fit.shrunk_source import images_of_source
from rim_lensing.lensing.given_deflections import Deflections
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.mass_model import deflections_on_rays
from rim_lensing.networks.presets import get_preset
from rim_lensing.networks.rim import RIM
from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor
from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion
from rim_lensing.results.result_reader import read_reconstruction
from rim_lensing.simulation.priors import Priors

CONFIG = get_preset("tiny16")
CENTRE = (0.21, -0.13)
LENS = np.float32([1.0, 0.1, 0.05, 0.0, 0.0, 0.02, 0.03])
PSF, RMS = 0.3, 0.02


def model_of(flux_scale: str) -> RIMReconstructor:
    keras.utils.set_random_seed(1)
    network = RIM(CONFIG.from_dict(CONFIG.to_dict() | {"flux_scale": flux_scale}))
    return RIMReconstructor(network, "rim_tiny", Priors(psf_sigma=(0.0, 0.5)))


@pytest.fixture(scope="module", params=["image", "unit"])
def model(request) -> RIMReconstructor:
    return model_of(request.param)


def image_of(geometry: Geometry, lens=LENS, psf: float = PSF) -> np.ndarray:
    """A Gaussian galaxy at CENTRE, noise in."""
    grid = PixelGrid(geometry.source_side, geometry.source_pixel_scale, CENTRE)
    x, y = grid.coordinates()
    source = np.exp(
        -0.5 * ((x - CENTRE[0]) ** 2 + (y - CENTRE[1]) ** 2) / (2 * grid.pixel_scale) ** 2
    )
    kernel = gaussian_kernel(np.float32([psf]), 5, geometry.image_pixel_scale)
    forward = ForwardModel(lens[None], kernel, geometry.image_grid, grid)
    image = keras.ops.convert_to_numpy(forward.predict(source[None].astype("float32")))[0]
    return image + RMS * np.random.default_rng(3).standard_normal(image.shape)


def shifted_deflections(geometry: Geometry) -> Deflections:
    """Those of LENS and CENTRE: beta is as far from the origin as it was from CENTRE."""
    alpha = deflections_on_rays(LENS[None].astype("float64"), geometry.image_grid, dtype="float64")
    alpha = keras.ops.convert_to_numpy(alpha)[0]
    return Deflections(*(alpha + np.reshape(CENTRE, (2, 1, 1))))


def test_a_grid_elsewhere_has_its_pixels_there():
    grid = PixelGrid(4, 0.5, CENTRE)
    x, y = grid.coordinates()
    assert (x.mean(), y.mean()) == pytest.approx(CENTRE)
    assert grid.extent == pytest.approx((-0.79, 1.21, -1.13, 0.87))
    assert str(grid) == "4 x 4 of 0.5 arcsec around (0.21, -0.13)"
    with pytest.raises(ValueError, match="`centre` must be"):
        PixelGrid(4, 0.5, (0.0, np.nan))


def test_rays_land_on_a_grid_elsewhere_where_they_do_on_the_grid_around_the_origin():
    kernel = gaussian_kernel(np.float32([PSF]), 5, CONFIG.image_pixel_scale)
    elsewhere = PixelGrid(CONFIG.source_side, CONFIG.source_pixel_scale, CENTRE)
    rays = shifted_deflections(CONFIG).maps
    grids = (CONFIG.image_grid, elsewhere), (CONFIG.image_grid, CONFIG.source_grid)
    one = ForwardModel(LENS[None], kernel, *grids[0], dtype="float64").as_matrix()[0]
    other = ForwardModel(rays, kernel, *grids[1], dtype="float64").as_matrix()[0]
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_network_does_elsewhere_what_it_does_around_the_origin(model):
    image = image_of(CONFIG)
    there = model.with_source_grid(CONFIG.source_pixel_scale, CENTRE)
    one = there.reconstruct(image, RMS, PSF, LENS)
    other = model.reconstruct(image, RMS, PSF, shifted_deflections(CONFIG))
    np.testing.assert_allclose(one.source, other.source, atol=2e-5 * other.source.max())
    assert one.chi2 == pytest.approx(other.chi2, rel=1e-5)
    assert one.source_grid.centre == CENTRE
    assert there.priors == model.priors


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_lengths_have_no_unit(model, factor):
    """A system shrunk as a whole is the same system to the network."""
    shrunk = replace(
        CONFIG,
        image_pixel_scale=factor * CONFIG.image_pixel_scale,
        source_pixel_scale=factor * CONFIG.source_pixel_scale,
    )
    lens = LENS * np.float32([factor, 1, 1, factor, factor, 1, 1])
    image = image_of(CONFIG)
    other = model.with_image_grid(CONFIG.image_side, shrunk.image_pixel_scale)
    other = other.with_source_grid(shrunk.source_pixel_scale)
    one = model.reconstruct(image, RMS, PSF, LENS)
    two = other.reconstruct(image, RMS, factor * PSF, lens)
    np.testing.assert_allclose(two.source, one.source, atol=2e-5 * one.source.max())
    assert other.priors.theta_E == pytest.approx(factor * np.array(model.priors.theta_E))
    assert other.priors.psf_sigma == pytest.approx(factor * np.array(model.priors.psf_sigma))
    assert two.metrics()["total_magnification"] == pytest.approx(
        one.metrics()["total_magnification"], rel=1e-4
    )
    assert images_of_source(two) == pytest.approx(images_of_source(one), rel=1e-3)


def test_the_likelihood_and_its_gradient_are_those_of_the_grid():
    model = model_of("image").with_source_grid(0.8 * CONFIG.source_pixel_scale, CENTRE)
    image = image_of(CONFIG)
    result = optimise_lens(image, RMS, PSF, model, LENS)
    posterior = result.posterior
    lens = posterior.support.select(LENS[None].astype("float64"))
    value, slope = posterior.log_posterior_and_gradient(lens)
    chi2 = model.reconstruct(image, RMS, PSF, LENS).chi2
    assert value[0] == pytest.approx(-0.5 * chi2 * image.size, rel=1e-5)
    assert result.log_posterior >= value[0]
    assert np.all(np.isfinite(slope))
    residuals = posterior.residuals(lens)
    assert -0.5 * np.sum(residuals**2) == pytest.approx(value[0], rel=1e-5)


def test_what_lies_outside_of_the_grid_is_told_from_where_the_grid_is(model):
    far = model.with_source_grid(CONFIG.source_pixel_scale / 4, (2.0, 2.0))
    with pytest.raises(ValueError, match=r"wide around \(2, 2\)"):
        far.reconstruct(image_of(CONFIG), RMS, PSF, LENS)


def test_the_linear_inversion_takes_the_grid_from_its_geometry():
    geometry = Geometry(**{name: getattr(CONFIG, name) for name in Geometry.__dataclass_fields__})
    image = image_of(CONFIG)
    there = SemilinearInversion(
        geometry=geometry.on_source_grid(geometry.source_pixel_scale, CENTRE), strength=1.0
    ).reconstruct(image, RMS, PSF, LENS)
    here = SemilinearInversion(geometry=geometry, strength=1.0).reconstruct(
        image, RMS, PSF, shifted_deflections(geometry)
    )
    np.testing.assert_allclose(there.source, here.source, atol=1e-4 * here.source.max())
    assert there.source_grid.centre == CENTRE


def test_files_hold_where_the_source_lies(model, tmp_path):
    there = model.with_source_grid(CONFIG.source_pixel_scale, CENTRE)
    result = there.reconstruct(image_of(CONFIG), RMS, PSF, LENS)
    result.to_fits(tmp_path / "result.fits")
    again = read_reconstruction(tmp_path / "result.fits")
    assert again.source_grid == result.source_grid
    assert result.panels()["source_grid"].extent == result.source_grid.extent


def test_the_refinement_takes_the_grid(model):
    there = model.with_source_grid(CONFIG.source_pixel_scale, CENTRE).refined()
    image = image_of(CONFIG)
    one = there.reconstruct(image, RMS, PSF, LENS)
    other = model.refined().reconstruct(image, RMS, PSF, shifted_deflections(CONFIG))
    assert one.refined and other.refined
    np.testing.assert_allclose(one.source, other.source, atol=1e-3 * other.source.max())


def test_older_configurations_are_what_they_were():
    assert "source_centre" not in CONFIG.to_dict()
    moved = CONFIG.on_source_grid(0.1, CENTRE)
    assert CONFIG.from_dict(moved.to_dict()) == moved


def test_moving_the_grid_compiles_nothing_anew():
    model = model_of("image")
    elsewhere = model.with_source_grid(0.8 * CONFIG.source_pixel_scale, CENTRE)
    image = image_of(CONFIG)
    sources = [each.reconstruct(image, RMS, PSF, LENS).source for each in (model, elsewhere, model)]
    assert elsewhere._compiled._compiled is model._compiled._compiled
    assert np.abs(sources[0] - sources[1]).max() > 0.01 * sources[0].max()
    np.testing.assert_array_equal(sources[0], sources[2])

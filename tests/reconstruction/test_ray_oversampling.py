"""Rays within a pixel through all that uses them: RIM, linear inversion, posterior, test, files."""

import keras
import numpy as np
import pytest
from scipy.linalg import solve
from scipy.optimize import approx_fprime

import rim_lensing as rl
from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.inversion.regularization import regularization_matrix
from rim_lensing.lens_fit.lens_posterior import lens_posterior
from rim_lensing.lens_fit.residual_test import check_residuals
from rim_lensing.lensing.given_deflections import Deflections
from rim_lensing.lensing.mass_model import deflections_on_rays
from rim_lensing.lensing.symmetries import SYMMETRIES, lens_matrix, restore_image, transform_image
from rim_lensing.networks.presets import get_preset
from rim_lensing.networks.rim import RIM
from rim_lensing.observation.checks import check_observation
from rim_lensing.observation.psf_forms import on_image_pixels
from rim_lensing.reconstruction.linear_systems import linear_system
from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor
from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion
from rim_lensing.results.result_reader import read_reconstruction
from rim_lensing.simulation.priors import Priors

CONFIG = get_preset("tiny16")
GEOMETRY = Geometry(16, 0.4, 14, 0.25, psf_side=5)
LENS = np.array([1.2, 0.12, -0.08, 0.03, -0.02, 0.03, 0.05])
RMS = 0.01


def fine_psf() -> np.ndarray:
    """On pixels half as wide as the image's; nothing may rely on a symmetric one."""
    psf = np.outer([0.05, 0.2, 0.5, 0.3, 0.02], [0.0, 0.25, 0.6, 0.2, 0.1])
    return psf / psf.sum()


def source_on(grid) -> np.ndarray:
    x, y = grid.coordinates()
    blob = np.exp(-0.5 * ((x - 0.1) ** 2 + (y - 0.15) ** 2) / 0.25**2)
    return (blob + 0.6 * np.exp(-0.5 * ((x + 0.4) ** 2 + (y + 0.2) ** 2) / 0.2**2)).astype(
        "float32"
    )


def seen(geometry: Geometry, lens=LENS, symmetry: int = 0, **more) -> rl.Observation:
    """An image of two blobs with noise, seen through the fine PSF."""
    kernel, grids = np.float32(fine_psf())[None], (geometry.image_grid, geometry.source_grid)
    model = ForwardModel(np.float32(lens)[None], kernel, *grids, oversampling=2)
    image = keras.ops.convert_to_numpy(model.predict(source_on(geometry.source_grid)[None]))[0]
    image = image + RMS * np.random.default_rng(0).standard_normal(image.shape)
    image, psf = (transform_image(each, symmetry) for each in (image, fine_psf()))
    return rl.Observation(image, RMS, psf, **{"psf_oversampling": 2} | more)


def rim_of(flux_scale: str) -> RIMReconstructor:
    keras.utils.set_random_seed(1)
    network = RIM(CONFIG.from_dict(CONFIG.to_dict() | {"flux_scale": flux_scale}))
    return RIMReconstructor(network, "rim_tiny", Priors(psf_sigma=(0.0, 0.5)))


@pytest.fixture(scope="module")
def rim() -> RIMReconstructor:
    return rim_of("image")


@pytest.fixture(scope="module")
def linear() -> SemilinearInversion:
    return SemilinearInversion(strength=30.0, geometry=GEOMETRY)


@pytest.mark.filterwarnings("ignore:chi", "ignore:Flux")
def test_one_ray_is_what_an_averaged_psf_gives_to_the_last_bit(rim, linear):
    averaged, _ = on_image_pixels(fine_psf(), 2, 16)
    for model in (rim, linear):
        observed = seen(model.network.config if model is rim else GEOMETRY)
        with pytest.warns(UserWarning, match="averaged from 5 x 5"):
            one = model.reconstruct(
                rl.Observation(
                    observed.image, RMS, fine_psf(), psf_oversampling=2, ray_oversampling=1
                ),
                lens=LENS,
            )
        other = model.reconstruct(observed.image, RMS, averaged, lens=LENS)
        np.testing.assert_array_equal(one.source, other.source)
        np.testing.assert_array_equal(one.model_image, other.model_image)
        assert one.fine_psf is None and one.ray_oversampling == 1


@pytest.mark.filterwarnings("ignore")
def test_a_rims_images_and_chi2_are_those_of_the_fine_model(rim):
    observed = seen(CONFIG)
    result = rim.reconstruct(observed, lens=LENS)
    assert result.ray_oversampling == 2
    np.testing.assert_allclose(result.fine_psf, fine_psf(), rtol=1e-6)
    model = ForwardModel(
        np.float32(LENS)[None],
        np.float32(fine_psf())[None],
        CONFIG.image_grid,
        CONFIG.source_grid,
        oversampling=2,
    )
    expected = model.as_matrix()[0] @ result.source.ravel()
    atol = 1e-5 * expected.max()
    np.testing.assert_allclose(result.model_image.ravel(), expected, atol=atol)
    chi2 = np.mean((observed.image.ravel() - expected) ** 2) / RMS**2
    assert result.chi2 == pytest.approx(chi2, rel=1e-4)
    averaged = rim.reconstruct(
        rl.Observation(observed.image, RMS, fine_psf(), psf_oversampling=2, ray_oversampling=1),
        lens=LENS,
    )
    assert np.abs(averaged.source - result.source).max() > 1e-3 * result.source.max()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("flux_scale", ["image", "unit"])
def test_flux_scale_does_not_matter(flux_scale):
    rim, observed = rim_of(flux_scale), seen(CONFIG)
    one = rim.reconstruct(observed, lens=LENS)
    scaled = rl.Observation(1e-20 * observed.image, 1e-20 * RMS, fine_psf(), psf_oversampling=2)
    other = rim.reconstruct(scaled, lens=LENS)
    np.testing.assert_allclose(1e20 * other.source, one.source, atol=1e-4 * one.source.max())


def test_the_gradient_of_a_rims_likelihood_is_that_of_its_value(rim):
    observation = check_observation(seen(CONFIG), lens=LENS, image_grid=CONFIG.image_grid)
    posterior = lens_posterior(rim, observation, Priors(theta_E=(0.3, 3.0)))

    def value(lens):
        return posterior.log_posterior(lens[None])[0]

    at, slope = posterior.log_posterior_and_gradient(LENS[None])
    assert at[0] == pytest.approx(value(LENS), rel=1e-5)
    expected = approx_fprime(LENS, value, 2e-3)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(slope[0], expected, atol=0.1 * scale)
    residuals = posterior.residuals(LENS[None])[0]
    assert -0.5 * residuals @ residuals == pytest.approx(at[0], rel=1e-4)


def dense(observation) -> tuple[np.ndarray, np.ndarray]:
    """Return f and d of the fine model, from its dense matrix."""
    model = ForwardModel(
        np.float32(LENS)[None],
        np.float32(fine_psf())[None],
        GEOMETRY.image_grid,
        GEOMETRY.source_grid,
        oversampling=2,
    )
    noise = observation.noise[0].ravel().astype("float64")
    return model.as_matrix()[0] / noise[:, None], observation.image[0].ravel() / noise


def test_the_linear_system_is_that_of_dense_algebra():
    observation = check_observation(seen(GEOMETRY), lens=LENS, image_grid=GEOMETRY.image_grid)
    system = linear_system(observation, observation.lensing_matrices(GEOMETRY)[0])
    response, data = dense(observation)
    generator = np.random.default_rng(0)
    source, image = generator.standard_normal(14**2), generator.standard_normal(16**2)
    atol = 1e-5 * np.abs(response @ source).max()
    np.testing.assert_allclose(system.apply(source), response @ source, atol=atol)
    np.testing.assert_allclose(system.adjoint(image), response.T @ image, atol=atol)
    np.testing.assert_allclose(system.response().toarray(), response, atol=atol)
    np.testing.assert_allclose(system.data, data, rtol=1e-6)
    assert np.sum(system.apply(source) * image) == pytest.approx(
        np.sum(source * system.adjoint(image)), rel=1e-10
    )
    whole = ForwardModel(
        np.float32(LENS)[None], np.ones((1, 1, 1), "float32"), GEOMETRY.image_grid,
        GEOMETRY.source_grid, oversampling=2,
    )  # fmt: skip
    np.testing.assert_allclose(system.unblurred().toarray(), whole.as_matrix()[0], atol=1e-6)


@pytest.mark.parametrize("engine", ["exact", "matrix-free"])
def test_linear_inversions_solve_the_fine_system(engine):
    observed = seen(GEOMETRY)
    linear = SemilinearInversion(strength=30.0, engine=engine, geometry=GEOMETRY)
    result = linear.reconstruct(observed, lens=LENS, uncertainties=False)
    observation = check_observation(observed, lens=LENS, image_grid=GEOMETRY.image_grid)
    response, data = dense(observation)
    unit = observation.flux_unit[0]
    prior = 30.0 * unit**2 * regularization_matrix("gradient", 14).toarray()
    expected = unit * solve(response.T @ response + prior, response.T @ data, assume_a="pos")
    atol = (1e-5 if engine == "exact" else 1e-2) * expected.max()
    np.testing.assert_allclose(result.source.ravel(), expected, atol=atol)
    image = unit * RMS / unit * (response @ (expected / unit))
    np.testing.assert_allclose(result.model_image.ravel(), image, atol=20 * atol)
    assert result.chi2 < 1.1


def test_a_lensing_matrix_has_a_row_for_every_ray(linear):
    observed = seen(GEOMETRY)
    observation = check_observation(observed, lens=LENS, image_grid=GEOMETRY.image_grid)
    matrix = observation.lensing_matrices(GEOMETRY)[0]
    expected = linear.reconstruct(observed, lens=LENS)
    found = linear.reconstruct(observed, lensing_matrix=matrix)
    np.testing.assert_allclose(found.source, expected.source, atol=1e-9)
    with pytest.raises(ValueError, match=r"\(1024, 196\).*rays along a side"):
        linear.reconstruct(observed, lensing_matrix=matrix[:256])


@pytest.mark.parametrize("symmetry", range(1, SYMMETRIES))
def test_linear_reconstructions_turn_with_the_image(linear, symmetry):
    lens = lens_matrix(symmetry) @ LENS
    here = linear.reconstruct(seen(GEOMETRY), lens=LENS)
    there = linear.reconstruct(seen(GEOMETRY, symmetry=symmetry), lens=lens)
    assert there.log_evidence == pytest.approx(here.log_evidence, rel=1e-6)
    atol = 2e-5 * here.source.max()
    np.testing.assert_allclose(restore_image(there.source, symmetry), here.source, atol=atol)
    np.testing.assert_allclose(
        restore_image(there.source_std, symmetry), here.source_std, atol=atol
    )


@pytest.mark.filterwarnings("ignore")
def test_refinement_and_residual_test_take_the_same_rays(ridge_model, linear):
    """The copies of a good fit leave what it leaves; with averaged kernels they would not."""
    observed = seen(CONFIG)
    refined = ridge_model.refined().reconstruct(observed, lens=LENS)
    assert refined.chi2 < 1.2 and refined.ray_oversampling == 2
    for model, geometry in ((linear, GEOMETRY), (ridge_model, CONFIG)):
        result = model.reconstruct(seen(geometry), lens=LENS)
        found = check_residuals(result, model, copies=6)
        assert found.consistent and np.all(found.excess < 1.5)


@pytest.mark.filterwarnings("ignore")
def test_files_hold_the_fine_psf(tmp_path, linear):
    result = linear.reconstruct(seen(GEOMETRY), lens=LENS)
    result.to_fits(tmp_path / "result.fits")
    again = read_reconstruction(tmp_path / "result.fits")
    assert again.ray_oversampling == 2
    np.testing.assert_array_equal(again.fine_psf, result.fine_psf)
    np.testing.assert_array_equal(again.psf, result.psf)
    batch = linear.reconstruct(
        rl.Observation(np.stack([result.image] * 2), RMS, fine_psf(), psf_oversampling=2), lens=LENS
    )
    np.testing.assert_allclose(batch[1].source, result.source, atol=1e-9)
    assert batch[1].fine_psf.shape == (5, 5)


def test_deflections_are_those_of_all_rays(linear):
    alpha = deflections_on_rays(np.float32(LENS)[None], GEOMETRY.image_grid, 2)
    maps = Deflections(*keras.ops.convert_to_numpy(alpha)[0])
    expected = linear.reconstruct(seen(GEOMETRY), lens=LENS)
    found = linear.reconstruct(seen(GEOMETRY), lens=maps)
    np.testing.assert_allclose(found.source, expected.source, atol=1e-6 * expected.source.max())
    alpha = deflections_on_rays(np.float32(LENS)[None], GEOMETRY.image_grid)
    coarse = Deflections(*keras.ops.convert_to_numpy(alpha)[0])
    with pytest.raises(ValueError, match="2 x 2 a pixel.*32 x 32. Received: 16 x 16"):
        linear.reconstruct(seen(GEOMETRY), lens=coarse)
    with pytest.warns(UserWarning, match="averaged"):
        linear.reconstruct(seen(GEOMETRY, ray_oversampling=1), lens=coarse)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_lens_is_found_behind_an_oversampled_psf(ridge_model):
    start = LENS + [0.05, 0.02, 0.02, 0.0, 0.0, 0.0, 0.0]
    found = rl.optimise_lens(seen(CONFIG), source_model=ridge_model, start=start)
    assert found.reconstruction.ray_oversampling == 2 and found.reconstruction.chi2 < 1.2
    assert abs(found.lens[0] - LENS[0]) < 0.02


@pytest.mark.filterwarnings("ignore")
def test_a_width_may_be_blurred_on_finer_rays(linear):
    """The Gaussian on pixels half as wide is a kernel, oversampled twice."""
    observed = seen(GEOMETRY)
    width = rl.Observation(observed.image, RMS, 0.3, ray_oversampling=2)
    offsets = 0.2 * (np.arange(15) - 7)
    profile = np.exp(-0.5 * (offsets / 0.3) ** 2)
    kernel = np.outer(profile, profile) / profile.sum() ** 2
    fine = rl.Observation(observed.image, RMS, kernel, psf_oversampling=2)
    one, other = (linear.reconstruct(each, lens=LENS) for each in (width, fine))
    np.testing.assert_allclose(one.source, other.source, atol=1e-3 * other.source.max())

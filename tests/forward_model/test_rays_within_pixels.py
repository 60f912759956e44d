"""Rays within a pixel, blurred by a PSF on finer pixels: against lenstronomy and plain loops."""

import numpy as np
import pytest
from keras import ops
from scipy.signal import convolve

from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.forward_model.psf import Blur
from rim_lensing.forward_model.psf_kernels import convolution_matrix
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.symmetries import SYMMETRIES, lens_matrix, restore_image, transform_image

IMAGE, SOURCE = PixelGrid(24, 0.15), PixelGrid(20, 0.08)
LENS = np.array([0.9, 0.15, -0.1, 0.04, -0.02, 0.05, 0.03])


def kernel(side: int, seed: int = 0) -> np.ndarray:
    """A bright core and an uneven skirt."""
    drawn = np.random.default_rng(seed).uniform(0, 0.3, (side, side))
    drawn[side // 2, side // 2] += 3
    return (drawn / drawn.sum()).astype("float32")


def source() -> np.ndarray:
    x, y = SOURCE.coordinates()
    blob = np.exp(-0.5 * ((x - 0.1) ** 2 + (y + 0.05) ** 2) / 0.12**2)
    return (blob + 0.5 * np.exp(-0.5 * ((x + 0.3) ** 2 + (y - 0.2) ** 2) / 0.1**2)).astype(
        "float32"
    )


def predicted(lens, psf, image, oversampling: int) -> np.ndarray:
    model = ForwardModel(
        np.float32(lens)[None], psf[None], IMAGE, SOURCE, oversampling=oversampling
    )
    return ops.convert_to_numpy(model.predict(image[None]))[0]


@pytest.mark.parametrize("oversampling", [1, 2, 3, 4])
def test_against_lenstronomys_supersampled_image(oversampling):
    """Both interpolate the same pixels bilinearly: what is left is float32."""
    pytest.importorskip("lenstronomy")
    from lenstronomy.Data.imaging_data import ImageData
    from lenstronomy.Data.psf import PSF
    from lenstronomy.ImSim.image_model import ImageModel
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel

    psf, corner = kernel(4 * oversampling + 1), -(IMAGE.side - 1) / 2 * IMAGE.pixel_scale
    theta_E, e1, e2, x, y, gamma1, gamma2 = LENS
    sie = {"theta_E": theta_E, "e1": e1, "e2": e2, "center_x": x, "center_y": y}
    shear = {"gamma1": gamma1, "gamma2": gamma2, "ra_0": 0, "dec_0": 0}
    light = {"image": source(), "amp": 1, "center_x": 0, "center_y": 0, "phi_G": 0}
    theirs = ImageModel(
        ImageData(
            np.zeros((IMAGE.side,) * 2),
            background_rms=1,
            exposure_time=1,
            ra_at_xy_0=corner,
            dec_at_xy_0=corner,
            transform_pix2angle=IMAGE.pixel_scale * np.eye(2),
        ),
        PSF("PIXEL", kernel_point_source=psf, point_source_supersampling_factor=oversampling),
        LensModel(["SIE", "SHEAR"]),
        LightModel(["INTERPOL"]),
        kwargs_numerics={
            "supersampling_factor": oversampling,
            "supersampling_convolution": oversampling > 1,
        },
    ).image([sie, shear], [light | {"scale": SOURCE.pixel_scale}])
    theirs /= IMAGE.pixel_scale**2
    found = predicted(LENS, psf, source(), oversampling)
    np.testing.assert_allclose(found, theirs, atol=1e-4 * theirs.max())
    assert theirs.max() > 0.3


@pytest.mark.parametrize("oversampling", [2, 3])
def test_the_image_is_the_mean_over_each_pixel_of_the_blurred_rays(oversampling):
    psf, side = kernel(7), 10 * oversampling
    fine = np.random.default_rng(1).uniform(size=(side, side)).astype("float32")
    blocks = convolve(fine, psf, mode="same").reshape(10, oversampling, 10, oversampling)
    blur = Blur(psf[None], 10, oversampling=oversampling)
    found = ops.convert_to_numpy(blur.apply(fine[None]))[0]
    np.testing.assert_allclose(found, blocks.mean(axis=(1, 3)), atol=1e-6)
    found = convolution_matrix(psf, 10, oversampling) @ fine.ravel()
    np.testing.assert_allclose(found, blocks.mean(axis=(1, 3)).ravel(), atol=1e-6)


def test_a_point_behind_no_lens_is_seen_where_it_is():
    """Even factors have no ray in the middle of a pixel: nothing may move by half a ray."""
    x, y = SOURCE.coordinates()
    blob = np.exp(-0.5 * ((x - 0.11) ** 2 + (y + 0.07) ** 2) / 0.2**2).astype("float32")
    image_x, image_y = IMAGE.coordinates()
    for oversampling in (1, 2, 3):
        psf = np.zeros((3, 3), "float32")
        psf[1, 1] = 1
        image = predicted(np.zeros(7), psf, blob, oversampling)
        assert np.sum(image * image_x) / image.sum() == pytest.approx(0.11, abs=2e-3)
        assert np.sum(image * image_y) / image.sum() == pytest.approx(-0.07, abs=2e-3)


@pytest.mark.parametrize("symmetry", range(1, SYMMETRIES))
def test_turns_with_the_image(symmetry):
    here = predicted(LENS, kernel(9), source(), 2)
    turned = [transform_image(each, symmetry) for each in (kernel(9), source())]
    there = predicted(LENS @ lens_matrix(symmetry).T, *turned, 2)
    np.testing.assert_allclose(restore_image(there, symmetry), here, atol=2e-5 * here.max())


def test_two_hundred_pixels_a_side_fit_into_memory():
    """The paper's grids, with 150,000 rays."""
    image, fine = PixelGrid(192, 0.04), 2
    model = ForwardModel(
        np.float32(LENS)[None], kernel(49)[None], image, PixelGrid(192, 3 / 192), oversampling=fine
    )
    bright = np.ones((1, 192, 192), "float32")
    assert ops.convert_to_numpy(model.predict(bright)).shape == (1, 192, 192)
    assert ops.convert_to_numpy(model.adjoint(bright)).shape == (1, 192, 192)

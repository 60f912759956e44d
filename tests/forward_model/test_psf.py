"""PSF kernels and the blur against scipy."""

import warnings

import numpy as np
import pytest
from keras import ops
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve

from rim_lensing.backend import gradient
from rim_lensing.forward_model.psf import Blur, check_kernel, gaussian_kernel
from rim_lensing.forward_model.psf_kernels import gaussian_as_sharp


def kernels(batch: int, side: int, seed: int = 0) -> np.ndarray:
    """Lopsided kernels, all different: a flipped or shared one would show."""
    kernel = np.random.default_rng(seed).uniform(0, 1, (batch, side, side)) ** 3
    return (kernel / kernel.sum(axis=(1, 2), keepdims=True)).astype("float32")


def images(batch: int, side: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((batch, side, side)).astype("float32")


@pytest.mark.parametrize("side", [1, 9, 21])
def test_gaussian_kernel_against_scipy(side):
    sigma, pixel_scale = np.array([0.03, 0.07, 0.1, 0.5]), 0.1
    ours = ops.convert_to_numpy(gaussian_kernel(sigma, side, pixel_scale))
    delta = np.zeros((side, side))
    delta[side // 2, side // 2] = 1
    for kernel, width in zip(ours, sigma / pixel_scale, strict=True):
        expected = gaussian_filter(delta, width, radius=side // 2, mode="constant")
        np.testing.assert_allclose(kernel, expected, atol=1e-6)
    np.testing.assert_allclose(ours.sum(axis=(1, 2)), 1, rtol=1e-6)


def test_gaussian_of_width_zero_is_the_identity():
    kernel = ops.convert_to_numpy(gaussian_kernel([0.0, 0.07], 7, 0.1))
    expected = np.zeros((7, 7))
    expected[3, 3] = 1
    np.testing.assert_array_equal(kernel[0], expected)
    image = images(1, 16)
    blurred = ops.convert_to_numpy(Blur(kernel[:1], 16).apply(image))
    np.testing.assert_allclose(blurred, image, atol=1e-6)


def test_gradient_in_the_width_is_finite():
    for sigma in (0.0, 1e-3, 0.04, 10.0):
        slope = gradient(
            lambda s: ops.sum(gaussian_kernel(s, 9, 0.1) ** 2), np.array([sigma], "float32")
        )
        assert np.all(np.isfinite(ops.convert_to_numpy(slope))), sigma


@pytest.mark.parametrize(("side", "kernel_side"), [(16, 5), (17, 5), (15, 15), (16, 1), (12, 11)])
def test_blur_against_scipy(side, kernel_side):
    kernel, image = kernels(3, kernel_side), images(3, side)
    ours = ops.convert_to_numpy(Blur(kernel, side).apply(image))
    for i in range(3):
        expected = convolve(image[i], kernel[i], mode="same", method="direct")
        np.testing.assert_allclose(ours[i], expected, atol=1e-6)


@pytest.mark.parametrize(("side", "kernel_side"), [(16, 5), (15, 15)])
def test_blur_is_adjoint(side, kernel_side):
    blur = Blur(kernels(3, kernel_side), side)
    image, data = images(3, side, 1), images(3, side, 2)
    blurred = ops.convert_to_numpy(blur.apply(image)).astype("float64")
    returned = ops.convert_to_numpy(blur.adjoint(data)).astype("float64")
    for i in range(3):
        error = np.sum(blurred[i] * data[i]) - np.sum(image[i] * returned[i])
        assert abs(error) < 1e-6 * np.linalg.norm(image[i]) * np.linalg.norm(data[i])
        # The operator is not symmetric, or this would not test anything.
        assert np.abs(blurred - ops.convert_to_numpy(blur.adjoint(image))).max() > 1e-3


@pytest.mark.parametrize(("side", "kernel_side"), [(8, 3), (9, 9), (10, 7)])
def test_matrix_against_apply(side, kernel_side):
    blur = Blur(kernels(2, kernel_side), side)
    image = images(2, side)
    blurred = ops.convert_to_numpy(blur.apply(image)).reshape(2, -1)
    returned = ops.convert_to_numpy(blur.adjoint(image)).reshape(2, -1)
    for i, matrix in enumerate(blur.as_matrix()):
        assert matrix.shape == (side**2, side**2)
        np.testing.assert_allclose(matrix @ image[i].ravel(), blurred[i], atol=1e-6)
        np.testing.assert_allclose(matrix.T @ image[i].ravel(), returned[i], atol=1e-6)


def test_flux_is_conserved_away_from_borders():
    image = np.zeros((2, 20, 20), "float32")
    image[:, 6:14, 6:14] = images(2, 8) + 3
    blurred = ops.convert_to_numpy(Blur(kernels(2, 7), 20).apply(image))
    np.testing.assert_allclose(blurred.sum(axis=(1, 2)), image.sum(axis=(1, 2)), rtol=1e-6)
    # At a border flux is lost, and does not come back in on the other side.
    image = np.zeros((1, 20, 20), "float32")
    image[0, 0, 0] = 1
    kernel = kernels(1, 7)
    blurred = ops.convert_to_numpy(Blur(kernel, 20).apply(image))[0]
    np.testing.assert_allclose(blurred[:4, :4], kernel[0, 3:, 3:], atol=1e-7)
    np.testing.assert_allclose(blurred[4:], 0, atol=1e-7)
    np.testing.assert_allclose(blurred[:, 4:], 0, atol=1e-7)


def test_one_kernel_serves_a_batch():
    kernel, image = kernels(1, 5), images(3, 12)
    shared = ops.convert_to_numpy(Blur(kernel, 12).apply(image))
    repeated = ops.convert_to_numpy(Blur(np.repeat(kernel, 3, axis=0), 12).apply(image))
    np.testing.assert_allclose(shared, repeated, atol=1e-6)


def test_float64_images_are_taken():
    image = images(2, 12)
    blur = Blur(kernels(2, 5), 12)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(blur.apply(image.astype("float64"))),
        ops.convert_to_numpy(blur.apply(image)),
    )


def test_odd_kernels_are_taken_with_a_warning():
    """A pixel off to the right, two up; then a ring that subtracts a tenth of the flux."""
    off = np.zeros((1, 7, 7))
    off[0, 5, 4] = 1
    with pytest.warns(UserWarning, match=r"centroid \(1.0, 2.0\) pixels \(x, y\) off"):
        check_kernel(off, 16)
    negative = np.zeros((7, 7))
    negative[3, 3], negative[3, 1] = 1.1, -0.05
    negative[3, 5] = -0.05
    with pytest.warns(UserWarning, match="negative pixels that hold 10% of its flux"):
        check_kernel(negative, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_kernel(ops.convert_to_numpy(gaussian_kernel([0.1], 7, 0.1)), 16)
        check_kernel(np.where(negative < 0, -0.02, negative) / 1.06, 16)


def test_check_kernel_normalises_what_is_nearly_normalised():
    kernel = check_kernel(1.005 * kernels(2, 5).astype("float64"), 16)
    assert kernel.shape == (2, 5, 5) and kernel.dtype == "float32"
    np.testing.assert_allclose(kernel.sum(axis=(1, 2)), 1, rtol=1e-6)
    np.testing.assert_allclose(kernel, kernels(2, 5), rtol=1e-6)
    assert check_kernel(kernels(1, 5)[0], 16).shape == (1, 5, 5)


def with_value(value: float) -> np.ndarray:
    kernel = kernels(2, 5)
    kernel[1, 2, 3] = value
    return kernel


def test_a_gaussian_is_as_sharp_as_itself():
    """Whatever its sum: PSF files are not always normalised."""
    widths = np.array([1.2, 1.5, 3.0])
    gaussians = ops.convert_to_numpy(gaussian_kernel(widths, 31, 1.0))
    found = gaussian_as_sharp(gaussians * [[[1.0]], [[2.0]], [[5.0]]])
    np.testing.assert_allclose(found, widths, rtol=1e-3)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (np.ones(5), r"`psf` must be a square image.*Received: shape \(5,\)"),
        (np.ones((2, 5, 3)), r"`psf` must be a square image.*Received: shape \(2, 5, 3\)"),
        (kernels(1, 4), "`psf` must have an odd number.*Received: side=4"),
        (kernels(1, 17), "`psf` must not be larger than the image.*16.*Received: side=17"),
        (with_value(np.nan), "`psf` must be finite.*Received: 1 NaN"),
        (with_value(np.inf), "`psf` must be finite.*Received: 1 NaN or infinite"),
        (-kernels(1, 5), "`psf` must have a positive sum.*Received: sum -1"),
        (0 * kernels(1, 5), "`psf` must have a positive sum.*Received: sum 0"),
        (1.5 * kernels(1, 5), "`psf` must be normalised: divide.*Received: sum 1.5"),
    ],
)
def test_check_kernel_refuses(kernel, message):
    with pytest.raises(ValueError, match=message):
        check_kernel(kernel, 16)


@pytest.mark.parametrize(("side", "message"), [(4, "odd number"), (17, "larger than the image")])
def test_blur_refuses_kernels_that_do_not_fit(side, message):
    with pytest.raises(ValueError, match=f"`psf`.*{message}.*Received: side={side}"):
        Blur(kernels(1, side), 16)


@pytest.mark.parametrize("shape", [(16, 16), (2, 15, 16), (2, 16, 16, 1)])
def test_blur_refuses_images_of_another_shape(shape):
    with pytest.raises(
        ValueError, match=r"`image` must have the shape \(batch, 16, 16\).*Received"
    ):
        Blur(kernels(2, 5), 16).apply(np.zeros(shape, "float32"))


def test_gaussian_kernel_refuses_an_even_side():
    with pytest.raises(ValueError, match="`psf` must have an odd number.*Received: side=8"):
        gaussian_kernel([0.1], 8, 0.1)


@pytest.mark.parametrize("sigma", [[-0.1], [0.1, np.nan], [np.inf]])
def test_gaussian_kernel_refuses_impossible_widths(sigma):
    with pytest.raises(ValueError, match=r"`sigma` must be 0 or a positive.*Received: sigma=\["):
        gaussian_kernel(sigma, 7, 0.1)

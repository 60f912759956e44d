"""The blurring operator B (paper section 2.2): convolution with a kernel per example."""

import numpy as np
from keras import ops
from scipy.fft import next_fast_len
from scipy.sparse import csr_matrix

from rim_lensing.backend import tensor
from rim_lensing.forward_model.psf_kernels import (
    check_kernel,
    check_odd_side,
    check_side,
    convolution_matrix,
    gaussian_on_pixels,
)

__all__ = ["Blur", "check_kernel", "check_odd_side", "check_side", "gaussian_kernel"]


def gaussian_kernel(sigma, side: int, pixel_scale: float, dtype: str = "float32"):
    """Gaussian kernels sampled at the pixel centres and normalised to a sum of 1.

    Args:
        sigma: (batch,) widths (standard deviations) in arcsec; 0 gives the identity. Only arrays
            are checked: a tensor of a compiled graph has no values yet.
        side: Odd number of pixels along a side.
        pixel_scale: arcsec per pixel.
        dtype: Of the kernels.

    Returns:
        (batch, side, side).

    Raises:
        ValueError: `side` is even, or a width is negative, NaN or infinite.
    """
    if not ops.is_tensor(sigma) and not np.all(np.isfinite(sigma) & (np.asarray(sigma) >= 0)):
        raise ValueError(
            "`sigma` must be 0 or a positive number of arcsec. "
            f"Received: sigma={np.asarray(sigma).tolist()}"
        )
    sigma = tensor(sigma, dtype)
    return gaussian_on_pixels(sigma / pixel_scale, side, math=ops)


class Blur:
    """B for a batch of images (batch, m, m): zero-padded convolution by FFT.

    With a PSF on finer pixels B is the convolution on these, and then the mean over every pixel of
    the image: an arc that is curved or narrow within a pixel is blurred as in the telescope, while
    a kernel on the image's pixels knows the light in their centres alone.

    Args:
        kernel: (batch, k, k), k odd and at most m o, or (1, k, k) for all; see `check_kernel`.
        image_side: m.
        dtype: In which it computes.
        oversampling: Pixels of the kernel per pixel of the image along each axis, o.

    Raises:
        ValueError: The side of the kernels is even or larger than the image.
    """

    def __init__(self, kernel, image_side: int, dtype: str = "float32", oversampling: int = 1):
        """Transform the kernels once."""
        kernel = tensor(kernel, dtype)
        self._image_side, self._oversampling = image_side, oversampling
        image_side *= oversampling
        self._check(kernel.shape[-1], image_side)
        half = kernel.shape[-1] // 2
        self._kernel, self._side = kernel, image_side
        # Room for half a kernel on one side is enough: what wraps around is cropped.
        self._padding = next_fast_len(image_side + half) - image_side
        padded_side = image_side + self._padding
        kernel = ops.pad(kernel, [(0, 0)] + [(0, padded_side - kernel.shape[-1])] * 2)
        kernel = ops.roll(kernel, (-half, -half), axis=(1, 2))
        self._spectrum = ops.fft2((kernel, ops.zeros_like(kernel)))

    def _check(self, side: int, image_side: int) -> None:
        """Refuse kernels of an even side, or larger than the image."""
        check_side(side, image_side)

    def apply(self, image):
        """Return the image convolved with the kernel, (batch, m o, m o) to (batch, m, m).

        Raises:
            ValueError: `image` is not (batch, m o, m o).
        """
        blurred, parts = self._multiply(image, self._spectrum[1]), self._oversampling
        if parts == 1:
            return blurred
        blocks = ops.reshape(blurred, (-1, *(self._image_side, parts) * 2))
        return ops.mean(blocks, axis=(2, 4))

    def adjoint(self, image):
        """Return B' image, (batch, m, m) to (batch, m o, m o), such that <B i, d> = <i, B' d>."""
        if self._oversampling > 1:
            parts, image = self._oversampling, ops.convert_to_tensor(image)
            image = ops.repeat(ops.repeat(image, parts, axis=1), parts, axis=2) / parts**2
        return self._multiply(image, -self._spectrum[1])

    def as_matrix(self) -> list[csr_matrix]:
        """Return B as scipy CSR matrices (m^2, m^2 o^2), one per kernel."""
        return [
            convolution_matrix(kernel, self._image_side, self._oversampling)
            for kernel in ops.convert_to_numpy(self._kernel)
        ]

    def _multiply(self, image, imaginary_spectrum):
        real_spectrum = self._spectrum[0]
        image = ops.convert_to_tensor(image, dtype=real_spectrum.dtype)
        if image.shape[1:] != (self._side, self._side):
            raise ValueError(
                f"`image` must have the shape (batch, {self._side}, {self._side}). "
                f"Received: shape {tuple(image.shape)}"
            )
        padded = ops.pad(image, [(0, 0)] + [(0, self._padding)] * 2)
        real, imaginary = ops.fft2((padded, ops.zeros_like(padded)))
        product = (
            real * real_spectrum - imaginary * imaginary_spectrum,
            real * imaginary_spectrum + imaginary * real_spectrum,
        )
        return ops.ifft2(product)[0][:, : self._side, : self._side]

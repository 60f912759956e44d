"""The blurring operator B (paper section 2.2): convolution with a kernel per example."""

import numpy as np
from keras import config, ops
from scipy.fft import next_fast_len


def gaussian_kernel(sigma, side: int, pixel_scale: float):
    """Gaussian kernels sampled at the pixel centres and normalised to a sum of 1.

    Args:
        sigma: (batch,) widths (standard deviations) in arcsec; 0 gives the identity.
        side: Odd number of pixels along a side.
        pixel_scale: arcsec per pixel.

    Returns:
        (batch, side, side).

    Raises:
        ValueError: `side` is even.
    """
    check_odd_side(side)
    sigma = ops.convert_to_tensor(sigma, dtype=config.floatx())[:, None] / pixel_scale
    # Below 0.05 pixel the neighbours' weight underflows: the kernel is the identity.
    sigma = ops.maximum(sigma, 0.05)
    offsets = ops.arange(side, dtype=config.floatx()) - (side - 1) / 2
    profile = ops.exp(-0.5 * (offsets[None] / sigma) ** 2)
    profile = profile / ops.sum(profile, axis=-1, keepdims=True)
    return profile[:, :, None] * profile[:, None, :]


def check_odd_side(side: int) -> None:
    """Raise ValueError unless a kernel of this side has a central pixel."""
    if side % 2 == 0:
        raise ValueError(
            "`psf` must have an odd number of pixels a side, so that it has a centre. "
            f"Received: side={side}"
        )


def check_kernel(kernel, image_side: int) -> np.ndarray:
    """Return PSF images as a checked float32 array (batch, k, k).

    Args:
        kernel: (k, k) or (batch, k, k), each summing to 1 within 1%.
        image_side: Pixels along a side of the image to be blurred.

    Raises:
        ValueError: Not square, even side, larger than the image, NaN, or not normalised.
    """
    kernel = np.asarray(kernel, dtype="float64")
    if kernel.ndim == 2:
        kernel = kernel[None]
    if kernel.ndim != 3 or kernel.shape[1] != kernel.shape[2]:
        raise ValueError(
            f"`psf` must be a square image (k, k) or (batch, k, k). Received: shape {kernel.shape}"
        )
    check_odd_side(kernel.shape[1])
    if kernel.shape[1] > image_side:
        raise ValueError(
            f"`psf` must not be larger than the image ({image_side} pixels): crop it and normalise "
            f"it again. Received: side={kernel.shape[1]}"
        )
    if not np.all(np.isfinite(kernel)):
        raise ValueError("`psf` must be finite. Received: NaN or infinite values")
    sums = kernel.sum(axis=(1, 2))
    if np.any(np.abs(sums - 1) > 0.01):
        raise ValueError(
            "`psf` must be normalised: divide it by its sum. "
            f"Received: sum {sums[np.argmax(np.abs(sums - 1))]:.6g}"
        )
    return (kernel / sums[:, None, None]).astype("float32")


class Blur:
    """B for a batch of images (batch, m, m): zero-padded convolution by FFT.

    Args:
        kernel: (batch, k, k), k odd and at most m; see `check_kernel`.
        image_side: m.
    """

    def __init__(self, kernel, image_side: int):
        """Transform the kernels once."""
        kernel = ops.convert_to_tensor(kernel, dtype=config.floatx())
        half = kernel.shape[-1] // 2
        self._side = image_side
        # Room for half a kernel on one side is enough: what wraps around is cropped.
        self._padding = next_fast_len(image_side + half) - image_side
        padded_side = image_side + self._padding
        kernel = ops.pad(kernel, [(0, 0)] + [(0, padded_side - kernel.shape[-1])] * 2)
        kernel = ops.roll(kernel, (-half, -half), axis=(1, 2))
        self._spectrum = ops.fft2((kernel, ops.zeros_like(kernel)))

    def apply(self, image):
        """Return the image convolved with the kernel, (batch, m, m)."""
        return self._multiply(image, self._spectrum[1])

    def adjoint(self, image):
        """Return the image correlated with the kernel, such that <B i, d> = <i, B' d>."""
        return self._multiply(image, -self._spectrum[1])

    def _multiply(self, image, imaginary_spectrum):
        real_spectrum = self._spectrum[0]
        padded = ops.pad(image, [(0, 0)] + [(0, self._padding)] * 2)
        real, imaginary = ops.fft2((padded, ops.zeros_like(padded)))
        product = (
            real * real_spectrum - imaginary * imaginary_spectrum,
            real * imaginary_spectrum + imaginary * real_spectrum,
        )
        return ops.ifft2(product)[0][:, : self._side, : self._side]

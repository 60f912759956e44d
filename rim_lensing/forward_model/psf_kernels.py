"""What a PSF kernel is, without Keras: checks on kernel images, and the Gaussian's formula."""

import warnings

import numpy as np
from scipy.sparse import csr_matrix

_LARGEST_OFFSET = 0.5
_MAX_NEGATIVE_FRACTION = 0.05

NORMALISATION_TOLERANCE = 0.01
"""A kernel's sum may be this far from 1; what is accepted is then normalised exactly."""


def gaussian_on_pixels(sigma, side: int, math=np):
    """Gaussian kernels sampled at the pixel centres and normalised to a sum of 1.

    Args:
        sigma: (batch,) floating-point widths (standard deviations) in pixels; 0 is the identity.
        side: Odd number of pixels along a side.
        math: numpy, or keras.ops when sigma is a tensor.

    Returns:
        (batch, side, side), of sigma's type.

    Raises:
        ValueError: `side` is even.
    """
    check_odd_side(side)
    # Below 0.05 pixel the neighbours' weight underflows: the kernel is the identity.
    sigma = math.maximum(sigma[:, None], 0.05)
    offsets = math.arange(side, dtype=sigma.dtype) - (side - 1) / 2
    profile = math.exp(-0.5 * (offsets[None] / sigma) ** 2)
    profile = profile / math.sum(profile, axis=-1, keepdims=True)
    return profile[:, :, None] * profile[:, None, :]


def gaussian_as_sharp(kernel: np.ndarray) -> np.ndarray:
    """Return the widths (standard deviations) of the Gaussians that are as sharp as kernels.

    Those with the same sum of squares, 1 / (4 pi sigma^2) for a sum of 1: wings hardly matter.

    Args:
        kernel: (batch, k, k), of any positive sum.

    Returns:
        (batch,), in pixels.
    """
    kernel = np.asarray(kernel, "float64")
    sharpness = np.sum(kernel**2, axis=(1, 2)) / np.sum(kernel, axis=(1, 2)) ** 2
    return 1 / np.sqrt(4 * np.pi * sharpness)


def convolution_matrix(kernel: np.ndarray, side: int, oversampling: int = 1) -> csr_matrix:
    """Return B, the zero-padded convolution of an image with a kernel, as a sparse matrix.

    Args:
        kernel: (k, k), k odd.
        side: Pixels along a side of the image, m.
        oversampling: Pixels of the kernel per image pixel along each axis, o: B takes an image on
            these, and its answer is the mean over every image pixel.

    Returns:
        (m^2, m^2 o^2); pixels are counted row by row.
    """
    half = kernel.shape[0] // 2
    # What an image pixel takes of the fine ones from `half` before it to `half` after it.
    taken = averaged_over_pixel(kernel[::-1, ::-1], oversampling)
    # Half the memory of int64: there are k^2 m^2 of each.
    offset_y, offset_x = (offsets.astype("int32") for offsets in np.nonzero(taken))
    values = taken[offset_y, offset_x]
    y, x = np.divmod(np.arange(side**2, dtype="int32"), np.int32(side))
    from_y = y * np.int32(oversampling) + (offset_y - half)[:, None]
    from_x = x * np.int32(oversampling) + (offset_x - half)[:, None]
    fine = side * oversampling
    inside = (from_y >= 0) & (from_y < fine) & (from_x >= 0) & (from_x < fine)
    rows = np.arange(side**2, dtype="int32")
    values, rows = np.broadcast_arrays(values[:, None], rows)
    columns = from_y * np.int32(fine) + from_x
    return csr_matrix((values[inside], (rows[inside], columns[inside])), shape=(side**2, fine**2))


def averaged_over_pixel(kernel: np.ndarray, oversampling: int) -> np.ndarray:
    """Return the mean of o x o copies of a kernel, one shifted to each part of an image pixel.

    Args:
        kernel: (k, k), on pixels o times as fine as the image's.
        oversampling: o.

    Returns:
        (k + o - 1, k + o - 1): the light of the fine pixels around an image pixel in this pixel,
        the first of them k // 2 before its own first.
    """
    side = len(kernel) + oversampling - 1
    spread = np.zeros((side, side), kernel.dtype)
    for row in range(oversampling):
        for column in range(oversampling):
            spread[row : row + len(kernel), column : column + len(kernel)] += kernel
    return spread / oversampling**2


def check_odd_side(side: int) -> None:
    """Raise ValueError unless a kernel of this side has a central pixel."""
    if side % 2 == 0:
        raise ValueError(
            "`psf` must have an odd number of pixels a side, so that it has a centre: resample it "
            f"onto an odd grid centred on its peak. Received: side={side}"
        )


def largest_side(image_side: int) -> int:
    """Return the side of the largest kernel with a central pixel that fits an image."""
    return image_side - 1 + image_side % 2


def check_side(side: int, image_side: int) -> None:
    """Raise ValueError unless a kernel of this side has a centre and fits the image."""
    check_odd_side(side)
    if side > image_side:
        raise ValueError(
            f"`psf` must not be larger than the image ({image_side} pixels): crop it and normalise "
            f"it again. Received: side={side}"
        )


def check_kernel(kernel, image_side: int) -> np.ndarray:
    """Return PSF images as a checked float32 array (batch, k, k).

    Args:
        kernel: (k, k) or (batch, k, k) on the image's pixels (not oversampled: from here no one can
            tell), each summing to 1 within 1%.
        image_side: Pixels along a side of the image to be blurred.

    Raises:
        ValueError: Not square, even side, larger than the image, NaN, negative sum, or not
            normalised.

    Warns:
        UserWarning: Its centroid lies more than half a pixel off the middle, or its negative pixels
            hold more than 5% of the flux: neither is what a telescope does.
    """
    kernel = np.asarray(kernel, dtype="float64")
    shape = kernel.shape
    if kernel.ndim == 2:
        kernel = kernel[None]
    if kernel.ndim != 3 or kernel.shape[1] != kernel.shape[2] or kernel.size == 0:
        raise ValueError(
            f"`psf` must be a square image (k, k) or (batch, k, k). Received: shape {shape}"
        )
    check_side(kernel.shape[1], image_side)
    if not np.all(np.isfinite(kernel)):
        raise ValueError(
            "`psf` must be finite: set bad pixels to 0 and normalise it again. "
            f"Received: {np.sum(~np.isfinite(kernel))} NaN or infinite pixels"
        )
    sums = kernel.sum(axis=(1, 2))
    worst = sums[np.argmax(np.abs(sums - 1))]
    if worst <= 0:
        raise ValueError(
            f"`psf` must have a positive sum: it must sum to 1. Received: sum {worst:.6g}"
        )
    if abs(worst - 1) > NORMALISATION_TOLERANCE:
        raise ValueError(
            f"`psf` must be normalised: divide it by its sum. Received: sum {worst:.6g}"
        )
    kernel = kernel / sums[:, None, None]
    _warn_of_odd_kernels(kernel)
    return kernel.astype("float32")


def _warn_of_odd_kernels(kernel: np.ndarray) -> None:
    offsets = np.arange(kernel.shape[1]) - kernel.shape[1] // 2
    x, y = kernel.sum(axis=1) @ offsets, kernel.sum(axis=2) @ offsets
    furthest = np.argmax(np.hypot(x, y))
    if np.hypot(x, y)[furthest] > _LARGEST_OFFSET:
        warnings.warn(
            f"`psf` has its centroid ({x[furthest]:.1f}, {y[furthest]:.1f}) pixels (x, y) off the "
            "middle: lens and source will seem to lie as far off, the other way. Centre it if that "
            "is not meant.",
            UserWarning,
            stacklevel=3,
        )
    negative = -np.minimum(kernel, 0).sum(axis=(1, 2)).min()
    if negative > _MAX_NEGATIVE_FRACTION:
        warnings.warn(
            f"`psf` has negative pixels that hold {negative:.0%} of its flux. Set them to 0 and "
            "normalise it again if they are noise.",
            UserWarning,
            stacklevel=3,
        )

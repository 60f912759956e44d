"""A PSF as telescopes and packages deliver it, brought onto the pixels that rays go through.

These are the image's, or finer ones. What is safe is done and said: finer pixels are averaged, a
kernel is normalised, centred by whole pixels, given a central pixel, cropped where next to nothing
is lost. The rest is refused.
"""

import numpy as np

from rim_lensing.forward_model.psf_kernels import NORMALISATION_TOLERANCE, largest_side
from rim_lensing.observation.rebinning import shared_area

SAME_SCALE = 0.01
"""A PSF on pixels that differ from the image's by this fraction is wider or narrower by as much:
less than anybody knows a PSF."""

LARGEST_LOSS = 0.01
"""Of a kernel's flux, outside of what is kept of it."""

_CORE = 0.2
"""Pixels above this fraction of the peak tell where the centre is: wings are lopsided."""

_ON_A_PIXEL = 0.25
"""In pixels: a core no further from a pixel's centre is centred on this pixel."""

_CENTRED = 0.6
"""In pixels: a core no further from the middle of a kernel is left where it is. Not 0.5: rounding
would decide where a core lies between two pixels."""


LARGEST_DEFAULT = 3
"""Rays per pixel along each axis, however fine the PSF: 2 have nearly all of the gain, see
benchmarks/README.md, Rays within a pixel."""


def rays_for(kernel: np.ndarray, oversampling: float | None) -> int:
    """Return how many rays per pixel along each axis a kernel asks for.

    As many as it has pixels per image pixel, or the largest divisor of that up to LARGEST_DEFAULT:
    then whole pixels of the kernel are averaged; of 5 and 7, which have none, LARGEST_DEFAULT. 1,
    so that it is averaged over the image's pixels, where that is no whole number. A kernel whose
    core lies between two pixels asks for half as many: so the ray's pixel has it in its middle.

    Args:
        kernel: As `on_image_pixels` takes it.
        oversampling: Likewise.
    """
    if oversampling is None or kernel.ndim not in (2, 3):
        return 1
    whole = max(round(oversampling), 1)
    if abs(oversampling / whole - 1) > SAME_SCALE:
        return 1
    mean = kernel if kernel.ndim == 2 else kernel.mean(axis=0)
    # What is no PSF is refused where it is brought to form.
    between = np.max(mean, initial=0) > 0 and _between_pixels(mean).any()
    most = whole // 2 if between else whole
    divisors = [rays for rays in range(2, LARGEST_DEFAULT + 1) if most % rays == 0]
    return max(divisors, default=max(1, min(most, LARGEST_DEFAULT)))


def on_image_pixels(
    kernel: np.ndarray, oversampling: float | None, image_side: int, rays: int = 1
) -> tuple[np.ndarray, list[str]]:
    """Return kernels on the image's pixels, of odd side and sum 1, and what was done to them.

    A kernel of finer pixels is averaged over the image's pixels, each fine pixel weighted by the
    area that it shares with them, around its core: what falls into a pixel of the image of the
    light of a point source in the middle of a pixel.

    Args:
        kernel: (k, k) or (batch, k, k), rows and columns may differ.
        oversampling: Image pixels over kernel pixels; None if it is not known: 1.
        image_side: Pixels along a side of the image, which the kernel must not exceed.
        rays: The kernels are brought onto pixels that are so many times as fine as the image's.

    Returns:
        Kernels of the same number of axes, float64; and sentences, none if nothing was done.

    Raises:
        ValueError: No image, not finite, no positive sum, pixels larger than the image's or the
            rays', an even side with the core between two pixels of the image, or too large for the
            image by more than LARGEST_LOSS of its flux.
    """
    kernels = kernel[None] if kernel.ndim == 2 else kernel
    if kernels.ndim != 3 or kernels.size == 0:
        raise ValueError(
            f"`psf` must be a square image (k, k) or (batch, k, k). Received: shape {kernel.shape}"
        )
    if not np.all(np.isfinite(kernels)):
        raise ValueError(
            "`psf` must be finite: set bad pixels to 0 and normalise it again. "
            f"Received: {np.sum(~np.isfinite(kernels))} NaN or infinite pixels"
        )
    sums = kernels.sum(axis=(1, 2))
    if np.any(sums <= 0):
        raise ValueError(
            f"`psf` must have a positive sum: it must sum to 1. Received: sum {sums.min():.6g}"
        )
    done = []
    worst = sums[np.argmax(np.abs(sums - 1))]
    if abs(worst - 1) > NORMALISATION_TOLERANCE:
        done.append(f"divided by its sum, {worst:.6g}")
    kernels = kernels / sums[:, None, None]
    rows, columns = kernels.shape[1:]
    ratio = 1.0 if oversampling is None else float(oversampling)
    if ratio < 1 - SAME_SCALE:
        raise ValueError(
            "`psf` must not have larger pixels than the image: no averaging makes it sharper, give "
            "one on the image's pixels or on finer ones. "
            f"Received: pixels {1 / ratio:.4g} times as large"
        )
    if ratio < rays * (1 - SAME_SCALE):
        raise ValueError(
            "`ray_oversampling` must not exceed the oversampling of the PSF, for no one knows it "
            f"between its pixels: {ratio:.4g}. Received: {rays}"
        )
    side = image_side * rays
    between = rays > 1 and _between_pixels(kernels.mean(axis=0)).any()
    if ratio > rays * (1 + SAME_SCALE) or between:
        kernels = np.stack([_averaged(each, ratio / rays, side) for each in kernels])
        finer = f", {rays} times as fine" if rays > 1 else ""
        done.append(
            f"averaged from {rows} x {columns} pixels, {ratio:.4g} times as fine as the image's, "
            f"to {kernels.shape[1]} x {kernels.shape[2]}{finer}"
        )
    else:
        kernels, moved = _with_a_middle(kernels)
        done += moved
        kernels, cropped = _fitting(kernels, side)
        done += cropped
    kernels = kernels / kernels.sum(axis=(1, 2), keepdims=True)
    return (kernels[0] if kernel.ndim == 2 else kernels), done


def within(kernel: np.ndarray, oversampling: float | None, side: int) -> tuple[np.ndarray, float]:
    """Return the part of a kernel around its core that an image has room for, and what is lost.

    Args:
        kernel: (k, k).
        oversampling: Image pixels over kernel pixels; None if it is not known: 1.
        side: Pixels along a side of the image.

    Returns:
        The part, as large as it may be, and the share of the flux that lies outside of it.
    """
    ratio = oversampling or 1.0
    most = largest_side(side) if abs(ratio - 1) < SAME_SCALE else int(largest_side(side) * ratio)
    if not kernel.sum() > 0:
        return kernel, 0.0
    parts = []
    for centre, length in zip(core_centre(kernel), kernel.shape, strict=True):
        # The middle is a pixel, or lies between two, as near to the core as it may.
        middle = round(2 * float(centre)) / 2 if length % 2 == 0 else round(float(centre))
        reach = min((most - 1) / 2, max(middle, length - 1 - middle))
        first, last = np.ceil(middle - reach), np.floor(middle + reach)
        parts.append(slice(max(int(first), 0), min(int(last), length - 1) + 1))
    if all(part == slice(0, length) for part, length in zip(parts, kernel.shape, strict=True)):
        return kernel, 0.0
    part = kernel[tuple(parts)]
    return part, float(1 - part.sum() / kernel.sum())


def core_centre(kernel: np.ndarray) -> np.ndarray:
    """Return the (row, column) of a kernel's core: the centroid of its bright pixels."""
    core = np.where(kernel > _CORE * kernel.max(), kernel, 0)
    rows, columns = (np.arange(side) for side in kernel.shape)
    return np.array([core.sum(axis=1) @ rows, core.sum(axis=0) @ columns]) / core.sum()


def _between_pixels(kernel: np.ndarray) -> np.ndarray:
    """Return whether the core of a kernel of an even side lies between pixels, along both axes."""
    centre = core_centre(kernel)
    return (np.array(kernel.shape) % 2 == 0) & (np.abs(centre - np.round(centre)) > _ON_A_PIXEL)


def _averaged(kernel: np.ndarray, ratio: float, image_side: int) -> np.ndarray:
    """Return a fine kernel averaged over the image's pixels around its core."""
    centre = core_centre(kernel)
    middle = (np.array(kernel.shape) - 1) / 2
    # On the lattice of pixel centres and borders, of which the middle is one.
    snapped = middle + np.round(2 * (centre - middle)) / 2
    reach = max(np.max(snapped + 0.5), np.max(np.array(kernel.shape) - 0.5 - snapped))
    side = min(2 * int(np.ceil(reach / ratio - 0.5)) + 1, largest_side(image_side))
    by_row, by_column = (
        shared_area(length, place, side, ratio)
        for length, place in zip(kernel.shape, snapped, strict=True)
    )
    averaged = by_row @ kernel @ by_column.T
    if averaged.sum() < 1 - LARGEST_LOSS:
        raise _too_large(kernel.shape, image_side, 1 - averaged.sum())
    return averaged


def _with_a_middle(kernels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return kernels of odd, equal sides with the core of their mean in the middle.

    Only whole pixels are moved: nothing is interpolated, and nothing is lost.
    """
    shape = np.array(kernels.shape[1:])
    centre = core_centre(kernels.mean(axis=0))
    nearest = np.round(centre).astype(int)
    is_even, off = shape % 2 == 0, np.abs(centre - (shape - 1) / 2)
    between = _between_pixels(kernels.mean(axis=0))
    if between.any():
        raise ValueError(
            "`psf` must have an odd number of pixels a side, so that it has a centre: this one is "
            "centred between two pixels; resample it onto an odd grid centred on its peak. "
            f"Received: side={shape[between][0]}"
        )
    middle = np.where(is_even | (off > _CENTRED), nearest, (shape - 1) // 2)
    # The same number of pixels on both sides of the middle, along both axes.
    reach = int(np.max(np.maximum(middle, shape - 1 - middle)))
    if np.all(shape == 2 * reach + 1):
        return kernels, []
    before, after = reach - middle, reach - (shape - 1 - middle)
    padded = np.pad(kernels, ((0, 0), *zip(before, after, strict=True)))
    moved = middle - (shape - 1) / 2
    why = "so that it is square"
    if moved.any():
        why = (
            f"so that its core, ({moved[1]:+.1f}, {moved[0]:+.1f}) pixels (x, y) off the middle, "
            "lies in the middle"
        )
    return padded, [
        f"padded with zeros from {shape[0]} x {shape[1]} to {2 * reach + 1} x {2 * reach + 1} "
        f"pixels, {why}"
    ]


def _fitting(kernels: np.ndarray, image_side: int) -> tuple[np.ndarray, list[str]]:
    """Return kernels that are cropped to the image's size, where next to nothing is lost."""
    side, largest = kernels.shape[1], largest_side(image_side)
    if side <= largest:
        return kernels, []
    edge = (side - largest) // 2
    inner = kernels[:, edge:-edge, edge:-edge]
    lost = 1 - inner.sum(axis=(1, 2)).min()
    if lost > LARGEST_LOSS:
        raise _too_large(kernels.shape[1:], image_side, lost)
    return inner, [f"cropped from {side} x {side} to {largest} x {largest} pixels, the image's"]


def _too_large(shape: tuple, image_side: int, lost: float) -> ValueError:
    return ValueError(
        f"`psf` must not be larger than the image ({image_side} pixels): crop it and normalise it "
        f"again. Received: {shape[0]} x {shape[1]} pixels, with {lost:.1%} of the flux outside"
    )

"""Pixels on which light profiles are compared with the data, behind the PSF."""

import functools
from dataclasses import dataclass, replace

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2


@dataclass(frozen=True, eq=False)
class Patch:
    """A rectangle of pixels, what was seen on it, and the PSF on its pixels.

    Args:
        x: Of the pixels' centres along a row, arcsec from the middle of the image, (columns,).
        y: Likewise along a column, (rows,).
        data: (rows, columns); 0 where nothing is used.
        weight: 1 / sigma^2, 0 where nothing is used, (rows, columns).
        kernel: The PSF, of sum 1, (k, k), k odd.
        pixel_scale: arcsec.
        unit: Pixels of the image in one of these, along a side: fluxes are per pixel of the image.
    """

    x: np.ndarray
    y: np.ndarray
    data: np.ndarray
    weight: np.ndarray
    kernel: np.ndarray
    pixel_scale: float
    unit: int = 1

    @functools.cached_property
    def padded(self) -> tuple[np.ndarray, np.ndarray]:
        """Axes x and y with half a kernel more on each side, from where light is scattered in."""
        half = len(self.kernel) // 2
        margin = np.arange(1, half + 1) * self.pixel_scale
        return tuple(
            np.concatenate([axis[0] - margin[::-1], axis, axis[-1] + margin])
            for axis in (self.x, self.y)
        )

    @functools.cached_property
    def _spectrum(self) -> tuple[np.ndarray, tuple[int, int]]:
        x, y = self.padded
        shape = tuple(next_fast_len(len(axis), real=True) for axis in (y, x))
        return rfft2(self.kernel, shape), shape

    def blurred(self, images: np.ndarray) -> np.ndarray:
        """Return what the PSF makes of images on the padded pixels, (n, rows, columns)."""
        side = len(self.kernel)
        if side == 1:
            return images
        spectrum, shape = self._spectrum
        # What wraps around falls on the padding, which is left out.
        smeared = irfft2(rfft2(images, shape) * spectrum, shape)
        return smeared[:, side - 1 : side - 1 + len(self.y), side - 1 : side - 1 + len(self.x)]


def whole_image(image, noise, used, kernel, pixel_scale: float) -> Patch:
    """Return all pixels of an image as they are.

    Args:
        image: (rows, columns).
        noise: rms.
        used: True where a pixel is.
        kernel: The PSF on the image's pixels.
        pixel_scale: arcsec.
    """
    rows, columns = image.shape
    weight = np.zeros(image.shape)
    weight[used] = noise[used] ** -2.0
    return Patch(
        x=(np.arange(columns) - (columns - 1) / 2) * pixel_scale,
        y=(np.arange(rows) - (rows - 1) / 2) * pixel_scale,
        data=np.where(used, image, 0.0),
        weight=weight,
        kernel=kernel,
        pixel_scale=pixel_scale,
    )


def core_and_surroundings(whole: Patch, centre: tuple[float, float], radius: float, factor: int):
    """Return two patches that together say what a whole image says, with far fewer pixels.

    The pixels of the core, and those around it in bins of factor x factor: there light is smooth.

    Args:
        whole: The image.
        centre: (x, y) of the core, arcsec.
        radius: Half the side of the core, arcsec.
        factor: Pixels along a side of a bin; 1 returns the whole image.

    Returns:
        A list of one or two patches.
    """
    if factor == 1 or 2 * radius >= min(np.ptp(whole.x), np.ptp(whole.y)):
        return [whole]
    core = square_around(whole, centre, radius)
    outside = whole.weight.copy()
    outside[np.ix_(np.isin(whole.y, core.y), np.isin(whole.x, core.x))] = 0
    return [core, binned(replace(whole, weight=outside), factor)]


def square_around(whole: Patch, centre: tuple[float, float], radius: float) -> Patch:
    """Return the pixels no further from a centre, (x, y) in arcsec, than a radius along an axis."""
    rows = np.flatnonzero(np.abs(whole.y - centre[1]) <= radius)
    columns = np.flatnonzero(np.abs(whole.x - centre[0]) <= radius)
    square = np.ix_(rows, columns)
    return replace(
        whole,
        x=whole.x[columns],
        y=whole.y[rows],
        data=whole.data[square],
        weight=whole.weight[square],
    )


def binned(whole: Patch, factor: int) -> Patch:
    """Return bins of factor x factor pixels: the weighted mean of what is used of them."""
    weight = whole.weight
    short = [-length % factor for length in weight.shape]

    def sums(array):
        padded = np.pad(array, [(0, extra) for extra in short])
        rows, columns = (length // factor for length in padded.shape)
        return padded.reshape(rows, factor, columns, factor).sum(axis=(1, 3))

    total = sums(weight)
    seen = total > 0
    data = np.where(seen, sums(weight * whole.data) / np.where(seen, total, 1), 0)
    y, x = (
        axis[0] + whole.pixel_scale * ((factor - 1) / 2 + factor * np.arange(length))
        for axis, length in zip((whole.y, whole.x), total.shape, strict=True)
    )
    scale = whole.pixel_scale * factor
    return Patch(x, y, data, total, _coarse(whole.kernel, factor), scale, whole.unit * factor)


def _coarse(kernel: np.ndarray, factor: int) -> np.ndarray:
    """Return a kernel on pixels of factor x factor, centred on one of them."""
    half = len(kernel) // 2
    reach = int(np.ceil((half + 0.5 - factor / 2) / factor)) if half else 0
    # Every pixel is shared by the coarse ones it falls into: of even factors, two.
    fine = np.arange(-half, half + 1)
    edges = (np.arange(-reach, reach + 2) - 0.5) * factor
    share = np.clip(
        np.minimum(fine[None] + 0.5, edges[1:, None])
        - np.maximum(fine[None] - 0.5, edges[:-1, None]),
        0,
        1,
    )
    coarse = share @ kernel @ share.T
    return coarse / coarse.sum()

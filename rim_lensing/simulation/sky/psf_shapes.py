"""PSFs as telescopes have them: elliptical, with wings, or measured ones from files."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from rim_lensing.simulation.sky.ranges import SkyRanges

_MOFFAT_INDEX = (1.8, 4.0)
_STRETCH = (0.8, 1.25)  # of a kernel from a file: one file serves for telescopes like its own


def draw_psf(
    generator: np.random.Generator, ranges: SkyRanges, side: int
) -> tuple[np.ndarray, bool]:
    """Return a kernel, (side, side), with sum 1, and whether its Gaussian core has Moffat wings.

    Args:
        generator: Of all that is drawn.
        ranges: Of widths, shapes and wings.
        side: Odd number of pixels.
    """
    root = generator.uniform(*np.sqrt(ranges.psf_width))
    axis_ratio = generator.uniform(*ranges.psf_axis_ratio)
    angle = generator.uniform(0, np.pi)
    index = generator.uniform(*_MOFFAT_INDEX)
    has_wings = generator.uniform() < ranges.wings_share
    wings = has_wings * generator.uniform(0, ranges.largest_wings)
    return psf_kernel(root**2, axis_ratio, angle, wings, index, side), has_wings


def psf_kernel(
    width: float, axis_ratio: float, angle: float, wings: float, index: float, side: int
) -> np.ndarray:
    """Return (1 - wings) times a Gaussian and `wings` times a Moffat profile of the same FWHM.

    Sampled at the pixels' centres, as `psf.gaussian_kernel`; each part has the sum 1.

    Args:
        width: Standard deviation of the Gaussian, geometric mean of both axes, pixels; 0: a point.
        axis_ratio: Of both parts.
        angle: Of the major axis, radians, counter-clockwise from +x.
        wings: Share of the light.
        index: beta of the Moffat profile (1 + (r / a)^2)^-beta (Moffat 1969).
        side: Odd number of pixels.
    """
    offset = np.arange(side) - side // 2
    x, y = np.meshgrid(offset, offset)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    # Narrower than that the neighbours' weight is nothing.
    squared = (axis_ratio * along**2 + across**2 / axis_ratio) / max(width, 0.05) ** 2
    core = np.exp(-0.5 * squared)
    # FWHM: 2 sqrt(2 ln 2) sigma = 2 a sqrt(2^(1 / beta) - 1).
    moffat = (1 + squared * (2 ** (1 / index) - 1) / (2 * np.log(2))) ** -index
    return (1 - wings) * core / core.sum() + wings * moffat / moffat.sum()


def read_kernels(paths: Sequence[str | Path]) -> list[np.ndarray]:
    """Return the PSF images of FITS files, each (k, k), k odd, with sum 1, centred on its peak.

    Args:
        paths: Of files whose first image is a PSF (k, k), or several, (number, k, k).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file without an image, or with one that is no PSF.

    Warns:
        UserWarning: Some of a file's PSFs have no positive sum, and are left out.
    """
    from astropy.io import fits

    kernels, left_out = [], []
    for path in map(Path, paths):
        if not path.is_file():
            raise FileNotFoundError(f"There is no PSF file {path}")
        with fits.open(path, memmap=False) as units:
            images = [unit.data for unit in units if unit.is_image and unit.data is not None]
        stack = np.asarray(images[0], "float64") if images else np.zeros(0)
        stack = stack[None] if stack.ndim == 2 else stack
        if stack.ndim != 3 or not np.all(np.isfinite(stack)) or stack.max(initial=0) <= 0:
            raise ValueError(
                f"{path} must hold PSF images (k, k) or (number, k, k), finite and positive. "
                f"Received: shape {stack.shape}"
            )
        for image in stack:
            if image.sum() <= 0:
                left_out.append(path.name)
                continue
            row, column = np.unravel_index(np.argmax(image), image.shape)
            half = min(row, column, image.shape[0] - 1 - row, image.shape[1] - 1 - column)
            cut = image[row - half : row + half + 1, column - half : column + half + 1]
            kernels.append(cut / cut.sum())
    if left_out:
        warnings.warn(
            f"{len(left_out)} PSFs have no positive sum, so they make no kernel and are "
            f"left out. Received: in {', '.join(sorted(set(left_out)))}",
            UserWarning,
            stacklevel=2,
        )
    return kernels


def draw_kernel(
    generator: np.random.Generator, kernels: Sequence[np.ndarray], side: int
) -> np.ndarray:
    """Return one of the kernels, turned and stretched at random, (side, side), with sum 1."""
    kernel = kernels[generator.integers(len(kernels))]
    angle, stretch = generator.uniform(0, 2 * np.pi), generator.uniform(*_STRETCH)
    cosine, sine = np.cos(angle) / stretch, np.sin(angle) / stretch
    matrix = np.array([[cosine, -sine], [sine, cosine]])
    middle = np.full(2, len(kernel) // 2) - matrix @ np.full(2, side // 2)
    turned = ndimage.affine_transform(kernel, matrix, middle, (side, side), order=1)
    turned = np.clip(turned, 0, None)
    return turned / turned.sum()

"""What is wrong with real cutouts: correlated noise, wrong sky, lens light's residual, masks."""

import numpy as np
from scipy import ndimage

from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.simulation.masks import draw_masks
from rim_lensing.simulation.sky.ranges import SkyRanges

_CORE = (0.05, 0.35)  # of theta_E
_CORE_MASK = (0.15, 0.5)  # of theta_E


def noise_map(
    generator: np.random.Generator, ranges: SkyRanges, image: np.ndarray, rms: float
) -> tuple[np.ndarray, bool]:
    """Return the rms of every pixel, (m, m), and whether the image's photons are in it.

    Args:
        generator: Of all that is drawn.
        ranges: Which blemishes, and how strong.
        image: Without noise, (m, m).
        rms: Of the sky.
    """
    is_poisson = generator.uniform() < ranges.poisson_share
    excess = generator.uniform(0, ranges.largest_poisson) * is_poisson
    return rms * np.sqrt(1 + excess * np.maximum(image, 0) / image.max()), is_poisson


def noise_deviates(
    generator: np.random.Generator, ranges: SkyRanges, side: int
) -> tuple[np.ndarray, bool]:
    """Return normal deviates of unit variance, (side, side), and whether they are correlated."""
    deviates = generator.standard_normal((side, side))
    is_drizzled = generator.uniform() < ranges.drizzled_share
    width = generator.uniform(*ranges.correlation)
    if is_drizzled:
        deviates = correlated(deviates, width)
    return deviates, is_drizzled


def correlated(deviates: np.ndarray, width: float) -> np.ndarray:
    """Return white deviates convolved with a Gaussian of `width` pixels, of unit variance again."""
    impulse = np.zeros(2 * round(4 * width) + 5)
    impulse[len(impulse) // 2] = 1
    loss = np.sum(ndimage.gaussian_filter1d(impulse, width) ** 2)
    return ndimage.gaussian_filter(deviates, width, mode="wrap") / loss


def contamination(
    generator: np.random.Generator, ranges: SkyRanges, lens: np.ndarray, grid: PixelGrid
) -> tuple[np.ndarray, np.ndarray]:
    """Return what is added to an image, (m, m) in units of its noise, and the mask, True: used.

    Args:
        generator: Of all that is drawn.
        ranges: Which blemishes, and how strong.
        lens: Its theta_E and centre count.
        grid: The image's.
    """
    theta_E, x0, y0 = float(lens[0]), float(lens[3]), float(lens[4])
    has_sky = generator.uniform() < ranges.sky_share
    added = np.full((grid.side, grid.side), has_sky * ranges.wrong_sky * generator.normal())
    x, y = grid.coordinates()
    radius = np.hypot(x - x0, y - y0)
    if generator.uniform() < ranges.residual_share:
        strength = np.exp(generator.uniform(np.log(2), np.log(ranges.largest_residual)))
        width = theta_E * generator.uniform(*_CORE)
        added = added + strength * _residual_core(generator, x - x0, y - y0, width)
    mask = draw_masks(generator, 1, grid)[0]
    core = theta_E * generator.uniform(*_CORE_MASK)
    if generator.uniform() < ranges.core_mask_share:
        mask &= radius > core
    return added, mask


def _residual_core(generator: np.random.Generator, x, y, width: float) -> np.ndarray:
    """Return a wrong model's rings: Gaussians of both signs, a little apart, the largest value 1.

    It falls to nothing within some widths.
    """
    total = np.zeros_like(x)
    for _ in range(3):
        size = width * generator.uniform(0.4, 1.2)
        dx, dy = generator.normal(0, 0.3 * width, 2)
        q = generator.uniform(0.6, 1.0)
        total += generator.normal() * np.exp(
            -0.5 * (q * (x - dx) ** 2 + (y - dy) ** 2 / q) / size**2
        )
    return total / max(np.abs(total).max(), 1e-6)

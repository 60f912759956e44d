"""Masks as real observations have them: neighbours, bad pixels, a circle around the lens."""

import numpy as np

from rim_lensing.lensing.grids import PixelGrid

_MASKED_FRACTION = 0.3
_MAX_DISKS = 4
_DISK_RADIUS = (0.02, 0.08)  # of the field's side
_CIRCLE_RADIUS = (0.38, 0.5)


def draw_masks(generator: np.random.Generator, count: int, grid: PixelGrid) -> np.ndarray:
    """Return random masks (count, m, m), True where a pixel is used.

    Seven of ten have no masked pixel. The others lack up to four disks anywhere, and half of these
    also what lies outside a circle around the centre.
    """
    masks = np.ones((count, grid.side, grid.side), bool)
    x, y = grid.coordinates()
    for i in np.flatnonzero(generator.uniform(size=count) < _MASKED_FRACTION):
        for _ in range(generator.integers(_MAX_DISKS + 1)):
            x0, y0 = generator.uniform(-0.5, 0.5, size=2) * grid.width
            masks[i] &= np.hypot(x - x0, y - y0) > generator.uniform(*_DISK_RADIUS) * grid.width
        if generator.uniform() < 0.5:
            masks[i] &= np.hypot(x, y) <= generator.uniform(*_CIRCLE_RADIUS) * grid.width
    return masks

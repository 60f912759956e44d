"""Is a source multiply imaged, or is it the arcs themselves, shrunk?

A lens that is switched off, or nearly, leads each arc to a place of its own: the source is a small
copy of the image, explains it well, and each part of it has one image. A small total magnification
does not tell it from a real lens, for a double has 1.5 to 3. The number of images does.
"""

import numpy as np
from keras import ops
from scipy.ndimage import map_coordinates

from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.results.result import Reconstruction

MIN_BRIGHTNESS = 0.25
"""Of the source's peak: what is fainter may be noise, and does not count."""

MULTIPLY_IMAGED = 1.1
"""Images of a source: with fewer it has none but its own. A double whose source lies across the
edge of the region that has two, and is magnified 1.5 to 1.7 times, has 1.1 to 1.5."""

RAYS = 4
"""Per image pixel and axis."""


def images_of_source(result: Reconstruction) -> float:
    """Return how many images the source has in used pixels, averaged over its bright light.

    Image pixels beta(theta) tile the source plane once for every image, so that the mean of the
    number of images, weighted with the source S, is the sum of S(beta) times the area that is
    tiled, over the sum of S times the area of its pixels. 1: a source that is not lensed, or a lens
    whose other images are masked or outside of the frame. 2: a double.

    Args:
        result: Of one system, whose lens is a mass model with parameters.
    """
    image_grid = PixelGrid(result.image.shape[-1], result.image_pixel_scale)
    source_grid = result.source_grid
    source = np.where(result.constrained, result.source, 0.0)
    source = np.where(source > MIN_BRIGHTNESS * source.max(), source, 0.0)
    light = source.sum() * source_grid.pixel_scale**2
    if light <= 0:
        return 0.0
    side = image_grid.side * RAYS
    corners = (np.arange(side + 1) / side - 0.5) * image_grid.width
    x, y = _source_positions(result, *np.meshgrid(corners, corners))
    # Twice the area of a quadrangle is the cross product of its diagonals.
    (first_x, second_x), (first_y, second_y) = (
        (z[1:, 1:] - z[:-1, :-1], z[1:, :-1] - z[:-1, 1:]) for z in (x, y)
    )
    tiles = 0.5 * np.abs(first_x * second_y - second_x * first_y)
    x, y = _source_positions(result, *image_grid.coordinates(RAYS))
    middle = (source_grid.side - 1) / 2
    centre_x, centre_y = source_grid.centre
    positions = [z / source_grid.pixel_scale + middle for z in (y - centre_y, x - centre_x)]
    seen = map_coordinates(source, positions, order=1)
    used = np.kron(result.mask, np.ones((RAYS, RAYS), bool))
    return float(np.sum(seen * tiles * used) / light)


def _source_positions(result: Reconstruction, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Return beta of rays (k, k) in arcsec."""
    x, y = (np.asarray(z, "float32") for z in (x, y))
    lens = ops.convert_to_tensor(np.asarray(result.lens, "float32")[None])
    alpha = result.form.deflection(lens, x[None], y[None])
    return [z - ops.convert_to_numpy(a)[0] for z, a in zip((x, y), alpha, strict=True)]

"""Where the source is, and how finely the data resolve it: its grid, lens by lens."""

import numpy as np
from keras import ops

from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.observation.normalised import NormalisedObservation

SIGNIFICANCES = 5.0, 3.0, 2.0
"""In sigma: pixels above the first of these that ENOUGH are above count as arcs."""

ENOUGH = 12
"""Pixels: a point-like image behind a narrow PSF has about as many."""

HELD = 0.97
"""Of the arcs' flux that the grid is to hold."""

MARGIN = 1.5
"""The grid is wider than what it is to hold, by this factor: a source has wings, and the lens that
it is framed with is not the best one."""


def frame_source(
    observation: NormalisedObservation, image_grid: PixelGrid, source_side: int, finest: float
) -> PixelGrid:
    """Return the grid that holds what the arcs are images of, as fine as is allowed.

    Pixels of arcs (see SIGNIFICANCES) are led back to the source plane. The grid lies around the
    medians of their x and y, weighted with flux, and reaches MARGIN times as far as HELD of the
    flux does.

    Args:
        observation: One system, the lens included.
        image_grid: Its pixels.
        source_side: Pixels of the source along a side.
        finest: Smallest source pixel, of an image pixel.

    Raises:
        ValueError: There are no arcs.
    """
    signal = (observation.image / observation.noise)[0]
    above = [signal > significance for significance in SIGNIFICANCES]
    bright = next((each for each in above if each.sum() >= ENOUGH), None)
    if bright is None:
        raise ValueError(
            f"`observation` must have arcs: {ENOUGH} pixels above {SIGNIFICANCES[-1]:g} times the "
            f"noise. Received: {above[-1].sum()}"
        )
    flux = observation.image[0][bright].astype("float64")
    theta = np.stack(image_grid.coordinates())
    alpha = ops.convert_to_numpy(observation.deflections(image_grid))[0]
    beta = (theta - alpha)[:, bright]
    centre = [_quantile(each, flux, 0.5) for each in beta]
    reach = np.abs(beta - np.reshape(centre, (2, 1))).max(axis=0)
    half = MARGIN * _quantile(reach, flux, HELD)
    scale = max(finest * image_grid.pixel_scale, 2 * half / source_side)
    return PixelGrid(source_side, scale, tuple(centre))


def _quantile(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    """Return below which value the share of the weight lies."""
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, share * below[-1])])

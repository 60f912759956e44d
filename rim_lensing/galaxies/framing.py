"""How a galaxy sits in its stamp: the same for cleaned and for drawn ones."""

import numpy as np

FRAME_MARGIN = 1.1  # the bounding square of the segment, times this, becomes the stamp


def framed(
    tapered: np.ndarray, segment: np.ndarray, side: int, margin: float = FRAME_MARGIN
) -> tuple[np.ndarray, float]:
    """The square around the flux centroid that the segment fills, resampled to a stamp.

    Args:
        tapered: (y, x) light of the galaxy alone, fading to 0.
        segment: (y, x) bool, the galaxy's pixels; their bounding square, times `margin`, is what
            becomes the stamp.
        side: pixels on a side of the stamp.
        margin: see `segment`.

    Returns:
        The stamp (side, side), in the unit of `tapered`, and the stamp's pixels per image pixel.
    """
    total = tapered.sum()
    rows, columns = np.arange(tapered.shape[0]), np.arange(tapered.shape[1])
    row = float(tapered.sum(axis=1) @ rows / total)
    column = float(tapered.sum(axis=0) @ columns / total)
    found_rows, found_columns = np.nonzero(segment)
    reach = max(np.abs(found_rows - row).max(), np.abs(found_columns - column).max()) + 0.5
    half = margin * reach
    scale = side / (2.0 * half)
    by_row = resampling_matrix(tapered.shape[0], row, half, side)
    by_column = resampling_matrix(tapered.shape[1], column, half, side)
    return by_row @ tapered @ by_column.T, scale


def resampling_matrix(size: int, centre: float, half: float, side: int) -> np.ndarray:
    """Matrix (side, size) that resamples `size` pixels to `side` over centre +- half.

    Shrinking averages over the area of each new pixel, which aliases nothing; enlarging is Keys'
    cubic convolution, which is sharper than linear interpolation. Outside the input lies 0.

    Args:
        size: pixels of the input along this axis.
        centre: where the middle of the output falls, in input pixels.
        half: half the width of the output, in input pixels.
        side: pixels of the output along this axis.
    """
    step = 2.0 * half / side
    position = centre - half + (np.arange(side)[:, None] + 0.5) * step
    distance = np.abs(position - np.arange(size)[None, :])
    if step >= 1.0:
        weight = np.clip(np.minimum(0.5 * (step + 1.0) - distance, 1.0), 0.0, None)
        return weight / step
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1.0
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4.0 * distance + 2.0
    return np.where(distance < 1.0, near, np.where(distance < 2.0, far, 0.0))


def border_window(side: int) -> np.ndarray:
    """Weights that fall to 0 at the outermost pixels of a stamp, 1 elsewhere."""
    edge = np.minimum(np.arange(side), np.arange(side)[::-1]) / (0.06 * side)
    ramp = np.clip(edge, 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return ramp[:, None] * ramp[None, :]

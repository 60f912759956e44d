"""Squares cut out of an image around a point."""

import numpy as np


def cutout(
    array: np.ndarray,
    side: int,
    centre: tuple[float, float] | None = None,
    fill: float | None = None,
) -> np.ndarray:
    """Return a square of side x side pixels, a copy.

    Args:
        array: (rows, columns).
        side: Pixels along a side of the square.
        centre: (row, column), counted from 0 at the centre of the first pixel, that comes to lie
            at the centre of the square, or half a pixel above and right of it where rows and side
            do not match; by default that of the array.
        fill: What the square holds beyond the array; by default it must not reach there.

    Raises:
        ValueError: The square reaches beyond the array, and `fill` is not given.
    """
    array = np.asarray(array)
    here, there = [], []
    for first, length in zip(corner(array.shape, side, centre), array.shape, strict=True):
        start = max(first, 0)
        stop = max(start, min(first + side, length))
        here.append(slice(start, stop))
        there.append(slice(start - first, stop - first))
    part = array[tuple(here)]
    if part.shape == (side, side):
        return part.copy()
    if fill is None:
        around = _middle(array.shape, centre)
        raise ValueError(
            f"A square of {side} pixels around (row, column) = {around} must lie within the array: "
            "choose another centre, or `fill` what lies beyond and mask it, on the command line "
            f"--mask-missing. Received: shape {array.shape}"
        )
    square = np.full((side, side), fill, np.result_type(array, fill))
    square[tuple(there)] = part
    return square


def offset_in_cutout(shape: tuple, side: int, centre: tuple[float, float]) -> tuple[float, float]:
    """Return by how many (rows, columns) `centre` lies off the middle of its cutout.

    A cutout has whole pixels: the point that it was asked for is up to half a pixel off its middle,
    the origin of the model's coordinates. Arguments are those of `cutout`.
    """
    first_pixels = corner(shape, side, centre)
    row, column = (
        middle - (first + (side - 1) / 2)
        for middle, first in zip(centre, first_pixels, strict=True)
    )
    return row, column


def corner(shape: tuple, side: int, centre: tuple[float, float] | None) -> tuple[int, int]:
    """Return the first row and column of a cutout."""
    if len(shape) != 2:
        raise ValueError(f"`array` must be (rows, columns). Received: shape {shape}")
    if side < 1:
        raise ValueError(f"`side` must be positive. Received: {side}")
    row, column = (int(np.ceil(middle - (side - 1) / 2 - 0.5)) for middle in _middle(shape, centre))
    return row, column


def _middle(shape: tuple, centre: tuple[float, float] | None) -> tuple[float, float]:
    """Return a centre (row, column), that of the array if none is given."""
    row, column = ((shape[0] - 1) / 2, (shape[1] - 1) / 2) if centre is None else centre
    return float(row), float(column)

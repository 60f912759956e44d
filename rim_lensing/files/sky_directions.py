"""Which way north is on an image, by its WCS; and its unit. astropy is imported when used."""

import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from astropy.io.fits import Header

_STEP = 1 / 3600
"""Degrees that are gone towards north and east."""


def north_and_east(header: "Header | None", shape: tuple[int, int]) -> tuple[float, float] | None:
    """Return the directions of north and east in the middle of an image.

    Args:
        header: The image's cards; None, nothing is known.
        shape: Of the image, (rows, columns).

    Returns:
        Position angles in radians, counter-clockwise from +x (the columns); None if no header
        tells.
    """
    if header is None:
        return None
    from astropy.wcs import WCS

    with warnings.catch_warnings():
        # What is odd about the cards was told when the image was read.
        warnings.simplefilter("ignore")
        try:
            wcs = WCS(header, naxis=2)
            if not wcs.has_celestial:
                return None
            row, column = ((length - 1) / 2 for length in shape)
            world = wcs.all_pix2world([[column, row]], 0)[0]
            longitude, latitude = wcs.wcs.lng, wcs.wcs.lat
            steps = np.repeat(world[None], 3, axis=0)
            steps[1, latitude] += _STEP
            steps[2, longitude] += _STEP / np.cos(np.radians(world[latitude]))
            middle, north, east = wcs.wcs_world2pix(steps, 0)
        except (ValueError, ArithmeticError):  # Of astropy's, for a WCS that has no inverse.
            return None
    angles = [float(np.arctan2(*(end - middle)[::-1])) for end in (north, east)]
    return (angles[0], angles[1]) if np.all(np.isfinite(angles)) else None


def unit_of(header: "Header | None") -> str | None:
    """Return an image's BUNIT, None if there is none."""
    unit = "" if header is None else str(header.get("BUNIT", "")).strip()
    return unit or None


def described(header: "Header | None", shape: tuple[int, int]) -> dict:
    """Return what `figures.panels.draw_system` takes of a header: `unit` and `north`."""
    return {"unit": unit_of(header), "north": north_and_east(header, shape)}

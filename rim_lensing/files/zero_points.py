"""Magnitudes: what a header says of the flux that an image's unit is."""

import math

from rim_lensing.files.tolerant_fits import number

CARDS = ("MAGZERO", "MAGZPT", "MAGZEROP", "ZEROPT", "ZP")
"""Names that surveys give to the magnitude of a flux of 1."""

PHOTOMETRY = (*CARDS, "PHOTFLAM", "PHOTPLAM")
"""All cards that `zero_point_of` looks at."""


def zero_point_of(header) -> float | None:
    """Return the magnitude of a flux of 1 in the image's unit, None if the header does not tell.

    One of CARDS, or in the AB system of HST's PHOTFLAM and PHOTPLAM:
    -2.5 log10 PHOTFLAM - 5 log10 PHOTPLAM - 2.408 (WFC3 Data Handbook, 9.1.3).

    Args:
        header: Cards of the image, or None.
    """
    if header is None:
        return None
    told = [number(header, card) for card in CARDS]
    known = [value for value in told if value is not None]
    if known:
        return known[0]
    flux, pivot = (number(header, card) for card in ("PHOTFLAM", "PHOTPLAM"))
    if flux is None or pivot is None or flux <= 0 or pivot <= 0:
        return None
    return -2.5 * math.log10(flux) - 5 * math.log10(pivot) - 2.408

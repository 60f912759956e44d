"""How large a pixel is on the sky, and whether it is square: by the WCS there, or by keywords.

No Keras; astropy is imported by the functions that need it.
"""

import re
import warnings
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rim_lensing.files.tolerant_fits import UnreadableCards, number

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header
    from astropy.wcs import WCS

KEYWORDS = (
    *("PIXSCALE", "PIXSCAL1", "PIXSCAL2", "PIXSCAX", "PIXSCAY", "SECPIX", "D001SCAL"),
    # Of STPSF's (WebbPSF's) kernels.
    "PIXELSCL",
)
AXES = (("PIXSCAL1", "PIXSCAL2"), ("PIXSCAX", "PIXSCAY"))
"""Of these keywords: those of one pixel's two sides."""

SQUARE_TOLERANCE = 0.01
"""A pixel is square if a circle on it is, on the sky, no ellipse longer than wide by more: sides
that differ by 1%, or that stand 0.6 degrees off the right angle."""

UNITS = {
    "deg": 3600.0,
    "arcmin": 60.0,
    "arcsec": 1.0,
    "mas": 1e-3,
    "uas": 1e-6,
    "rad": 206264.80625,
}
"""arcsec."""

UNIT_NAMES = {
    "deg": r"deg(ree)?s?|°",
    "arcmin": r"arc[ -]?min(ute)?s?|amin|minutes? of arc|'",
    "arcsec": r"arc[ -]?sec(ond)?s?|asec|as|seconds? of arc|\"|''",
    "mas": r"mas|milli[ -]?arc[ -]?sec(ond)?s?",
    "uas": r"uas|micro[ -]?arc[ -]?sec(ond)?s?",
    "rad": r"rad(ian)?s?",
}
"""How headers write them, in any case; the standard's names are the keys."""

SHAPE_CARDS = (
    r"(CD|PC)\d_\d|CDELT\d|CRPIX\d|CTYPE\d|CUNIT\d|CROTA\d|PV\d_\d+|"
    r"(A|B|AP|BP)_(ORDER|\d+_\d+)|(CPDIS|CPERR|DP|CQDIS|DQ|D2IM(DIS|ARR|EXT|ERR)?)\d?.*"
)
"""Cards of the WCS by which pixels are smaller or larger. The sky's rotation (CRVAL, LONPOLE ...)
changes no distance."""

PLACE_CARDS = r"CRVAL\d|LONPOLE|LATPOLE"
_WCS_CARDS = f"{SHAPE_CARDS}|{PLACE_CARDS}|RADE(SYS|CSYS)|EQUINOX|EPOCH|WCSNAME"
_NUMBERS = r"(CD|PC)\d_\d|(CDELT|CRPIX|CRVAL|CROTA)\d|(LON|LAT)POLE"
_CELESTIAL = r"(RA--|DEC-|.LON|.LAT|..LN|..LT)-.*"
_SCALES = r"(CD|PC)\d_\d$|CDELT\d$"


@dataclass(frozen=True)
class SkyPixels:
    """Where the pixels of an image, or of a cutout of it, lie on the sky.

    Args:
        wcs: Celestial, of the whole image, with its distortion.
        label: What to call the image in messages.
        row: That row of the image which is the cutout's first.
        column: Likewise.
    """

    wcs: "WCS"
    label: str
    row: int = 0
    column: int = 0

    def shifted(self, row: int, column: int) -> "SkyPixels":
        """Return those of a cutout whose first pixel is that one, counted from 0."""
        return replace(self, row=self.row + row, column=self.column + column)

    def scale_at(self, row: float, column: float) -> float:
        """Return arcsec per pixel around a pixel, counted from 0: from half a pixel on either side.

        Raises:
            ValueError: Pixels there are not square, or lie nowhere on the sky.
        """
        row, column = self.row + row, self.column + column
        columns = column + np.array([-0.5, 0.5, 0, 0])
        rows = row + np.array([0, 0, -0.5, 0.5])
        world = np.radians(self.wcs.all_pix2world(columns, rows, 0))
        longitude, latitude = world[self.wcs.wcs.lng], world[self.wcs.wcs.lat]
        # Vectors, because differences of right ascension mean little near a pole and across 0 h.
        there = np.array(
            [
                np.cos(latitude) * np.cos(longitude),
                np.cos(latitude) * np.sin(longitude),
                np.sin(latitude),
            ]
        )
        sides = np.stack([there[:, 1] - there[:, 0], there[:, 3] - there[:, 2]])
        chords = np.linalg.norm(sides, axis=1, keepdims=True)
        sides = sides * np.divide(2 * np.arcsin(chords / 2), chords, where=chords > 0, out=chords)
        where = f"{self.label} at column {column + 1:.6g}, row {row + 1:.6g} (counted from 1)"
        # To what is left of degrees in double precision: alike pixels have one scale.
        return float(f"{_square_side(sides * UNITS['rad'], where):.8g}")


def read_sky(
    header: "Header", file: "HDUList", unreadable: UnreadableCards, label: str
) -> tuple[SkyPixels | None, "Header"]:
    """Return where the pixels lie on the sky, and the cards that say so.

    None and no cards if there is no celestial WCS, or cards that shape it cannot be read. If those
    cannot be read that only place it, no cards: distances on the sky are known all the same. None
    if the WCS does not tell how large pixels are.

    Args:
        header: Of one of the HDUs.
        file: All of them: tables of distortion are extensions of their own.
        unreadable: Cards of the HDU that are not in `header` because they cannot be read.
        label: What to call the HDU in messages.

    Raises:
        ValueError: astropy cannot read the WCS.

    Warns:
        UserWarning: Cards cannot be read.
    """
    from astropy.io.fits import Header
    from astropy.io.fits.verify import VerifyWarning
    from astropy.wcs import WCS, FITSFixedWarning

    no_cards = Header()
    if not str(header.get("CTYPE1", "")).strip() and "CTYPE1" not in unreadable:
        return None, no_cards
    # Nothing else: other cards can make astropy fail, and an MJD-OBS of -3e231 crashes it.
    header = Header(card for card in header.cards if re.fullmatch(_WCS_CARDS, card.keyword))
    bad = UnreadableCards(unreadable)
    for keyword in dict.fromkeys(header):
        if not re.fullmatch(f"{_NUMBERS}|CUNIT\\d", keyword):
            continue
        read = _unit(header[keyword]) if keyword.startswith("CUNIT") else number(header, keyword)
        if read is not None:
            header[keyword] = read
        elif str(header[keyword]).strip():
            bad.add(keyword)
            del header[keyword]
    shape, place = bad.matching(SHAPE_CARDS), bad.matching(PLACE_CARDS)
    units = [keyword for keyword in shape if keyword.startswith("CUNIT")]
    if shape != units:
        _warn(f"The WCS of {label} is left out: its cards {', '.join(shape)} cannot be read")
        return None, no_cards
    try:
        with warnings.catch_warnings():
            for remark in (FITSFixedWarning, VerifyWarning):
                warnings.simplefilter("ignore", remark)
            wcs = WCS(header, fobj=file, naxis=2)
        if not wcs.has_celestial:
            return None, no_cards
        cards = wcs.to_header(relax=True)
    # Of what it cannot read astropy raises AssertionError, KeyError, ValueError and others.
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if units:
        _warn(f"{', '.join(units)} of {label} can not be read as a unit of angle: taken for deg")
    if place:
        _warn(
            f"The WCS of {label} is left out of what is written: its cards {', '.join(place)} "
            "cannot be read"
        )
        cards = no_cards
    # Without any of these, astropy's pixels are a degree wide.
    sized = any(re.match(_SCALES, keyword) for keyword in header)
    return SkyPixels(wcs, label) if sized else None, cards


def scale_by_keywords(header: "Header", unreadable: UnreadableCards, label: str) -> float | None:
    """Return arcsec per pixel by a linear WCS with a unit of angle, or by keywords; None if untold.

    The WCS is the CD matrix, or CDELT times PC (CDELT alone, where there is no PC). Of a celestial
    one, which `read_sky` could not read, the linear part is not the whole.

    Raises:
        ValueError: The pixels are not square, the scale is no positive number, or keywords
            disagree.

    Warns:
        UserWarning: The cards that could have told cannot be read.
    """
    celestial = re.fullmatch(_CELESTIAL, str(header.get("CTYPE1", ""))) or "CTYPE1" in unreadable
    matrix = None if celestial else _linear_matrix(header)
    if matrix is not None:
        return _square_side(matrix.T, label)
    area = number(header, "PIXAR_A2")
    told = {"PIXAR_A2": np.sqrt(abs(area))} if area is not None else {}
    if not told:
        told = {keyword: number(header, keyword) for keyword in KEYWORDS}
        told = {keyword: abs(scale) for keyword, scale in told.items() if scale is not None}
    sides = [[told[one], told[other]] for one, other in AXES if {one, other} <= set(told)]
    oblong = [pair for pair in sides if _differ(pair)]
    if not oblong and _differ(told.values()):
        raise ValueError(
            f"The keywords {', '.join(told)} of {label} must agree, or `pixel_scale` (on the "
            f"command line --pixel-scale) be given. Received: {list(told.values())} arcsec"
        )
    scales = oblong[0] if oblong else list(told.values())
    if not scales:
        said = {keyword for keyword in KEYWORDS if str(header.get(keyword, "")).strip()}
        mute = UnreadableCards(unreadable | said).matching("|".join(KEYWORDS) + "|PIXAR_A2")
        if mute:
            _warn(f"{', '.join(mute)} of {label} cannot be read, and no card tells the pixel scale")
        return None
    return _square_side(np.diag([scales[0], scales[-1]]), label) if oblong else _mean(scales, label)


def _mean(scales: list[float], label: str) -> float:
    return _square_side(np.eye(2) * np.mean(scales), label)


def _linear_matrix(header: "Header") -> np.ndarray | None:
    """Return the linear part of a WCS, arcsec by pixel; None if its axes are not angles.

    Args:
        header: Without a celestial WCS.
    """
    first, second = (_unit(header.get(f"CUNIT{axis}")) for axis in (1, 2))
    if first is None:
        return None
    elements = [(row, column) for row in (1, 2) for column in (1, 2)]

    def matrix(name: str, identity: float) -> np.ndarray:
        found = [number(header, f"{name}{row}_{column}") for row, column in elements]
        default = [identity * (row == column) for row, column in elements]
        pairs = zip(found, default, strict=True)
        return np.reshape([one if one is not None else other for one, other in pairs], (2, 2))

    steps = [number(header, f"CDELT{axis}") for axis in (1, 2)]
    if any(number(header, f"CD{row}_{column}") is not None for row, column in elements):
        linear = matrix("CD", 0)
    elif steps[0] is not None:
        linear = np.diag([steps[0], steps[0] if steps[1] is None else steps[1]]) @ matrix("PC", 1)
    elif any(number(header, f"PC{row}_{column}") is not None for row, column in elements):
        linear = matrix("PC", 1)
    else:
        return None
    return np.array([[UNITS[first]], [UNITS[second or first]]]) * linear


def _unit(value: object) -> str | None:
    """Return the FITS standard's name of a unit of angle, None of anything else."""
    text = re.sub(r"\s*(/|per)\s*(pix(el)?|px)\.?$", "", str(value).strip().lower())
    for name, spellings in UNIT_NAMES.items():
        if re.fullmatch(spellings, text):
            return name
    return None


def _square_side(sides: np.ndarray, label: str) -> float:
    """Return the side of a pixel in arcsec.

    Args:
        sides: (2, n): the vectors, on the sky, along its two sides.
        label: What to call the image in messages.

    Raises:
        ValueError: It is no square, to within SQUARE_TOLERANCE, or has no size.
    """
    lengths = np.linalg.norm(sides, axis=1)
    if not np.all(np.isfinite(lengths)) or lengths.min() <= 0:
        raise ValueError(
            f"The pixel scale of {label} makes no sense: give `pixel_scale`, on the command line "
            f"--pixel-scale. Received: {lengths} arcsec"
        )
    longest, shortest = np.linalg.svd(sides, compute_uv=False)[:2]
    if longest > shortest * (1 + SQUARE_TOLERANCE):
        angle = np.degrees(np.arccos(np.clip(sides[0] @ sides[1] / lengths.prod(), -1, 1)))
        raise ValueError(
            f"The pixels of {label} must be square: resample the image (for example with the "
            f"reproject package). Received: {lengths.min():.6g} x {lengths.max():.6g} arcsec, with "
            f"sides at {angle:.1f} degrees"
        )
    return float(lengths.mean())


def _differ(scales: Collection[float]) -> bool:
    """Return whether pixel scales, of any number, are not one."""
    return len(scales) > 0 and max(scales) > min(scales) * (1 + SQUARE_TOLERANCE)


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=4)

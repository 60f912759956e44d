"""FITS files as they are found: cards that cannot be read are skipped, missing pixels are NaN.

astropy gives up a whole header for one card that breaks the standard (BUNIT = NaN), and a whole
file if it is one of those that it looks at first (EXTEND = N/A). Here such cards are left out, and
named. No Keras; astropy is imported by the functions that need it.
"""

import math
import os
import re
import warnings
from collections import defaultdict
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header

BLOCK, CARD = 2880, 80
"""Bytes."""

LONGEST_HEADER = 1000
"""Blocks, or 36,000 cards, after which the end is not looked for."""

LARGEST_COUNT = 2**40
"""Of bytes or groups: no file is larger."""

MANDATORY = r"SIMPLE|XTENSION|BITPIX|NAXIS\d*"
"""Without these nobody knows where the data are."""

NULL_MASK = "NULL_PIXEL_MASK"
"""A column of tile-compressed images that astropy does not read (FITS standard 4.0, 10.1.3)."""

FLOAT_BLANKS = ("BLANK", "BAD_DATA", "BADVAL", "NULLVAL", "MISSVAL")
"""Cards that some programs write of floating images, whose missing pixels should be NaN: the value
of these pixels. BAD_DATA is HEALPix's, MISSVAL of solar images."""


_PLAIN = re.compile(
    rb"([A-Z0-9_-]{1,8} *)(?<=^.{8})= +('[ -&(-~]*'|[TF]|[+-]?\d+\.\d*(?:E[+-]?\d+)?|([+-]?\d+)) *"
    rb"(?:/[ -~]*)?"
)
"""The cards that are most: astropy's own parser takes ten times as long."""


class UnreadableCards(set):
    """Keywords of the cards of one HDU that are left out because they cannot be read."""

    null_mask = False
    """Whether the HDU has the column NULL_MASK."""

    def matching(self, pattern: str) -> list[str]:
        """Return those that match a regular expression as a whole, sorted."""
        return sorted(keyword for keyword in self if re.fullmatch(pattern, keyword))


def open_fits(path: str | os.PathLike) -> tuple["HDUList", dict[int, UnreadableCards]]:
    """Open a FITS file whatever its optional cards hold.

    Integers are not scaled, so that no missing pixel is lost: `pixels` does it.

    Args:
        path: The file, may be compressed (gzip, bzip2, xz; zip without the tolerance).

    Returns:
        The HDUs, to be closed, and by their index which of their cards were left out.

    Raises:
        PermissionError: It may not be read.
        OSError: It is no FITS file, or its mandatory cards cannot be read.
    """
    from astropy.io import fits
    from astropy.utils.data import get_readable_fileobj

    try:
        with get_readable_fileobj(str(path), encoding="binary") as stream:
            damaged, found = _unreadable_cards(stream)
            source: str | os.PathLike | BytesIO = path
            if damaged:
                stream.seek(0)
                source = BytesIO(_without(stream.read(), damaged))
        # Of floating images BLANK is told by `pixels`, too.
        file = fits.open(
            source, memmap=False, do_not_scale_image_data=True, ignore_blank=True, mode="readonly"
        )
    except PermissionError:
        raise
    # Of what is no FITS file the decompressors, too, raise whatever they like.
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
    return file, defaultdict(UnreadableCards, enumerate(found))


def number(header: "Header", keyword: str) -> int | float | None:
    """Return the number in a card, also one written as text; None if it has none that is finite."""
    value = header.get(keyword)
    if isinstance(value, str):
        try:
            value = float(re.sub("[dD]", "e", value))
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if abs(value) >= 2**64 else value


def pixels(unit, label: str, unreadable: UnreadableCards | None = None) -> np.ndarray:
    """Return the pixels of an HDU of `open_fits`, scaled, as float64: NaN where there are no data.

    No data are: NaN; in integers BLANK before they are scaled, whether they are signed, unsigned
    (BZERO), scaled or tile-compressed; a BLANK that such integers cannot hold, after; in
    tile-compressed floats ZBLANK, card or column; in floats the value of a card of FLOAT_BLANKS.
    Weights and flags in other extensions (a drizzled image's WHT of 0, DQ) are not looked at.

    Args:
        unit: An image HDU.
        label: What to call it in messages.
        unreadable: Its cards that were left out.

    Raises:
        OSError, ValueError: The pixels cannot be read.

    Warns:
        UserWarning: A card that says how to read the pixels cannot be read, or says what the FITS
            standard does not know.
    """
    unreadable = UnreadableCards() if unreadable is None else unreadable
    if unreadable.null_mask:
        raise ValueError(f"its mask of missing pixels, {NULL_MASK}, is none that astropy can read")
    header = unit.header
    for keyword in ("BSCALE", "BZERO", "BLANK"):
        if keyword in unreadable or (keyword in header and number(header, keyword) is None):
            _warn(f"{keyword} of {label} cannot be read: the pixels are taken as if it had none")
    try:
        raw = np.asarray(unit.data)
    # Of damaged tiles astropy raises errors of its own.
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
    if raw.dtype.kind not in "buif":
        return raw
    scale, zero = number(header, "BSCALE"), number(header, "BZERO")
    scaled = raw.astype("float64") * (1 if scale is None else scale) + (zero or 0)
    scaled[_missing(raw, scaled, header, label)] = np.nan
    return scaled


def _missing(raw: np.ndarray, scaled: np.ndarray, header: "Header", label: str) -> np.ndarray:
    """Return which pixels a card says are none."""
    missing = np.zeros(raw.shape, bool)
    if raw.dtype.kind != "f":
        blank = number(header, "BLANK")
        if blank is None:
            return missing
        limits = np.iinfo(raw.dtype if raw.dtype.kind in "ui" else "uint8")
        if limits.min <= blank <= limits.max:
            return raw == blank
        missing = scaled == blank
        if missing.any():
            _warn(
                f"BLANK = {blank} of {label} is no integer that its pixels can hold: the "
                f"{missing.sum()} pixels that have this value after BSCALE and BZERO are read as "
                "NaN"
            )
        return missing
    for keyword in FLOAT_BLANKS:
        blank = number(header, keyword)
        if blank is None:
            continue
        with np.errstate(over="ignore"):
            told = raw == np.array(blank, raw.dtype)
        if told.any():
            _warn(
                f"{told.sum()} pixels of {label} have the value of {keyword}, {blank}, and are "
                "read as NaN"
            )
        missing |= told
    return missing


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=4)


def _unreadable_cards(stream: BinaryIO) -> tuple[list[slice], list[UnreadableCards]]:
    """Walk through the headers of a file.

    Returns:
        Where in the file the cards lie that cannot be read; the keywords of these, for each HDU.
        Both end where a header has no end.

    Raises:
        ValueError: A mandatory card cannot be read.
    """
    damaged: list[slice] = []
    found: list[UnreadableCards] = []
    if stream.read(6) != b"SIMPLE":
        return damaged, found
    start = 0
    while (header := _read_header(stream, start)) is not None:
        here = UnreadableCards()
        values: dict[str, object] = {}
        cards = [header[i : i + CARD] for i in range(0, len(header), CARD)]
        first = 0
        while first < len(cards) and cards[first].rstrip() != b"END":
            last = first + 1
            while last < len(cards) and cards[last].startswith(b"CONTINUE"):
                last += 1
            # A card that cannot be continued may be whole by itself.
            for end in sorted({last, first + 1}, reverse=True):
                try:
                    keyword, value = _parse(b"".join(cards[first:end]))
                    _check_count(keyword, value)
                except ValueError:
                    continue
                values.setdefault(keyword, value)
                read_to = end
                break
            else:
                read_to = first
                name = cards[first][:8].decode("latin-1").strip()
                if re.fullmatch(MANDATORY, name):
                    raise ValueError(f"its card {name} cannot be read")
                here.add(name)
            if read_to < last:
                damaged.append(slice(start + read_to * CARD, start + last * CARD))
            first = last
        here.null_mask = NULL_MASK in values.values()
        found.append(here)
        start += len(header) + _data_length(values)
    return damaged, found


def _read_header(stream: BinaryIO, start: int) -> bytes | None:
    """Return the blocks of the header that begins there, None if there is none."""
    stream.seek(start)
    blocks: list[bytes] = []
    while len(blocks) < LONGEST_HEADER:
        block = stream.read(BLOCK)
        if len(block) < BLOCK or not (blocks or re.match(rb"SIMPLE|XTENSION", block)):
            break
        blocks.append(block)
        if any(block[i : i + CARD].rstrip() == b"END" for i in range(0, BLOCK, CARD)):
            return b"".join(blocks)
    return None


def _parse(card: bytes) -> tuple[str, object]:
    """Return keyword and value of a card with those that continue it; ValueError if astropy cannot.

    Text that is no ASCII is replaced by astropy in comments, and refused in values.
    """
    plain = _PLAIN.fullmatch(card)
    if plain:
        keyword, text, integer = plain.groups()
        return keyword.decode().strip(), int(integer) if integer else text.decode().strip("' ")

    from astropy.io import fits

    commentary = card[:8].decode("latin-1").strip() in ("", "COMMENT", "HISTORY")
    if not commentary and not (card.isascii() and card.decode("latin-1").isprintable()):
        raise ValueError
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = fits.Card.fromstring(card)
            return parsed.keyword, "" if commentary else parsed.value
    except Exception as error:  # VerifyError, and what astropy does not foresee.
        raise ValueError from error


def _check_count(keyword: str, value: object) -> None:
    """Raise ValueError for numbers of bytes and of groups that there cannot be."""
    least = {"PCOUNT": 0, "GCOUNT": 1}.get(keyword)
    if least is not None and not (isinstance(value, int) and least <= value < LARGEST_COUNT):
        raise ValueError


def _data_length(values: dict[str, object]) -> int:
    """Return the bytes of an HDU's data, in whole blocks (FITS standard 4.0, 4.4.1)."""

    def integer(keyword: str, default: int) -> int:
        value = values.get(keyword, default)
        return value if isinstance(value, int) else default

    axes = [integer(f"NAXIS{i}", 0) for i in range(1, min(integer("NAXIS", 0), 999) + 1)]
    if axes and axes[0] == 0 and values.get("GROUPS") in (True, "T"):
        axes = axes[1:]
    count = math.prod(axes) if axes else 0
    length = abs(integer("BITPIX", 8)) // 8 * integer("GCOUNT", 1) * (integer("PCOUNT", 0) + count)
    return max(0, -(-length // BLOCK) * BLOCK)


def _without(content: bytes, damaged: list[slice]) -> bytes:
    """Return a file with blank cards in the place of those that cannot be read."""
    repaired = bytearray(content)
    for place in damaged:
        repaired[place] = b" " * (place.stop - place.start)
    return bytes(repaired)

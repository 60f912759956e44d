"""Images read from FITS files. No Keras; astropy is imported by the functions that need it."""

import os
import re
import warnings
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rim_lensing.observation.cutouts import corner, cutout

if TYPE_CHECKING:
    from astropy.io.fits import Header

_SCALE_KEYWORDS = (
    *("PIXSCALE", "PIXSCAL1", "PIXSCAL2", "PIXSCAX", "PIXSCAY", "SECPIX", "D001SCAL"),
    # Of STPSF's (WebbPSF's) kernels.
    "PIXELSCL",
)
_AXES = (("PIXSCAL1", "PIXSCAL2"), ("PIXSCAX", "PIXSCAY"))
"""Of these keywords: those of one pixel's two sides."""

_SQUARE_TOLERANCE = 0.01
_WCS_SCALES = r"(CD|PC)\d_\d$|CDELT\d$"


@dataclass(frozen=True)
class FitsImage:
    """An image read from a FITS file; a noise map, a mask or a PSF too.

    Args:
        array: (rows, columns) float64 in the machine's byte order.
        pixel_scale: arcsec, or None where the header does not tell.
        header: The cards of the WCS and BUNIT, where there are any: what `Reconstruction.to_fits`
            takes.
    """

    array: np.ndarray
    pixel_scale: float | None
    header: "Header"

    def cutout(
        self, side: int, centre: tuple[float, float] | None = None, fill: float | None = None
    ) -> "FitsImage":
        """Return a square of the image, its WCS shifted along. Arguments as in `cutout`."""
        array = cutout(self.array, side, centre, fill)
        row, column = corner(self.array.shape, side, centre)
        header = self.header.copy()
        for keyword, shift in (("CRPIX1", column), ("CRPIX2", row)):
            if keyword in header:
                header[keyword] -= shift
        return replace(self, array=array, header=header)


def read_image(
    path: str | os.PathLike, extension: int | str | None = None, pixel_scale: float | None = None
) -> FitsImage:
    """Read a 2-D image, a noise map, a mask or a PSF from a FITS file.

    The pixel scale is that of the celestial WCS (CD or PC matrix, CDELT), or else of a linear one
    in arcsec (CDELT), or of a keyword like PIXSCALE or SECPIX (arcsec), or PIXAR_A2 (arcsec^2).
    Tables of distortion in other extensions, as HST's FLT and FLC files have them, are read with
    the WCS, but not kept in `header`.

    Args:
        path: The file, may be compressed.
        extension: Name or number (also as digits), or name and version (EXTVER): "SCI,1". By
            default the primary image, or else the one named SCI, or else the only one.
        pixel_scale: arcsec; instead of the header's, which is then not looked at.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a FITS file; there is no such extension, or none or several that could
            be meant (the message has the list); it holds no 2-D image; its pixels are not square,
            or keywords disagree about them; its WCS cannot be read and `pixel_scale` is not given.

    Warns:
        UserWarning: The WCS cannot be read, and is left out, as `pixel_scale` is given.
    """
    from astropy.io import fits

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty, not a FITS file")
    try:
        file = fits.open(path, memmap=False)
    except PermissionError:
        raise
    except OSError as error:
        raise ValueError(f"{path} is not a FITS file: {error}") from error
    with file:
        unit, label = _choose(file, path, extension)
        try:
            array = np.asarray(unit.data)
        except (OSError, TypeError, ValueError) as error:
            raise ValueError(f"{label} cannot be read, is the file complete? {error}") from error
        source = unit.header
        while array.ndim > 2 and array.shape[0] == 1:
            array = array[0]
        if array.ndim != 2 or array.dtype.kind not in "buif":
            raise ValueError(
                f"{label} must be a 2-D image. Received: shape {array.shape}, type {array.dtype}"
            )
        wcs, cards = None, fits.Header()
        try:
            wcs = _celestial(source, file)
            if wcs is not None:
                cards = wcs.to_header(relax=True)
        # Of what it cannot read astropy raises AssertionError, KeyError, ValueError and others.
        except Exception as error:
            if pixel_scale is None:
                raise ValueError(
                    f"The WCS of {label} must be one that astropy can read, or `pixel_scale` (on "
                    "the command line --pixel-scale) be given, and it is left out. Received: "
                    f"{type(error).__name__}: {error}"
                ) from error
            warnings.warn(
                f"The WCS of {label} cannot be read, and is left out: "
                f"{type(error).__name__}: {error}",
                UserWarning,
                stacklevel=2,
            )
        if "BUNIT" in source:
            cards["BUNIT"] = source["BUNIT"]
        scale = _pixel_scale(source, wcs, label) if pixel_scale is None else float(pixel_scale)
        return FitsImage(array.astype("float64"), scale, cards)


def _choose(file, path: Path, extension: int | str | None):
    """Return the HDU that is meant, and what to call it in messages."""
    images = [i for i, unit in enumerate(file) if unit.is_image and unit.header.get("NAXIS", 0)]
    names = [f"{i} {_name(unit) or '(no name)'}" for i, unit in enumerate(file)]
    listed = f"It has: {', '.join(names)}."
    if extension is not None:
        wanted = extension
        if isinstance(extension, str):
            name, _, version = (part.strip() for part in extension.partition(","))
            if extension.isdigit():
                wanted = int(extension)
            elif version.isdigit():
                wanted = (name, int(version))
        try:
            index = file.index_of(wanted)
            unit = file[index]
        except (KeyError, IndexError):
            raise ValueError(f"{path} has no extension {extension!r}. {listed}") from None
    else:
        science = [i for i in images if file[i].name == "SCI"]
        candidates = images if 0 not in images else [0]
        if len(candidates) != 1 and len(science) == 1:
            candidates = science
        if not candidates:
            raise ValueError(f"{path} holds no image. {listed}")
        if len(candidates) > 1:
            raise ValueError(
                f"{path} holds several images: say which `extension`, on the command line "
                f"'FILE.fits[NAME]'. {listed}"
            )
        index = candidates[0]
        unit = file[index]
    if index not in images:
        raise ValueError(f"Extension {extension!r} of {path} is not an image. {listed}")
    return unit, f"{path}[{_name(unit) or index}]"


def _name(unit) -> str:
    """Return what a user calls an HDU: its name, with the version where it is not the first."""
    return unit.name if unit.ver == 1 else f"{unit.name},{unit.ver}"


def _pixel_scale(header: "Header", wcs, label: str) -> float | None:
    """Return arcsec per pixel, None if neither the celestial WCS nor the header tells."""
    # Without any of these, astropy's pixels are a degree wide.
    if wcs is not None and any(re.match(_WCS_SCALES, keyword) for keyword in header):
        from astropy.wcs.utils import proj_plane_pixel_scales

        scales = 3600 * proj_plane_pixel_scales(wcs)
    elif str(header.get("CUNIT1", "")).strip().lower().startswith("arcsec") and "CDELT1" in header:
        scales = [header["CDELT1"], header.get("CDELT2", header["CDELT1"])]
    elif isinstance(header.get("PIXAR_A2"), int | float):
        scales = [np.sqrt(header["PIXAR_A2"])]
    else:
        told = {
            keyword: abs(header[keyword])
            for keyword in _SCALE_KEYWORDS
            if isinstance(header.get(keyword), int | float)
        }
        sides = [[told[one], told[other]] for one, other in _AXES if {one, other} <= set(told)]
        oblong = [pair for pair in sides if _differ(pair)]
        if not oblong and _differ(told.values()):
            raise ValueError(
                f"The keywords {', '.join(told)} of {label} must agree, or `pixel_scale` (on the "
                f"command line --pixel-scale) be given. Received: {list(told.values())} arcsec"
            )
        scales = oblong[0] if oblong else list(told.values())
    scales = np.abs([float(scale) for scale in scales if not isinstance(scale, str)])
    if len(scales) == 0:
        return None
    if not np.all(np.isfinite(scales)) or scales.min() <= 0:
        raise ValueError(f"The pixel scale of {label} makes no sense. Received: {scales} arcsec")
    if _differ(scales):
        raise ValueError(
            f"The pixels of {label} must be square: resample the image (for example with the "
            f"reproject package). Received: {scales.min():.6g} x {scales.max():.6g} arcsec"
        )
    return float(scales.mean())


def _differ(scales: Collection[float]) -> bool:
    """Return whether pixel scales, of any number, are not one."""
    return len(scales) > 0 and max(scales) > min(scales) * (1 + _SQUARE_TOLERANCE)


def _celestial(header: "Header", file):
    """Return the celestial WCS of a header, None if there is none.

    Args:
        header: Of one of the HDUs.
        file: All of them: tables of distortion are extensions of their own.
    """
    from astropy.wcs import WCS, FITSFixedWarning

    if not str(header.get("CTYPE1", "")).strip():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        wcs = WCS(header, fobj=file, naxis=2)
    return wcs if wcs.has_celestial else None

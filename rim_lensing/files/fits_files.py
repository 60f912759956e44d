"""Images read from FITS files. No Keras; astropy is imported by the functions that need it."""

import os
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rim_lensing.files.cutouts import corner, cutout
from rim_lensing.files.pixel_scales import SkyPixels, read_sky, scale_by_keywords
from rim_lensing.files.tolerant_fits import open_fits, pixels
from rim_lensing.files.zero_points import PHOTOMETRY

if TYPE_CHECKING:
    from astropy.io.fits import Header

EXPOSURE_CARDS = ("EXPTIME", "GAIN", "CCDGAIN", "SATURATE")
"""By which photons are counted: seconds, electrons per count, and the level of a full pixel."""


@dataclass(frozen=True)
class FitsImage:
    """An image read from a FITS file; a noise map, a mask or a PSF too.

    Args:
        array: (rows, columns) float64 in the machine's byte order.
        pixel_scale: arcsec, or None where the header does not tell.
        header: The cards of the WCS, BUNIT and EXPOSURE_CARDS, where there are any, the last also
            of the primary header: what `Reconstruction.to_fits` takes.
        sky: Where the pixels lie on the sky, if it is that which tells the pixel scale.
    """

    array: np.ndarray
    pixel_scale: float | None
    header: "Header"
    sky: SkyPixels | None = field(default=None, repr=False, compare=False)

    def cutout(
        self, side: int, centre: tuple[float, float] | None = None, fill: float | None = None
    ) -> "FitsImage":
        """Return a square of the image, its WCS shifted along. Arguments as in `cutout`.

        The pixel scale is measured again, at the middle of the square.

        Raises:
            ValueError: As `cutout`; pixels there are not square.
        """
        array = cutout(self.array, side, centre, fill)
        row, column = corner(self.array.shape, side, centre)
        sky = self.sky and self.sky.shifted(row, column)
        scale = sky.scale_at((side - 1) / 2, (side - 1) / 2) if sky else self.pixel_scale
        header = self.header.copy()
        for keyword, shift in (("CRPIX1", column), ("CRPIX2", row)):
            if keyword in header:
                header[keyword] -= shift
        return replace(self, array=array, header=header, sky=sky, pixel_scale=scale)


def read_image(
    path: str | os.PathLike,
    extension: int | str | None = None,
    pixel_scale: float | None = None,
    *,
    centre: tuple[float, float] | None = None,
) -> FitsImage:
    """Read a 2-D image, a noise map, a mask or a PSF from a FITS file.

    The pixel scale is measured on the sky around one pixel, by the celestial WCS with its
    projection and distortion; a cutout measures it again. Without such a WCS it is that of a linear
    one in units of angle (CD or PC matrix, CDELT), or of a keyword like PIXSCALE or SECPIX
    (arcsec), or PIXAR_A2 (arcsec^2). Tables of distortion in other extensions, as HST's FLT and FLC
    files have them, are read with the WCS, but not kept in `header`.

    Pixels without data are NaN: `tolerant_fits.pixels` says how they are told. Weights and flags in
    other extensions are not looked at: where a drizzled image's weight is 0 the image holds 0, and
    `mask` has to say so, `read_image(path, "WHT").array > 0`.

    Cards that cannot be read stop nothing. They are left out, and those that matter warned of.

    Args:
        path: The file, may be compressed.
        extension: Name or number (also as digits), or name and version (EXTVER): "SCI,1". By
            default the primary image, or else the one named SCI, or else the only one.
        pixel_scale: arcsec; instead of the header's, which is then not looked at.
        centre: (row, column), counted from 0, of the pixel around which the scale is measured: that
            of the lens, if it will be cut out. By default the image's middle.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a FITS file; there is no such extension, or none or several that could
            be meant (the message has the list); it holds no 2-D image; its pixels are not square,
            or keywords disagree about them; astropy cannot read its WCS, and neither keywords nor
            `pixel_scale` tell the scale.

    Warns:
        UserWarning: Cards that matter, or the WCS, cannot be read, and are left out; a pixel is NaN
            for a reason that the FITS standard does not know.
    """
    from astropy.io.fits import Header

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty, not a FITS file")
    try:
        file, unreadable = open_fits(path)
    except PermissionError:
        raise
    except OSError as error:
        raise ValueError(f"{path} is not a FITS file: {error}") from error
    with file:
        index, label = _choose(file, path, extension)
        unit, left_out = file[index], unreadable[index]
        try:
            array = pixels(unit, label, left_out)
        except (OSError, ValueError) as error:
            raise ValueError(f"{label} cannot be read, is the file complete? {error}") from error
        while array.ndim > 2 and array.shape[0] == 1:
            array = array[0]
        if array.ndim != 2 or array.dtype.kind != "f":
            raise ValueError(
                f"{label} must be a 2-D image. Received: shape {array.shape}, type {array.dtype}"
            )
        header, no_wcs = unit.header, None
        scale: float | None
        try:
            sky, cards = read_sky(header, file, left_out, label)
        except ValueError as error:
            sky, cards, no_wcs = None, Header(), error
        if pixel_scale is not None:
            sky, scale = None, float(pixel_scale)
        elif sky is not None:
            try:
                scale = sky.scale_at(*_middle_or_inside(centre, array.shape))
            except ValueError as error:
                if centre is not None:
                    raise
                raise ValueError(
                    f"{error}. If they are where the lens is: say `centre`, on the command line "
                    "--crop-centre"
                ) from error
        else:
            scale = scale_by_keywords(header, left_out, label)
        if no_wcs is not None:
            if scale is None:
                raise ValueError(
                    f"The WCS of {label} must be one that astropy can read, or `pixel_scale` (on "
                    "the command line --pixel-scale) be given, and it is left out. Received: "
                    f"{no_wcs}"
                ) from no_wcs
            warnings.warn(
                f"The WCS of {label} cannot be read, and is left out: {no_wcs}",
                UserWarning,
                stacklevel=2,
            )
        if str(header.get("BUNIT", "")).strip():
            cards["BUNIT"] = str(header["BUNIT"])
        for keyword in (*EXPOSURE_CARDS, *PHOTOMETRY):
            value = header.get(keyword, file[0].header.get(keyword))
            if isinstance(value, int | float) and 0 < value < np.inf:
                cards[keyword] = value
        return FitsImage(array, scale, cards, sky)


def _middle_or_inside(
    centre: tuple[float, float] | None, shape: tuple[int, ...]
) -> tuple[float, float]:
    """Return the middle of an image, or that of its pixels which is next to a point."""
    middle = [(side - 1) / 2 for side in shape]
    row, column = (
        float(np.clip(at, 0, side - 1))
        for at, side in zip(middle if centre is None else centre, shape, strict=True)
    )
    return row, column


def _choose(file, path: Path, extension: int | str | None) -> tuple[int, str]:
    """Return the index of the HDU that is meant, and what to call it in messages."""
    images = [i for i, unit in enumerate(file) if unit.is_image and unit.header.get("NAXIS", 0)]
    names = [f"{i} {_name(unit) or '(no name)'}" for i, unit in enumerate(file)]
    listed = f"It has: {', '.join(names)}."
    if extension is not None:
        wanted: int | str | tuple[str, int] = extension
        if isinstance(extension, str):
            name, _, version = (part.strip() for part in extension.partition(","))
            if extension.isdigit():
                wanted = int(extension)
            elif version.isdigit():
                wanted = (name, int(version))
        try:
            index = file.index_of(wanted)
            file[index]
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
    if index not in images:
        raise ValueError(f"Extension {extension!r} of {path} is not an image. {listed}")
    return index, f"{path}[{_name(file[index]) or index}]"


def _name(unit) -> str:
    """Return what a user calls an HDU: its name, with the version where it is not the first."""
    return unit.name if unit.ver == 1 else f"{unit.name},{unit.ver}"

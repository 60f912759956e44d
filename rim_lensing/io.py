"""FITS in and out. No Keras; astropy is imported by the functions that need it."""

import os
import re
import warnings
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rim_lensing import __version__
from rim_lensing.whole_files import whole_file

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from rim_lensing.inference.result import Reconstruction

_SCALE_KEYWORDS = (
    *("PIXSCALE", "PIXSCAL1", "PIXSCAL2", "PIXSCAX", "PIXSCAY", "SECPIX", "D001SCAL"),
    # Of STPSF's (WebbPSF's) kernels.
    "PIXELSCL",
)
_AXES = (("PIXSCAL1", "PIXSCAL2"), ("PIXSCAX", "PIXSCAY"))
"""Of these keywords: those of one pixel's two sides."""

_SQUARE_TOLERANCE = 0.01
_WCS_SCALES = r"(CD|PC)\d_\d$|CDELT\d$"
_LENS_CARDS = {
    "THETA_E": "arcsec, Einstein radius, intermediate axis",
    "E1": "(1-q)/(1+q) cos 2 phi, phi from +x to +y",
    "E2": "(1-q)/(1+q) sin 2 phi",
    "LENS_X": "arcsec from the image's middle, with columns",
    "LENS_Y": "arcsec from the image's middle, with rows",
    "GAMMA1": "external shear, modulus times cos 2 phi",
    "GAMMA2": "external shear, modulus times sin 2 phi",
    "SLOPE": "t of convergence ~ R^-t, 1 is isothermal",
}
"""Of the lens parameters, in their order, and what they are."""

_UNIT_COMMENT = "as of the image, not per source pixel"
_LINEAR_CARDS = {
    "strength": ("STRENGTH", "of the prior, image unit ^ -2"),
    "log_evidence": ("LOGEV", "log evidence, data in the image's unit"),
    "log_evidence_error": ("LOGEVERR", "standard error of LOGEV"),
}
"""Of a `LinearReconstruction`."""


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
        row, column = _corner(self.array.shape, side, centre)
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
    for first, length in zip(_corner(array.shape, side, centre), array.shape, strict=True):
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


def write_reconstruction(
    result: "Reconstruction",
    path: str | os.PathLike,
    overwrite: bool = False,
    header: "Header | None" = None,
) -> None:
    """Write a reconstruction of one system to a FITS file.

    The primary image is the source, in a linear WCS in arcsec around the origin of the lens model.
    Extensions: MODEL, DATA, RESIDUAL, NOISE (these with the cards of `header`), SOURCE_HISTORY and
    CHI2_HISTORY (a value per step of the method) and PSF; of a linear inversion with uncertainties
    SOURCE_STD, too. Masked pixels are NaN in DATA and RESIDUAL and infinite in NOISE. The primary
    header has the lens parameters, the name of the model, chi^2 per pixel and the pixel scales; of
    a linear inversion also the strength of its prior (STRENGTH), the log evidence (LOGEV) and, of a
    matrix-free engine, its standard error (LOGEVERR).

    The file is complete or not there: it is written under another name and renamed.

    Args:
        result: Of one system.
        path: Where to, an existing folder; `.fits` or `.fits.gz`.
        overwrite: Replace a file that exists.
        header: WCS and unit of the image, see `FitsImage.header`.

    Raises:
        FileExistsError: The file exists and `overwrite` is False.
        FileNotFoundError: The folder does not exist.
    """
    from astropy.io import fits

    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists. Say overwrite=True to replace it.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent}")
    primary = fits.PrimaryHDU(result.source, _source_header(result, header))
    units = [primary]
    for name, array in (
        ("MODEL", result.model_image),
        ("DATA", result.image),
        ("RESIDUAL", result.residuals),
        ("NOISE", result.noise),
    ):
        units.append(fits.ImageHDU(array, header, name=name))
        units[-1].header["PIXSCALE"] = (result.image_pixel_scale, "arcsec")
    units.append(fits.ImageHDU(result.history, name="SOURCE_HISTORY"))
    units.append(fits.ImageHDU(np.asarray(result.chi2_history), name="CHI2_HISTORY"))
    units.append(fits.ImageHDU(result.psf, name="PSF"))
    source_std = getattr(result, "source_std", None)
    if source_std is not None:
        units.append(fits.ImageHDU(source_std, name="SOURCE_STD"))
        units[-1].header["PIXSCALE"] = (result.source_pixel_scale, "arcsec")
    with whole_file(path) as temporary:
        fits.HDUList(units).writeto(temporary, overwrite=True)


def read_reconstruction(path: str | os.PathLike) -> "Reconstruction":
    """Read what `write_reconstruction` wrote: a Reconstruction, or a LinearReconstruction.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no FITS file of a reconstruction.
    """
    from astropy.io import fits

    from rim_lensing.inference.result import Reconstruction
    from rim_lensing.inference.semilinear_inversion import LinearReconstruction

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}")
    try:
        with fits.open(path, memmap=False) as file:
            header, source = file[0].header, file[0].data
            names = ("MODEL", "DATA", "NOISE", "SOURCE_HISTORY", "CHI2_HISTORY", "PSF")
            model_image, image, noise, history, chi2_history, psf = (
                np.array(file[name].data, file[name].data.dtype.newbyteorder("=")) for name in names
            )
            std = file["SOURCE_STD"].data if "SOURCE_STD" in file else None
        # Of a reconstruction by a lensing matrix there are no cards.
        lens = [header[card] for card in _LENS_CARDS if card in header] or [np.nan] * 7
        parts = {
            "source": source.astype("float64"),
            "history": history,
            "model_image": model_image,
            "image": image,
            "noise": noise,
            "mask": np.isfinite(noise),
            "lens": np.array(lens, "float32"),
            "psf": psf,
            "chi2": header["CHI2"],
            "chi2_history": chi2_history,
            "image_pixel_scale": header["IMGSCALE"],
            "source_pixel_scale": header["SRCSCALE"],
            "model": header["MODEL"],
        }
        if "STRENGTH" not in header:
            return Reconstruction(**parts)
        linear = {name: header.get(card, 0.0) for name, (card, _) in _LINEAR_CARDS.items()}
    except PermissionError:
        raise
    # Of a file that is cut off, astropy's buffers are too short for their arrays.
    except (OSError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} must be a FITS file that `Reconstruction.to_fits` wrote: {error}"
        ) from error
    std = None if std is None else std.astype("float64")
    return LinearReconstruction(**parts, **linear, source_std=std)


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


def _source_header(result: "Reconstruction", image_header: "Header | None") -> "Header":
    """Return the primary header: where the source's pixels lie, and how it was found."""
    from astropy.io import fits

    header = fits.Header()
    side = result.source.shape[-1]
    for axis, name in ((1, "X"), (2, "Y")):
        header[f"CTYPE{axis}"] = (name, "linear, along the image's pixel axes")
        header[f"CUNIT{axis}"] = "arcsec"
        header[f"CRPIX{axis}"] = (side + 1) / 2
        header[f"CRVAL{axis}"] = (0.0, "origin of the lens model")
        header[f"CDELT{axis}"] = result.source_pixel_scale
    if image_header is not None and "BUNIT" in image_header:
        header["BUNIT"] = image_header["BUNIT"]
        # A card has 80 characters, and a comment begins after the 30th or later.
        written = max(30, len(str(header.cards["BUNIT"]).rstrip()))
        if written + len(f" / {_UNIT_COMMENT}") <= 80:
            header.comments["BUNIT"] = _UNIT_COMMENT
    header["CREATOR"] = f"rim_lensing {__version__}"
    header["MODEL"] = (result.model, "rim_lensing model or method")
    header["CHI2"] = (float(result.chi2), "chi^2 per used pixel")
    header["IMGSCALE"] = (result.image_pixel_scale, "arcsec per pixel of the image")
    header["SRCSCALE"] = (result.source_pixel_scale, "arcsec per pixel of the source")
    for name, (card, comment) in _LINEAR_CARDS.items():
        value = getattr(result, name, 0.0)
        # No RIM has one, the exact engine's evidence has no error, and FITS has no NaN.
        if value != 0 and np.isfinite(value):
            header[card] = (float(value), comment)
    for (card, comment), value in zip(_LENS_CARDS.items(), result.lens, strict=False):
        if np.isnan(value):  # A lensing matrix was given instead.
            continue
        header[card] = (float(value), comment)
    return header


def offset_in_cutout(shape: tuple, side: int, centre: tuple[float, float]) -> tuple[float, float]:
    """Return by how many (rows, columns) `centre` lies off the middle of its cutout.

    A cutout has whole pixels: the point that it was asked for is up to half a pixel off its middle,
    the origin of the model's coordinates. Arguments are those of `cutout`.
    """
    corner = _corner(shape, side, centre)
    row, column = (
        middle - (first + (side - 1) / 2) for middle, first in zip(centre, corner, strict=True)
    )
    return row, column


def _corner(shape: tuple, side: int, centre: tuple[float, float] | None) -> tuple[int, int]:
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

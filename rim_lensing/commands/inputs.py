"""What a user's lens is read from: the options that several commands share, FITS files, numbers."""

import argparse
import math
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from astropy.io.fits import Header

    from rim_lensing.io import FitsImage
    from rim_lensing.lensing.grids import PixelGrid
    from rim_lensing.lensing.lens_parameters import LensParameters
    from rim_lensing.simulation.priors import Priors

_FILE = "FITS file, or one of its extensions: 'FILE.fits[NAME]'"
LENS_NAMES = "theta_E, and of e1, e2, x, y, gamma1, gamma2, slope those that are not the default"


@dataclass(frozen=True)
class UserImage:
    """An image that a user wants explained, cut to the field of a model.

    Args:
        arguments: image, noise, psf, mask and pixel_scale, as `reconstruct` takes them.
        grid: Pixels that it is to have: the model's, or its own.
        header: Of the image.
        offset: Where the crop centre lies off the middle of the field, (x, y) in arcsec.
    """

    arguments: dict
    grid: "PixelGrid"
    header: "Header"
    offset: tuple[float, float]

    def in_field(self, lens: "LensParameters") -> "LensParameters":
        """Return a lens, given relative to the crop centre, relative to the field's middle."""
        return replace(lens, x=lens.x + self.offset[0], y=lens.y + self.offset[1])

    def as_option(self, lens: "np.ndarray") -> str:
        """Return what --lens takes: the reverse of `in_field`, as text."""
        from rim_lensing.lensing.lens_parameters import LensParameters

        given = LensParameters.from_array(lens)
        given = replace(given, x=given.x - self.offset[0], y=given.y - self.offset[1])
        values = {field.name: getattr(given, field.name) for field in fields(given)}
        if given.slope == 1:
            del values["slope"]
        return ",".join(f"{name}={value:.6g}" for name, value in values.items())

    def search_ranges(self, priors: "Priors", centre_range: float | None) -> "Priors":
        """Return priors that hold all lens centres close enough to the crop centre.

        They hold as many on the other side of the field's middle: x and y have the same range.

        Args:
            priors: Of the model.
            centre_range: How far off the crop centre, in x and in y, arcsec; by default as far as
                `priors` has it off the middle of the field.
        """
        low, high = priors.centre if centre_range is None else (-centre_range, centre_range)
        reach = max(map(abs, self.offset))
        return replace(priors, centre=(low - reach, high + reach))

    def check(self) -> None:
        """Raise the errors that a model would raise; loads no Keras."""
        from rim_lensing.inference.observation import check_image

        check_image(**self.arguments, image_grid=self.grid)


def add_image_options(command: argparse.ArgumentParser) -> None:
    """Add what `read_user_image` reads."""
    command.add_argument("image", metavar="IMAGE", help=f"lens light subtracted; {_FILE}")
    command.add_argument("--noise", required=True, help=f"rms of the noise: a number, or a {_FILE}")
    command.add_argument(
        "--psf",
        required=True,
        help=f"width sigma of a Gaussian in arcsec, or an image of odd side and sum 1: {_FILE}",
    )
    command.add_argument(
        "--normalise-psf",
        action="store_true",
        help="divide the PSF image by its sum; without this a sum other than 1 is refused",
    )
    command.add_argument("--mask", help=f"1 where a pixel is used, 0 elsewhere: {_FILE}")
    command.add_argument(
        "--pixel-scale", type=float, metavar="ARCSEC", help="instead of the header's"
    )
    command.add_argument(
        "--crop-centre",
        metavar="X,Y",
        help="pixel of the lens in the image (and in noise map and mask), counted from 1 as in "
        "DS9, around which the model's field is cut out. The lens's x and y on the command line "
        "are relative to it; those in the files are relative to the middle of the field, from "
        "which it lies `crop_centre` arcsec, half a pixel or less",
    )
    command.add_argument(
        "--own-pixels",
        action="store_true",
        help="take the image's own pixels instead of the model's: with --crop-centre as many as "
        "cover the model's field, without it all of a square image; the source's pixels stay the "
        "model's",
    )


def add_centre_range(command: argparse.ArgumentParser) -> None:
    """Add --centre-range, which `check_centre_range` checks."""
    command.add_argument(
        "--centre-range",
        type=float,
        metavar="ARCSEC",
        help="how far off the crop centre (or the image's middle) the lens may lie at least, in x "
        "and in y; by default as far as in the model's training",
    )


def check_centre_range(centre_range: float | None) -> None:
    """Raise ValueError if it is no positive number."""
    if centre_range is not None and not 0 < centre_range < math.inf:
        raise ValueError(f"--centre-range must be positive. Received: {centre_range}")


def read_user_image(options: argparse.Namespace, model_grid: "PixelGrid") -> UserImage:
    """Read the files that the options name, and cut the model's field out of them.

    Args:
        options: Of `add_image_options`.
        model_grid: Pixels of the model's images.

    Raises:
        ValueError: A file or a number breaks a rule.
        FileNotFoundError: There is no such file.
    """
    from rim_lensing.io import offset_in_cutout

    if options.pixel_scale is not None and not 0 < options.pixel_scale < math.inf:
        raise ValueError(f"--pixel-scale must be positive. Received: {options.pixel_scale}")
    centre = _parse_centre(options.crop_centre)
    image = _read(options.image, options.pixel_scale)
    if image.pixel_scale is None:
        raise ValueError(
            f"The header of {options.image} does not tell the pixel scale: give --pixel-scale"
        )
    maps = {
        "noise": _number_or_array(options.noise, "--noise", image.pixel_scale),
        "mask": None if options.mask is None else _read(options.mask, image.pixel_scale).array,
    }
    for name, array in maps.items():
        if array is not None and getattr(array, "ndim", 0) and array.shape != image.array.shape:
            raise ValueError(
                f"--{name} must have the image's shape {image.array.shape}. Received: {array.shape}"
            )
    grid = model_grid
    if options.own_pixels:
        grid = _own_grid(image, centre, model_grid)
    offset, side = (0.0, 0.0), grid.side
    if centre is not None:
        rows, columns = offset_in_cutout(image.array.shape, side, centre)
        offset = (columns * image.pixel_scale, rows * image.pixel_scale)
    image, maps = _cut(image, maps, side, centre)
    arguments = maps | {
        "image": image.array,
        "psf": _read_psf(options.psf, image.pixel_scale, options.normalise_psf),
        "pixel_scale": image.pixel_scale,
    }
    return UserImage(arguments, grid, image.header, offset)


def _own_grid(
    image: "FitsImage", centre: tuple[float, float] | None, model_grid: "PixelGrid"
) -> "PixelGrid":
    """Return the image's own pixels: all of them, or those that cover the model's field."""
    from rim_lensing.lensing.grids import PixelGrid

    if centre is not None:
        return PixelGrid(round(model_grid.width / image.pixel_scale), image.pixel_scale)
    rows, columns = image.array.shape
    if rows != columns:
        raise ValueError(
            "--own-pixels needs a square image, or --crop-centre X,Y, around which one is cut out. "
            f"Received: {columns} x {rows} pixels"
        )
    return PixelGrid(rows, image.pixel_scale)


def parse_lens(text: str, option: str = "--lens") -> "LensParameters":
    """Return the lens in a string such as theta_E=1.2,e1=0.1.

    Args:
        text: What the user wrote.
        option: Where.

    Raises:
        ValueError: It is something else, or no lens.
    """
    from rim_lensing.lensing.lens_parameters import LensParameters

    names = [field.name for field in fields(LensParameters)]
    values = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if not equals or name not in names or name in values:
            raise ValueError(
                f"{option} must be NAME=VALUE,... with each of {', '.join(names)} at most once. "
                f"Received: {part!r} in {text!r}"
            )
        values[name] = _number(number, f"{option} {name}")
    if "theta_E" not in values:
        raise ValueError(f"{option} must name theta_E. Received: {text!r}")
    return LensParameters(**values)


def _parse_centre(text: str | None) -> tuple[float, float] | None:
    """Return (row, column) from 0 of a string X,Y that counts from 1."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2:
        raise ValueError(f"--crop-centre must be X,Y. Received: {text!r}")
    x, y = (_number(part, "--crop-centre") for part in parts)
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(f"--crop-centre must be finite. Received: {text!r}")
    return y - 1, x - 1


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number. Received: {text!r}") from None


def _read(text: str, pixel_scale: float | None = None) -> "FitsImage":
    """Read FILE or FILE[EXTENSION]; a pixel scale that is given replaces the header's."""
    from rim_lensing.io import read_image

    named = re.fullmatch(r"(.+)\[([^\[\]]+)\]", text)
    path, extension = named.groups() if named and not Path(text).exists() else (text, None)
    return read_image(path, extension=extension, pixel_scale=pixel_scale)


def _number_or_array(text: str, name: str, pixel_scale: float) -> "float | np.ndarray":
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return _read(text, pixel_scale).array
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{name} must be a number or a FITS file: {error}") from None


def _read_psf(text: str, pixel_scale: float, normalise: bool) -> "float | np.ndarray":
    """Return a width in arcsec or a kernel, and refuse one on other pixels than the image's."""
    from rim_lensing.inference.observation import PIXEL_SCALE_TOLERANCE

    try:
        return float(text)
    except ValueError:
        pass
    try:
        psf = _read(text)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"--psf must be a number or a FITS file: {error}") from None
    scale = psf.pixel_scale
    if scale is not None and abs(scale / pixel_scale - 1) > PIXEL_SCALE_TOLERANCE:
        raise ValueError(
            f"--psf must have the image's pixels of {pixel_scale:g}\": resample it, and divide it "
            f'by its sum. Received: pixels of {scale:g}"'
        )
    total = psf.array.sum()
    # A sum that no division mends is left to the check of the kernel, which says why.
    return psf.array / total if normalise and total > 0 else psf.array


def _cut(
    image: "FitsImage", maps: dict, side: int, centre: tuple[float, float] | None
) -> tuple["FitsImage", dict]:
    """Cut the model's field out of image and maps, if a centre is given."""
    from rim_lensing.io import cutout

    rows, columns = image.array.shape
    if centre is None:
        if max(rows, columns) > side:
            raise ValueError(
                f"The image has {columns} x {rows} pixels, the model takes {side} x {side}: say "
                "where the lens is, --crop-centre X,Y"
            )
        return image, maps
    cut_maps = {
        name: cutout(array, side, centre) if getattr(array, "ndim", 0) else array
        for name, array in maps.items()
    }
    return image.cutout(side, centre), cut_maps

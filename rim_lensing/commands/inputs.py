"""A user's image: the options that name its files and its field, and how they are read."""

import argparse
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from rim_lensing.files.fits_files import FitsImage
    from rim_lensing.lensing.grids import PixelGrid
    from rim_lensing.lensing.mass_model import MassModel
    from rim_lensing.observation.normalised import NormalisedObservation
    from rim_lensing.observation.observation import Observation
    from rim_lensing.simulation.priors import Priors

_FILE = "FITS file, or one of its extensions: 'FILE.fits[NAME]', 'FILE.fits[NAME,VERSION]'"
SIE_NAMES = "theta_E (arcsec), and of e1, e2, x, y (arcsec), gamma1, gamma2 those that are not 0"
LENS_NAMES = (
    f"{SIE_NAMES}, and the slope if not 1 (isothermal); lenstronomy's conventions, x along the "
    "columns: from a frame of right ascension, east left, change the signs of e2, gamma2 and x"
)

SAME_PIXELS = 0.01
"""Pixels that differ from the model's by no more than this fraction are taken as they are, unasked:
HST's 0.0396" for a model of 0.04". The field hardly changes, and the lengths come out right. A
larger difference may be a mistake: the user says --own-pixels."""


@dataclass(frozen=True)
class UserImage:
    """An image that a user wants explained, cut to the field of a model.

    Args:
        observation: What was observed.
        grid: Pixels that it is to have: the model's, or its own.
        offset: Where the crop centre lies off the middle of the field, (x, y) in arcsec.
    """

    observation: "Observation"
    grid: "PixelGrid"
    offset: tuple[float, float]

    def in_field(self, lens: "MassModel") -> "MassModel":
        """Return a lens that is relative to the crop centre relative to the middle of the field."""
        return lens.with_values(lens.values + self._shifts(lens))

    def as_option(self, lens: "MassModel") -> str | None:
        """Return what --lens takes: the reverse of `in_field`, as text; None of other components.

        Args:
            lens: As the files have it.
        """
        from rim_lensing.lensing.mass_model import SHORT_FORMS

        if lens.form not in SHORT_FORMS.values():
            return None
        pairs = zip(lens.labels, lens.values - self._shifts(lens), strict=True)
        return ",".join(f"{name}={value:.6g}" for name, value in pairs)

    def _shifts(self, lens: "MassModel") -> list[float]:
        """Return what the crop centre's offset adds to each parameter, (p,)."""
        by_name = dict(zip("xy", self.offset, strict=True))
        return [by_name.get(parameter.name, 0.0) for parameter in lens.parameters]

    def search_ranges(self, priors: "Priors", options: argparse.Namespace) -> "Priors":
        """Return priors with the ranges that the user wants instead.

        They hold all lens centres close enough to the crop centre, and as many on the other side of
        the field's middle: x and y have the same range.

        Args:
            priors: Of the model.
            options: Of `add_search_ranges`.
        """
        wanted = options.centre_range
        low, high = priors.centre if wanted is None else (-wanted, wanted)
        reach = max(map(abs, self.offset))
        return replace(priors, centre=(low - reach, high + reach), **dict(options.range))

    def check(self, lens: "np.ndarray | None" = None) -> "NormalisedObservation":
        """Raise the errors that a model would raise; loads no Keras.

        Args:
            lens: Relative to the crop centre, if there is one.
        """
        from rim_lensing.observation.checks import check_image, check_observation

        if lens is None:
            return check_image(self.observation, image_grid=self.grid)
        return check_observation(self.observation, lens=self.in_field(lens), image_grid=self.grid)


def add_image_options(command: argparse.ArgumentParser, raw: bool = False) -> None:
    """Add what `read_user_image` reads.

    Args:
        command: Whose options they are.
        raw: It takes raw cutouts, too, whose noise may be measured.
    """
    image = "lens light subtracted, or raw" if raw else "lens light subtracted"
    command.add_argument("image", metavar="IMAGE", help=f"{image}; {_FILE}")
    measured = " (default, of a raw cutout: measured on blank sky)" if raw else ""
    command.add_argument(
        "--noise",
        required=not raw,
        help=f"rms of the noise: a number, or a {_FILE}{measured}",
    )
    command.add_argument(
        "--psf",
        required=not raw,
        help="width sigma of a Gaussian in arcsec, or an image of the PSF; it may be on finer "
        f"pixels than the image's, as its header or --psf-oversampling tells: {_FILE}",
    )
    command.add_argument(
        "--psf-oversampling",
        type=float,
        metavar="FACTOR",
        help="pixels of the image over those of the PSF (default: told by the headers, or 1)",
    )
    command.add_argument(
        "--ray-oversampling",
        type=int,
        metavar="RAYS",
        help="rays per pixel along each axis, blurred on as fine pixels; 1 averages an oversampled "
        "PSF over the image's (default: the PSF's oversampling if it is whole, 3 at most)",
    )
    command.add_argument("--mask", help=f"1 where a pixel is used, 0 elsewhere: {_FILE}")
    command.add_argument(
        "--mask-marks",
        choices=("used", "masked"),
        default="used",
        help="what 1 in the mask's file marks; PyAutoLens's files have 1 where a pixel is masked "
        "(default: used)",
    )
    command.add_argument(
        "--allow-hidden-arcs",
        action="store_true",
        help="take a mask that hides most of what is bright; without this it is refused",
    )
    command.add_argument(
        "--mask-missing",
        action="store_true",
        help="mask pixels that are NaN in image or noise map, and those of the model's field that "
        "lie beyond a small image; without this they are refused (infinite noise is a mask anyway)",
    )
    command.add_argument(
        "--pixel-scale", type=float, metavar="ARCSEC", help="of the image, instead of the header's"
    )
    command.add_argument(
        "--crop-centre",
        metavar="X,Y",
        help="pixel of the lens in the image (and in noise map and mask), counted from 1 as in "
        "DS9, around which the model's field is cut out. On the command line the lens's x and y "
        "are relative to this point. In the files they are relative to the middle of the field: "
        "`crop_centre_offset` (arcsec, half a pixel or less) has been added to them",
    )
    command.add_argument(
        "--own-pixels",
        action="store_true",
        help="take the image's own pixels instead of the model's: with --crop-centre as many as "
        "cover the model's field, without it all of a square image; the source's pixels stay the "
        "model's",
    )


def read_user_image(options: argparse.Namespace, model_grid: "PixelGrid") -> UserImage:
    """Read the files that the options name, and cut the model's field out of them.

    The result's grid is the model's, or has the image's own pixels: with --own-pixels, and where
    they are SAME_PIXELS.

    Args:
        options: Of `add_image_options`.
        model_grid: Pixels of the model's images.

    Raises:
        ValueError: Files or numbers break rules: all that can be told at once.
        FileNotFoundError: There is no such file.
    """
    from rim_lensing.files.cutouts import offset_in_cutout
    from rim_lensing.observation.checks import check_pixel_scale
    from rim_lensing.observation.masks import Mask
    from rim_lensing.observation.reading import read_observation, read_part
    from rim_lensing.problems import Problems

    problems, centre, image, grid = Problems(), None, None, None
    with problems.noted():
        if options.noise is None:
            raise ValueError(
                "--noise must be given for an image whose light is subtracted: of a raw cutout "
                "alone it is measured"
            )
    given_scale = options.pixel_scale
    with problems.noted():
        if given_scale is not None and not 0 < given_scale < math.inf:
            given_scale = None
            raise ValueError(f"--pixel-scale must be positive. Received: {options.pixel_scale}")
    with problems.noted():
        centre = parse_centre(options.crop_centre)
    with problems.noted():
        image = read_part("image", options.image, given_scale, centre)
        if image.pixel_scale is None:
            raise ValueError(
                f"The header of {options.image} does not tell the pixel scale: give --pixel-scale"
            )
    if image is not None:
        with problems.noted():
            _check_centre(options.crop_centre, centre, image.array.shape)
    if image is not None and image.pixel_scale is not None:
        with problems.noted():
            grid = _grid_for(image, centre, model_grid, options.own_pixels)
            # Before the size: who has cropped the image to the model's side has not yet mended its
            # scale.
            check_pixel_scale(image.pixel_scale, grid)
            _check_size(image.array.shape, centre, grid)
    with problems.noted():
        observation = read_observation(
            options.image if image is None else image,
            1.0 if options.noise is None else options.noise,
            options.psf,
            Mask(options.mask, options.mask_marks, options.allow_hidden_arcs),
            pixel_scale=given_scale,
            centre=centre,
            psf_oversampling=options.psf_oversampling,
            ray_oversampling=options.ray_oversampling,
        )
    problems.raise_all()
    if options.mask_missing:
        observation = observation.mask_missing()
        rows, columns = image.array.shape
        centre = centre or ((rows - 1) / 2, (columns - 1) / 2)
    offset = (0.0, 0.0)
    if centre is not None:
        off = offset_in_cutout(image.array.shape, grid.side, centre)
        offset = (off[1] * image.pixel_scale, off[0] * image.pixel_scale)
        observation = _cut(observation, grid.side, centre, options.mask_missing)
    return UserImage(observation, grid, offset)


def _check_centre(text: str, centre: tuple[float, float] | None, shape: tuple) -> None:
    """Refuse a crop centre that is not on the image."""
    rows, columns = shape
    if centre and not (-0.5 <= centre[0] <= rows - 0.5 and -0.5 <= centre[1] <= columns - 0.5):
        raise ValueError(
            f"--crop-centre must be X,Y within the image of {columns} x {rows} pixels, counted "
            f"from 1. Received: {text}"
        )


def _check_size(shape: tuple, centre: tuple[float, float] | None, grid: "PixelGrid") -> None:
    """Refuse an image that is to be cut out of, without a word where."""
    if centre is None and max(shape) > grid.side:
        raise ValueError(
            f"The image has {shape[1]} x {shape[0]} pixels, the model takes {grid.side} x "
            f"{grid.side}: say where the lens is, --crop-centre X,Y"
        )


def _grid_for(
    image: "FitsImage",
    centre: tuple[float, float] | None,
    model_grid: "PixelGrid",
    own_pixels: bool,
) -> "PixelGrid":
    """Return the pixels that the image is to have: the model's, or its own."""
    from rim_lensing.lensing.grids import PixelGrid
    from rim_lensing.observation.checks import PIXEL_SCALE_TOLERANCE

    if own_pixels:
        return _own_grid(image, centre, model_grid)
    ratio = image.pixel_scale / model_grid.pixel_scale
    # Not abs(ratio - 1), which rounding may put on the other side of the bound.
    nearly = 1 - SAME_PIXELS <= ratio <= 1 + SAME_PIXELS
    if nearly and abs(ratio - 1) > PIXEL_SCALE_TOLERANCE:
        return PixelGrid(model_grid.side, image.pixel_scale)
    return model_grid


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


def parse_centre(text: str | None) -> tuple[float, float] | None:
    """Return (row, column) from 0 of a string X,Y that counts from 1."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2:
        raise ValueError(f"--crop-centre must be X,Y. Received: {text!r}")
    x, y = (number_in(part, "--crop-centre") for part in parts)
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(f"--crop-centre must be finite. Received: {text!r}")
    return y - 1, x - 1


def number_in(text: str, name: str) -> float:
    """Return the number in a text; ValueError, which names the option, if there is none."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number. Received: {text!r}") from None


def tell_psf(image: UserImage, checked: "NormalisedObservation") -> None:
    """Print how sharp a PSF is that was read from a file: an oversampled one is seen by that.

    Args:
        image: Of a width in arcsec nothing is printed.
        checked: The same, brought to form.
    """
    if image.observation.psf.ndim < 2:
        return
    side, rays = checked.blur.shape[-1], checked.ray_oversampling
    scale = image.grid.pixel_scale / rays
    print(
        f'PSF: {side} x {side} pixels of {scale:g}", as sharp as a Gaussian of '
        f'sigma {checked.psf_sigma[0]:.3g}"' + (f", {rays} x {rays} rays a pixel" * (rays > 1))
    )


def _cut(
    observation: "Observation", side: int, centre: tuple[float, float], beyond: bool
) -> "Observation":
    """Cut the model's field out of an observation, with or without pixels beyond it."""
    try:
        return observation.crop(side, centre, beyond)
    except ValueError:
        rows, columns = observation.image.shape
        x, y = centre[1] + 1, centre[0] + 1
        raise ValueError(
            f"The field of {side} x {side} pixels around --crop-centre {x:g},{y:g} must lie within "
            f"the image of {columns} x {rows}: choose another, or --mask-missing masks what lies "
            "beyond"
        ) from None

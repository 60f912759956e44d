"""From files to an Observation: FITS files, their extensions, and numbers in their place."""

import os
import re
from dataclasses import replace
from pathlib import Path

from rim_lensing.files.fits_files import FitsImage, read_image
from rim_lensing.observation.given_arrays import check_oversampling
from rim_lensing.observation.masks import Mask
from rim_lensing.observation.observation import Observation
from rim_lensing.problems import Problems


def read_observation(
    image,
    noise,
    psf,
    mask=None,
    *,
    pixel_scale: float | None = None,
    centre: tuple[float, float] | None = None,
    noise_correlation=None,
    psf_oversampling: float | None = None,
    ray_oversampling: int | None = None,
) -> Observation:
    """Read what was observed from FITS files; all problems are reported together.

    Each of the maps is a path, "FILE.fits[NAME]" or "FILE.fits[NAME,VERSION]" for an extension, a
    number (also as text), or what `Observation` takes.

    Args:
        image: Lens light and background subtracted.
        noise: rms of the noise.
        psf: Kernel, or width in arcsec.
        mask: 1 where a pixel is used; or a `Mask` of one of these, which says what 1 marks.
        pixel_scale: arcsec; instead of the headers' of image, noise and mask.
        centre: (row, column) around which the pixel scale is measured; by default the middle.
        noise_correlation: See `Observation`.
        psf_oversampling: See `Observation`; with `pixel_scale` the header of the PSF is not looked
            at.
        ray_oversampling: See `Observation`.

    Raises:
        ValueError: As `read_image` and `Observation`.
        FileNotFoundError: There is no such file, and nothing else is wrong.

    Example:
        >>> seen = rim_lensing.read_observation("lens.fits[SCI]", "lens.fits[ERR]", "psf.fits")
        >>> model.reconstruct(seen.crop(64, centre=(310, 295)), lens=lens)
    """
    problems, parts = Problems(), {}
    meant = mask if isinstance(mask, Mask) else Mask(mask)
    given = {
        "image": image,
        "noise": noise,
        "mask": meant.pixels,
        "noise_correlation": noise_correlation,
    }
    for name, value in given.items():
        with problems.noted():
            parts[name] = read_part(name, value, pixel_scale, centre)
    if parts.get("mask") is not None:
        parts["mask"] = replace(meant, pixels=parts["mask"])
    with problems.noted():
        parts["psf"] = _read_psf(psf, pixel_scale, psf_oversampling)
    # What can be said of the others is said, too.
    rest = {name: parts.get(name, 1.0) for name in ("noise", "psf")}
    if "image" in parts:
        with problems.noted():
            observation = Observation(
                parts["image"],
                **rest,
                mask=parts.get("mask"),
                pixel_scale=pixel_scale,
                noise_correlation=parts.get("noise_correlation"),
                psf_oversampling=psf_oversampling if "psf" in parts else None,
                ray_oversampling=ray_oversampling,
            )
    problems.raise_all()
    return observation


def read_named(
    text: str | os.PathLike,
    pixel_scale: float | None = None,
    centre: tuple[float, float] | None = None,
) -> FitsImage:
    """Read FILE or FILE[EXTENSION]; the other arguments, and the errors, are `read_image`'s."""
    named = re.fullmatch(r"(.+)\[([^\[\]]+)\]", os.fspath(text))
    if named and not Path(text).exists():
        path, extension = named.groups()
        return read_image(path, extension, pixel_scale, centre=centre)
    return read_image(text, pixel_scale=pixel_scale, centre=centre)


def read_part(
    name: str,
    value,
    pixel_scale: float | None = None,
    centre: tuple[float, float] | None = None,
):
    """Return the number or the image that a text means; what is no text, as it is.

    Args:
        name: "image", "noise", ...: for messages.
        value: Text, a path, or anything else.
        pixel_scale: As `read_image`, and so are `centre` and the errors.
        centre: (row, column).
    """
    if not isinstance(value, str | os.PathLike):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        pass
    try:
        return read_named(value, pixel_scale, centre)
    except FileNotFoundError as error:
        what = "a FITS file" if name == "image" else "a number or a FITS file"
        raise FileNotFoundError(f"`{name}` must be {what}: {error}") from None


def _read_psf(psf, pixel_scale: float | None, oversampling: float | None):
    """Return a width in arcsec, or a kernel with the scale of its pixels where that is known."""
    if pixel_scale is not None and oversampling is not None:
        # What is said holds instead of what headers say.
        return read_part("psf", psf, pixel_scale / check_oversampling(oversampling))
    try:
        return read_part("psf", psf, None)
    except ValueError:
        if pixel_scale is None:
            raise
        # What is said of the image's pixels holds for a PSF whose header cannot be read.
        return read_part("psf", psf, pixel_scale)

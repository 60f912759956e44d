"""What is given beside an image, noise, mask and PSF, as arrays of its shape. No Keras."""

import warnings
from dataclasses import replace

import numpy as np

from rim_lensing.observation.arguments import (
    Given,
    arcsecond,
    arcseconds,
    in_unit_of_image,
    numbers,
    understand,
)
from rim_lensing.observation.masks import MASK_CONVENTION, Mask
from rim_lensing.observation.psf_forms import SAME_SCALE


def check_oversampling(factor) -> float:
    """Return pixels of the image over those of the PSF as a plain number.

    Raises:
        ValueError: It is not one positive number.
    """
    array = numbers("psf_oversampling", factor)
    if array.size != 1 or not 0 < array.item() < np.inf:
        raise ValueError(f"`psf_oversampling` must be one positive number. Received: {factor}")
    return array.item()


def check_rays(asked) -> int | None:
    """Return the rays per pixel and axis that were asked for as a plain integer.

    Raises:
        ValueError: It is not one positive integer.
    """
    if asked is None:
        return None
    number = numbers("ray_oversampling", asked)
    if number.size != 1 or number.item() < 1 or number.item() % 1:
        raise ValueError(f"`ray_oversampling` must be a positive integer. Received: {asked}")
    return int(number.item())


def noise_maps(noise, image: Given | None, pixel_scale: float | None) -> np.ndarray:
    """Return the noise as maps in the image's unit, infinite where it is masked."""
    if noise is None:
        raise ValueError("`noise` must be given: the rms of the noise, a number or a map")
    given = understand("noise", noise)
    if image is None:
        return given.array
    _check_same_pixels("noise", given, pixel_scale)
    array, doubt = in_unit_of_image(given, image)
    if doubt:
        warnings.warn(doubt, UserWarning, stacklevel=6)
    if given.used is not None:
        array = np.where(given.used, array, np.inf)
    return _as_maps(array, image.array.shape)


def _as_maps(noise: np.ndarray, shape: tuple) -> np.ndarray:
    """Return the noise with the image's shape."""
    batch = shape[0] if len(shape) == 3 else 1
    if noise.ndim == 1 and len(noise) == batch:
        noise = noise.reshape(-1, *(1,) * (len(shape) - 1))
        noise = noise[0] if len(shape) == 2 else noise
    elif noise.ndim and noise.shape not in (shape[-2:], (1, *shape[-2:]), shape):
        raise ValueError(
            f"`noise` must be a number, one per system ({batch},), a map {shape[-2:]}, or "
            f"maps {(batch, *shape[-2:])}. Received: shape {noise.shape}"
        )
    return np.broadcast_to(
        noise.reshape(noise.shape[-2:]) if noise.ndim > len(shape) else noise, shape
    )


def _check_same_pixels(name: str, given: Given, pixel_scale: float | None) -> None:
    """Refuse a map whose header tells of other pixels than the image has."""
    told = given.pixel_scale
    if told is None or pixel_scale is None or abs(told / pixel_scale - 1) <= SAME_SCALE:
        return
    raise ValueError(
        f"`{name}` must have the image's pixels, of {pixel_scale:.6g}\": bring it onto them. "
        f'Received: pixels of {told:.6g}", by its header'
    )


def mask_maps(mask, image: Given | None, pixel_scale: float | None) -> np.ndarray:
    """Return the mask with the image's shape; all True by default."""
    shape = None if image is None else image.array.shape
    meant = mask if isinstance(mask, Mask) else Mask(mask)
    if meant.pixels is None:
        return np.ones(shape or (), bool)
    given = understand("mask", meant.pixels)
    _check_same_pixels("mask", given, pixel_scale)
    values = given.array
    if not np.all((values == 0) | (values == 1)):
        raise ValueError(
            f"`mask` must hold True and False, or 1 and 0, and nothing else: {MASK_CONVENTION}. "
            f"Received: values from {np.nanmin(values):g} to {np.nanmax(values):g}"
        )
    if shape is not None and values.shape not in (shape[-2:], (1, *shape[-2:]), shape):
        raise ValueError(
            f"`mask` must have the image's shape, {shape}. Received: shape {values.shape}"
        )
    used = meant.used(values)
    used = used if given.used is None else used & given.used
    if shape is None:
        return used
    return np.broadcast_to(used.reshape(shape[-2:]) if used.ndim > len(shape) else used, shape)


def given_psf(psf, pixel_scale) -> Given:
    """Return what a PSF holds: widths in arcsec, or kernels and the scale of their pixels."""
    given = understand("psf", psf)
    if given.array.ndim < 2:
        return replace(given, array=arcseconds("psf", psf), pixel_scale=None)
    if pixel_scale is not None:
        given = replace(given, pixel_scale=arcsecond("psf_pixel_scale", pixel_scale))
    if given.used is not None and not given.used.all():
        raise ValueError(
            "`psf` must have a value everywhere: set masked pixels to what they should be. "
            f"Received: {np.sum(~given.used)} masked pixels"
        )
    return given

"""The arguments of `prepare_cutout`, brought to one Observation and plain settings."""

from dataclasses import replace

import numpy as np

from rim_lensing.observation.arguments import arcsecond, numbers, understand
from rim_lensing.observation.masks import Mask
from rim_lensing.observation.observation import Observation
from rim_lensing.problems import Problems

SMALLEST_SIDE = 24
"""Pixels: on less there is no sky beside a galaxy."""


def cutout_arguments(
    image, parts: dict, mask, keep, settings: dict, centre
) -> tuple[Observation, np.ndarray, dict, tuple[float, float] | None]:
    """Return the observation, what is to be kept, the settings, and the centre.

    Args:
        image: An Observation, or an image.
        parts: noise, psf and pixel_scale beside an image, by name.
        mask: As `prepare_cutout`, and so are `keep` and `centre`.
        keep: A map.
        settings: Positive numbers or None, by name.
        centre: (row, column), or None.

    Raises:
        ValueError: All that is wrong with them.
    """
    problems, observation = Problems(), None
    with problems.noted():
        if isinstance(image, Observation):
            twice = [name for name, value in parts.items() if value is not None]
            if twice:
                raise ValueError(
                    f"`{'`, `'.join(twice)}` must be left out beside an Observation, which has "
                    "its own"
                )
            observation = image
        else:
            given = dict(parts)
            if given["noise"] is None and getattr(image, "uncertainty", None) is None:
                given["noise"] = np.nan
            observation = Observation(image, **given)
    for name, value in settings.items():
        with problems.noted():
            settings[name] = _positive(name, value)
    kept = None
    if observation is not None:
        with problems.noted():
            _check_one_image(observation)
        shape = observation.image.shape
        with problems.noted():
            meant = mask if isinstance(mask, Mask) else Mask(mask)
            if meant.pixels is not None:
                more = meant.used(_map("mask", meant.pixels, shape))
                observation = replace(
                    observation,
                    mask=Mask(observation.mask & more, allow_hidden_arcs=meant.allow_hidden_arcs),
                )
        with problems.noted():
            kept = np.zeros(shape, bool) if keep is None else _map("keep", keep, shape).astype(bool)
        with problems.noted():
            centre = _place(centre, shape)
    problems.raise_all()
    return observation, kept, settings, centre


def settings_of_header(header, unit, settings: dict) -> tuple[dict, list[str]]:
    """Return the settings with what a header tells of those that are None, and what to say.

    A header's exposure and gain count where it has a unit, too, BUNIT: without one nobody knows
    whether the image is per second.

    Args:
        header: Of the image, or None.
        unit: Of the image, or None.
        settings: `exposure`, `gain` and `saturation`, and others that are left as they are.
    """
    names = {"saturation": ("SATURATE",)}
    if unit is not None:
        names |= {"exposure": ("EXPTIME",), "gain": ("GAIN", "CCDGAIN")}
    settings, told = dict(settings), []
    for name, keywords in names.items():
        keyword = next((each for each in keywords if header and each in header), None)
        if settings[name] is None and keyword is not None:
            settings[name] = float(header[keyword])
            told.append(f"{name} {settings[name]:g} ({keyword})")
    return settings, [f"From the header: {', '.join(told)}."] if told else []


def _positive(name: str, value) -> float | None:
    """Return a setting, positive and finite, or None."""
    if value is None:
        return None
    if name == "lensed_within":
        return arcsecond(name, value)
    array = numbers(name, value)
    if array.size != 1 or not 0 < array.item() < np.inf:
        raise ValueError(f"`{name}` must be one positive number. Received: {value}")
    return array.item()


def _check_one_image(observation: Observation) -> None:
    """Refuse a batch, an image without a pixel scale, or too small a one."""
    problems = Problems()
    with problems.noted():
        if observation.is_batch:
            raise ValueError(
                "`image` must be one image (y, x): prepare the systems of a batch one by one. "
                f"Received: shape {observation.image.shape}"
            )
        if min(observation.image.shape) < SMALLEST_SIDE:
            raise ValueError(
                f"`image` must have {SMALLEST_SIDE} pixels a side at least, so that there is "
                f"something beside the galaxy. Received: shape {observation.image.shape}"
            )
    with problems.noted():
        if observation.pixel_scale is None:
            raise ValueError(
                "`pixel_scale` must be given, in arcsec: no header tells it. Received: None"
            )
    problems.raise_all()


def _map(name: str, value, shape: tuple) -> np.ndarray:
    """Return a map of 0 and 1 of an image's shape."""
    array = understand(name, value).array
    if array.shape != shape[-2:] or not np.all((array == 0) | (array == 1)):
        raise ValueError(
            f"`{name}` must be True and False, or 1 and 0, of the image's shape {shape[-2:]}. "
            f"Received: shape {array.shape}"
            + (
                ""
                if array.shape != shape[-2:]
                else f", values from {np.nanmin(array):g} to {np.nanmax(array):g}"
            )
        )
    return array


def _place(centre, shape: tuple) -> tuple[float, float] | None:
    """Return a (row, column) in the image, or None; or refuse it."""
    if centre is None:
        return None
    place = numbers("centre", centre)
    if place.shape != (2,) or not np.all((place >= 0) & (place <= np.array(shape[-2:]) - 1)):
        raise ValueError(
            f"`centre` must be a (row, column) in the image of shape {shape[-2:]}. "
            f"Received: {centre}"
        )
    return float(place[0]), float(place[1])

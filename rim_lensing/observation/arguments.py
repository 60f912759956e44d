"""The one gate: what users have, brought to plain arrays with mask, unit and pixel scale beside.

Understood are numbers and arrays, numpy's and astropy's masked arrays, quantities, NDData and
CCDData, astropy's uncertainties, and what `read_image` returns. No Keras, and astropy only where
one of its objects was given.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

_UNCERTAINTIES = {
    "std": lambda array: array,
    "var": np.sqrt,
    "ivar": lambda array: 1 / np.sqrt(array),
}
"""From what astropy's uncertainties hold to an rms, by `uncertainty_type`."""


@dataclass(frozen=True)
class Given:
    """What one argument holds.

    Args:
        array: float64.
        used: True where it is not masked, as `array`; None if it came without a mask.
        unit: As the user's object has it: an astropy unit, or a card's text; None if it has none.
        is_quantity: The unit is part of the object's type, and not a card of a header.
        pixel_scale: arcsec, where a header tells.
        header: Of a FITS file or a CCDData.
        sky: Where its pixels lie on the sky, see `pixel_scales.SkyPixels`.
        uncertainty: Of NDData: what belongs to `noise`.
    """

    array: np.ndarray
    used: np.ndarray | None = None
    unit: Any = None
    is_quantity: bool = False
    pixel_scale: float | None = None
    header: Any = None
    sky: Any = None
    uncertainty: Any = None


def understand(name: str, value) -> Given:
    """Return what an argument holds.

    Args:
        name: Of the argument, for messages.
        value: Numbers, or one of the objects named above.

    Raises:
        ValueError: It holds no real numbers, or is an object that is not understood.
    """
    if _is_fits_image(value):
        unit = (value.header or {}).get("BUNIT")
        return Given(
            _numbers(name, value.array),
            unit=unit.strip() or None if isinstance(unit, str) else None,
            pixel_scale=value.pixel_scale,
            header=value.header,
            sky=value.sky,
        )
    if hasattr(value, "uncertainty_type"):
        return _of_uncertainty(name, value)
    if hasattr(value, "uncertainty") and hasattr(value, "mask") and hasattr(value, "wcs"):
        return _of_nddata(name, value)
    if hasattr(value, "unmasked") and hasattr(value, "mask"):
        # astropy.utils.masked: True where masked, as in numpy.
        inner = understand(name, value.unmasked)
        return replace(inner, used=~np.broadcast_to(value.mask, inner.array.shape))
    if np.ma.isMaskedArray(value):
        used = ~np.ma.getmaskarray(value)
        return Given(_numbers(name, value.data), used=used)
    if hasattr(value, "unit") and hasattr(value, "to_value"):
        return Given(_numbers(name, value.value), unit=value.unit, is_quantity=True)
    if hasattr(value, "header") and hasattr(value, "data") and not isinstance(value, np.ndarray):
        raise ValueError(
            f"`{name}` must not be an HDU of a FITS file: give "
            "rim_lensing.read_image(path, extension), which knows the pixel scale, too. "
            f"Received: a {type(value).__name__}"
        )
    if isinstance(value, list | tuple) and any(hasattr(each, "unit") for each in value):
        raise ValueError(
            f"`{name}` must be one quantity, not a list of them: astropy.units.Quantity({name}). "
            f"Received: a list of {len(value)}"
        )
    if isinstance(value, list | tuple) and any(np.ma.isMaskedArray(each) for each in value):
        return understand(name, np.ma.stack(value))
    return Given(_numbers(name, value))


def numbers(name: str, value) -> np.ndarray:
    """Return an argument that has neither unit nor mask as a float64 array.

    Raises:
        ValueError: As `understand`; it has a unit other than 1, or masked elements.
    """
    given = understand(name, value)
    _refuse_masked(name, given)
    if given.is_quantity:
        factor = _factor(given.unit, "")
        if factor is None:
            raise ValueError(f"`{name}` must have no unit. Received: a quantity in {given.unit}")
        return given.array * factor
    return given.array


def arcseconds(name: str, value) -> np.ndarray:
    """Return lengths on the sky as a float64 array, in arcsec; numbers without a unit are arcsec.

    Quantities may be angles, or angles per pixel.

    Raises:
        ValueError: As `understand`; another kind of unit, or masked elements.
    """
    given = understand(name, value)
    _refuse_masked(name, given)
    if not given.is_quantity:
        return given.array
    for wanted in ("arcsec", "arcsec / pix"):
        factor = _factor(given.unit, wanted)
        if factor is not None:
            return given.array * factor
    raise ValueError(
        f"`{name}` must be a length on the sky, in arcsec or another unit of angle. "
        f"Received: a quantity in {given.unit}"
    )


def arcsecond(name: str, value) -> float:
    """Return one length on the sky in arcsec, as `arcseconds`; it must be finite and positive."""
    array = arcseconds(name, value)
    if array.size != 1 or not (np.isfinite(array).all() and np.all(array > 0)):
        raise ValueError(f"`{name}` must be a positive number of arcsec. Received: {value}")
    return array.item()


def in_unit_of_image(noise: Given, image: Given) -> tuple[np.ndarray, str | None]:
    """Return the noise in the image's unit, and what there is to be warned of.

    Args:
        noise: An rms.
        image: Whose unit is wanted.

    Raises:
        ValueError: One of the two is a quantity and the other has no unit, the units cannot be
            converted, or the noise has the unit of a variance.
    """
    if noise.unit is None or image.unit is None:
        if noise.is_quantity or image.is_quantity:
            one, other = ("noise", "image") if noise.is_quantity else ("image", "noise")
            unit = noise.unit if noise.is_quantity else image.unit
            raise ValueError(
                f"`{other}` must have a unit where `{one}` has one: give both as quantities, or "
                f"{one}.value. Received: `{one}` in {unit}, `{other}` without a unit"
            )
        return noise.array, None
    factor = _factor(noise.unit, image.unit)
    if factor is not None:
        return noise.array * factor, None
    square = _power(image.unit, 2)
    if square is not None and _factor(noise.unit, square) is not None:
        raise ValueError(
            "`noise` must be the rms, not the variance: give its square root. Received: noise in "
            f"{noise.unit}, the square of the image's unit {image.unit}"
        )
    inverse = _power(image.unit, -2)
    if inverse is not None and _factor(noise.unit, inverse) is not None:
        raise ValueError(
            "`noise` must be the rms, not a weight: give 1 / sqrt(noise). Received: noise in "
            f"{noise.unit}, one over the square of the image's unit {image.unit}"
        )
    if noise.is_quantity or image.is_quantity or _known(noise.unit) and _known(image.unit):
        raise ValueError(
            "`noise` must be in the image's unit, or one that can be converted to it. "
            f"Received: noise in {noise.unit}, image in {image.unit}"
        )
    if str(noise.unit).strip().lower() == str(image.unit).strip().lower():
        return noise.array, None
    return noise.array, (
        f"`noise` and `image` have units that cannot be compared, {noise.unit} and {image.unit}: "
        "they are taken for the same."
    )


def _is_fits_image(value) -> bool:
    """Whether this is a `FitsImage`, whose module imports this room."""
    return isinstance(getattr(value, "array", None), np.ndarray) and hasattr(value, "pixel_scale")


def _of_uncertainty(name: str, value) -> Given:
    """Return the rms that one of astropy's uncertainties holds."""
    kind = value.uncertainty_type
    if kind not in _UNCERTAINTIES:
        raise ValueError(
            f"`{name}` must be a StdDevUncertainty, VarianceUncertainty or InverseVariance, so "
            f"that its meaning is known. Received: {type(value).__name__}"
        )
    array = _numbers(name, value.array)
    unit = value.unit
    if unit is not None and kind != "std":
        unit = unit ** (0.5 if kind == "var" else -0.5)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Given(_UNCERTAINTIES[kind](array), unit=unit, is_quantity=unit is not None)


def _of_nddata(name: str, value) -> Given:
    """Return what an NDData or a CCDData holds."""
    if name in ("noise", "mask", "psf", "lens") and value.uncertainty is not None:
        raise ValueError(
            f"`{name}` must not be an NDData with an uncertainty, which may be either of the two: "
            f"give {name}={name}.uncertainty, or {name}.data. Received: a {type(value).__name__}"
        )
    array = _numbers(name, value.data)
    masked = value.mask
    used = None if masked is None else ~np.broadcast_to(np.asarray(masked, bool), array.shape)
    scale = header = sky = None
    if value.wcs is not None:
        header = value.wcs.to_header(relax=True)
        if value.wcs.has_celestial:
            from rim_lensing.files.pixel_scales import SkyPixels

            sky = SkyPixels(value.wcs.celestial, f"`{name}`")
            scale = sky.scale_at(*((side - 1) / 2 for side in array.shape[-2:]))
    return Given(
        array,
        used=used,
        unit=value.unit,
        is_quantity=value.unit is not None,
        pixel_scale=scale,
        header=header,
        sky=sky,
        uncertainty=value.uncertainty,
    )


def _numbers(name: str, value) -> np.ndarray:
    """Return plain numbers as a float64 array."""
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(value, dtype=object)
    if array.dtype.kind not in "buif":
        received = type(value).__name__ if array.dtype.kind == "O" else f"dtype {array.dtype}"
        raise ValueError(f"`{name}` must hold real numbers. Received: {received}")
    return array.astype("float64")


def _refuse_masked(name: str, given: Given) -> None:
    if given.used is not None and not given.used.all():
        raise ValueError(
            f"`{name}` must have a value everywhere. Received: {np.sum(~given.used)} masked "
            f"elements of {given.used.size}"
        )


def _as_unit(unit):
    """Return an astropy unit of a unit or a text; one that astropy does not know stays unknown."""
    from astropy import units

    return units.Unit(unit, parse_strict="silent") if isinstance(unit, str) else units.Unit(unit)


def _known(unit) -> bool:
    from astropy.units import UnrecognizedUnit

    return not isinstance(_as_unit(unit), UnrecognizedUnit)


def _power(unit, power: int):
    """Return a unit to a power, None if astropy does not know it."""
    return _as_unit(unit) ** power if _known(unit) else None


def _factor(unit, wanted) -> float | None:
    """Return by what numbers in one unit are to be multiplied to be in another, None if nothing."""
    from astropy.units import UnitConversionError

    one, other = _as_unit(unit), _as_unit(wanted)
    if not (_known(one) and _known(other)):
        return 1.0 if one == other else None
    try:
        return float(one.to(other))
    except UnitConversionError:
        return None

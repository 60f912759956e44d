"""Critical curves and caustics: where the lens mapping folds (Schneider, Ehlers & Falco 1992).

The critical curves are the contours on which the inverse magnification vanishes; the lens equation
maps them onto the caustics. A contour is found on a grid and then pulled onto the exact curve by
Newton's method, so that the grid decides which curves are found, not how well.
"""

import numpy as np
from contourpy import contour_generator
from keras import ops

from rim_lensing.backend import gradient
from rim_lensing.forks import check_process
from rim_lensing.lensing.lens_parameters import LensParameters
from rim_lensing.lensing.mass_profiles import deflection, inverse_magnification

_MARGIN = 1.3
_WIDENINGS = (1.0, 1.5, 2.25, 3.4, 5.0)  # No bound is known for lenses shallower than isothermal.
_NEWTON_STEPS = 6
_CONVERGED = 1e-7  # arcsec: the step after this one is its square.
_PIXEL_SCALE, _DEFAULT_HALF_SIDE = 0.02, 600
_MAX_SIDE = 4000


def critical_curves(
    lens, half_width: float | None = None, pixel_scale: float | None = None
) -> list[np.ndarray]:
    """Return the critical curves of one lens.

    Args:
        lens: LensParameters, or a row of 7 (SIE + shear) or 8 (EPL + shear) numbers.
        half_width: Curves are sought in the square of this half width in arcsec, centred on the
            lens. By default wide enough to hold the outermost curve.
        pixel_scale: Spacing of the grid in arcsec; a smaller curve is missed. The accuracy of the
            curves does not depend on it. By default 0.02, and more for lenses of clusters.

    Returns:
        Closed curves, the one with the largest area first; each (points, 2), the columns x and y in
        arcsec, the last point equal to the first. Empty if the lens has none. An isothermal or
        steeper lens has no radial critical curve: for the isothermal one see `cut`.

    Raises:
        ValueError: A lens that is not one lens, a size that is not positive, more than
            4000 x 4000 grid points, or a curve that leaves the square.
    """
    row = _row(lens)
    finest = _PIXEL_SCALE if pixel_scale is None else pixel_scale
    _check_positive("pixel_scale", finest)
    tensor, given = _tensor(row), half_width is not None
    if not given:
        half_width = _default_half_width(row, finest)
    _check_positive("half_width", half_width)
    for widening in _WIDENINGS:
        width = half_width * widening
        spacing = max(finest, width / _DEFAULT_HALF_SIDE) if pixel_scale is None else pixel_scale
        lines = _contours(row, tensor, width, spacing)
        leaving = any(not np.array_equal(line[0], line[-1]) for line in lines)
        if given or not leaving:
            break
    if leaving:
        raise ValueError(
            "`half_width` must hold every critical curve, and one leaves the square. "
            f"Received: half_width={width:.4g}, pixel_scale={spacing:.4g}"
        )
    curves = [_refined(tensor, line, spacing) for line in lines]
    return sorted(curves, key=enclosed_area, reverse=True)


def _contours(row: np.ndarray, tensor, half_width: float, pixel_scale: float) -> list[np.ndarray]:
    """Return where the inverse magnification vanishes on a grid around the lens."""
    # An even number of points: none of them hits the singular centre of the lens.
    side = 2 * int(np.ceil(half_width / pixel_scale))
    if side > _MAX_SIDE:
        raise ValueError(
            f"`half_width` / `pixel_scale` must be at most {_MAX_SIDE // 2}. "
            f"Received: half_width={half_width}, pixel_scale={pixel_scale}"
        )
    axis = (np.arange(side) - (side - 1) / 2) * pixel_scale
    x, y = np.meshgrid(row[3] + axis, row[4] + axis)
    values = ops.convert_to_numpy(inverse_magnification(tensor, x[None], y[None]))[0]
    return contour_generator(x, y, values).lines(0.0)


def caustics(
    lens, half_width: float | None = None, pixel_scale: float | None = None
) -> list[np.ndarray]:
    """Return the caustics of one lens: its critical curves, mapped to the source plane.

    Args:
        lens: As in `critical_curves`.
        half_width: As in `critical_curves`.
        pixel_scale: As in `critical_curves`.

    Returns:
        Closed curves in the order of `critical_curves`, each (points, 2), in arcsec.

    Raises:
        ValueError: See `critical_curves`.
    """
    row = _row(lens)
    return [_to_source(row, curve) for curve in critical_curves(row, half_width, pixel_scale)]


def cut(lens, points: int = 361) -> np.ndarray:
    """Return the cut of an isothermal lens, which takes the place of its radial caustic.

    A source that crosses it outwards loses an image into the singular centre (Kormann et al. 1994,
    section 3). It is the image of an infinitesimal circle around the lens centre: the deflection
    of an isothermal lens depends on the direction alone.

    Args:
        lens: LensParameters of slope 1, or a row of 7 numbers.
        points: How many points, the last equal to the first.

    Returns:
        (points, 2): x and y in the source plane, in arcsec.

    Raises:
        ValueError: The lens is not one isothermal lens.
    """
    row = _row(lens)
    if len(row) == 8:
        raise ValueError(
            f"`lens` must be isothermal (slope 1): others have no cut. Received: slope={row[7]}"
        )
    angle = np.linspace(0.0, 2 * np.pi, points)
    centre = row[None, 3:5]
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    no_shear = np.concatenate([row[:5], [0.0, 0.0]])
    around_centre = _to_source(no_shear, centre + direction) - direction
    only_shear = np.concatenate([[0.0], row[1:]])
    return around_centre + _to_source(only_shear, centre) - centre


def enclosed_area(curve: np.ndarray) -> float:
    """Return the area inside a closed curve (points, 2), by the shoelace formula."""
    x, y = curve[:, 0], curve[:, 1]
    return float(0.5 * abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])))


def _row(lens) -> np.ndarray:
    """Return the lens as a checked row of 7 numbers, or 8 if the slope is not 1."""
    return np.asarray(LensParameters.from_array(lens))


def _check_positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"`{name}` must be a positive number of arcsec. Received: {name}={value}")


def _tensor(row: np.ndarray):
    """Return (1, 7 or 8) in double precision where the backend has it (JAX: if asked for)."""
    check_process()
    return ops.convert_to_tensor(row[None])


def _default_half_width(row: np.ndarray, pixel_scale: float) -> float:
    """Reach of the outermost curve: b / (1 - |e|) without shear, stretched by the shear.

    A bound for isothermal and steeper lenses.
    """
    ellipticity, shear = np.hypot(row[1], row[2]), np.hypot(row[5], row[6])
    slope = row[7] if len(row) == 8 else 1.0
    if shear >= 1:
        raise ValueError(
            "The shear must be below 1 for critical curves to be closed. "
            f"Received: |gamma|={shear:.4g}"
        )
    stretch = 1 / (1 - ellipticity) / (1 - shear) ** (1 / slope)
    return max(_MARGIN * row[0] * stretch, 10 * pixel_scale)


def _refined(lens, line: np.ndarray, pixel_scale: float) -> np.ndarray:
    """Pull a closed line (points, 2) onto the curve, along the inverse magnification's gradient."""

    def value(points):
        return inverse_magnification(lens, points[:, :1], points[:, 1:])[0]

    points = line[:-1]
    for _ in range(_NEWTON_STEPS):
        tensor = ops.convert_to_tensor(points, dtype=lens.dtype)
        slope = ops.convert_to_numpy(gradient(lambda p: ops.sum(value(p)), tensor))
        squared = np.maximum(np.sum(slope**2, axis=1, keepdims=True), 1e-30)
        step = -ops.convert_to_numpy(value(tensor)) * slope / squared
        # Where the curve crosses itself the gradient vanishes: stay in the cell.
        points = points + np.clip(step, -pixel_scale / 4, pixel_scale / 4)
        if np.abs(step).max() < _CONVERGED:
            break
    return np.concatenate([points, points[:1]])


def _to_source(row: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map points (points, 2) by the lens equation."""
    alpha = deflection(_tensor(row), points[:, :1], points[:, 1:])
    return points - np.concatenate([ops.convert_to_numpy(a)[0] for a in alpha], axis=1)

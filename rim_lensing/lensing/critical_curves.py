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
from rim_lensing.lensing.mass_components import NFW, SIE, Shear
from rim_lensing.lensing.mass_model import SHORT_FORMS, MassModel
from rim_lensing.lensing.mass_profiles import inverse_magnification

_MARGIN = 1.3
_WIDENINGS = (1.0, 1.5, 2.25, 3.4, 5.0)  # No bound is known for lenses shallower than isothermal.
_NEWTON_STEPS = 6
_DIFFERENCES = {True: 1e-3, False: 3e-3}
"""arcsec, in double precision and not."""
_CONVERGED = 1e-7  # arcsec: the step after this one is its square.
_MAX_AT_CURVES = 1e-3
"""Of the inverse magnification, which is 1 without a lens."""
_PIXEL_SCALE, _DEFAULT_HALF_SIDE = 0.02, 600
_MAX_SIDE = 4000


def critical_curves(
    lens, half_width: float | None = None, pixel_scale: float | None = None
) -> list[np.ndarray]:
    """Return the critical curves of one lens.

    Args:
        lens: A MassModel, LensParameters, or a row of 7 (SIE + shear) or 8 (EPL + shear) numbers.
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
    lens, given = _mass_model(lens), half_width is not None
    finest = _PIXEL_SCALE if pixel_scale is None else pixel_scale
    _check_positive("pixel_scale", finest)
    if not given:
        half_width = max(_MARGIN * _reach(lens), 10 * finest)
    _check_positive("half_width", half_width)
    for widening in _WIDENINGS:
        width = half_width * widening
        spacing = max(finest, width / _DEFAULT_HALF_SIDE) if pixel_scale is None else pixel_scale
        lines = _contours(lens, width, spacing)
        leaving = any(not np.array_equal(line[0], line[-1]) for line in lines)
        if given or not leaving:
            break
    if leaving:
        raise ValueError(
            "`half_width` must hold every critical curve, and one leaves the square. "
            f"Received: half_width={width:.4g}, pixel_scale={spacing:.4g}"
        )
    curves = [_refined(lens, line, spacing) for line in lines]
    if lens.form not in SHORT_FORMS.values():
        curves = [curve for curve in curves if _is_critical(lens, curve)]
    return sorted(curves, key=enclosed_area, reverse=True)


def _contours(lens: MassModel, half_width: float, pixel_scale: float) -> list[np.ndarray]:
    """Return where the inverse magnification vanishes on a grid around the lens."""
    # An even number of points: none of them hits the singular centre of the lens.
    side = 2 * int(np.ceil(half_width / pixel_scale))
    if side > _MAX_SIDE:
        raise ValueError(
            f"`half_width` / `pixel_scale` must be at most {_MAX_SIDE // 2}. "
            f"Received: half_width={half_width}, pixel_scale={pixel_scale}"
        )
    axis = (np.arange(side) - (side - 1) / 2) * pixel_scale
    centre_x, centre_y = _centre(lens)
    x, y = np.meshgrid(centre_x + axis, centre_y + axis)
    tensor = _tensor(lens)
    if lens.form in SHORT_FORMS.values():
        values = ops.convert_to_numpy(inverse_magnification(tensor, x[None], y[None]))[0]
    else:
        alpha = lens.form.deflection(tensor, x[None], y[None])
        (x_y, x_x), (y_y, y_x) = (
            np.gradient(ops.convert_to_numpy(each)[0], pixel_scale) for each in alpha
        )
        values = (1 - x_x) * (1 - y_y) - x_y * y_x
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
    return [to_source(lens, curve) for curve in critical_curves(lens, half_width, pixel_scale)]


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
    lens = _mass_model(lens)
    if lens.form != SHORT_FORMS[7]:
        raise ValueError(
            "`lens` must be isothermal (slope 1), one ellipsoid in shear: others have no cut. "
            f"Received: {f'slope={lens.values[-1]:g}' if lens.form == SHORT_FORMS[8] else lens}"
        )
    row = lens.values
    angle = np.linspace(0.0, 2 * np.pi, points)
    centre = row[None, 3:5]
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    no_shear = np.concatenate([row[:5], [0.0, 0.0]])
    around_centre = to_source(no_shear, centre + direction) - direction
    only_shear = np.concatenate([[0.0], row[1:]])
    return around_centre + to_source(only_shear, centre) - centre


def enclosed_area(curve: np.ndarray) -> float:
    """Return the area inside a closed curve (points, 2), by the shoelace formula."""
    x, y = curve[:, 0], curve[:, 1]
    return float(0.5 * abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])))


def to_source(lens, points: np.ndarray) -> np.ndarray:
    """Map points of the image plane, (points, 2), to the source plane by the lens equation.

    Args:
        lens: As in `critical_curves`.
        points: The columns x and y, in arcsec.
    """
    lens = _mass_model(lens)
    alpha = lens.form.deflection(_tensor(lens), points[:, :1], points[:, 1:])
    return points - np.concatenate([ops.convert_to_numpy(a)[0] for a in alpha], axis=1)


def _mass_model(lens) -> MassModel:
    """Return one lens of any kind as a mass model with its values."""
    if isinstance(lens, MassModel):
        return lens
    row = np.asarray(LensParameters.from_array(lens))
    return SHORT_FORMS[len(row)].with_values(row)


def _check_positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"`{name}` must be a positive number of arcsec. Received: {name}={value}")


def _tensor(lens: MassModel):
    """Return (1, p) in double precision where the backend has it (JAX: if asked for)."""
    check_process()
    return ops.convert_to_tensor(lens.values[None])


def _centre(lens: MassModel) -> tuple[float, float]:
    """Return where the first component that has a centre lies."""
    for component in lens.components.values():
        if hasattr(component, "x"):
            return component.x, component.y
    return 0.0, 0.0


def _reach(lens: MassModel) -> float:
    """Reach of the outermost curve: theta_E / (1 - |e|) without shear, stretched by the shear.

    A bound for one isothermal or steeper ellipsoid; of several masses the sum is taken, and how far
    they lie apart.
    """
    reach, shear, slope = 0.0, 0.0, 1.0
    centre = np.array(_centre(lens))
    for component in lens.components.values():
        if hasattr(component, "theta_E"):
            ellipticity = np.hypot(component.e1, component.e2) if isinstance(component, SIE) else 0
            apart = np.hypot(*(np.array([component.x, component.y]) - centre))
            reach += component.theta_E / (1 - ellipticity) + apart
            slope = min(slope, getattr(component, "slope", 1.0))
        elif isinstance(component, NFW):
            reach += component.alpha_Rs
        elif isinstance(component, Shear):
            shear += np.hypot(component.gamma1, component.gamma2)
    if shear >= 1:
        raise ValueError(
            "The shear must be below 1 for critical curves to be closed. "
            f"Received: |gamma|={shear:.4g}"
        )
    return reach / (1 - shear) ** (1 / slope)


def _refined(lens: MassModel, line: np.ndarray, pixel_scale: float) -> np.ndarray:
    """Pull a closed line (points, 2) onto the curve, along the inverse magnification's gradient."""
    inverse = _by_formula if lens.form in SHORT_FORMS.values() else _by_differences
    points = line[:-1]
    for _ in range(_NEWTON_STEPS):
        value, slope = inverse(lens, points)
        squared = np.maximum(np.sum(slope**2, axis=1, keepdims=True), 1e-30)
        step = -value[:, None] * slope / squared
        # Where the curve crosses itself the gradient vanishes: stay in the cell.
        points = points + np.clip(step, -pixel_scale / 4, pixel_scale / 4)
        if np.abs(step).max() < _CONVERGED:
            break
    return np.concatenate([points, points[:1]])


def _is_critical(lens: MassModel, curve: np.ndarray) -> bool:
    """Whether the inverse magnification vanishes on a line, and does not jump across 0.

    It jumps at the singular centre of an isothermal perturber, which has no critical curve there.
    """
    value, _ = _by_differences(lens, curve)
    return bool(np.abs(value).max() < _MAX_AT_CURVES)


def _by_formula(lens: MassModel, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the inverse magnification at points (points, 2) and its gradient, of a short form."""
    tensor = _tensor(lens)
    there = ops.convert_to_tensor(points, dtype=tensor.dtype)

    def value(points):
        return inverse_magnification(tensor, points[:, :1], points[:, 1:])[0, :, 0]

    slope = gradient(lambda p: ops.sum(value(p)), there)
    return ops.convert_to_numpy(value(there)), ops.convert_to_numpy(slope)


def _by_differences(lens: MassModel, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what `_by_formula` does of any mass model, by differences of its deflections.

    For the value those over four points, which are right to the fourth order of the step: the curve
    is where it vanishes. The gradient only leads there.
    """
    tensor = _tensor(lens)
    step = _DIFFERENCES["float64" in str(tensor.dtype)]
    axes = np.eye(2)[:, None]
    where, weights = np.array([-2.0, -1, 1, 2]), np.array([1.0, -8, 8, -1]) / (12 * step)
    stencil = step * where[:, None] * axes
    centres = step * np.concatenate([np.zeros((1, 2)), *(axes * [[1.0], [-1.0]])])
    # (points, where the determinant is wanted, axis of the difference, stencil, 2).
    there = points[:, None, None, None] + centres[:, None, None] + stencil
    x, y = (there[..., axis].reshape(len(points), -1) for axis in (0, 1))
    alpha_x, alpha_y = (
        ops.convert_to_numpy(each)[0].reshape(there.shape[:-1]).astype("float64") @ weights
        for each in lens.form.deflection(tensor, x, y)
    )
    (x_x, x_y), (y_x, y_y) = (np.moveaxis(each, -1, 0) for each in (alpha_x, alpha_y))
    values = (1 - x_x) * (1 - y_y) - x_y * y_x
    slope = (values[:, 1::2] - values[:, 2::2]) / (2 * step)
    return values[:, 0], slope

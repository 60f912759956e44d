"""The lens parameters: their names, order, units, and how other conventions map onto them."""

import math
from dataclasses import astuple, dataclass, fields

import numpy as np

PARAMETER_NAMES = ("theta_E", "e1", "e2", "x", "y", "gamma1", "gamma2")
"""Order of the columns of every (batch, 7) lens array; an eighth column is the EPL slope."""

LENGTHS = ("theta_E", "x", "y")
"""Those in arcsec; the others have no unit."""

MAX_ELLIPTICITY = 0.75
"""Largest |e| = (1 - q) / (1 + q) for which the series of `mass_profiles` is exact to 1e-6."""

OTHER_SLOPES = "lenstronomy's gamma and PyAutoLens's slope are this one plus 1"

_LENSTRONOMY_PROFILES = {"SIE", "EPL", "EPL_NUMBA", "PEMD", "SHEAR"}
_LENSTRONOMY_MASS = {"theta_E", "e1", "e2", "center_x", "center_y", "gamma"}
_LENSTRONOMY_SHEAR = {"gamma1", "gamma2", "ra_0", "dec_0"}


@dataclass(frozen=True)
class LensParameters:
    """A power-law ellipsoid in external shear; what is not named is 0, and the slope is 1 (SIE).

    Args:
        theta_E: Einstein radius (intermediate axis) in arcsec.
        e1: Ellipticity (1-q)/(1+q) cos 2 phi, phi the angle of the mass's major axis,
            counter-clockwise from +x.
        e2: Ellipticity (1-q)/(1+q) sin 2 phi.
        x: Lens centre along x in arcsec.
        y: Lens centre along y in arcsec.
        gamma1: External shear: alpha_x += gamma1 x + gamma2 y, alpha_y += gamma2 x - gamma1 y.
        gamma2: External shear, see gamma1.
        slope: t of kappa ~ R^-t; 1 is isothermal. lenstronomy's `gamma` is t + 1.

    Raises:
        ValueError: A parameter is no finite number, or outside what the mass profile allows.
    """

    theta_E: float
    e1: float = 0.0
    e2: float = 0.0
    x: float = 0.0
    y: float = 0.0
    gamma1: float = 0.0
    gamma2: float = 0.0
    slope: float = 1.0

    def __post_init__(self):
        """Check the values once, where they enter, as plain numbers."""
        for field in fields(self):
            object.__setattr__(self, field.name, _finite(field.name, getattr(self, field.name)))
        check_lens_array(np.array([astuple(self)], dtype="float64"))

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """Return the parameters as one row: 7 numbers, or 8 when the slope is not 1."""
        row = astuple(self)
        return np.array(row if self.slope != 1.0 else row[:-1], dtype=dtype or "float64")

    @classmethod
    def from_array(cls, array) -> "LensParameters":
        """Return the parameters in a row of 7 or 8 numbers, in the order of PARAMETER_NAMES.

        Raises:
            ValueError: Not one row of 7 or 8 numbers, or a value out of range.
        """
        array = np.asarray(array, dtype="float64")
        if array.shape not in ((7,), (8,), (1, 7), (1, 8)):
            raise ValueError(
                "`lens` must be one row of 7 numbers "
                f"({', '.join(PARAMETER_NAMES)}) or 8 (and the slope). "
                f"Received: shape {array.shape}"
            )
        return cls(*array.reshape(-1).tolist())

    @classmethod
    def from_lenstronomy(
        cls, kwargs_lens: list[dict] | tuple[list[str], list[dict]]
    ) -> "LensParameters":
        """Return the lens of lenstronomy's keywords: an SIE or EPL, and a SHEAR or none.

        The frame must be the image's own: x along the columns, y along the rows, both growing with
        the pixel's number, from the middle of the image. lenstronomy's `transform_pix2angle` may
        say otherwise. Subtract the position of the middle from center_x and center_y; and where x
        falls with the column (right ascension, north up, east left), change the signs of e2, gamma2
        and center_x (or mirror image, noise map, PSF and mask left to right).

        Args:
            kwargs_lens: One dictionary for the mass (theta_E, e1, e2, center_x, center_y and, of a
                power law, gamma), and at most one for the shear (gamma1, gamma2; its ra_0 and
                dec_0 only shift the source, and are not looked at). SPEP has the same keywords as
                EPL and is another profile, which no one can tell from here. Or the pair of
                lens_model_list and kwargs_lens, as `to_lenstronomy` returns it, which tells.

        Raises:
            ValueError: Other dictionaries, other profiles or their keywords, or a value out of
                range.
        """
        if isinstance(kwargs_lens, tuple) and [type(part) for part in kwargs_lens] == [list, list]:
            names, kwargs_lens = kwargs_lens
            if set(names) - _LENSTRONOMY_PROFILES:
                raise ValueError(
                    "`kwargs_lens` must come with a lens_model_list of an SIE or EPL and a SHEAR "
                    f"({', '.join(sorted(_LENSTRONOMY_PROFILES))}). Received: {names}"
                )
        if not all(isinstance(keywords, dict) for keywords in kwargs_lens):
            raise ValueError(
                "`kwargs_lens` must be a list of dictionaries, or the pair of lens_model_list and "
                f"kwargs_lens. Received: {kwargs_lens!r}"
            )
        masses = [keywords for keywords in kwargs_lens if "theta_E" in keywords]
        shears = [keywords for keywords in kwargs_lens if "gamma1" in keywords]
        if len(masses) != 1 or len(shears) > 1 or len(masses) + len(shears) != len(kwargs_lens):
            raise ValueError(
                "`kwargs_lens` must hold the keywords of one SIE or EPL and at most one SHEAR. "
                f"Received: {[sorted(keywords) for keywords in kwargs_lens]}"
            )
        mass, shear = masses[0], shears[0] if shears else {}
        unknown = (set(mass) - _LENSTRONOMY_MASS) | (set(shear) - _LENSTRONOMY_SHEAR)
        if unknown:
            raise ValueError(
                "`kwargs_lens` must be that of an SIE or EPL, with the keywords "
                f"{', '.join(sorted(_LENSTRONOMY_MASS))}, and of a SHEAR, with "
                f"{', '.join(sorted(_LENSTRONOMY_SHEAR))}. Received: {', '.join(sorted(unknown))}"
            )
        return cls(
            mass["theta_E"],
            mass.get("e1", 0.0),
            mass.get("e2", 0.0),
            mass.get("center_x", 0.0),
            mass.get("center_y", 0.0),
            shear.get("gamma1", 0.0),
            shear.get("gamma2", 0.0),
            mass.get("gamma", 2.0) - 1,
        )

    def to_lenstronomy(self) -> tuple[list[str], list[dict]]:
        """Return lenstronomy's lens_model_list, ["EPL", "SHEAR"], and its kwargs_lens.

        `from_lenstronomy` takes this pair, or the second alone.

        In the image's own frame, x along the columns and y along the rows: in one of right
        ascension (north up, east left) e2, gamma2 and center_x have the other sign.
        """
        mass = {name: getattr(self, name) for name in ("theta_E", "e1", "e2")}
        mass |= {"center_x": self.x, "center_y": self.y, "gamma": self.slope + 1}
        shear = {"gamma1": self.gamma1, "gamma2": self.gamma2}
        return ["EPL", "SHEAR"], [mass, shear]

    @classmethod
    def from_pyautolens(
        cls, centre, ell_comps, einstein_radius, slope=2.0, shear=(0.0, 0.0)
    ) -> "LensParameters":
        """Return the lens of PyAutoLens's PowerLaw (or Isothermal) and ExternalShear.

        Its einstein_radius is on the major axis: theta_E = einstein_radius sqrt(q)
        (2 / (1 + q))^(1 / (slope - 1)). Its y grows towards the first row of the image, ours
        towards the last: turn image, noise map, PSF and mask upside down (`image[::-1]`).

        Args:
            centre: (y, x) in arcsec.
            ell_comps: Of the mass, as PyAutoLens orders them.
            einstein_radius: arcsec.
            slope: 2 is isothermal.
            shear: (gamma_1, gamma_2).

        Raises:
            ValueError: A value out of range.
        """
        e2, e1 = ell_comps
        axis_ratio, _ = axis_ratio_from_ellipticity(e1, e2)
        if not 1 < slope < 3:
            raise ValueError(f"`slope` must lie between 1 and 3. Received: slope={slope}")
        dilution = (2 / (1 + axis_ratio)) ** (1 / (slope - 1))
        theta_E = einstein_radius * np.sqrt(axis_ratio) * dilution
        return cls(theta_E, e1, e2, centre[1], centre[0], *shear, slope - 1)


def as_lens_array(lens, batch: int | None = None, name: str = "lens") -> np.ndarray:
    """Return lens parameters of any accepted form as one checked array.

    Args:
        lens: LensParameters, a mapping of names to numbers, a sequence of either, one row
            of 7 (SIE + shear) or 8 (EPL + shear) numbers, or a (batch, 7 or 8) array. Mappings
            of which one names the slope make it a parameter, even if it is 1.
        batch: Number of systems; one lens is repeated for all of them.
        name: Of the argument that the user gave, for messages.

    Returns:
        float32 array (batch, 7) or (batch, 8).

    Raises:
        ValueError: Unknown name, wrong shape, or a value that is no finite number or out of range.
    """
    if hasattr(lens, "unit"):
        raise ValueError(
            f"`{name}` must not be one quantity, for ellipticity and shear have no unit: give "
            f"LensParameters, whose lengths may be quantities, or numbers with lengths in arcsec. "
            f"Received: a quantity in {lens.unit}"
        )
    if np.ma.is_masked(lens) or np.any(getattr(lens, "mask", False)):
        raise ValueError(
            f"`{name}` must have all its parameters. Received: masked ones, "
            f"{np.sum(np.asarray(lens.mask))} of {np.size(lens.mask)}"
        )
    lens = getattr(lens, "unmasked", lens)
    rows = list(lens) if isinstance(lens, list | tuple) else [lens]
    if rows and isinstance(rows[0], dict | LensParameters):
        with_slope = any(isinstance(row, dict) and "slope" in row for row in rows)
        rows = [row if isinstance(row, LensParameters) else _from_names(row, name) for row in rows]
        lens = np.array([astuple(row) for row in rows], dtype="float64")
        # One row with a slope makes all rows have one.
        if not with_slope and np.all(lens[:, -1] == 1.0):
            lens = lens[:, :-1]
    try:
        array = np.atleast_2d(np.asarray(lens, dtype="float64"))
    except (TypeError, ValueError):
        raise ValueError(
            f"`{name}` must be LensParameters, a dictionary of names and numbers, or "
            f"{len(PARAMETER_NAMES)} or {len(PARAMETER_NAMES) + 1} numbers a system. "
            f"Received: {lens!r}"
        ) from None
    if array.ndim != 2 or array.shape[1] not in (7, 8):
        raise ValueError(
            f"`{name}` must have 7 numbers a system "
            f"({', '.join(PARAMETER_NAMES)}) or 8 (and the slope). "
            f"Received: shape {np.shape(lens)}"
        )
    check_lens_array(array, name)
    return repeat_lens(array, batch, name).astype("float32")


def repeat_lens(array: np.ndarray, batch: int | None, name: str = "lens") -> np.ndarray:
    """Return lenses (batch, ...), one of them repeated for all systems.

    Args:
        array: (1, ...) or (batch, ...).
        batch: Number of systems; None leaves the array as it is.
        name: Of the argument that the user gave, for messages.

    Raises:
        ValueError: Another number of lenses.
    """
    if batch is not None and array.shape[0] == 1:
        array = np.repeat(array, batch, axis=0)
    if batch is not None and array.shape[0] != batch:
        raise ValueError(
            f"`{name}` must describe one system or all {batch} of the batch (one image behind many "
            "lenses: repeat it, np.repeat(image[None], len(lens), axis=0), and maps likewise). "
            f"Received: {array.shape[0]} systems"
        )
    return array


def _from_names(lens: dict, argument: str) -> LensParameters:
    """Return the lens of a mapping of names to numbers."""
    known = [field.name for field in fields(LensParameters)]
    if not isinstance(lens, dict) or set(lens) - set(known) or "theta_E" not in lens:
        raise ValueError(
            f"`{argument}` must name theta_E and may name {known[1:]}; lenstronomy's keywords go "
            "through LensParameters.from_lenstronomy. "
            f"Received: {sorted(lens) if isinstance(lens, dict) else lens}"
        )
    return LensParameters(**lens)


def _finite(name: str, value) -> float:
    """Return the value of a parameter as a number, or refuse it; lengths are in arcsec."""
    if hasattr(value, "to_value"):
        from astropy.units import UnitConversionError

        unit = "arcsec" if name in LENGTHS else ""
        try:
            value = value.to_value(unit)
        except UnitConversionError:
            raise ValueError(
                f"`{name}` must be {'an angle' if unit else 'a number without a unit'}. "
                f"Received: {value!r}"
            ) from None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"`{name}` must be a finite number. Received: {value!r}")
    return number


def check_lens_array(array: np.ndarray, name: str = "lens") -> None:
    """Raise ValueError for a (batch, 7 or 8) array that no mass profile allows.

    Args:
        array: Of lenses.
        name: Of the argument that the user gave, for messages.
    """
    if not np.all(np.isfinite(array)):
        raise ValueError(f"`{name}` must be finite. Received: {array}")
    if np.any(array[:, 0] < 0):
        raise ValueError(f"`theta_E` must not be negative. Received: theta_E={array[:, 0].min()}")
    check_ellipticity(array[:, 1], array[:, 2])
    if array.shape[1] == 8 and np.any((array[:, 7] <= 0) | (array[:, 7] >= 2)):
        raise ValueError(
            f"`slope` (kappa ~ R^-slope) must lie between 0 and 2: {OTHER_SLOPES}. "
            f"Received: slope={array[:, 7].tolist()}"
        )


def check_ellipticity(e1: np.ndarray, e2: np.ndarray) -> None:
    """Raise ValueError for ellipticities, (batch,) each, of which the mass profile is not exact."""
    modulus = np.hypot(e1, e2)
    if np.any(modulus > MAX_ELLIPTICITY):
        raise ValueError(
            "`e1`, `e2` must be an ellipticity |e| = (1-q)/(1+q) of at most "
            f"{MAX_ELLIPTICITY}. "
            f"Received: |e|={modulus.max():.4g}"
        )


def ellipticity_from_axis_ratio(axis_ratio, position_angle):
    """Return (e1, e2) of an axis ratio q = b/a in (0, 1] and the major axis's position angle.

    The angle is in radians, counter-clockwise from +x.

    Raises:
        ValueError: `axis_ratio` is outside (0, 1] or NaN.
    """
    axis_ratio = np.asarray(axis_ratio, dtype="float64")
    if not np.all((axis_ratio > 0) & (axis_ratio <= 1)):
        raise ValueError(f"`axis_ratio` must lie in (0, 1]. Received: axis_ratio={axis_ratio}")
    modulus = (1 - axis_ratio) / (1 + axis_ratio)
    return modulus * np.cos(2 * position_angle), modulus * np.sin(2 * position_angle)


def axis_ratio_from_ellipticity(e1, e2):
    """Return (axis ratio q, position angle of the major axis) of an ellipticity.

    The angle is in radians, counter-clockwise from +x.

    Raises:
        ValueError: The ellipticity's modulus (1-q)/(1+q) is not below 1.
    """
    modulus = np.hypot(e1, e2)
    if not np.all(modulus < 1):
        raise ValueError(
            "The ellipticity |e| = (1-q)/(1+q) must be below 1. "
            f"Received: |e|={np.max(modulus):.4g}"
        )
    return (1 - modulus) / (1 + modulus), 0.5 * np.arctan2(e2, e1)


def from_paper_parameters(theta_E, epsilon_x, epsilon_y, x, y, gamma_x, gamma_y):
    """Convert the paper's own set (Hezaveh et al. 2017) into a (..., 7) array of ours.

    The paper's ellipticity vector has modulus 1 - q and points along the major axis, at angle phi
    and not 2 phi, so (epsilon_x, epsilon_y) and its opposite are one lens. The shear vector is
    likewise (gamma cos phi, gamma sin phi), phi the direction of stretching.
    """
    e1, e2 = ellipticity_from_axis_ratio(
        1 - np.hypot(epsilon_x, epsilon_y), np.arctan2(epsilon_y, epsilon_x)
    )
    strength, angle = np.hypot(gamma_x, gamma_y), np.arctan2(gamma_y, gamma_x)
    return np.stack(
        np.broadcast_arrays(
            theta_E, e1, e2, x, y, strength * np.cos(2 * angle), strength * np.sin(2 * angle)
        ),
        axis=-1,
    )


def to_paper_parameters(lens) -> np.ndarray:
    """Convert a (..., 7) array into the paper's set; the inverse of `from_paper_parameters`.

    Of the two opposite vectors that describe one ellipticity (and one shear), the one with angle
    in (-pi/2, pi/2] is returned.
    """
    theta_E, e1, e2, x, y, gamma1, gamma2 = np.moveaxis(np.asarray(lens, "float64"), -1, 0)
    axis_ratio, phi = axis_ratio_from_ellipticity(e1, e2)
    strength, angle = np.hypot(gamma1, gamma2), 0.5 * np.arctan2(gamma2, gamma1)
    modulus = 1 - axis_ratio
    return np.stack(
        [
            theta_E,
            modulus * np.cos(phi),
            modulus * np.sin(phi),
            x,
            y,
            strength * np.cos(angle),
            strength * np.sin(angle),
        ],
        axis=-1,
    )

"""What a lens is made of: mass components with named parameters. No Keras: errors come fast.

Conventions are those of DESIGN section 2, which are lenstronomy's in the frame of the image: x
along the columns, y along the rows, arcsec from the image's middle, position angles
counter-clockwise from +x. The formulas are in `deflection_formulas`.
"""

import math
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import ClassVar, Self

import numpy as np

from rim_lensing.lensing.lens_parameters import MAX_ELLIPTICITY, check_ellipticity

SLOPE = (0.5, 1.5)
"""Where searches and samplers look for the slope of an EPL, by default."""

MULTIPOLES = (1, 3, 4)
"""Orders of the multipoles. The second is an ellipticity."""

_INFINITE = (-math.inf, math.inf)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a mass component.

    Args:
        name: Such as "theta_E".
        unit: "arcsec", or "" of a number without a unit.
        meaning: In words.
        default: Its value if the user does not name it.
        limits: Within which the formula holds.
        search: Range in which searches and samplers look by default.
    """

    name: str
    unit: str
    meaning: str
    default: float
    limits: tuple[float, float]
    search: tuple[float, float]


def _parameter(default: float, unit: str, meaning: str, search, limits=_INFINITE):
    """Return a dataclass field that is a parameter."""
    facts = {"unit": unit, "meaning": meaning, "search": search, "limits": limits}
    return field(default=default, metadata=facts)


_einstein_radius = partial(_parameter, 1.0, "arcsec", search=(0.0, 3.0), limits=(0.0, math.inf))
_ellipticity = partial(
    _parameter,
    0.0,
    "",
    search=(-MAX_ELLIPTICITY, MAX_ELLIPTICITY),
    limits=(-MAX_ELLIPTICITY, MAX_ELLIPTICITY),
)
_centre = partial(_parameter, 0.0, "arcsec", search=(-5.0, 5.0))
_small = partial(_parameter, 0.0, "", search=(-0.3, 0.3))


@dataclass(frozen=True)
class Component:
    """A mass component: its values, and its formula.

    Attributes:
        pairs: Pairs of parameters that turn with the sky, and how often as fast as it (their spin):
            a centre has spin 1, an ellipticity and a shear 2, a multipole of order m has m.
        lenstronomy: Name of its profile there.
        pyautolens: Name of its class there, of `al.mp`.
    """

    lenstronomy: ClassVar[str]
    pyautolens: ClassVar[str]
    pairs: ClassVar[dict[tuple[str, str], int]] = {}
    _formula: ClassVar[str]

    def __post_init__(self):
        """Check the values once, where they enter, as plain numbers."""
        for parameter in self.parameters():
            value = getattr(self, parameter.name)
            try:
                number = float(value)
            except (TypeError, ValueError):
                number = math.nan
            if not math.isfinite(number):
                raise ValueError(
                    f"`{parameter.name}` of {type(self).__name__} must be a finite number. "
                    f"Received: {value!r}"
                )
            object.__setattr__(self, parameter.name, number)
        self.check(np.array([self.values]))

    @classmethod
    def parameters(cls) -> tuple[Parameter, ...]:
        """Return the parameters, in the order of the vector's columns."""
        return tuple(
            Parameter(name=each.name, default=each.default, **each.metadata)
            for each in fields(cls)
            if each.metadata
        )

    @property
    def values(self) -> tuple[float, ...]:
        """Of the parameters."""
        return tuple(getattr(self, parameter.name) for parameter in self.parameters())

    @property
    def form(self) -> Self:
        """This component with the default values: what it is, whatever its values."""
        return replace(self, **{each.name: each.default for each in self.parameters()})

    def with_values(self, values) -> Self:
        """Return this component with other values, in the order of `parameters`."""
        names = (parameter.name for parameter in self.parameters())
        return replace(self, **dict(zip(names, values, strict=True)))

    @classmethod
    def check(cls, values: np.ndarray, name: str = "") -> None:
        """Raise ValueError for values (batch, p) of the parameters for which no formula holds.

        Args:
            values: Finite or not.
            name: Of this component in a mass model, for messages.
        """
        label = f"{name}." if name else ""
        if not np.all(np.isfinite(values)):
            raise ValueError(f"`{name or cls.__name__}` must be finite. Received: {values}")
        for parameter, column in zip(cls.parameters(), values.T, strict=True):
            low, high = parameter.limits
            wrong = (column < low) | (column > high)
            if wrong.any():
                bounds = f"from {low:g} to {high:g}" if high < math.inf else f"at least {low:g}"
                raise ValueError(
                    f"`{label}{parameter.name}` of {cls.__name__} must be {bounds}. "
                    f"Received: {column[wrong][0]:.6g}"
                )

    def deflection(self, parameters, x, y):
        """Return the deflection angle (alpha_x, alpha_y), each (batch, rows, columns), in arcsec.

        Args:
            parameters: A tensor for each parameter, in their order, that broadcasts with x and y,
                such as (batch, 1, 1). This object's own values are not looked at.
            x: (rows, columns) or (batch, rows, columns), arcsec; of the parameters' dtype.
            y: Like x.
        """
        from rim_lensing.lensing import deflection_formulas

        return getattr(deflection_formulas, self._formula)(*parameters, x, y)


@dataclass(frozen=True)
class SIE(Component):
    """Singular isothermal ellipsoid (Kormann et al. 1994), intermediate-axis theta_E."""

    theta_E: float = _einstein_radius("Einstein radius, intermediate axis")
    e1: float = _ellipticity("(1-q)/(1+q) cos 2 phi, phi the major axis, from +x to +y")
    e2: float = _ellipticity("(1-q)/(1+q) sin 2 phi")
    x: float = _centre("centre, along the columns")
    y: float = _centre("centre, along the rows")

    pairs = {("e1", "e2"): 2, ("x", "y"): 1}
    _formula = "sie"
    lenstronomy, pyautolens = "SIE", "Isothermal"

    @classmethod
    def check(cls, values: np.ndarray, name: str = "") -> None:
        """See `Component.check`; the ellipticity's modulus is bounded."""
        check_ellipticity(values[:, 1], values[:, 2])
        super().check(values, name)


@dataclass(frozen=True)
class EPL(SIE):
    """Elliptical power law (Tessore & Metcalf 2015), kappa ~ R^-slope; an SIE at slope 1."""

    slope: float = _parameter(
        1.0, "", "t of kappa ~ R^-t; lenstronomy's gamma minus 1", SLOPE, limits=(0.0, 2.0)
    )

    _formula = "epl"
    lenstronomy, pyautolens = "EPL", "PowerLaw"

    @classmethod
    def check(cls, values: np.ndarray, name: str = "") -> None:
        """See `Component.check`; the slope lies between its limits, and on neither."""
        super().check(values, name)
        slope = values[:, 5]
        if np.any((slope <= 0) | (slope >= 2)):
            raise ValueError(
                "`slope` (kappa ~ R^-slope) must lie between 0 and 2: lenstronomy's gamma is this "
                f"one plus 1. Received: slope={slope.tolist()}"
            )


@dataclass(frozen=True)
class Shear(Component):
    """External shear: alpha = (gamma1 x + gamma2 y, gamma2 x - gamma1 y), about the origin."""

    gamma1: float = _small("modulus times cos 2 phi")
    gamma2: float = _small("modulus times sin 2 phi")

    pairs = {("gamma1", "gamma2"): 2}
    _formula = "shear"
    lenstronomy, pyautolens = "SHEAR", "ExternalShear"


@dataclass(frozen=True)
class Sheet(Component):
    """Uniform sheet of mass: alpha = kappa (x, y), about the origin.

    Degenerate with the size of the source (Falco et al. 1985): hold it.
    """

    kappa: float = _small("convergence")

    _formula = "sheet"
    lenstronomy, pyautolens = "CONVERGENCE", "MassSheet"


@dataclass(frozen=True)
class SIS(Component):
    """Singular isothermal sphere."""

    theta_E: float = _einstein_radius("Einstein radius")
    x: float = _centre("centre, along the columns")
    y: float = _centre("centre, along the rows")

    pairs = {("x", "y"): 1}
    _formula = "sis"
    lenstronomy, pyautolens = "SIS", "IsothermalSph"


@dataclass(frozen=True)
class PointMass(SIS):
    """Point mass: alpha = theta_E^2 / r."""

    _formula = "point_mass"
    lenstronomy, pyautolens = "POINT_MASS", "PointMass"


@dataclass(frozen=True)
class NFW(Component):
    """Spherical halo of Navarro, Frenk & White (1997), with lenstronomy's parameters."""

    alpha_Rs: float = _parameter(
        0.5, "arcsec", "deflection at the scale radius", (0.0, 3.0), limits=(0.0, math.inf)
    )
    Rs: float = _parameter(5.0, "arcsec", "scale radius", (0.05, 30.0), limits=(1e-3, math.inf))
    x: float = _centre("centre, along the columns")
    y: float = _centre("centre, along the rows")

    pairs = {("x", "y"): 1}
    _formula = "nfw"
    lenstronomy, pyautolens = "NFW", "NFWSph"


@dataclass(frozen=True)
class Multipole(Component):
    """Circular multipole of order m, beside an ellipsoid: lopsided, triangular, boxy or disky.

    lenstronomy's MULTIPOLE, and that of its EPL_MULTIPOLE profiles: kappa = a_m / (2 r)
    cos(m (phi - phi_m)) with (a1, a2) = a_m (cos m phi_m, sin m phi_m). With phi_m along the major
    axis and a_m > 0, m = 4 is disky; a_m / theta_E is the relative amplitude of the contours.
    """

    m: int = 4
    a1: float = _parameter(0.0, "arcsec", "amplitude times cos m phi_m", (-0.2, 0.2))
    a2: float = _parameter(0.0, "arcsec", "amplitude times sin m phi_m", (-0.2, 0.2))
    x: float = _centre("centre, along the columns")
    y: float = _centre("centre, along the rows")

    lenstronomy, pyautolens = "MULTIPOLE", "PowerLawMultipole"

    def __post_init__(self):
        """Refuse orders that have no formula."""
        if self.m not in MULTIPOLES:
            raise ValueError(f"`m` of a Multipole must be one of {MULTIPOLES}. Received: {self.m}")
        super().__post_init__()

    @property
    def pairs(self) -> dict[tuple[str, str], int]:
        """See `Component`."""
        return {("a1", "a2"): self.m, ("x", "y"): 1}

    def deflection(self, parameters, x, y):
        """See `Component.deflection`."""
        from rim_lensing.lensing.deflection_formulas import multipole

        return multipole(self.m)(*parameters, x, y)


COMPONENTS: dict[str, type[Component]] = {
    kind.__name__: kind for kind in (SIE, EPL, Shear, Sheet, SIS, PointMass, NFW, Multipole)
}
"""By name."""

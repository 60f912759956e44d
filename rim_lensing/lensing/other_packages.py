"""Mass models in the words of lenstronomy and of PyAutoLens. No Keras.

All in the image's own frame: x along the columns and y along the rows, both growing with the
pixel's number, from the middle of the image. In a frame of right ascension (north up, east left) x
falls with the column: mirror image, noise map, PSF and mask left to right (or change the signs of
center_x, e2 and gamma2). PyAutoLens's y grows towards the first row of the image: turn them upside
down (`image[::-1]`).
"""

from collections.abc import Sequence

import numpy as np

from rim_lensing.lensing.lens_parameters import axis_ratio_from_ellipticity
from rim_lensing.lensing.mass_components import (
    EPL,
    NFW,
    SIE,
    SIS,
    Component,
    Multipole,
    PointMass,
    Shear,
    Sheet,
)
from rim_lensing.lensing.mass_model import MassModel

_LENSTRONOMY = {
    "SIE": SIE,
    "EPL": EPL,
    "EPL_NUMBA": EPL,
    "PEMD": EPL,
    "SIS": SIS,
    "POINT_MASS": PointMass,
    "NFW": NFW,
    "SHEAR": Shear,
    "CONVERGENCE": Sheet,
    "MULTIPOLE": Multipole,
}
"""lenstronomy's profiles and ours."""

_JOINT = {"EPL_MULTIPOLE_M1M3M4": (1, 3, 4), "EPL_MULTIPOLE_M3M4": (3, 4)}
"""Its ellipsoids with multipoles of these orders. Their relatives that end in _ELL are others."""

_RENAMED = {"x": "center_x", "y": "center_y", "slope": "gamma"}
_NOT_LOOKED_AT = {"ra_0", "dec_0", "r_E"}
"""They shift the source, and change nothing else."""

_PYAUTOLENS: dict[str, type[Component]] = {
    "Isothermal": SIE,
    "IsothermalSph": SIS,
    "PowerLaw": EPL,
    "PointMass": PointMass,
    "NFWSph": NFW,
    "ExternalShear": Shear,
    "MassSheet": Sheet,
    "PowerLawMultipole": Multipole,
}

_NFW_AT_SCALE_RADIUS = 4 * (1 - np.log(2))
"""alpha_Rs over kappa_s Rs, Bartelmann (1996)."""


def to_lenstronomy(lens: MassModel) -> tuple[list[str], list[dict]]:
    """Return lenstronomy's lens_model_list and kwargs_lens of a mass model with its values."""
    names, keywords = [], []
    for component in lens.components.values():
        values = _values(component)
        if isinstance(component, Multipole):
            amplitude, angle = _polar(component)
            values = {"m": component.m, "a_m": amplitude, "phi_m": angle} | {
                name: values[name] for name in "xy"
            }
            # Another r_E would move the source.
            values |= {"r_E": 1.0} if component.m == 1 else {}
        if "slope" in values:
            values["slope"] += 1
        names.append(component.lenstronomy)
        keywords.append({_RENAMED.get(name, name): value for name, value in values.items()})
    return names, keywords


def from_lenstronomy(
    lens_model_list: Sequence[str],
    kwargs_lens: Sequence[dict],
    names: Sequence[str] | None = None,
) -> MassModel:
    """Return the mass model of lenstronomy's lens_model_list and kwargs_lens.

    An EPL_MULTIPOLE profile becomes an EPL and its multipoles, whose names end in _m3 and so on.
    The point about which a shear or a sheet acts (ra_0, dec_0), and the r_E of a multipole of
    order 1, only shift the source, and are not looked at.

    Args:
        lens_model_list: Of a single lens plane.
        kwargs_lens: As many dictionaries.
        names: Of the components; by default "lens" for the first ellipsoid, "shear" for the first
            shear, and the profiles' own names, numbered.

    Raises:
        ValueError: A profile that has no counterpart, a keyword that it does not have, or a value
            out of range.
    """
    if len(lens_model_list) != len(kwargs_lens):
        raise ValueError(
            "`lens_model_list` and `kwargs_lens` must be of one length. "
            f"Received: {len(lens_model_list)} and {len(kwargs_lens)}"
        )
    found = []
    for profile, keywords in zip(lens_model_list, kwargs_lens, strict=True):
        if profile in _JOINT:
            found.append(_joint(profile, keywords))
        elif profile in _LENSTRONOMY:
            found.append({"": _from_keywords(_LENSTRONOMY[profile], profile, keywords)})
        else:
            raise ValueError(
                f"`lens_model_list` must have profiles of {', '.join([*_LENSTRONOMY, *_JOINT])}; "
                "of others, and of several planes, give the deflections: rl.Deflections. "
                f"Received: {profile}"
            )
    return _named(found, names)


def to_pyautolens(lens: MassModel) -> list[tuple[str, dict]]:
    """Return class and keywords of PyAutoLens's mass profiles (`al.mp`), one for each component.

    The y axis is turned as the module says: by who turns the image.

    Raises:
        ValueError: A multipole of order 1, which PyAutoLens's isothermal one does not have.
    """
    profiles = []
    for component in lens.components.values():
        values = _values(component)
        keywords = {"centre": (values["y"], values["x"])} if "x" in values else {}
        if isinstance(component, SIE):
            slope = values.get("slope", 1.0) + 1
            dilution = _major_axis(component.e1, component.e2, slope)
            keywords["ell_comps"] = (component.e2, component.e1)
            keywords["einstein_radius"] = component.theta_E / dilution
            keywords |= {"slope": slope} if isinstance(component, EPL) else {}
        elif isinstance(component, SIS):
            keywords["einstein_radius"] = component.theta_E
        elif isinstance(component, NFW):
            keywords["kappa_s"] = component.alpha_Rs / (_NFW_AT_SCALE_RADIUS * component.Rs)
            keywords["scale_radius"] = component.Rs
        elif isinstance(component, Shear):
            keywords = {"gamma_1": component.gamma1, "gamma_2": component.gamma2}
        elif isinstance(component, Sheet):
            keywords = {"kappa": component.kappa}
        elif isinstance(component, Multipole):
            _check_order(component.m)
            keywords |= {"m": component.m, "einstein_radius": 1.0, "slope": 2.0}
            keywords["multipole_comps"] = (component.a2, component.a1)
        profiles.append((component.pyautolens, keywords))
    return profiles


def from_pyautolens(
    profiles: Sequence[tuple[str, dict]], names: Sequence[str] | None = None
) -> MassModel:
    """Return the mass model of PyAutoLens's mass profiles.

    Args:
        profiles: Name of the class and its keywords, of each: ("PowerLaw", {"centre": (0.0, 0.1),
            ...}); all that it needs must be named.
        names: Of the components; by default as in `from_lenstronomy`.

    Raises:
        ValueError: A class that has no counterpart, or not at these values; other keywords.
    """
    found = []
    for kind, keywords in profiles:
        if kind not in _PYAUTOLENS:
            raise ValueError(
                f"`profiles` must be of {', '.join(_PYAUTOLENS)}; of others give the deflections: "
                f"rl.Deflections. Received: {kind}"
            )
        try:
            found.append({"": _from_pyautolens(_PYAUTOLENS[kind], **keywords)})
        except TypeError as error:
            raise ValueError(f"`profiles` of {kind} have other keywords: {error}") from error
    return _named(found, names)


def _from_pyautolens(
    kind: type[Component],
    centre=(0.0, 0.0),
    ell_comps=(0.0, 0.0),
    einstein_radius: float = 1.0,
    slope: float = 2.0,
    kappa_s: float = 0.05,
    scale_radius: float = 1.0,
    kappa: float = 0.0,
    gamma_1: float = 0.0,
    gamma_2: float = 0.0,
    m: int = 4,
    multipole_comps=(0.0, 0.0),
) -> Component:
    """Return a component of keywords of PyAutoLens's, with its defaults."""
    y, x = centre
    if issubclass(kind, SIE):
        e2, e1 = ell_comps
        theta_E = einstein_radius * _major_axis(e1, e2, slope)
        more = {"slope": slope - 1} if kind is EPL else {}
        return kind(theta_E, e1, e2, x, y, **more)
    if issubclass(kind, SIS):
        return kind(einstein_radius, x, y)
    if kind is NFW:
        return NFW(_NFW_AT_SCALE_RADIUS * kappa_s * scale_radius, scale_radius, x, y)
    if kind is Shear:
        return Shear(gamma_1, gamma_2)
    if kind is Sheet:
        return Sheet(kappa)
    _check_order(m)
    if slope != 2:
        raise ValueError(
            "`slope` of a PowerLawMultipole must be 2 (isothermal): of others give the "
            f"deflections. Received: {slope}"
        )
    a2, a1 = (einstein_radius * each for each in multipole_comps)
    return Multipole(m, a1, a2, x, y)


def _major_axis(e1: float, e2: float, slope: float) -> float:
    """Return theta_E over PyAutoLens's einstein_radius, which is on the major axis."""
    axis_ratio, _ = axis_ratio_from_ellipticity(e1, e2)
    if not 1 < slope < 3:
        raise ValueError(f"`slope` must lie between 1 and 3. Received: slope={slope}")
    return float(np.sqrt(axis_ratio) * (2 / (1 + axis_ratio)) ** (1 / (slope - 1)))


def _check_order(m: int) -> None:
    if m == 1:
        raise ValueError(
            "PyAutoLens's isothermal multipole of order 1 is infinite: give the deflections. "
            "Received: m=1"
        )


def _values(component: Component) -> dict[str, float]:
    """Return the values of a component by their names."""
    names = (parameter.name for parameter in component.parameters())
    return dict(zip(names, component.values, strict=True))


def _polar(multipole: Multipole) -> tuple[float, float]:
    """Return amplitude a_m and angle phi_m of a multipole."""
    amplitude = float(np.hypot(multipole.a1, multipole.a2))
    return amplitude, float(np.arctan2(multipole.a2, multipole.a1) / multipole.m)


def _from_keywords(kind: type[Component], profile: str, keywords: dict) -> Component:
    """Return a component of lenstronomy's keywords."""
    ours = {theirs: name for name, theirs in _RENAMED.items()}
    given = {
        ours.get(name, name): value
        for name, value in keywords.items()
        if name not in _NOT_LOOKED_AT
    }
    if kind is Multipole and {"m", "a_m", "phi_m"} <= set(given):
        m, amplitude, angle = (given.pop(name) for name in ("m", "a_m", "phi_m"))
        given |= {"a1": amplitude * np.cos(m * angle), "a2": amplitude * np.sin(m * angle)}
        given["m"] = int(m)
    if "slope" in given:
        given["slope"] -= 1
    try:
        return kind(**given)
    except TypeError:
        raise ValueError(
            f"`kwargs_lens` must have the keywords of {profile}. Received: {', '.join(keywords)}"
        ) from None


def _joint(profile: str, keywords: dict) -> dict[str, Component]:
    """Return the ellipsoid and the multipoles of an EPL_MULTIPOLE profile, by what names end in."""
    main = dict(keywords)
    perturbed = {
        m: (main.pop(f"a{m}_a", 0.0), main.pop(f"delta_phi_m{m}", 0.0)) for m in _JOINT[profile]
    }
    epl = _from_keywords(EPL, profile, main)
    axis_ratio, phi = axis_ratio_from_ellipticity(epl.e1, epl.e2)
    scale = epl.theta_E / np.sqrt(axis_ratio)
    parts: dict[str, Component] = {"": epl}
    for m, (amplitude, offset) in perturbed.items():
        angle = m * (phi + offset)
        a1, a2 = amplitude * scale * np.cos(angle), amplitude * scale * np.sin(angle)
        parts[f"_m{m}"] = Multipole(m, a1, a2, epl.x, epl.y)
    return parts


def _named(found: list[dict[str, Component]], names: Sequence[str] | None) -> MassModel:
    """Return the sum of components, given in groups by what their names end in."""
    if names is not None and len(names) != len(found):
        raise ValueError(f"`names` must be {len(found)} names. Received: {names}")
    components: dict[str, Component] = {}
    for number, parts in enumerate(found):
        kind = type(parts[""])
        usual = {SIE: "lens", EPL: "lens", Shear: "shear"}.get(kind, kind.__name__.lower())
        base = usual if names is None else names[number]
        count = 1
        while base in components and names is None:
            count += 1
            base = f"{usual}{count}"
        components |= {f"{base}{ending}": part for ending, part in parts.items()}
    return MassModel(**components)

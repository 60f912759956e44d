"""Mass models in COOLEST files (Galan et al. 2023): JSON that modelling codes share. No Keras.

COOLEST counts position angles in degrees from the +y axis towards -x (east of north, where east is
left), and its lengths in arcsec from the middle of the image. Its axes are taken to be the image's
own, as in `other_packages`.
"""

import json
import os
from pathlib import Path

import numpy as np

from rim_lensing.files.whole_files import whole_file
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.lens_parameters import (
    axis_ratio_from_ellipticity,
    ellipticity_from_axis_ratio,
)
from rim_lensing.lensing.mass_components import EPL, SIE, SIS, Component, Shear, Sheet
from rim_lensing.lensing.mass_model import MassModel

_PROFILES = ("SIE", "PEMD", "ExternalShear", "ConvergenceSheet")
"""Those of COOLEST's mass profiles that are ours, too."""

_UNKNOWN = {"mean": None, "median": None, "percentile_16th": None, "percentile_84th": None}


def write_coolest(
    lens: MassModel,
    path: str | os.PathLike,
    image_grid: PixelGrid,
    redshift: float = 0.5,
    overwrite: bool = False,
) -> None:
    """Write a mass model with its values as a COOLEST file.

    Every component becomes a galaxy, shear and sheet become mass fields, under their names; an SIS
    becomes a round SIE.

    Args:
        lens: Of SIE, EPL, SIS, Shear and Sheet: COOLEST has no others, or (NFW) in physical units.
        path: Where to, .json.
        image_grid: The image's pixels.
        redshift: Of the lens, which COOLEST wants to know; nothing here depends on it.
        overwrite: Replace a file that exists.

    Raises:
        ValueError: Another component.
        FileExistsError: The file exists and `overwrite` is False.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists. Say overwrite=True to replace it.")
    half = image_grid.width / 2
    content = {
        "standard": "COOLEST",
        "mode": "MAP",
        "coordinates_origin": {"ra": "00h00m00s", "dec": "+00d00m00s"},
        "cosmology": None,
        "likelihoods": None,
        "instrument": {
            "name": "",
            "band": "",
            "pixel_size": image_grid.pixel_scale,
            "readout_noise": 0.0,
            "psf": {"type": None, "description": None},
        },
        "observation": {
            "exposure_time": None,
            "mag_zero_point": None,
            "mag_sky_brightness": None,
            "noise": {"type": None},
            "pixels": {
                "field_of_view_x": [-half, half],
                "field_of_view_y": [-half, half],
                "num_pix_x": image_grid.side,
                "num_pix_y": image_grid.side,
                "fits_file": {"path": None},
            },
        },
        "lensing_entities": [
            _entity(number, name, component, redshift)
            for number, (name, component) in enumerate(lens.components.items())
        ],
        "meta": {},
    }
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_coolest(path: str | os.PathLike) -> MassModel:
    """Return the mass model in a COOLEST file: its point estimates.

    Entities without mass, such as the source, are left out. A component is named as its entity;
    of several in one entity the profile's type is added.

    Args:
        path: The file, plain JSON.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no such file, holds no mass, or a profile or a value that has no
            counterpart.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text())
        components = {}
        for entity in content["lensing_entities"]:
            profiles = entity.get("mass_model", [])
            for profile in profiles:
                name = entity["name"].replace(".", "_").replace(" ", "_")
                if len(profiles) > 1 or name in components:
                    name = f"{name}_{profile['type']}"
                components[name] = _component(profile)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} must be a COOLEST file: {error!r}") from error
    return MassModel(**components)


def _entity(number: int, name: str, component: Component, redshift: float) -> dict:
    """Return the lensing entity of one component."""
    kind, values = _profile(name, component)
    field = isinstance(component, Shear | Sheet)
    label = f"{number}-{'massfield' if field else 'galaxy'}-mass-0-{kind}"
    profile = {
        "id": label,
        "type": kind,
        "parameters": {
            parameter: {
                "id": f"{label}-{parameter}",
                "fixed": False,
                "point_estimate": {"value": float(value)},
                "posterior_stats": _UNKNOWN,
                "prior": {"type": None},
            }
            for parameter, value in values.items()
        },
    }
    entity = {"name": name, "redshift": redshift, "mass_model": [profile]}
    return entity | ({"type": "MassField"} if field else {"type": "Galaxy", "light_model": []})


def _profile(name: str, component: Component) -> tuple[str, dict[str, float]]:
    """Return COOLEST's name of a component, and its parameters."""
    if isinstance(component, Shear):
        strength = np.hypot(component.gamma1, component.gamma2)
        angle = np.arctan2(component.gamma2, component.gamma1) / 2
        return "ExternalShear", {"gamma_ext": strength, "phi_ext": _east_of_north(angle)}
    if isinstance(component, Sheet):
        return "ConvergenceSheet", {"kappa_s": component.kappa}
    if isinstance(component, SIE) or type(component) is SIS:
        q, phi = 1.0, 0.0
        if isinstance(component, SIE):
            q, phi = axis_ratio_from_ellipticity(component.e1, component.e2)
        values = {"theta_E": component.theta_E, "q": q, "phi": _east_of_north(phi)}
        values |= {"center_x": component.x, "center_y": component.y}
        if isinstance(component, EPL):
            return "PEMD", values | {"gamma": component.slope + 1}
        return "SIE", values
    raise ValueError(
        "A COOLEST file must have components of SIE, EPL, SIS, Shear and Sheet alone: it knows no "
        f"others that are ours. Received: {name}={component}"
    )


def _component(profile: dict) -> Component:
    """Return the component of a mass profile."""
    kind = profile["type"]
    if kind not in _PROFILES:
        raise ValueError(
            f"A COOLEST file must have mass profiles of {', '.join(_PROFILES)}; of others give the "
            f"deflections: rl.Deflections. Received: {kind}"
        )
    values = {
        name: facts["point_estimate"]["value"] for name, facts in profile["parameters"].items()
    }
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise ValueError(
            f"A COOLEST file must have point estimates of all parameters. Received: {kind} without "
            f"{', '.join(missing)}"
        )
    if kind == "ExternalShear":
        strength, angle = values["gamma_ext"], 2 * _from_x(values["phi_ext"])
        return Shear(strength * np.cos(angle), strength * np.sin(angle))
    if kind == "ConvergenceSheet":
        return Sheet(values["kappa_s"])
    e1, e2 = ellipticity_from_axis_ratio(values["q"], _from_x(values["phi"]))
    main = values["theta_E"], e1, e2, values["center_x"], values["center_y"]
    return SIE(*main) if kind == "SIE" else EPL(*main, values["gamma"] - 1)


def _east_of_north(angle: float) -> float:
    """Return degrees from +y towards -x, in (-90, 90], of an angle from +x towards +y."""
    degrees = np.degrees(angle) - 90.0
    return float(90.0 - (90.0 - degrees) % 180.0)


def _from_x(degrees: float) -> float:
    """Return the angle from +x towards +y of degrees from +y towards -x."""
    return float(np.radians(degrees + 90.0))

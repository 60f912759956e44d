"""A row of a survey, in a worker: a raw cutout fitted, its files written, its numbers returned."""

import math
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rim_lensing.commands.fit_cutout import (
    fit_prepared,
    prepare,
    read_asked,
    read_cutout,
    write_fit,
)
from rim_lensing.commands.results import load
from rim_lensing.commands.survey_columns import parse_row
from rim_lensing.survey.page import THUMBNAIL
from rim_lensing.survey.rows import Outcome, Row
from rim_lensing.survey.thumbnails import write_thumbnail

if TYPE_CHECKING:
    from rim_lensing.cutout_fit.cutout_fit import CutoutFit
    from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor

UNITS = {
    **dict.fromkeys(("theta_E", "theta_E_std", "x", "x_std", "y", "y_std"), "arcsec"),
    **dict.fromkeys(("source_x", "source_y", "source_half_light_radius"), "arcsec"),
    **dict.fromkeys(("source_magnitude",), "mag"),
    **dict.fromkeys(("light_half_light_radius",), "arcsec"),
    **dict.fromkeys(("light_angle",), "rad"),
}
"""Of the numbers; fluxes are in the image's unit."""

_OF_SOURCE = (
    "chi2_per_pixel",
    "used_pixels",
    "total_magnification",
    "source_flux",
    "model_flux",
    "source_peak",
    "source_x",
    "source_y",
    "source_half_light_radius",
    "source_magnitude",
    "alternations",
)


@lru_cache(maxsize=2)
def _source_model(folder: Path) -> "RIMReconstructor":
    """Return a model of the zoo: a process loads it once."""
    from rim_lensing.zoo.zoo import find_pretrained

    model = find_pretrained(folder, "rim")
    return load(model, model.image_grid)


def fit_row(row: Row, folder: Path) -> Outcome:
    """Do what `rim-lensing fit` does of a raw cutout.

    Args:
        row: Its arguments are the command's.
        folder: Where the files go.

    Raises:
        ValueError: As the command; and so for other errors.
    """
    began = time.perf_counter()
    options = parse_row(row.arguments, folder)
    asked = read_asked(options)
    prepared = prepare(options, read_cutout(options))
    print(*prepared.said, sep="\n")
    found = fit_prepared(prepared, asked, options, _source_model(asked.model.directory))
    print(*found.said[len(prepared.said) :], sep="\n")
    facts = write_fit(found, asked.model, options, round(time.perf_counter() - began, 3))
    write_thumbnail(folder / THUMBNAIL, **_planes(found))
    return Outcome(facts["verdict"], facts["reason"], numbers_of(facts))


def _planes(found: "CutoutFit") -> dict[str, np.ndarray]:
    """Return what a thumbnail shows: the modelled field, or all of a cutout without arcs."""
    if found.optimum is not None:
        panels = found.panels()
        return {
            name: panels[name] for name in ("cutout", "image", "noise", "model_image", "source")
        }
    seen = found.prepared.observation
    used = np.where(seen.mask, seen.image - found.light.sky, np.nan)
    return {"cutout": used, "image": used - found.light.image, "noise": seen.noise}


def numbers_of(facts: dict) -> dict[str, object]:
    """Return a row of the results from what metrics.json says.

    Args:
        facts: Of `write_fit`.
    """
    std = facts.get("lens_std", {})
    numbers = {}
    for name, value in facts.get("lens", {}).items():
        numbers |= {name: value, f"{name}_std": std[name]}
    numbers |= {name: facts.get(name, math.nan) for name in _OF_SOURCE}
    numbers["p_value"] = facts.get("residual_test", {}).get("p_value", math.nan)
    light = facts["light"]
    for name in ("flux", "half_light_radius", "axis_ratio", "angle", "sky", "chi2"):
        numbers[f"light_{name}"] = light[name]
    noise_factor = facts["noise_factor"]
    numbers["noise_factor"] = math.nan if noise_factor is None else noise_factor
    return numbers | {
        "model": facts.get("model", ""),
        "weights_sha256": facts["weights_sha256"],
        "seed": facts["seed"],
    }

"""`rim-lensing fit` on a raw cutout: the lens galaxy's light in, neighbours, sky, bad pixels."""

import argparse
import math
import time
from typing import TYPE_CHECKING, NamedTuple

from rim_lensing.commands.inputs import parse_centre
from rim_lensing.commands.lens_input import read_lens
from rim_lensing.commands.prior_options import as_scipy, read_priors
from rim_lensing.commands.results import (
    CUTOUT,
    LIGHT,
    METRICS,
    NOT_CONVERGED,
    RESULT,
    SCENE,
    SUMMARY,
    by_name,
    check_output,
    load,
    made_by,
    scene_of,
    verify_files,
    write_picture,
)
from rim_lensing.files.json_files import write_json
from rim_lensing.problems import Problems

if TYPE_CHECKING:
    from pathlib import Path

    from rim_lensing.cutout_fit.cutout_fit import CutoutFit
    from rim_lensing.lens_light.light import LensLight
    from rim_lensing.lensing.mass_model import MassModel
    from rim_lensing.observation.observation import Observation
    from rim_lensing.preparation.prepared_cutout import PreparedCutout
    from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor
    from rim_lensing.zoo.zoo import PretrainedModel

FILES = (SUMMARY, RESULT, METRICS, CUTOUT, LIGHT, SCENE)


def read_cutout(options: argparse.Namespace) -> "Observation":
    """Return the cutout that the options name; without --noise its rms is not known.

    Raises:
        ValueError: As `read_observation`.
        FileNotFoundError: There is no such file.
    """
    import numpy as np

    from rim_lensing.observation.masks import Mask
    from rim_lensing.observation.reading import read_observation

    return read_observation(
        options.image,
        np.nan if options.noise is None else options.noise,
        options.psf,
        Mask(options.mask, options.mask_marks, allow_hidden_arcs=True),
        pixel_scale=options.pixel_scale,
        centre=parse_centre(options.crop_centre),
        noise_correlation=options.noise_correlation,
        psf_oversampling=options.psf_oversampling,
    )


def demo_raw(options: argparse.Namespace) -> int:
    """Model the raw cutout that comes with the package, and print the truth beside."""
    from rim_lensing.demo import RAW_DEMO_FILE, RAW_DEMO_LENS

    silent = "mask keep exposure start zero_point crop_centre centre_range epl lens_light".split()
    silent += "pixel_scale psf_oversampling noise_correlation priors".split()
    given = {
        "image": str(RAW_DEMO_FILE),
        "noise": f"{RAW_DEMO_FILE}[NOISE]",
        "psf": f"{RAW_DEMO_FILE}[PSF]",
        "mask_marks": "used",
        "seed": 0,
        **dict.fromkeys(("prior", "hold", "link", "range"), ()),
        **dict.fromkeys(silent),
    }
    options = argparse.Namespace(**given, **vars(options))
    status = fit_raw(options, read_cutout(options))
    print("truth: " + ", ".join(f"{name} = {value:.4g}" for name, value in RAW_DEMO_LENS.items()))
    return status


class Asked(NamedTuple):
    """What the options ask of a raw cutout.

    Args:
        model: The RIM.
        start: A lens near the true one; None, it is found.
        named: What is known of parameters, as `LensPriors` takes it.
    """

    model: "PretrainedModel"
    start: "MassModel | None"
    named: dict


def read_asked(options: argparse.Namespace) -> Asked:
    """Return what the options ask; the cutout itself is not looked at, nor a model's weights.

    Raises:
        ValueError: Options that are not understood: all at once.
        FileNotFoundError: There is no such file.
    """
    from rim_lensing.lens_fit.lens_support import LensSupport
    from rim_lensing.lensing.mass_model import SHORT_FORMS
    from rim_lensing.simulation.priors import Priors
    from rim_lensing.zoo.zoo import find_pretrained

    problems, start, named, model = Problems(), None, {}, None
    with problems.noted():
        start = None if options.start is None else read_lens(options.start, "--start")
        named = as_scipy(read_priors(options))
        form = SHORT_FORMS[8 if options.epl is not False else 7] if start is None else start.form
        LensSupport.from_priors(Priors(), form, named)
    with problems.noted():
        model = find_pretrained(options.model, "rim")
    problems.raise_all()
    return Asked(model, start, named)


def prepare(options: argparse.Namespace, seen: "Observation") -> "PreparedCutout":
    """Return what is found on a cutout.

    Raises:
        ValueError: As `prepare_cutout`.
    """
    from rim_lensing.observation.reading import read_named
    from rim_lensing.preparation.prepared_cutout import prepare_cutout

    keep = None if options.keep is None else read_named(options.keep, seen.pixel_scale)
    return prepare_cutout(
        seen, keep=keep, centre=parse_centre(options.crop_centre), exposure=options.exposure
    )


def fit_prepared(
    prepared: "PreparedCutout",
    asked: Asked,
    options: argparse.Namespace,
    source_model: "RIMReconstructor",
) -> "CutoutFit":
    """Model a prepared cutout."""
    from rim_lensing.cutout_fit.cutout_fit import RANGES, fit_cutout
    from rim_lensing.lens_fit.lens_priors import LensPriors

    return fit_cutout(
        prepared,
        source_model,
        start=asked.start,
        priors=LensPriors(asked.named, RANGES.with_ranges(options.range, options.centre_range)),
        kind=options.lens_light or "multi-gaussian",
        epl=options.epl,
        seed=options.seed,
    )


def fit_raw(options: argparse.Namespace, seen: "Observation") -> int:
    """Model a raw cutout; returns the exit status."""
    began = time.perf_counter()
    problems, asked, prepared = Problems(), None, None
    with problems.noted():
        asked = read_asked(options)
        verify_files(asked.model)
    with problems.noted():
        check_output(options, FILES)
    with problems.noted():
        prepared = prepare(options, seen)
    problems.raise_all()
    for line in prepared.said:
        print(line)
    source_model = load(asked.model, asked.model.image_grid)
    found = fit_prepared(prepared, asked, options, source_model)
    seconds = round(time.perf_counter() - began, 3)
    facts = write_fit(found, asked.model, options, seconds)
    for line in found.said[len(prepared.said) :]:
        print(line)
    _tell(found, facts, options.output)
    return 0 if found.converged else NOT_CONVERGED


def write_fit(
    found: "CutoutFit", model: "PretrainedModel", options: argparse.Namespace, seconds: float
) -> dict:
    """Write figures, planes and numbers; returns the numbers, as metrics.json has them."""
    directory = options.output
    facts = {
        "verdict": str(found.verdict),
        "reason": found.reason,
        "converged": found.converged,
        "said": list(found.said),
        "light": _light_numbers(found.light),
        "noise_factor": found.prepared.noise_factor,
        "seed": options.seed,
        "seconds": seconds,
        **made_by(model),
    }
    pictures = {CUTOUT: found.prepared.plot(), LIGHT: found.light.plot(found.prepared.observation)}
    if found.optimum is not None:
        facts |= _numbers(found, options.zero_point)
        pictures[SUMMARY] = found.plot()
    directory.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (directory / name).unlink(missing_ok=True)
    if found.optimum is not None:
        _write_planes(found, directory)
    for name, picture in pictures.items():
        write_picture(picture, directory / name)
    write_json(facts, directory / METRICS)
    return facts


def _tell(found: "CutoutFit", facts: dict, directory: "Path") -> None:
    """Print the main numbers."""
    print(f"{found.verdict}: {found.reason}")
    if found.optimum is not None:
        for name, value in facts["lens"].items():
            print(f"  {name} = {value:.4g} +- {facts['lens_std'][name]:.2g}")
        for name in ("total_magnification", "source_half_light_radius", "source_magnitude"):
            if facts.get(name) is not None and math.isfinite(facts[name]):
                print(f"  {name.replace('_', ' ')} = {facts[name]:.3g}")
    print(f"wrote {', '.join(sorted(p.name for p in directory.iterdir()))} into {directory}")
    print(f"time: {facts['seconds']:.1f} s")


def _light_numbers(light: "LensLight") -> dict:
    """Return what metrics.json says of the lens galaxy's light."""
    names = ("centre", "axis_ratio", "angle", "twist", "flux", "half_light_radius", "sky")
    return {name: getattr(light, name) for name in (*names, "sky_error", "chi2")}


def _numbers(found: "CutoutFit", zero_point: float | None) -> dict:
    """Return what metrics.json says of lens and source."""
    result, lens = found.reconstruction, found.mass_model
    names = lens.labels
    test = found.test
    return {
        "model": result.model,
        "lens": dict(zip(names, lens.values.tolist(), strict=True)),
        "lens_std": dict(zip(names, found.lens_std.tolist(), strict=True)),
        "lens_covariance": found.covariance.tolist(),
        "lens_in_field": by_name(result.lens, result.form),
        "scene": scene_of(result.lens, result.form),
        "field_middle": found.field.middle,
        "alternations": found.alternations,
        "residual_test": {
            "p_value": float(test.p_value),
            "excess_arcs": float(test.excess[0]),
            "excess_smoothed": float(test.excess[1]),
            "excess_beside": float(test.beside[0]),
            "excess_smoothed_beside": float(test.beside[1]),
        },
        **result.metrics(),
        **found.source_metrics(zero_point),
        "caveats": result.caveats,
    }


def _write_planes(found: "CutoutFit", directory: "Path") -> None:
    """Write the reconstruction with the light's planes, and the lens for other codes."""
    from rim_lensing.lensing.coolest_files import write_coolest

    panels = found.panels()
    found.reconstruction.to_fits(
        directory / RESULT,
        overwrite=True,
        header=found.arcs.header,
        planes={"CUTOUT": panels["cutout"], "LENS_LIGHT": panels["light"]},
    )
    lens = found.optimum.mass_model
    write_coolest(lens, directory / SCENE, found.field.grid, overwrite=True)

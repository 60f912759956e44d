"""`rim-lensing fit`: Algorithm 1 of the paper, from an image to lens and source (figure 8)."""

import argparse
import contextlib
import logging
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from rim_lensing.commands.fit_visibilities import add_visibility_options, fit_visibilities
from rim_lensing.commands.inputs import (
    LENS_NAMES,
    UserImage,
    add_image_options,
    read_user_image,
    tell_psf,
)
from rim_lensing.commands.lens_input import LENS_FILES, read_lens
from rim_lensing.commands.prior_options import add_prior_options, in_field, read_priors
from rim_lensing.commands.results import (
    METRICS,
    NOT_CONVERGED,
    RESULT,
    ROUNDS,
    SUMMARY,
    add_model_option,
    add_output_options,
    add_refine_option,
    by_name,
    check_output,
    load,
    made_by,
    tell_refinement,
    verify_files,
    write_picture,
    write_reconstruction,
)
from rim_lensing.commands.search_options import (
    add_lens_light_option,
    add_search_ranges,
    add_seed,
    check_search_ranges,
)
from rim_lensing.problems import Problems

LENS_LIGHT = ("multi-gaussian", "sersic", "double-sersic", "none")

if TYPE_CHECKING:
    import numpy as np

    from rim_lensing.lensing.grids import PixelGrid
    from rim_lensing.observation.observation import Observation
    from rim_lensing.zoo.zoo import PretrainedModel


def add_fit(commands: argparse._SubParsersAction) -> None:
    """Add the command `fit`."""
    command = commands.add_parser(
        "fit",
        help="find the lens in a FITS image, and reconstruct the source behind it",
        epilog=f"Writes {SUMMARY}, {RESULT}, {METRICS} and {ROUNDS} into the output directory; "
        f"{METRICS} has what the lens model predicted, with its intervals, too. Exit status: 0, or "
        f"{NOT_CONVERGED} if the fit has not converged (its files are written all the same), 2 "
        "after an error, 130 after ctrl-C.",
    )
    add_image_options(command, raw=True)
    add_raw_options(command)
    add_visibility_options(command)
    add_lens_light_option(command)
    start = command.add_mutually_exclusive_group()
    start.add_argument(
        "--lens-model",
        help="the lens CNN that predicts where to start: its name in the zoo, or a folder "
        "(default: that of the zoo with the smallest pixels that are not smaller than the image's)",
    )
    start.add_argument(
        "--start",
        metavar="NAME=VALUE,...",
        help=f"a lens to start from, instead of a prediction: {LENS_NAMES}. {LENS_FILES}",
    )
    command.add_argument(
        "--rounds", type=int, default=4, help="largest number of optimisations (default 4)"
    )
    command.add_argument(
        "--min-magnification",
        type=float,
        metavar="FACTOR",
        help="smallest total magnification of a lens (default: that of the model's training, 3). "
        "A lens that magnifies by less than 0.9 of it is no answer: its source would be the arcs "
        "themselves, shrunk. A double, which shows its source twice, is an answer all the same, "
        "unless FACTOR is above 3",
    )
    command.add_argument(
        "--noise-correlation",
        metavar="FILE",
        help="how the noise of neighbouring pixels is correlated (drizzled images): a FITS image "
        "of odd side with 1 in the middle, as rim_lensing.noise_correlation measures it (default: "
        "independent; of a raw cutout it is measured)",
    )
    command.add_argument(
        "--epl",
        action=argparse.BooleanOptionalAction,
        help="fit a power law from the first round on, or none (default: where the residuals of an "
        "SIE are not noise, one is fitted, and kept if the data tell it from the SIE)",
    )
    add_seed(command)
    add_search_ranges(command)
    add_prior_options(command)
    add_model_option(command)
    add_refine_option(command)
    add_output_options(command)
    command.set_defaults(run=fit)


def add_raw_options(command: argparse.ArgumentParser) -> None:
    """Add what is for raw cutouts alone."""
    raw = command.add_argument_group(
        "raw cutouts",
        "An image with the lens galaxy's light in is a raw cutout: centre, sky, neighbours, bad "
        "pixels and the noise's strength are found, and the light is fitted with the arcs. So is "
        "any image that a model's field does not fit, unless --crop-centre or --own-pixels says "
        "which part of it is meant, or --lens-light none.",
    )
    raw.add_argument(
        "--lens-light",
        choices=LENS_LIGHT,
        help="how the lens galaxy's light is modelled (default: by Gaussians, if there is any); "
        "none: it is subtracted already",
    )
    raw.add_argument(
        "--keep", metavar="FILE", help="FITS file, 1 where a pixel is never masked as a neighbour"
    )
    raw.add_argument(
        "--exposure",
        type=float,
        metavar="SECONDS",
        help="exposure time of the image, for photon noise where --noise is a number or not given "
        "(default: the header's)",
    )
    raw.add_argument(
        "--zero-point",
        type=float,
        metavar="MAG",
        help="magnitude of a flux of 1 (default: the header's, if it has one)",
    )


def fit(options: argparse.Namespace) -> int:
    """Fit a user's lens, raw or not; returns the exit status."""
    from rim_lensing.commands.fit_cutout import fit_raw, read_cutout

    if options.visibilities:
        return fit_visibilities(options)
    if not _is_without_light(options):
        try:
            cutout = read_cutout(options)
        except (ValueError, OSError):
            # Said below, together with all else that is wrong.
            return fit_subtracted(options)
        if _is_raw(options, cutout):
            return fit_raw(options, cutout)
    return fit_subtracted(options)


def _is_without_light(options: argparse.Namespace) -> bool:
    """Return whether the options say that the light is subtracted."""
    if options.lens_light is not None:
        return options.lens_light == "none"
    told = options.crop_centre, options.own_pixels, options.lens_model, options.allow_lens_light
    return any(told)


def _is_raw(options: argparse.Namespace, cutout: "Observation") -> bool:
    """Return whether an image is a raw cutout."""
    import numpy as np

    from rim_lensing.observation.checks import check_image
    from rim_lensing.observation.leftover_light import has_lens_light
    from rim_lensing.zoo.zoo import find_pretrained

    if options.lens_light is not None or np.isnan(cutout.noise).all():
        return True
    try:
        grid = find_pretrained(options.model, "rim").image_grid
        if cutout.image.shape != (grid.side, grid.side):
            return True
        return bool(has_lens_light(check_image(cutout, image_grid=grid), grid)[0])
    except (ValueError, OSError):
        # Said by `fit_subtracted`, together with all else that is wrong.
        return False


def fit_subtracted(options: argparse.Namespace) -> int:
    """Fit a lens whose light is subtracted; returns the exit status."""
    from rim_lensing.lens_fit.lens_support import LensSupport
    from rim_lensing.lensing.mass_model import SHORT_FORMS
    from rim_lensing.observation.leftover_light import refuse_lens_light
    from rim_lensing.simulation.priors import Priors
    from rim_lensing.zoo.zoo import find_pretrained

    problems, magnification = Problems(), options.min_magnification
    start = model = named = predictor = image = correlation = None
    with problems.noted():
        start = None if options.start is None else read_lens(options.start, "--start")
        said = read_priors(options)
        asked = options.epl or (options.epl is None and {"slope", "lens.slope"} & set(said))
        form = SHORT_FORMS[7] if start is None else start.form
        form = SHORT_FORMS[8] if asked and form == SHORT_FORMS[7] else form
        LensSupport.from_priors(Priors(), form, in_field(said, form, (0.0, 0.0)))
    with problems.noted():
        if options.rounds < 0:
            raise ValueError(f"--rounds must be 0 or more. Received: {options.rounds}")
    with problems.noted():
        if magnification is not None and not 0 <= magnification < math.inf:
            raise ValueError(
                f"--min-magnification must be 0 or positive. Received: {magnification}"
            )
    with problems.noted():
        check_search_ranges(options)
    with problems.noted():
        check_output(options, (SUMMARY, RESULT, METRICS, ROUNDS))
    with problems.noted():
        named = options.lens_model and find_pretrained(options.lens_model, "lens_cnn")
    with problems.noted():
        model = find_pretrained(options.model, "rim")
        image = read_user_image(options, model.image_grid)
    if image is not None:
        with problems.noted():
            checked = image.check()
            refuse_lens_light(checked, image.grid, options.allow_lens_light)
        with problems.noted():
            correlation = _read_noise_correlation(options.noise_correlation, image)
        with problems.noted():
            predictor = lens_model_for(image.grid, named) if options.start is None else None
    for one in filter(None, (model, predictor)):
        with problems.noted():
            verify_files(one)
    problems.raise_all()
    tell_psf(image, checked)
    source_model = load(model, image.grid)
    source_model = source_model.refined() if options.refine else source_model
    begins = (
        {"lens_model": load(predictor, image.grid, noise_correlation=correlation)}
        if predictor
        else {"start": image.in_field(start)}
    )

    priors = image.search_ranges(source_model.priors, options)
    if magnification is not None:
        priors = replace(priors, min_magnification=magnification)

    from rim_lensing.figures import lens_fit
    from rim_lensing.lens_fit.automated_fit import automated_fit
    from rim_lensing.lens_fit.lens_priors import LensPriors

    began = time.perf_counter()
    with _rounds_printed():
        found = automated_fit(
            image.observation,
            source_model=source_model,
            **begins,
            priors=LensPriors(in_field(said, form, image.offset), priors),
            epl=options.epl,
            max_rounds=options.rounds,
            seed=options.seed,
            noise_correlation=correlation,
            allow_lens_light=options.allow_lens_light,
        )
    seconds = round(time.perf_counter() - began, 3)
    print(found.verdict)
    if options.refine:
        tell_refinement(found.reconstruction)
    numbers = {
        "lens_model": None
        if predictor is None
        else {"name": predictor.name, "weights_sha256": made_by(predictor)["weights_sha256"]},
        "prediction": None if predictor is None else found.prediction.summary(),
        "seed": options.seed,
        "seconds": seconds,
        "converged": found.converged,
        "verdict": found.verdict,
        "crop_centre_offset": image.offset,
        "lens_option": image.as_option(found.mass_model),
        "rounds": [
            {
                "lens": by_name(one.lens, one.form),
                "sources": one.evaluations,
                "log_posterior": one.log_posterior,
                "p_value": None if one.test is None else float(one.test.p_value),
                "findings": one.findings,
            }
            for one in found.rounds
        ],
    }
    write_reconstruction(
        found.reconstruction, model, options.output, numbers, header=image.observation.header
    )
    rows = [
        one.reconstruction.panels(image.observation.header)
        | {"title": f"round {number}: chi^2 per pixel {one.reconstruction.chi2:.3f}"}
        for number, one in enumerate(found.rounds)
        if one.reconstruction is not None
    ]
    write_picture(lens_fit(rows), options.output / ROUNDS)
    option = image.as_option(found.mass_model)
    print(f"lens: --lens {option}" if option else f"lens: {found.mass_model}")
    return 0 if found.converged else NOT_CONVERGED


def lens_model_for(grid: "PixelGrid", named: "PretrainedModel | None" = None) -> "PretrainedModel":
    """Return the lens CNN for images on a grid, whose pixels are averaged to its own.

    Args:
        grid: The image's pixels.
        named: The one that the user wants; by default, that of the zoo with the smallest pixels.

    Raises:
        ValueError: The image's pixels are larger: averaging cannot sharpen.
    """
    from rim_lensing.lens_fit.rebinned_lens_model import SAME_PIXELS
    from rim_lensing.zoo.zoo import list_pretrained

    known = [named] if named else [one for one in list_pretrained() if one.kind == "lens_cnn"]
    fitting = [
        one for one in known if grid.pixel_scale <= one.image_grid.pixel_scale * (1 + SAME_PIXELS)
    ]
    if not fitting:
        taken = ", ".join(f'{one.name} {one.image_grid.pixel_scale:g}"' for one in known)
        raise ValueError(
            f"A lens model takes pixels of its own size and smaller ones ({taken}): choose another "
            "--lens-model, or say where to start, --start theta_E=... "
            f'Received: pixels of {grid.pixel_scale:g}"'
        )
    return min(fitting, key=lambda one: one.image_grid.pixel_scale)


def _read_noise_correlation(text: str | None, image: UserImage) -> "np.ndarray | None":
    """Return the correlation in a file, (k, k), checked before anything loads."""
    if text is None:
        return None
    from rim_lensing.observation.correlated_noise import check_noise_correlation
    from rim_lensing.observation.reading import read_named

    correlation = read_named(text, image.observation.pixel_scale)
    return check_noise_correlation(correlation, image.observation.image.shape)


@contextlib.contextmanager
def _rounds_printed() -> Iterator[None]:
    """Print what the fit logs, a line for every round when it is done: the next takes minutes."""
    logger = logging.getLogger("rim_lensing.lens_fit.automated_fit")
    handler = logging.StreamHandler(sys.stdout)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)

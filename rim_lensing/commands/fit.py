"""`rim-lensing fit`: Algorithm 1 of the paper, from an image to lens and source (figure 8)."""

import argparse
import time
from typing import TYPE_CHECKING

from rim_lensing.commands.inputs import (
    LENS_NAMES,
    add_centre_range,
    add_image_options,
    check_centre_range,
    parse_lens,
    read_user_image,
)
from rim_lensing.commands.results import (
    METRICS,
    RESULT,
    SUMMARY,
    add_model_option,
    add_output_options,
    check_output,
    load,
    verify_files,
    write_picture,
    write_reconstruction,
)

if TYPE_CHECKING:
    from rim_lensing.lensing.grids import PixelGrid
    from rim_lensing.zoo import PretrainedModel

DEFAULT_LENS_MODEL = "lens_cnn_euclid64"
ROUNDS = "rounds.png"

START_STD = (0.05, 0.06, 0.06, 0.03, 0.03, 0.03, 0.03)
"""Of a --start, in the units of the parameters: how far around it later rounds look."""


class GivenLens:
    """A lens model that predicts what the user said.

    Args:
        lens: (7,).
    """

    def __init__(self, lens):
        """Keep the lens."""
        self.lens = lens

    def predict(self, image, noise, psf, mask=None):
        """Return lens and standard deviation, (7,)."""
        return self.lens, START_STD


def add_fit(commands: argparse._SubParsersAction) -> None:
    """Add the command `fit`."""
    command = commands.add_parser(
        "fit",
        help="find the lens in a FITS image, and reconstruct the source behind it",
        epilog=f"Writes {SUMMARY}, {RESULT}, {METRICS} and {ROUNDS} into the output directory.",
    )
    add_image_options(command)
    start = command.add_mutually_exclusive_group()
    start.add_argument(
        "--lens-model",
        default=DEFAULT_LENS_MODEL,
        help=f"predicts where to start; of the zoo, or a folder (default {DEFAULT_LENS_MODEL})",
    )
    start.add_argument(
        "--start", metavar="NAME=VALUE,...", help=f"instead of a prediction: {LENS_NAMES}"
    )
    command.add_argument(
        "--rounds", type=int, default=4, help="largest number of optimisations (default 4)"
    )
    add_centre_range(command)
    add_model_option(command)
    add_output_options(command)
    command.set_defaults(run=fit)


def fit(options: argparse.Namespace) -> None:
    """Fit a user's lens."""
    from rim_lensing.zoo import find_pretrained

    start = None if options.start is None else parse_lens(options.start, "--start")
    if start is not None and start.slope != 1:
        raise ValueError(
            "--start must not name the slope: Algorithm 1 fits isothermal ellipsoids. "
            f"Received: {options.start!r}"
        )
    if options.rounds < 0:
        raise ValueError(f"--rounds must be 0 or more. Received: {options.rounds}")
    check_centre_range(options.centre_range)
    check_output(options, (SUMMARY, RESULT, METRICS, ROUNDS))
    model = find_pretrained(options.model, "rim")
    predictor = None if start else find_pretrained(options.lens_model, "lens_cnn")
    image = read_user_image(options, model.image_grid)
    image.check()
    if predictor:
        _check_pixels(predictor, image.grid)
    for one in filter(None, (model, predictor)):
        verify_files(one)
    source_model = load(model, image.grid)
    lens_model = (
        load(predictor, image.grid) if predictor else GivenLens(_array(image.in_field(start)))
    )

    from rim_lensing.figures import lens_fit
    from rim_lensing.inference.automated_fit import automated_fit

    arguments = {name: image.arguments[name] for name in ("image", "noise", "psf", "mask")}
    began = time.perf_counter()
    found = automated_fit(
        **arguments,
        source_model=source_model,
        lens_model=lens_model,
        priors=image.search_ranges(source_model.priors, options.centre_range),
        max_rounds=options.rounds,
    )
    seconds = round(time.perf_counter() - began, 3)
    for number, one in enumerate(found.rounds):
        print(f"round {number}, {one.evaluations} sources: {one.findings}")
    print(found.verdict)
    numbers = {
        "seconds": seconds,
        "converged": found.converged,
        "verdict": found.verdict,
        "crop_centre": image.offset,
        "rounds": [
            {
                "lens": one.lens.tolist(),
                "sources": one.evaluations,
                "p_value": None if one.test is None else float(one.test.p_value),
                "findings": one.findings,
            }
            for one in found.rounds
        ],
    }
    write_reconstruction(found.reconstruction, options.output, numbers, header=image.header)
    rows = [
        one.reconstruction.panels()
        | {"title": f"round {number}: chi^2 per pixel {one.reconstruction.chi2:.3f}"}
        for number, one in enumerate(found.rounds)
        if one.reconstruction is not None
    ]
    write_picture(lens_fit(rows), options.output / ROUNDS)
    print(f"lens: --lens {image.as_option(found.lens)}")


def _check_pixels(predictor: "PretrainedModel", grid: "PixelGrid") -> None:
    """Refuse pixels larger than those that a lens model takes: averaging cannot sharpen."""
    from rim_lensing.inference.observation import PIXEL_SCALE_TOLERANCE

    largest = predictor.image_grid.pixel_scale
    if grid.pixel_scale > largest * (1 + PIXEL_SCALE_TOLERANCE):
        raise ValueError(
            f'--lens-model {predictor.name} takes pixels of {largest:g}" and smaller ones: choose '
            "another, or say where to start, --start theta_E=... "
            f'Received: pixels of {grid.pixel_scale:g}"'
        )


def _array(lens):
    """Return a lens as the seven numbers."""
    import numpy as np

    return np.array(lens)

"""`rim-lensing reconstruct` and `rim-lensing demo`: a source behind a lens that is known."""

import argparse
import time
from typing import TYPE_CHECKING

from rim_lensing.commands.inputs import (
    LENS_NAMES,
    add_image_options,
    read_user_image,
    tell_psf,
)
from rim_lensing.commands.lens_input import LENS_FILES, read_lens
from rim_lensing.commands.results import (
    METRICS,
    RESULT,
    ROUNDS,
    SUMMARY,
    add_model_option,
    add_output_options,
    add_refine_option,
    check_output,
    linear_inversion,
    load,
    tell_refinement,
    verify_files,
    write_reconstruction,
)
from rim_lensing.problems import Problems

if TYPE_CHECKING:
    import numpy as np

    from rim_lensing.lensing.grids import PixelGrid
    from rim_lensing.observation.observation import Observation
    from rim_lensing.results.result import Reconstruction
    from rim_lensing.zoo.zoo import PretrainedModel

_FILES = (SUMMARY, RESULT, METRICS, ROUNDS)
"""What --overwrite replaces; the last, of an earlier fit, would not belong to the new result."""


def add_demo(commands: argparse._SubParsersAction) -> None:
    """Add the command `demo`."""
    command = commands.add_parser(
        "demo",
        help="model a raw cutout that comes with the package: light, lens and source, beside the "
        "truth",
    )
    command.add_argument(
        "--clean",
        action="store_true",
        help="take another mock, whose lens is known and whose lens light is subtracted: "
        "reconstruct its source and measure the errors; --refine and --linear go with it",
    )
    _add_method_options(command)
    add_output_options(command)
    command.set_defaults(run=demo)


def add_reconstruct(commands: argparse._SubParsersAction) -> None:
    """Add the command `reconstruct`."""
    command = commands.add_parser(
        "reconstruct",
        help="reconstruct the source behind a lens in a FITS image",
        epilog=f"Writes {SUMMARY}, {RESULT} and {METRICS} into the output directory.",
    )
    add_image_options(command)
    command.add_argument(
        "--lens", required=True, metavar="NAME=VALUE,...", help=f"{LENS_NAMES}. {LENS_FILES}"
    )
    _add_method_options(command)
    add_output_options(command)
    command.set_defaults(run=reconstruct)


def _add_method_options(command: argparse.ArgumentParser) -> None:
    """Add --model, --refine and --linear."""
    add_model_option(command)
    method = command.add_mutually_exclusive_group()
    add_refine_option(method)
    method.add_argument(
        "--linear",
        action="store_true",
        help="instead of the network, a linear inversion on its grids (gradient prior, at the "
        "strength of the largest evidence), which gives the source's standard deviation, too",
    )


def demo(options: argparse.Namespace) -> int | None:
    """Run the demo that the options ask for; returns the exit status."""
    if options.clean or options.linear or options.refine:
        return demo_clean(options)
    from rim_lensing.commands.fit_cutout import demo_raw

    return demo_raw(options)


def demo_clean(options: argparse.Namespace) -> None:
    """Reconstruct the bundled mock without lens light, and measure the errors."""
    import numpy as np

    from rim_lensing import metrics
    from rim_lensing.demo import read_demo_lens
    from rim_lensing.lensing.grids import PixelGrid
    from rim_lensing.observation.observation import Observation
    from rim_lensing.zoo.zoo import find_pretrained

    check_output(options, _FILES)
    model, mock = find_pretrained(options.model, "rim"), read_demo_lens()
    observation = Observation(mock.image, mock.noise, mock.psf, pixel_scale=mock.image_pixel_scale)
    if not options.linear:
        verify_files(model)
    grid = PixelGrid(len(mock.image), mock.image_pixel_scale)
    result, seconds = _run(model, observation, mock.lens, grid, options)
    truth = {}
    same_pixels = np.isclose(result.source_pixel_scale, mock.source_pixel_scale)
    if same_pixels and result.source.shape == mock.source.shape:
        source, true_source = result.source[None], mock.source[None]
        truth = {
            "rms_error": float(metrics.rms_error(source, true_source)[0]),
            "flux_error": float(metrics.flux_error(source, true_source)[0]),
        }
    made_by = None if options.linear else model
    write_reconstruction(result, made_by, options.output, truth | {"seconds": seconds})
    for name, value in truth.items():
        words = {"rms_error": "rms error over the true peak", "flux_error": "error of the flux"}
        print(f"{words[name]}: {value:.2%}")


def reconstruct(options: argparse.Namespace) -> None:
    """Reconstruct a user's lens."""
    from rim_lensing.observation.leftover_light import warn_of_lens_light
    from rim_lensing.zoo.zoo import find_pretrained

    problems, lens, model, image = Problems(), None, None, None
    with problems.noted():
        lens = read_lens(options.lens)
    with problems.noted():
        check_output(options, _FILES)
    with problems.noted():
        model = find_pretrained(options.model, "rim")
        image = read_user_image(options, model.image_grid)
    if image is not None:
        with problems.noted():
            checked = image.check(lens)
            warn_of_lens_light(checked, image.grid)
    if model is not None and not options.linear:
        with problems.noted():
            verify_files(model)
    problems.raise_all()
    tell_psf(image, checked)
    lens = image.in_field(lens)
    result, seconds = _run(model, image.observation, lens, image.grid, options)
    numbers = {
        "seconds": seconds,
        "crop_centre_offset": image.offset,
        "lens_option": image.as_option(result.mass_model),
    }
    made_by = None if options.linear else model
    write_reconstruction(result, made_by, options.output, numbers, header=image.observation.header)


def _run(
    model: "PretrainedModel",
    observation: "Observation",
    lens: "np.ndarray",
    grid: "PixelGrid",
    options: argparse.Namespace,
) -> tuple["Reconstruction", float]:
    """Return the reconstruction and the seconds that it took, without the loading."""
    if options.linear:
        reconstructor = linear_inversion(model, grid)
    else:
        reconstructor = load(model, grid)
        reconstructor = reconstructor.refined() if options.refine else reconstructor
    start = time.perf_counter()
    result = reconstructor.reconstruct(observation, lens=lens)
    seconds = round(time.perf_counter() - start, 3)
    if options.refine:
        tell_refinement(result)
    return result, seconds

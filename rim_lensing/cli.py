"""The command `rim-lensing`. Whatever is wrong with the input is said before TensorFlow loads."""

import argparse
import json
import math
import os
import re
import sys
import time
import warnings
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rim_lensing import __version__

if TYPE_CHECKING:
    import numpy as np

    from rim_lensing.inference.result import Reconstruction
    from rim_lensing.io import FitsImage
    from rim_lensing.lensing.lens_parameters import LensParameters
    from rim_lensing.zoo import PretrainedModel

DEFAULT_MODEL = "rim_euclid64"
_SUMMARY, _RESULT, _METRICS = "summary.png", "result.fits", "metrics.json"
_FILE = "FITS file, or one of its extensions: 'FILE.fits[NAME]'"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str):
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Those of the process by default.

    Returns:
        The exit code: 0, 2 after an error (one line on stderr), 130 after ctrl-C. Help and
        malformed arguments raise SystemExit, as argparse does.
    """
    options = _parser().parse_args(arguments)
    warnings.showwarning = _show_warning
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rim-lensing", description="Reconstruct strongly lensed galaxies with a trained RIM."
    )
    parser.add_argument("--version", action="version", version=f"rim-lensing {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    models = commands.add_parser("models", help="list the trained models")
    models.set_defaults(run=_models)

    demo = commands.add_parser(
        "demo", help="reconstruct a mock lens that comes with the package, and compare with truth"
    )
    _add_common(demo)
    demo.set_defaults(run=_demo)

    command = commands.add_parser(
        "reconstruct",
        help="reconstruct the source behind a lens in a FITS image",
        epilog=f"Writes {_SUMMARY}, {_RESULT} and {_METRICS} into the output directory.",
    )
    command.add_argument("image", metavar="IMAGE", help=f"lens light subtracted; {_FILE}")
    command.add_argument("--noise", required=True, help=f"rms of the noise: a number, or a {_FILE}")
    command.add_argument(
        "--psf",
        required=True,
        help=f"width sigma of a Gaussian in arcsec, or an image of odd side and sum 1: {_FILE}",
    )
    command.add_argument(
        "--normalise-psf",
        action="store_true",
        help="divide the PSF image by its sum; without this a sum other than 1 is refused",
    )
    command.add_argument(
        "--lens",
        required=True,
        metavar="NAME=VALUE,...",
        help="theta_E, and of e1, e2, x, y, gamma1, gamma2, slope those that are not the default",
    )
    command.add_argument("--mask", help=f"1 where a pixel is used, 0 elsewhere: {_FILE}")
    command.add_argument(
        "--pixel-scale", type=float, metavar="ARCSEC", help="instead of the header's"
    )
    command.add_argument(
        "--crop-centre",
        metavar="X,Y",
        help="pixel of the lens in the image (and in noise map and mask), counted from 1 as in "
        "DS9, around which the model's field is cut out; --lens x and y are then relative to it",
    )
    _add_common(command)
    command.set_defaults(run=_reconstruct)
    return parser


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="made if missing"
    )
    command.add_argument(
        "--model", default=DEFAULT_MODEL, help=f"of the zoo, or a folder (default {DEFAULT_MODEL})"
    )
    command.add_argument("--overwrite", action="store_true", help="replace earlier results")


def _models(options: argparse.Namespace) -> None:
    """Print the zoo."""
    from rim_lensing.zoo import list_pretrained, zoo_directory

    found = list_pretrained()
    if not found:
        raise FileNotFoundError(f"There is no model in {zoo_directory()}")
    for model in found:
        print(f"{model.name}  ({model.parameters:,} parameters)\n    {model.description}")


def _demo(options: argparse.Namespace) -> None:
    """Reconstruct the bundled mock and measure the errors."""
    from rim_lensing import metrics
    from rim_lensing.demo import read_demo_lens
    from rim_lensing.zoo import find_pretrained

    _check_output(options)
    model, mock = find_pretrained(options.model), read_demo_lens()
    arguments = {
        "image": mock.image,
        "noise": mock.noise,
        "psf": mock.psf,
        "lens": mock.lens,
        "pixel_scale": mock.image_pixel_scale,
    }
    _check(model, arguments)
    result, seconds = _run(model, arguments)
    truth = {}
    if result.source.shape == mock.source.shape:
        source, true_source = result.source[None], mock.source[None]
        truth = {
            "rms_error": float(metrics.rms_error(source, true_source)[0]),
            "flux_error": float(metrics.flux_error(source, true_source)[0]),
        }
    _write(result, options.output, truth | {"seconds": seconds})
    for name, value in truth.items():
        words = {"rms_error": "rms error over the true peak", "flux_error": "error of the flux"}
        print(f"{words[name]}: {value:.2%}")


def _reconstruct(options: argparse.Namespace) -> None:
    """Reconstruct a user's lens."""
    from rim_lensing.zoo import find_pretrained

    lens, centre = _parse_lens(options.lens), _parse_centre(options.crop_centre)
    _check_output(options)
    model = find_pretrained(options.model)
    image = _read(options.image, options.pixel_scale)
    if image.pixel_scale is None:
        raise ValueError(
            f"The header of {options.image} does not tell the pixel scale: give --pixel-scale"
        )
    maps = {
        "noise": _number_or_array(options.noise, "--noise", image.pixel_scale),
        "mask": None if options.mask is None else _read(options.mask, image.pixel_scale).array,
    }
    for name, array in maps.items():
        if array is not None and getattr(array, "ndim", 0) and array.shape != image.array.shape:
            raise ValueError(
                f"--{name} must have the image's shape {image.array.shape}. Received: {array.shape}"
            )
    if centre is not None:
        lens = _relative_to_cutout(lens, image, model.image_grid.side, centre)
    image, maps = _cut(image, maps, model.image_grid.side, centre)
    arguments = maps | {
        "image": image.array,
        "psf": _read_psf(options.psf, image.pixel_scale, options.normalise_psf),
        "lens": lens,
        "pixel_scale": image.pixel_scale,
    }
    _check(model, arguments)
    result, seconds = _run(model, arguments)
    _write(result, options.output, {"seconds": seconds}, header=image.header)


def _parse_lens(text: str) -> "LensParameters":
    """Return the lens in a string such as theta_E=1.2,e1=0.1."""
    from rim_lensing.lensing.lens_parameters import LensParameters

    names = [field.name for field in fields(LensParameters)]
    values = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if not equals or name not in names or name in values:
            raise ValueError(
                f"--lens must be NAME=VALUE,... with each of {', '.join(names)} at most once. "
                f"Received: {part!r} in {text!r}"
            )
        values[name] = _number(number, f"--lens {name}")
    if "theta_E" not in values:
        raise ValueError(f"--lens must name theta_E. Received: {text!r}")
    return LensParameters(**values)


def _parse_centre(text: str | None) -> tuple[float, float] | None:
    """Return (row, column) from 0 of a string X,Y that counts from 1."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2:
        raise ValueError(f"--crop-centre must be X,Y. Received: {text!r}")
    x, y = (_number(part, "--crop-centre") for part in parts)
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(f"--crop-centre must be finite. Received: {text!r}")
    return y - 1, x - 1


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number. Received: {text!r}") from None


def _read(text: str, pixel_scale: float | None = None) -> "FitsImage":
    """Read FILE or FILE[EXTENSION]; a pixel scale that is given replaces the header's."""
    from rim_lensing.io import read_image

    named = re.fullmatch(r"(.+)\[([^\[\]]+)\]", text)
    path, extension = named.groups() if named and not Path(text).exists() else (text, None)
    return read_image(path, extension=extension, pixel_scale=pixel_scale)


def _number_or_array(text: str, name: str, pixel_scale: float) -> "float | np.ndarray":
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return _read(text, pixel_scale).array
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{name} must be a number or a FITS file: {error}") from None


def _read_psf(text: str, pixel_scale: float, normalise: bool) -> "float | np.ndarray":
    """Return a width in arcsec or a kernel, and refuse one on other pixels than the image's."""
    from rim_lensing.inference.observation import PIXEL_SCALE_TOLERANCE

    try:
        return float(text)
    except ValueError:
        pass
    try:
        psf = _read(text)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"--psf must be a number or a FITS file: {error}") from None
    scale = psf.pixel_scale
    if scale is not None and abs(scale / pixel_scale - 1) > PIXEL_SCALE_TOLERANCE:
        raise ValueError(
            f"--psf must have the image's pixels of {pixel_scale:g}\": resample it, and divide it "
            f'by its sum. Received: pixels of {scale:g}"'
        )
    total = psf.array.sum()
    # A sum that no division mends is left to the check of the kernel, which says why.
    return psf.array / total if normalise and total > 0 else psf.array


def _cut(
    image: "FitsImage", maps: dict, side: int, centre: tuple[float, float] | None
) -> tuple["FitsImage", dict]:
    """Cut the model's field out of image and maps, if a centre is given."""
    from rim_lensing.io import cutout

    rows, columns = image.array.shape
    if centre is None:
        if max(rows, columns) > side:
            raise ValueError(
                f"The image has {columns} x {rows} pixels, the model takes {side} x {side}: say "
                "where the lens is, --crop-centre X,Y"
            )
        return image, maps
    cut_maps = {
        name: cutout(array, side, centre) if getattr(array, "ndim", 0) else array
        for name, array in maps.items()
    }
    return image.cutout(side, centre), cut_maps


def _relative_to_cutout(
    lens: "LensParameters", image: "FitsImage", side: int, centre: tuple[float, float]
) -> "LensParameters":
    """Return the lens with its position relative to the cutout's middle, not to the centre."""
    from rim_lensing.io import offset_in_cutout

    rows, columns = offset_in_cutout(image.array.shape, side, centre)
    return replace(
        lens, x=lens.x + columns * image.pixel_scale, y=lens.y + rows * image.pixel_scale
    )


def _check(model: "PretrainedModel", arguments: dict) -> None:
    """Raise the errors that the reconstruction would raise, before it is loaded."""
    from rim_lensing.inference.observation import check_observation
    from rim_lensing.zoo import CONFIG, WEIGHTS, verify

    verify(model.directory, (CONFIG, WEIGHTS))
    check_observation(**arguments, image_grid=model.image_grid)


def _check_output(options: argparse.Namespace) -> None:
    """Refuse to replace earlier results."""
    directory = options.output
    existing_part = next(
        path for path in (directory, *directory.absolute().parents) if path.exists()
    )
    if not existing_part.is_dir():
        raise FileExistsError(f"{existing_part} is not a directory")
    existing = [name for name in (_SUMMARY, _RESULT, _METRICS) if (directory / name).exists()]
    if existing and not options.overwrite:
        raise FileExistsError(
            f"{directory} holds {', '.join(existing)}: say --overwrite to replace earlier results"
        )


def _run(model: "PretrainedModel", arguments: dict) -> tuple["Reconstruction", float]:
    """Return the reconstruction and the seconds that it took, without the loading."""
    from rim_lensing.tensorflow_messages import without_remarks

    print(f"loading {model.name} ...", flush=True)
    with without_remarks():
        from rim_lensing.zoo import load_pretrained

        reconstructor = load_pretrained(model.directory)
    start = time.perf_counter()
    result = reconstructor.reconstruct(**arguments)
    return result, round(time.perf_counter() - start, 3)


def _write(result: "Reconstruction", directory: Path, numbers: dict, header: object = None) -> None:
    """Write figure, FITS file and numbers, each whole or not at all, and print the main ones."""
    directory.mkdir(parents=True, exist_ok=True)
    facts = {
        "model": result.model,
        "lens": [float(value) for value in result.lens],
        **result.metrics(),
        **numbers,
    }
    result.to_fits(directory / _RESULT, overwrite=True, header=header)
    temporary = directory / f".{os.getpid()}.part"
    try:
        result.plot().savefig(temporary, format="png", dpi=100)
        os.replace(temporary, directory / _SUMMARY)
        temporary.write_text(json.dumps(facts, indent=2) + "\n")
        os.replace(temporary, directory / _METRICS)
    finally:
        temporary.unlink(missing_ok=True)
    print(f"wrote {_SUMMARY}, {_RESULT} and {_METRICS} into {directory}")
    print(f"chi^2 per pixel: {result.chi2:.3f}")
    print(f"total magnification: {facts['total_magnification']:.1f}")
    print(f"time: {numbers['seconds']:.1f} s")


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    """Print a warning in one line, without Python's source line."""
    print(f"warning: {_one_line(message)}", file=sys.stderr)


def _one_line(message: object) -> str:
    return " ".join(str(message).split())

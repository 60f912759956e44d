"""Where a command puts its files: nothing replaced unasked, each whole or not at all."""

import argparse
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rim_lensing import __version__
from rim_lensing.files.json_files import write_json
from rim_lensing.files.whole_files import whole_file

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from rim_lensing.lens_fit.lens_predictor import LensPredictor
    from rim_lensing.lens_fit.rebinned_lens_model import RebinnedLensModel
    from rim_lensing.lensing.grids import PixelGrid
    from rim_lensing.lensing.mass_model import Form
    from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor
    from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion
    from rim_lensing.results.result import Reconstruction
    from rim_lensing.zoo.zoo import PretrainedModel

SUMMARY, RESULT, METRICS = "summary.png", "result.fits", "metrics.json"
"""Of a reconstruction."""

ROUNDS = "rounds.png"
"""Of a fit, beside these."""

CUTOUT, LIGHT, SCENE = "cutout.png", "lens_light.png", "lens.json"
"""Of a raw cutout, beside these: what was found on it, the lens galaxy's light, and the lens as a
COOLEST file."""

DEFAULT_MODEL = "rim_euclid64"

NOT_CONVERGED = 3
"""Exit status of a fit or a chain that has not converged; its files are written all the same."""


def add_model_option(command: argparse.ArgumentParser) -> None:
    """Add --model."""
    command.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help="the RIM: its name in the zoo, which rim-lensing models lists, or a folder (default "
        f"{DEFAULT_MODEL})",
    )


def add_refine_option(command: argparse._ActionsContainer) -> None:
    """Add --refine to a command, or to a group of its options."""
    command.add_argument(
        "--refine",
        action="store_true",
        help="take up what the network leaves in the residuals by a linear inversion of them: for "
        "little noise, and for sources unlike a galaxy; costs tenths of a second, or seconds on "
        "192 x 192 pixels",
    )


def add_output_options(command: argparse.ArgumentParser) -> None:
    """Add --output and --overwrite."""
    command.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for the results, made if missing",
    )
    command.add_argument("--overwrite", action="store_true", help="replace earlier results")


def check_directory(directory: Path) -> None:
    """Refuse a directory that can not be made or not be written to: work takes minutes.

    Raises:
        FileExistsError: There is something else of this name, or on the way to it.
        PermissionError: The part of the path that exists is closed to this user.
    """
    existing_part = next(
        path for path in (directory, *directory.absolute().parents) if path.exists()
    )
    if not existing_part.is_dir():
        raise FileExistsError(f"{existing_part} is not a directory")
    if not os.access(existing_part, os.W_OK | os.X_OK):
        raise PermissionError(
            f"--output must be a directory that this user may write to. Received: {existing_part}"
        )


def check_output(options: argparse.Namespace, names: Iterable[str]) -> None:
    """Refuse to replace earlier results of these names."""
    check_directory(options.output)
    existing = [name for name in names if (options.output / name).exists()]
    if existing and not options.overwrite:
        raise FileExistsError(
            f"{options.output} holds {', '.join(existing)}: say --overwrite to replace earlier "
            "results"
        )


def load(
    model: "PretrainedModel", grid: "PixelGrid", **options: object
) -> "RIMReconstructor | LensPredictor | RebinnedLensModel":
    """Load a model of the zoo for images with these pixels, saying so: it takes seconds.

    Args:
        model: Which one.
        grid: Pixels of the images.
        options: What its `with_image_grid` takes beside the pixels. Of no use to a model of these
            very pixels, which averages nothing.
    """
    from rim_lensing.tensorflow_messages import without_remarks

    print(f"loading {model.name} ...", flush=True)
    with without_remarks():
        from rim_lensing.zoo.zoo import load_pretrained

        loaded = load_pretrained(model.directory)
    if grid == model.image_grid:
        return loaded
    return loaded.with_image_grid(grid.side, grid.pixel_scale, **options)


def verify_files(model: "PretrainedModel") -> None:
    """Raise the errors that `load` would raise."""
    from rim_lensing.zoo.zoo import CONFIG, verify

    verify(model.directory, (CONFIG, model.weights.name))


def linear_inversion(
    model: "PretrainedModel", grid: "PixelGrid", strength: float | None = None
) -> "SemilinearInversion":
    """Return the linear inversion on a model's source grid, for images with these pixels."""
    from rim_lensing.tensorflow_messages import without_remarks

    with without_remarks():
        from keras import ops

        from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion

        # The first operation looks for devices, and remarks on them.
        ops.zeros(1)

    from rim_lensing.zoo.zoo import read_config

    network = read_config(model.directory).network
    return SemilinearInversion(
        strength=strength, geometry=network.on_image_grid(grid.side, grid.pixel_scale)
    )


def made_by(model: "PretrainedModel | None") -> dict[str, str]:
    """Return what says what made a result: version of the package, sha256 of a model's weights."""
    from rim_lensing.zoo.zoo import read_metadata

    facts = {"rim_lensing_version": __version__}
    if model is not None:
        files = read_metadata(model.directory)["files"]
        facts["weights_sha256"] = files[model.weights.name]["sha256"]
    return facts


def tell_refinement(result: "Reconstruction") -> None:
    """Print by how much a refined model's last step changed the source, or that it failed.

    Args:
        result: Of one system.
    """
    if not result.refined:
        print("the source could not be refined")
        return
    before, after = result.history[-2:]
    change = ((after - before) ** 2).mean() ** 0.5 / abs(after).max()
    found = f"changed it by {change:.2%} of its peak (rms)" if change else "found nothing to change"
    print(f"refinement of the source {found}")


def by_name(lens: "np.ndarray", form: "Form | None" = None) -> dict[str, float]:
    """Return the parameters of a lens (p,) by their names, as the files have them.

    Args:
        lens: Of given deflections, which have no parameters, anything.
        form: By default that of 7 or 8 numbers.
    """
    from rim_lensing.lensing.mass_model import form_of

    names = form_of(lens, form).labels
    return dict(zip(names, lens.tolist() if names else [], strict=True))


def scene_of(lens: "np.ndarray", form: "Form") -> "dict | str":
    """Return the components of a lens (p,), with kind and values, as JSON can hold them."""
    return form.describe(lens) if form.names else repr(form)


def write_picture(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG."""
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def write_reconstruction(
    result: "Reconstruction",
    model: "PretrainedModel | None",
    directory: Path,
    numbers: dict,
    header: object = None,
) -> None:
    """Write figure, FITS file and numbers, and print the main ones.

    Args:
        result: Of one system.
        model: That made it; None, a linear inversion.
        directory: Made if missing; the picture of an earlier fit's rounds is removed.
        numbers: What goes into the numbers beside the reconstruction's own; `seconds` among them.
        header: Of the image.
    """
    # All that may fail comes before the first file.
    picture = result.plot(header=header)
    facts = {
        "model": result.model,
        **made_by(model),
        "lens": by_name(result.lens, result.form),
        "scene": scene_of(result.lens, result.form),
        **result.metrics(),
        "caveats": result.caveats,
        **numbers,
    }
    directory.mkdir(parents=True, exist_ok=True)
    result.to_fits(directory / RESULT, overwrite=True, header=header)
    write_picture(picture, directory / SUMMARY)
    write_json(facts, directory / METRICS)
    (directory / ROUNDS).unlink(missing_ok=True)
    print(f"wrote {SUMMARY}, {RESULT} and {METRICS} into {directory}")
    counted = result.counted
    noise = f"noise leaves 1 +- {facts[f'chi2_per_{counted}_noise_std']:.2g}"
    number = facts.get("used_pixels") or facts["used_visibilities"]
    several = {"pixel": "pixels", "visibility": "visibilities"}[counted]
    print(f"chi^2 per {counted}: {result.chi2:.3f} (of {number} {several}; {noise})")
    if "log_evidence" in facts:
        print(f"log evidence: {facts['log_evidence']:.1f}, at the strength {facts['strength']:.4g}")
    for name, value in (
        ("source_flux", f"{facts['source_flux']:.4g}"),
        ("total_magnification", f"{facts['total_magnification']:.1f}"),
    ):
        error = facts.get(f"{name}_std", math.nan)
        error = f" +- {error:.2g}" if math.isfinite(error) else ""
        said = "not constrained" if math.isnan(facts[name]) else f"{value}{error}"
        print(f"{name.replace('_', ' ')}: {said}")
    for caveat in result.caveats:
        print(f"note: {caveat}")
    print(f"time: {numbers['seconds']:.1f} s")

"""Raw telescope cutouts whose truth is known: lens light, sky, neighbours, cosmic rays and all.

    python benchmarks/raw_mocks.py --output runs/raw_mocks --galaxies galaxies_sky.h5
    python benchmarks/raw_mocks.py --output runs/raw_mocks --first 1000 --count 40

The first command writes the frozen set, mocks 0 to 199; mocks from 1000 on are for tuning. They are
made with lenstronomy, independent of the package's forward model (`raw_mock_planes.py`); every
number is drawn from the index (`raw_mock_recipe.py`). Of twenty in a row one is an elliptical
alone, one a ring galaxy that is no lens, one a lensed quasar; the truth has the right verdicts.

raw_mock_0000.fits holds IMAGE, NOISE and PSF, as an archive would have it; raw_mock_0000_truth.fits
the planes that add up to it, without sky: LIGHT, ARCS, NEIGHBOURS, RAYS, and SOURCE on its own
pixels; raw_mock_0000.json all numbers. The command goes on where it was stopped.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from galaxy_options import add_galaxies, check_galaxies
from raw_mock_planes import (
    FINE,
    MASKED,
    SOURCE_PIXEL,
    Planes,
    cosmic_rays,
    drizzled_noise,
    moffat,
    on_pixels,
)
from raw_mock_recipe import FROZEN, draw_truth
from tqdm import tqdm

from rim_lensing.program import run

EMPIRICAL_PIXEL = 0.01
"""arcsec: pixels of the PSFs of --psfs, a fifth of those of the HST mocks that they are for."""

EMPIRICAL_SIDE = 77
"""Their pixels that are used, 0.77 arcsec; beyond, they hold next to nothing but noise."""


def raw_mock(
    index: int, galaxies: str | Path | None = None, psfs: str | Path | None = None
) -> tuple[dict, dict]:
    """Make a mock.

    Args:
        index: Of the mock; the first FROZEN are measured on, those from DEVELOPMENT on are for
            tuning.
        galaxies: File of `train/prepare_galaxies.py`, whose validation split the sources are of; by
            default procedural ones.
        psfs: FITS file, or a folder of them, with PSFs (k, k) or (n, k, k) on pixels of
            EMPIRICAL_PIXEL, for the HST mocks; by default, and for other telescopes, a Moffat.

    Returns:
        What is observed, {"image", "noise", "psf", "pixel_scale"} as `rim_lensing.Observation`
        takes it; and the truth: all numbers, and under "planes" the arrays, in the image's unit,
        electrons/s.
    """
    truth, draw = draw_truth(index)
    kernel = _kernel(truth, draw, psfs)
    planes = Planes(truth, kernel, _stamp(draw, galaxies))
    side, rms, kind = truth["side"], truth["rms"], truth["kind"]
    light, arcs = planes.lens_light(), np.zeros((side, side))
    found = {"SOURCE": np.zeros((1, 1))}
    if kind in ("lens", "quasar"):
        arcs, amplitude = planes.arcs(light)
        found["SOURCE"] = amplitude * planes.source_plane() * rms
        ratio = (SOURCE_PIXEL / truth["pixel_scale"]) ** 2
        truth["source_flux"] = float(found["SOURCE"].sum() * ratio)
        truth["arcs_flux"] = float(arcs.sum() * rms)
        truth["magnification"] = truth["arcs_flux"] / truth["source_flux"]
        truth["source"]["x"], truth["source"]["y"] = map(float, planes.source_place())
    if kind == "ring":
        light = light + planes.ring(light)
    if kind == "quasar":
        points, truth["quasar_images"] = planes.quasar()
        arcs = arcs + points
    neighbours = planes.neighbours()
    total = light + arcs + neighbours
    scatter = planes.scatter(total)
    noise = scatter * drizzled_noise(draw, side, truth["correlated"])
    rays = cosmic_rays(draw, side, truth["cosmic_rays"])
    image = total + truth["sky_to_rms"] + noise + rays
    noise_map = scatter * truth["noise_map_factor"]
    if truth["rays_masked"]:
        noise_map = np.where(rays > 0, MASKED, noise_map)
    dead = draw.choice(side, truth["dead_columns"], replace=False)
    image[:, dead] = np.nan
    truth["sky"] = truth["sky_to_rms"] * rms
    named = {"LIGHT": light, "ARCS": arcs, "NEIGHBOURS": neighbours, "RAYS": rays, "NOISE": noise}
    truth["planes"] = found | {name: plane * rms for name, plane in named.items()}
    observed = {
        "image": image * rms,
        "noise": noise_map * rms,
        "psf": on_pixels(kernel),
        "pixel_scale": truth["pixel_scale"],
    }
    return observed, truth


def write_raw_mock(observed: dict, truth: dict, directory: Path) -> None:
    """Write one mock: what is observed, its planes, its numbers; the numbers last.

    Args:
        observed: Of `raw_mock`.
        truth: Of `raw_mock`.
        directory: Must be there.
    """
    name = f"raw_mock_{truth['index']:04d}"
    write_observed(observed, directory / f"{name}.fits", truth["exposure"])
    _write(truth["planes"], directory / f"{name}_truth.fits", truth["pixel_scale"])
    numbers = {key: value for key, value in truth.items() if key != "planes"}
    (directory / f"{name}.json").write_text(json.dumps(numbers, indent=1) + "\n")


def write_observed(observed: dict, path: Path, exposure: float) -> None:
    """Write IMAGE, NOISE and PSF.

    Args:
        observed: Of `raw_mock`.
        path: FITS file, replaced.
        exposure: Seconds, for the header.
    """
    arrays = {name.upper(): observed[name] for name in ("image", "noise", "psf")}
    cards = {"BUNIT": "ELECTRONS/S", "EXPTIME": exposure}
    _write(arrays, path, observed["pixel_scale"], cards)


def _write(arrays: dict, path: Path, pixel_scale: float, cards: dict | None = None) -> None:
    """Write arrays as extensions of a FITS file, the first as its primary image."""
    from astropy.io import fits

    units = []
    for name, array in arrays.items():
        kind = fits.ImageHDU if units else fits.PrimaryHDU
        unit = kind(array.astype("float32"))
        unit.header["EXTNAME"] = name
        scale = SOURCE_PIXEL if name == "SOURCE" else pixel_scale
        unit.header["PIXSCALE"] = (scale, "arcsec")
        if name != "PSF":
            unit.header.update(cards or {})
        units.append(unit)
    fits.HDUList(units).writeto(path, overwrite=True)


def _kernel(truth: dict, draw: np.random.Generator, psfs: str | Path | None) -> np.ndarray:
    """Return the PSF on fine pixels; the truth says which."""
    # Drawn in any case: what follows does not depend on the arguments.
    choice = draw.uniform()
    fine = truth["pixel_scale"] / FINE
    if psfs is None or abs(fine / EMPIRICAL_PIXEL - 1) > 0.01:
        return moffat(truth["psf"]["fwhm"], truth["psf"]["beta"], fine)
    kernels = _read_kernels(Path(psfs))
    number = int(choice * len(kernels))
    truth["psf"] = {"empirical": number}
    return kernels[number]


def _read_kernels(path: Path) -> list[np.ndarray]:
    """Return all PSFs of a file or a folder, of EMPIRICAL_SIDE pixels around their peak."""
    from rim_lensing.files.tolerant_fits import open_fits

    files = sorted(path.glob("*.fits")) if path.is_dir() else [path]
    kernels = []
    for each in files:
        file, _ = open_fits(each)
        with file:
            found = np.atleast_3d(np.asarray(file[0].data, "float64"))
        found = found if found.ndim == 3 and found.shape[1] == found.shape[2] else found[..., 0]
        for kernel in found if found.ndim == 3 else [found]:
            row, column = np.unravel_index(kernel.argmax(), kernel.shape)
            reach = EMPIRICAL_SIDE // 2
            cut = kernel[row - reach : row + reach + 1, column - reach : column + reach + 1]
            if cut.shape == (EMPIRICAL_SIDE, EMPIRICAL_SIDE):
                cut = np.maximum(cut, 0)
                kernels.append(cut / cut.sum())
    if not kernels:
        raise ValueError(
            f"`psfs` must hold PSFs of {EMPIRICAL_SIDE} pixels a side at least. Received: {path}"
        )
    return kernels


def _stamp(draw: np.random.Generator, galaxies: str | Path | None) -> np.ndarray:
    """Return a source galaxy."""
    from rim_lensing.galaxies.galaxy_pool import unseen_galaxies
    from rim_lensing.simulation.sky.winged_galaxies import draw_winged_galaxies

    choice, seed = draw.uniform(), int(draw.integers(2**31))
    if galaxies is None:
        return draw_winged_galaxies(1, seed)[0].astype("float64")
    stamps = unseen_galaxies(galaxies)
    return stamps[int(choice * len(stamps))].astype("float64")


def read_options(parser: argparse.ArgumentParser, arguments, count: int) -> argparse.Namespace:
    """Add the options about which mocks are made to a parser, and read the command line.

    Args:
        parser: With the program's other options.
        arguments: Of the command line.
        count: How many mocks, by default.

    Raises:
        FileNotFoundError: There is no such file of galaxies, or no such PSFs.
    """
    parser.add_argument("--first", type=int, default=0, help="index of the first mock")
    parser.add_argument("--count", type=int, default=count, help="how many")
    add_galaxies(parser)
    parser.add_argument(
        "--psfs", type=Path, help="FITS file or folder of HST PSFs; default: Moffat"
    )
    options = parser.parse_args(arguments)
    check_galaxies(options)
    if options.psfs and not options.psfs.exists():
        raise FileNotFoundError(f"There is nothing at {options.psfs}")
    return options


def main(arguments=None) -> int:
    """Write the mocks that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="directory")
    options = read_options(parser, arguments, FROZEN)
    options.output.mkdir(parents=True, exist_ok=True)
    for index in tqdm(range(options.first, options.first + options.count)):
        if not (options.output / f"raw_mock_{index:04d}.json").exists():
            mock = raw_mock(index, options.galaxies, options.psfs)
            write_raw_mock(*mock, options.output)
    return 0


if __name__ == "__main__":
    run(main)

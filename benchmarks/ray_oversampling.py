"""What rays within a pixel gain over a PSF that is averaged over the image's pixels.

    python benchmarks/ray_oversampling.py --systems 8

makes mocks with lenstronomy: procedural galaxies behind SIEs in shear, a Moffat PSF of 0.16" (FWHM)
on pixels of 0.1", all of it computed on pixels six times as fine. They are reconstructed behind the
true lens with the PSF averaged over the image's pixels (1 ray a pixel), and with 2 x 2 and 3 x 3
rays: by rim_euclid64, and by the linear inversion on fields of 40 x 40 pixels. Prints medians over
the systems of chi^2 per pixel, rms error over the peak, and the gain in log evidence.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from bootstrap import with_error

import rim_lensing as rl
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.galaxies.procedural import draw_procedural_galaxies
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.program import run
from rim_lensing.simulation.priors import Priors

PIXEL, FINE, FWHM, BETA = 0.1, 6, 0.16, 3.0
NOISE, RAYS = (0.003, 0.01, 0.03), (1, 2, 3)
FIELD = 40
"""Pixels of the linear inversion's images: theta_E is up to 1.1"."""


def fine_psf() -> np.ndarray:
    """Return the Moffat profile, integrated over pixels FINE times as fine as the image's."""
    scale, parts = PIXEL / FINE, 5
    side = 2 * int(np.ceil(0.6 / scale)) + 1
    axis = (np.arange(side * parts) - (side * parts - 1) / 2) * scale / parts
    radius = FWHM / 2 / np.sqrt(2 ** (1 / BETA) - 1)
    light = (1 + (axis**2 + axis[:, None] ** 2) / radius**2) ** -BETA
    kernel = light.reshape(side, parts, side, parts).sum(axis=(1, 3))
    return kernel / kernel.sum()


def mocks(count: int, side: int, seed: int) -> Iterator[tuple]:
    """Yield lens (7,), noiseless image (m, m) of peak 1, true source (n, n) in its unit."""
    from lenstronomy.Data.imaging_data import ImageData
    from lenstronomy.Data.psf import PSF
    from lenstronomy.ImSim.image_model import ImageModel
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel

    priors = Priors(
        theta_E=(0.5, 1.1),
        axis_ratio=(0.5, 1.0),
        shear=(0.0, 0.1),
        source_size=(0.6, 1.5),
        source_radius=(0.0, 0.25),
    )
    drawn = priors.draw(np.random.default_rng(seed), count)
    grid, corner = PixelGrid(side, PIXEL / 2), -(side - 1) / 2 * PIXEL
    data = ImageData(
        np.zeros((side, side)),
        background_rms=1.0,
        exposure_time=1.0,
        ra_at_xy_0=corner,
        dec_at_xy_0=corner,
        transform_pix2angle=PIXEL * np.eye(2),
    )
    psf = PSF("PIXEL", kernel_point_source=fine_psf(), point_source_supersampling_factor=FINE)
    numerics = {"supersampling_factor": FINE, "supersampling_convolution": True}
    for i, stamp in enumerate(draw_procedural_galaxies(count, seed)):
        lens = drawn["lens"][i].astype("float64")
        names, keywords = rl.LensParameters.from_array(lens).to_lenstronomy()
        x, y, size, angle, _ = drawn["placement"][i].tolist()
        light = LightModel(["INTERPOL"])
        galaxy = {"image": stamp, "amp": 1.0, "center_x": x, "center_y": y, "phi_G": angle}
        galaxy |= {"scale": size / len(stamp)}
        model = ImageModel(data, psf, LensModel(names), light, kwargs_numerics=numerics)
        image = model.image(keywords, [galaxy]) / PIXEL**2
        fine = light.surface_brightness(*(each.ravel() for each in grid.coordinates(5)), [galaxy])
        truth = fine.reshape(side, 5, side, 5).mean(axis=(1, 3))
        yield lens, image / image.max(), truth / image.max()


def measure(model, count: int, seed: int, **more) -> dict[str, np.ndarray]:
    """Return measures of every system, (systems, NOISE, RAYS)."""
    shape = count, len(NOISE), len(RAYS)
    found = {name: np.full(shape, np.nan) for name in ("chi2", "error", "evidence")}
    for i, (lens, image, truth) in enumerate(mocks(count, model.image_grid.side, seed)):
        draw = np.random.default_rng([seed, i]).standard_normal(image.shape)
        for j, noise in enumerate(NOISE):
            for k, rays in enumerate(RAYS):
                seen = rl.Observation(
                    image + noise * draw,
                    noise,
                    fine_psf(),
                    psf_oversampling=FINE,
                    ray_oversampling=rays,
                )
                result = model.reconstruct(seen, lens=lens, **more)
                error = np.sqrt(np.mean((result.source - truth) ** 2)) / truth.max()
                found["chi2"][i, j, k], found["error"][i, j, k] = result.chi2, error
                found["evidence"][i, j, k] = getattr(result, "log_evidence", np.nan)
        print(f"{i + 1} of {count}", flush=True)
    return found


def report(title: str, found: dict[str, np.ndarray]) -> None:
    """Print a Markdown table."""
    print(f"\n{title}\n\n| noise | rays | chi^2 per pixel | rms error | gain in log evidence |")
    print("|---|---|---|---|---|")
    for j, noise in enumerate(NOISE):
        for k, rays in enumerate(RAYS):
            gain = found["evidence"][:, j, k] - found["evidence"][:, j, 0]
            print(
                f"| {noise:.1%} | {rays} x {rays} | {np.median(found['chi2'][:, j, k]):.2f} | "
                f"{with_error(found['error'][:, j, k], np.median, '{:.2%}')} | "
                f"{'' if np.isnan(gain).all() else with_error(gain, np.median, '{:.0f}')} |"
            )


def main() -> None:
    """Make the mocks, reconstruct them, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--systems", type=int, default=8)
    parser.add_argument("--linear-systems", type=int, default=4, help="minutes each")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rim = rl.load_pretrained("rim_euclid64")
    report("rim_euclid64", measure(rim, options.systems, options.seed))
    linear = rl.SemilinearInversion(geometry=Geometry(FIELD, PIXEL, FIELD, PIXEL / 2, psf_side=13))
    found = measure(linear, options.linear_systems, options.seed, uncertainties=False)
    report("linear inversion", found)


if __name__ == "__main__":
    run(main)

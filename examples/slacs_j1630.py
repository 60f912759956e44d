"""A real lens: the source of SDSS J1630+4520 (HST F555W, SLACS), from its published mass model.

    python examples/slacs_j1630.py FOLDER --output DIR

FOLDER holds image_, psf_ and result_SDSSJ1630+4520_F555W (Shajib et al. 2021; in lenstronomy's
format). The published power law + shear is kept fixed. The lens light has the published profiles,
but their amplitudes and a constant sky are fitted again to the pixels off the arcs: the published
ones left a hole inside the ring. Needs lenstronomy for these profiles.
"""

import argparse
import json
from pathlib import Path

import h5py
import numpy as np
from lenstronomy.Data.imaging_data import ImageData
from lenstronomy.Data.psf import PSF
from lenstronomy.ImSim.image_model import ImageModel
from lenstronomy.LightModel.light_model import LightModel

import rim_lensing as rl

NAME = "SDSSJ1630+4520_F555W"
MASKED_CENTRE = 0.5
"""arcsec: inside, the subtracted lens galaxy leaves residuals of its own."""


def read_system(folder: Path):
    """Return the lens-subtracted image, its noise, the PSF, the lens, all with +x to the right."""
    with h5py.File(folder / f"image_{NAME}.h5") as file:
        data = {key: value[()] for key, value in file.items()}
    with h5py.File(folder / f"psf_{NAME}.h5") as file:
        psf = file["kernel_point_source"][()]
    published = json.loads((folder / f"result_{NAME}.json").read_text())
    model, values = published["kwargs_model"], published["kwargs_result"]

    image, background = data["image_data"], data["background_rms"]
    noise = np.sqrt(background**2 + np.clip(image, 0, None) / data["exposure_time"])
    profiles = [
        ImageModel(
            ImageData(**data),
            PSF("PIXEL", kernel_point_source=psf),
            lens_light_model_class=LightModel([profile]),
        ).image(kwargs_lens_light=[parameters])
        for profile, parameters in zip(
            model["lens_light_model_list"], values["kwargs_lens_light"], strict=True
        )
    ]
    light = fit_amplitudes(image, noise, [*profiles, np.ones_like(image)])

    # The first column lies at the largest RA offset: mirror, so that x grows with the column.
    matrix = data["transform_pix2angle"]
    pixel_scale = float(np.sqrt(abs(np.linalg.det(matrix))))
    middle = (image.shape[0] - 1) / 2
    origin = [data["ra_at_xy_0"], data["dec_at_xy_0"]] + matrix @ [middle, middle]
    mass, shear = values["kwargs_lens"]
    lens = rl.LensParameters(
        theta_E=mass["theta_E"],
        e1=mass["e1"],
        e2=mass["e2"],
        x=mass["center_x"] - origin[0],
        y=mass["center_y"] - origin[1],
        gamma1=shear["gamma_ext"] * np.cos(2 * shear["psi_ext"]),
        gamma2=shear["gamma_ext"] * np.sin(2 * shear["psi_ext"]),
        slope=mass["gamma"] - 1,
    )
    return (image - light)[:, ::-1], noise[:, ::-1], psf[:, ::-1] / psf.sum(), lens, pixel_scale


def fit_amplitudes(image, noise, components):
    """Return the weighted least-squares sum of the components, arcs clipped as outliers."""
    basis = np.stack(components, axis=-1)
    kept = np.ones(image.shape, bool)
    for _ in range(10):
        weighted = basis[kept] / noise[kept][:, None]
        amplitudes = np.linalg.lstsq(weighted, image[kept] / noise[kept], rcond=None)[0]
        normalised = (image - basis @ amplitudes) / noise
        # Arcs are positive: clip more of what lies above the fit than below.
        kept = (normalised < 2) & (normalised > -4)
    return basis @ amplitudes


def main():
    """Reconstruct, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="rim_euclid64")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()

    image, noise, psf, lens, pixel_scale = read_system(options.folder)
    side = image.shape[0]
    model = rl.load_pretrained(options.model).with_image_grid(side, pixel_scale)
    x, y = model.image_grid.coordinates()
    radius = np.hypot(x - lens.x, y - lens.y)
    result = model.reconstruct(
        image, noise, psf, lens, mask=radius > MASKED_CENTRE, pixel_scale=pixel_scale
    )
    arcs = (radius > 0.8) & (radius < 2.8)
    in_arcs = np.mean((result.residuals / noise)[arcs] ** 2)
    blank = np.mean((image / noise)[arcs] ** 2)
    print(f"lens: {lens}")
    print(f"chi^2 per pixel: {result.chi2:.3f} outside the masked centre")
    print(f"chi^2 per pixel at 0.8-2.8 arcsec: {in_arcs:.3f} (without any source: {blank:.3f})")
    options.output.mkdir(parents=True, exist_ok=True)
    result.plot().savefig(options.output / "slacs_j1630.png", dpi=110)
    result.to_fits(options.output / "slacs_j1630.fits")


if __name__ == "__main__":
    main()

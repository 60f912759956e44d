"""A subhalo on an arc: how much mass sits at a known place?

The mock is lenstronomy's: a power law in external shear, a small isothermal sphere on the arc, two
Sersic profiles behind, a PSF on pixels twice as fine as the image's. The fit, `fit`, is what a user
types. A RIM makes the source. The power law's slope and the sphere's place are held; a boxy or
disky part of the lens shares its centre; the sphere's Einstein radius and all the rest are free.
The error is the curvature of the log-posterior, `LensOptimum.std`.

    python examples/subhalo.py

Needs lenstronomy; takes a minute or two. With other noise and other masses (0.03" to 0.12") the
truth was within 1 sigma in 7 of 9 cases, within 2 in all: benchmarks/README.md, A subhalo.
"""

import numpy as np

import rim_lensing as rl
from rim_lensing.lens_fit.optimise import LensOptimum

PLACE = (0.95, 0.75)
"""arcsec: of the subhalo, on the arc."""

NOISE, PSF_SIGMA, OVERSAMPLING = 0.02, 0.07, 2
"""rms over the image's peak; arcsec; pixels of the PSF per image pixel along each axis."""

SOURCE = {
    "SERSIC_ELLIPSE": {
        "R_sersic": 0.25,
        "e1": 0.1,
        "e2": 0.15,
        "center_x": 0.08,
        "center_y": -0.05,
    },
    "SERSIC": {"R_sersic": 0.08, "center_x": 0.3, "center_y": 0.12},
}
"""lenstronomy's profiles, in arcsec: both exponential, and as bright at R_sersic."""

_EXACT = 6
"""The mock's rays and PSF per pixel along each axis."""


def truth(theta_E: float) -> rl.MassModel:
    """Return the lens with a subhalo of this Einstein radius, in arcsec."""
    return rl.MassModel(
        lens=rl.EPL(theta_E=1.2, e1=0.08, e2=-0.05, slope=1.0),
        shear=rl.Shear(gamma1=0.03, gamma2=0.02),
        subhalo=rl.SIS(theta_E, *PLACE),
    )


def fine_psf(oversampling: int, pixel_scale: float) -> np.ndarray:
    """Return a Gaussian, integrated over pixels so many times as fine as the image's."""
    width, parts = pixel_scale / oversampling, 9
    side = 2 * int(np.ceil(5 * PSF_SIGMA / width)) + 1
    axis = (np.arange(side * parts) - (side * parts - 1) / 2) * width / parts
    profile = np.exp(-0.5 * (axis / PSF_SIGMA) ** 2).reshape(side, parts).sum(axis=1)
    return np.outer(profile, profile) / profile.sum() ** 2


def mock(lens: rl.MassModel, grid, seed: int = 0) -> rl.Observation:
    """Return what lenstronomy makes of two Sersic profiles behind a lens, with noise.

    Args:
        lens: The truth.
        grid: Pixels of the image, such as `model.image_grid`.
        seed: Of the noise.
    """
    from lenstronomy.Data.imaging_data import ImageData
    from lenstronomy.Data.psf import PSF
    from lenstronomy.ImSim.image_model import ImageModel
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel

    names, keywords = rl.to_lenstronomy(lens)
    galaxy = [{"amp": 1.0, "n_sersic": 1.0} | profile for profile in SOURCE.values()]
    corner = -(grid.side - 1) / 2 * grid.pixel_scale
    data = ImageData(
        np.zeros((grid.side, grid.side)),
        background_rms=1.0,
        exposure_time=1.0,
        ra_at_xy_0=corner,
        dec_at_xy_0=corner,
        transform_pix2angle=grid.pixel_scale * np.eye(2),
    )
    kernel = fine_psf(_EXACT, grid.pixel_scale)
    image = ImageModel(
        data,
        PSF("PIXEL", kernel_point_source=kernel, point_source_supersampling_factor=_EXACT),
        LensModel(names),
        LightModel(list(SOURCE)),
        kwargs_numerics={"supersampling_factor": _EXACT, "supersampling_convolution": True},
    ).image(keywords, galaxy)
    image = image / image.max()
    image += NOISE * np.random.default_rng(seed).standard_normal(image.shape)
    psf = fine_psf(OVERSAMPLING, grid.pixel_scale)
    return rl.Observation(
        image, NOISE, psf, psf_oversampling=OVERSAMPLING, pixel_scale=grid.pixel_scale
    )


def fit(observation: rl.Observation, source_model) -> LensOptimum:
    """Return the most probable lens with a subhalo at PLACE."""
    scene = rl.MassModel(
        lens=rl.EPL(theta_E=1.15),
        shear=rl.Shear(),
        subhalo=rl.SIS(0.02, *PLACE),
        boxy=rl.Multipole(m=4),
    )
    priors = {"lens.slope": 1.0, "subhalo.x": PLACE[0], "subhalo.y": PLACE[1]}  # Held,
    priors |= {"boxy.x": "lens.x", "boxy.y": "lens.y"}  # linked,
    priors |= {"subhalo.theta_E": (0.0, 0.5)}  # and within a range.
    return rl.optimise_lens(observation, source_model=source_model, start=scene, priors=priors)


def main() -> None:
    """Make the mock, fit it, and say what was found."""
    model, true = rl.load_pretrained("rim_euclid64"), 0.12
    found = fit(mock(truth(true), model.image_grid), model)
    column = found.mass_model.index("subhalo.theta_E")
    print(
        f"subhalo: theta_E = {found.lens[column]:.4f} +- {found.std[column]:.4f} arcsec "
        f"(the truth: {true:g})"
    )


if __name__ == "__main__":
    main()

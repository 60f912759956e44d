"""Lens galaxies and arcs as lenstronomy draws them."""

import numpy as np
from lenstronomy.Data.imaging_data import ImageData
from lenstronomy.Data.psf import PSF
from lenstronomy.ImSim.image_model import ImageModel
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel

SIDE, SCALE, PSF_SIGMA = 121, 0.05, 0.05
LENS = {"theta_E": 1.2, "e1": 0.1, "e2": -0.08, "center_x": 0.02, "center_y": -0.01}
SHEAR = {"gamma1": 0.03, "gamma2": -0.02, "ra_0": 0.0, "dec_0": 0.0}
GALAXY = [
    {
        "amp": 60.0,
        "R_sersic": 0.8,
        "n_sersic": 4.0,
        "e1": 0.12,
        "e2": -0.06,
        "center_x": 0.02,
        "center_y": -0.01,
    },
    {
        "amp": 12.0,
        "R_sersic": 1.8,
        "n_sersic": 1.0,
        "e1": 0.05,
        "e2": -0.14,
        "center_x": 0.02,
        "center_y": -0.01,
    },
]


def source_at(x: float, y: float, amp: float = 60.0, radius: float = 0.12) -> dict:
    return {
        "amp": amp,
        "R_sersic": radius,
        "n_sersic": 1.0,
        "e1": 0.1,
        "e2": 0.05,
        "center_x": x,
        "center_y": y,
    }


def psf_kernel(side: int = 21, sigma: float = PSF_SIGMA) -> np.ndarray:
    offsets = (np.arange(side) - side // 2) * SCALE
    profile = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = np.outer(profile, profile)
    return kernel / kernel.sum()


def _profile(keywords: dict) -> str:
    return "GAUSSIAN_ELLIPSE" if "sigma" in keywords else "SERSIC_ELLIPSE"


def draw(
    galaxy=(), source=(), lens=(), kernel=None, side: int = SIDE, supersampling: int = 5
) -> np.ndarray:
    """Return lens light and arcs behind a PSF, without noise; flux per pixel.

    lenstronomy lets no light in from beyond the frame: it is drawn larger, and cropped.
    """
    kernel = psf_kernel() if kernel is None else kernel
    margin = len(kernel) // 2
    side += 2 * margin
    middle = (side - 1) / 2 * SCALE
    data = ImageData(
        image_data=np.zeros((side, side)),
        ra_at_xy_0=-middle,
        dec_at_xy_0=-middle,
        transform_pix2angle=np.eye(2) * SCALE,
    )
    model = ImageModel(
        data,
        PSF(psf_type="PIXEL", kernel_point_source=kernel),
        lens_model_class=LensModel(["SIE", "SHEAR"][: len(lens)]),
        source_model_class=LightModel([_profile(each) for each in source]),
        lens_light_model_class=LightModel([_profile(each) for each in galaxy]),
        kwargs_numerics={"supersampling_factor": supersampling, "supersampling_convolution": False},
    )
    image = model.image(
        kwargs_lens=list(lens), kwargs_source=list(source), kwargs_lens_light=list(galaxy)
    )
    return image[margin : side - margin, margin : side - margin]

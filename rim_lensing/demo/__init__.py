"""A mock lens that comes with the package, with its truth; `train/make_demo_lens.py` makes it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES

DEMO_FILE = Path(__file__).with_name("mock_lens.fits")

RAW_DEMO_FILE = Path(__file__).with_name("raw_lens.fits")
"""A raw cutout as an archive has it, IMAGE, NOISE and PSF: lens light, sky, neighbours and cosmic
rays in the image, its noise correlated, the noise map too large. Mock 2021 of
`python benchmarks/raw_mocks.py --output DIR --first 2021 --count 1`."""

RAW_DEMO_LENS = {
    "theta_E": 1.15605,
    "e1": 0.14586,
    "e2": 0.11936,
    "x": 0.14863,
    "y": 0.00220,
    "gamma1": -0.00643,
    "gamma2": 0.03616,
    "slope": 1.10332,
}
"""The truth of RAW_DEMO_FILE, by the names of a power law's parameters."""


@dataclass(frozen=True)
class DemoLens:
    """One system.

    Args:
        image: (m, m).
        noise: rms, (m, m).
        psf: Kernel, (k, k).
        lens: Seven parameters, see `lens_parameters`.
        source: The truth, (n, n).
        image_pixel_scale: arcsec.
        source_pixel_scale: arcsec.
    """

    image: np.ndarray
    noise: np.ndarray
    psf: np.ndarray
    lens: np.ndarray
    source: np.ndarray
    image_pixel_scale: float
    source_pixel_scale: float


def read_demo_lens(path: Path = DEMO_FILE) -> DemoLens:
    """Return the system in a file that `write_demo_lens` wrote."""
    from astropy.io import fits

    with fits.open(path, memmap=False) as file:
        image, source = file["IMAGE"], file["SOURCE"]
        return DemoLens(
            image=_native(image),
            noise=_native(file["NOISE"]),
            psf=_native(file["PSF"]),
            lens=np.array([image.header[name.upper()] for name in PARAMETER_NAMES]),
            source=_native(source),
            image_pixel_scale=image.header["PIXSCALE"],
            source_pixel_scale=source.header["PIXSCALE"],
        )


def write_demo_lens(lens: DemoLens, path: Path) -> None:
    """Write IMAGE (the primary image, with the lens parameters), NOISE, PSF and SOURCE."""
    from astropy.io import fits

    image = fits.PrimaryHDU(lens.image)
    image.header["EXTNAME"] = "IMAGE"
    image.header["PIXSCALE"] = (lens.image_pixel_scale, "arcsec")
    for name, value in zip(PARAMETER_NAMES, lens.lens, strict=True):
        image.header[name.upper()] = (float(value), f"lens parameter {name}")
    source = fits.ImageHDU(lens.source, name="SOURCE")
    source.header["PIXSCALE"] = (lens.source_pixel_scale, "arcsec")
    noise, psf = fits.ImageHDU(lens.noise, name="NOISE"), fits.ImageHDU(lens.psf, name="PSF")
    fits.HDUList([image, noise, psf, source]).writeto(path, overwrite=True)


def _native(unit) -> np.ndarray:
    return unit.data.astype("float32")

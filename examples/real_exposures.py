"""Exposures of real lenses: reading them, and taking off the light of the lens galaxy."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from lenstronomy.Data.imaging_data import ImageData
from lenstronomy.Data.psf import PSF
from lenstronomy.ImSim.image_linear_solve import ImageLinearFit
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.optimize import OptimizeResult, least_squares

import rim_lensing as rl
from rim_lensing.files.cutouts import cutout, offset_in_cutout
from rim_lensing.files.fits_files import read_image
from rim_lensing.files.hdf5_files import open_hdf5
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.observation.correlated_noise import noise_correlation

HST = "SDSSJ1630+4520_F555W"
_HST_NAME = "slacs_j1630"
_SMOOTHING = 0.07
"""arcsec: arcs are looked for in an image smoothed by this."""


@dataclass(frozen=True)
class Exposure:
    """What a telescope saw.

    Args:
        name: Of the lens.
        image: Background subtracted, (m, m); the origin of all positions is the middle.
        noise: rms, (m, m); infinite where masked.
        psf: Normalised kernel.
        pixel_scale: arcsec.
        masked_centre: arcsec: within, the subtracted lens galaxy leaves residuals of its own.
        side: Pixels of the square around the lens galaxy that is modelled.
        published: Somebody's model of the lens, if there is one.
    """

    name: str
    image: np.ndarray
    noise: np.ndarray
    psf: np.ndarray
    pixel_scale: float
    masked_centre: float
    side: int
    published: rl.LensParameters | None = None


def find_exposure(folder: Path) -> tuple[str, Callable[[Path], Exposure]]:
    """Return the name of the lens whose files a folder holds, and what reads them.

    Raises:
        FileNotFoundError: One of the three files of SDSS J1630+4520 is missing, or there are none
            of them, and not just one FITS file either.
    """
    hst = [f"image_{HST}.h5", f"psf_{HST}.h5", f"result_{HST}.json"]
    missing = [name for name in hst if not (folder / name).exists()]
    if not missing:
        return _HST_NAME, read_hst
    if len(missing) < len(hst):
        raise FileNotFoundError(
            f"FOLDER must hold {', '.join(hst)}. Received: {folder} without {', '.join(missing)}"
        )
    files = euclid_files(folder)
    if len(files) != 1:
        raise FileNotFoundError(
            f"FOLDER must hold {', '.join(hst)}, or one FITS file that is no mask. Received: "
            f"{folder} with {', '.join(file.name for file in files) or 'neither'}"
        )
    return _euclid_name(files[0]), read_euclid


def read_hst(folder: Path) -> Exposure:
    """Read SDSS J1630+4520, with +x along growing right ascension, as its model has it."""
    with open_hdf5(folder / f"image_{HST}.h5") as file:
        data = {key: value[()] for key, value in file.items()}
    with open_hdf5(folder / f"psf_{HST}.h5") as file:
        psf = file["kernel_point_source"][()]
    image = data["image_data"]
    noise = np.sqrt(data["background_rms"] ** 2 + np.clip(image, 0, None) / data["exposure_time"])
    matrix = data["transform_pix2angle"]
    middle = (len(image) - 1) / 2
    origin = [data["ra_at_xy_0"], data["dec_at_xy_0"]] + matrix @ [middle, middle]
    mass, shear = json.loads((folder / f"result_{HST}.json").read_text())["kwargs_result"][
        "kwargs_lens"
    ]
    return Exposure(
        name=_HST_NAME,
        # The first column has the largest right ascension: mirror.
        image=image[:, ::-1],
        noise=noise[:, ::-1],
        psf=psf[:, ::-1] / psf.sum(),
        pixel_scale=float(np.sqrt(abs(np.linalg.det(matrix)))),
        masked_centre=0.5,
        side=124,
        # lenstronomy's theta_E is ours, on the intermediate axis, and so are e1, e2. Its shear is
        # about another point, which shifts the source and nothing else.
        published=rl.LensParameters(
            theta_E=mass["theta_E"],
            e1=mass["e1"],
            e2=mass["e2"],
            x=mass["center_x"] - origin[0],
            y=mass["center_y"] - origin[1],
            gamma1=shear["gamma_ext"] * np.cos(2 * shear["psi_ext"]),
            gamma2=shear["gamma_ext"] * np.sin(2 * shear["psi_ext"]),
            slope=mass["gamma"] - 1,
        ),
    )


def euclid_files(folder: Path) -> list[Path]:
    """Return the FITS files of a folder that are no mask."""
    return sorted(file for file in folder.glob("*.fits") if not file.name.startswith("mask"))


def read_euclid(folder: Path) -> Exposure:
    """Read a lens of Euclid VIS; +x along the columns, which is west on the sky."""
    (path,) = euclid_files(folder)
    image, noise, psf = (read_image(path, f"VIS_{name}") for name in ("BGSUB", "RMS", "PSF"))
    # Pixels without data have an rms of 1e16; PyAutoLens's mask of other galaxies has 1 on them.
    bad = noise.array > 1e6 * np.median(noise.array)
    others = folder / "mask_extra_galaxies.fits"
    if others.exists():
        bad |= read_image(others, "MASK").array > 0
    return Exposure(
        name=_euclid_name(path),
        image=image.array,
        noise=np.where(bad, np.inf, noise.array),
        psf=psf.array / psf.array.sum(),
        pixel_scale=image.pixel_scale,
        masked_centre=0.25,
        side=64,
    )


def _euclid_name(path: Path) -> str:
    return f"euclid_{path.name.split('_')[0]}"


class SersicFit:
    """lenstronomy's model of an image: a lens galaxy of two Sersic profiles, and a constant sky.

    Args:
        exposure: The image.
        noise: rms; pixels where it is infinite do not count.
        lensed: Whether there are an SIE + shear, and a source with a Sersic profile behind it, too.
    """

    def __init__(self, exposure: Exposure, noise: np.ndarray, lensed: bool = False):
        """Set coordinates up: arcsec from the middle, along the pixels."""
        scale, used = exposure.pixel_scale, np.isfinite(noise)
        first = PixelGrid(len(exposure.image), scale).axis()[0]
        data = ImageData(
            exposure.image,
            noise_map=np.where(used, noise, 1),
            ra_at_xy_0=first,
            dec_at_xy_0=first,
            transform_pix2angle=scale * np.eye(2),
        )
        self._model = ImageLinearFit(
            data,
            PSF("PIXEL", kernel_point_source=np.clip(exposure.psf, 0, None)),
            LensModel(["SIE", "SHEAR"] if lensed else []),
            LightModel(["SERSIC_ELLIPSE"] if lensed else []),
            LightModel(["SERSIC_ELLIPSE", "SERSIC_ELLIPSE", "UNIFORM"]),
            kwargs_numerics={"supersampling_factor": 2, "supersampling_convolution": False},
            likelihood_mask=used,
        )
        self._image, self._noise, self._used = exposure.image, noise, used
        self._lensed = lensed

    def fit(self, start: np.ndarray) -> OptimizeResult:
        """Return the least-squares fit; amplitudes are solved for at every step."""
        profile = [(np.log(0.02), np.log(4)), (0.5, 6), (-0.6, 0.6), (-0.6, 0.6)]
        bounds = [(-1, 1)] * 2 + profile * 2
        if self._lensed:
            bounds += [(-1, 1)] * 2 + profile + [(0.3, 2.5)] + [(-0.5, 0.5)] * 6
        low, high = np.transpose(bounds)
        return least_squares(
            self._residuals,
            np.clip(start, low + 1e-3, high - 1e-3),
            bounds=(low, high),
            x_scale=0.2 * (high - low),
            diff_step=1e-4,
            max_nfev=60,
        )

    def light(self, point: np.ndarray) -> np.ndarray:
        """Return the lens galaxy and the sky, of all pixels."""
        arguments = self._arguments(point)
        # Puts the amplitudes into the arguments.
        self._model.image_linear_solve(**arguments)
        return self._model.image(**arguments, source_add=False)

    def _residuals(self, point: np.ndarray) -> np.ndarray:
        model = self._model.image_linear_solve(**self._arguments(point))[0]
        return ((self._image - model) / self._noise)[self._used]

    def _arguments(self, point: np.ndarray) -> dict:
        """Return the numbers as lenstronomy takes them."""

        def profile(centre, shape):
            names = ("center_x", "center_y", "R_sersic", "n_sersic", "e1", "e2")
            values = (*centre, np.exp(shape[0]), *shape[1:])
            return {"amp": 1.0, **dict(zip(names, values, strict=True))}

        centre, galaxy, rest = point[:2], np.reshape(point[2:10], (2, 4)), point[10:]
        found = {"kwargs_lens_light": [*(profile(centre, one) for one in galaxy), {"amp": 1.0}]}
        if self._lensed:
            names = ("theta_E", "e1", "e2", "center_x", "center_y")
            found["kwargs_source"] = [profile(rest[:2], rest[2:6])]
            found["kwargs_lens"] = [
                dict(zip(names, rest[6:11], strict=True)),
                {"gamma1": rest[11], "gamma2": rest[12], "ra_0": 0.0, "dec_0": 0.0},
            ]
        return found


def subtract_lens_light(exposure: Exposure) -> tuple[Exposure, np.ndarray, np.ndarray]:
    """Return the exposure without its lens galaxy, the galaxy's parameters, and noise correlations.

    What stands out of the fit, smoothed, is taken for arcs and left out of the next fit. The rest
    tells what the noise is like: the map is scaled so that it scatters by 1, for pipelines may give
    the rms before resampling; and the correlation of neighbouring pixels is measured.
    """
    kept, point = exposure.noise, np.array([0, 0, -1.5, 3, 0.01, 0.01, -0.2, 1, 0.01, 0.01])
    for _ in range(6):
        model = SersicFit(exposure, kept)
        point = model.fit(point).x
        image = exposure.image - model.light(point)
        normalised = image / exposure.noise
        smooth = gaussian_filter(normalised, _SMOOTHING / exposure.pixel_scale)
        arcs = binary_dilation(smooth > 3.5 * scatter(smooth[np.isfinite(kept)]))
        kept = np.where(arcs, np.inf, exposure.noise)
    x, y = PixelGrid(len(image), exposure.pixel_scale).coordinates()
    blank = np.isfinite(kept) & (np.hypot(x - point[0], y - point[1]) > exposure.masked_centre)
    blank &= np.abs(normalised) < 4 * scatter(normalised[blank])
    factor = np.std(normalised[blank])
    correlation = noise_correlation(normalised / factor, blank)
    beside = correlation[len(correlation) // 2][len(correlation) // 2 + 1]
    print(f"noise map times {factor:.3f}; correlation of neighbours {beside:.2f}")
    return replace(exposure, image=image, noise=exposure.noise * factor), point, correlation


def scatter(values: np.ndarray) -> float:
    """Return the standard deviation of the Gaussian with the same median deviation."""
    return float(1.4826 * np.median(np.abs(values)))


def around(exposure: Exposure, x: float, y: float) -> tuple[Exposure, np.ndarray]:
    """Return the square around a position, and where its middle lies, (x, y)."""
    scale, middle = exposure.pixel_scale, (len(exposure.image) - 1) / 2
    centre = (middle + y / scale, middle + x / scale)
    off = offset_in_cutout(exposure.image.shape, exposure.side, centre)
    origin = np.array([x, y]) - scale * np.array(off[::-1])
    parts = {
        name: cutout(getattr(exposure, name), exposure.side, centre) for name in ("image", "noise")
    }
    published = exposure.published
    if published is not None:
        parts["published"] = replace(
            published, x=published.x - origin[0], y=published.y - origin[1]
        )
    return replace(exposure, **parts), origin

"""Reconstructions read again from their FITS files."""

import os
from pathlib import Path

import numpy as np

from rim_lensing.forward_model.dirty_image import DirtyImage
from rim_lensing.lensing.given_deflections import GIVEN
from rim_lensing.lensing.mass_model import MassModel
from rim_lensing.results.linear_result import LinearReconstruction
from rim_lensing.results.result import Reconstruction
from rim_lensing.results.result_files import LENS_CARDS, LINEAR_CARDS, read_scene_table


def read_reconstruction(path: str | os.PathLike) -> "Reconstruction":
    """Read what `write_reconstruction` wrote: a Reconstruction, or a LinearReconstruction.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no FITS file of a reconstruction.
    """
    from astropy.io import fits

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}")
    try:
        with fits.open(path, memmap=False) as file:
            header, source = file[0].header, file[0].data
            names = ("MODEL", "DATA", "NOISE", "SOURCE_HISTORY", "CHI2_HISTORY", "PSF")
            model_image, image, noise, history, chi2_history, psf = (
                np.array(file[name].data, file[name].data.dtype.newbyteorder("=")) for name in names
            )
            std, constrained, magnification, fine_psf, correlation, templates, amplitudes = (
                np.array(file[name].data, file[name].data.dtype.newbyteorder("="))
                if name in file
                else None
                for name in (
                    "SOURCE_STD",
                    "CONSTRAINED",
                    "MAGNIFICATION",
                    "FINE_PSF",
                    "NOISE_CORRELATION",
                    "TEMPLATES",
                    "TEMPLATE_AMPLITUDES",
                )
            )
            rays = 1 if fine_psf is None else file["FINE_PSF"].header["RAYS"]
            scene = file["SCENE"].data if "SCENE" in file else None
            dirty, sky = _visibilities(file) if "BEAM" in file else (None, None)
            maps = file["DEFLECTIONS"].data if "DEFLECTIONS" in file else None
        # Of a reconstruction by a lensing matrix there are no cards.
        lens = [header[card] for card in LENS_CARDS if card in header] or [np.nan] * 7
        form = None
        if maps is not None:
            lens, form = maps, GIVEN
        elif scene is not None:
            model = MassModel.from_description(read_scene_table(scene))
            lens, form = model.values, model.form
        parts = {
            "source": source.astype("float64"),
            "history": history,
            "model_image": model_image,
            "image": image,
            "noise": noise,
            "mask": np.isfinite(noise),
            "lens": np.array(lens, "float32"),
            "form": form,
            "psf": psf,
            "ray_oversampling": rays,
            "fine_psf": fine_psf,
            "chi2": header["CHI2"],
            "chi2_history": chi2_history,
            "image_pixel_scale": header["IMGSCALE"],
            "source_pixel_scale": header["SRCSCALE"],
            "source_centre": (header["CRVAL1"], header["CRVAL2"]),
            "model": header["MODEL"],
            # Files of earlier versions have none.
            "constrained": None if constrained is None else constrained.astype(bool),
            "pixel_magnification": magnification,
            "noise_correlation": correlation,
            "visibilities": dirty,
            "sky": sky,
            "templates": templates,
            "template_amplitudes": amplitudes,
        }
        if "STRENGTH" not in header:
            return Reconstruction(**parts)
        linear = {
            name: header.get(card, np.nan if name.endswith("_std") else 0.0)
            for name, (card, _) in LINEAR_CARDS.items()
        }
    except PermissionError:
        raise
    # Of a file that is cut off, astropy's buffers are too short for their arrays.
    except (OSError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} must be a FITS file that `Reconstruction.to_fits` wrote: {error}"
        ) from error
    std = None if std is None else std.astype("float64")
    return LinearReconstruction(**parts, **linear, source_std=std)


def _visibilities(file) -> tuple[DirtyImage, np.ndarray]:
    """Return what `write_reconstruction` wrote of an interferometer: d and w, and the sky."""
    beam, header = file["BEAM"].data.astype("float64"), file["BEAM"].header
    primary = file["PRIMARY_BEAM"].data.astype("float64") if "PRIMARY_BEAM" in file else None
    dirty = DirtyImage(
        pixel_scale=header["PIXSCALE"],
        projection=file["PROJECTION"].data.astype("float64"),
        kernel=beam * header["WEIGHT"],
        primary_beam=primary,
        square=header["SQUARE"],
        count=header["NVIS"],
        log_noise=header["LOGNOISE"],
    )
    return dirty, file["SKY"].data.astype("float64")

"""Reconstructions written to FITS files."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rim_lensing import __version__
from rim_lensing.files.whole_files import whole_file
from rim_lensing.forward_model.dirty_image import DirtyImage
from rim_lensing.lensing.mass_model import SHORT_FORMS, Form, MassModel

if TYPE_CHECKING:
    from astropy.io.fits import Header

LENS_CARDS = {
    "THETA_E": "arcsec, Einstein radius, intermediate axis",
    "E1": "(1-q)/(1+q) cos 2 phi, phi from +x to +y",
    "E2": "(1-q)/(1+q) sin 2 phi",
    "LENS_X": "arcsec from the image's middle, with columns",
    "LENS_Y": "arcsec from the image's middle, with rows",
    "GAMMA1": "external shear, modulus times cos 2 phi",
    "GAMMA2": "external shear, modulus times sin 2 phi",
    "SLOPE": "t of convergence ~ R^-t, 1 is isothermal",
}
"""Of the lens parameters, in their order, and what they are."""

_UNIT_COMMENT = "as of the image, not per source pixel"
LINEAR_CARDS = {
    "strength": ("STRENGTH", "of the prior, image unit ^ -2"),
    "log_evidence": ("LOGEV", "log evidence, data in the image's unit"),
    "log_evidence_error": ("LOGEVERR", "standard error of LOGEV"),
    "source_flux_std": ("SFLUXSTD", "std of the flux in CONSTRAINED pixels"),
    "model_flux_std": ("MFLUXSTD", "std of the flux of their images"),
    "total_magnification_std": ("MAGNSTD", "std of the total magnification"),
}
"""Of a `LinearReconstruction`."""


class WrittenResult(Protocol):
    """What a file holds of a reconstruction of one system; see `Reconstruction` for the fields."""

    source: np.ndarray
    history: np.ndarray
    model_image: np.ndarray
    image: np.ndarray
    noise: np.ndarray
    lens: np.ndarray
    form: Form
    psf: np.ndarray
    ray_oversampling: int
    fine_psf: np.ndarray | None
    chi2: float
    chi2_history: np.ndarray
    image_pixel_scale: float
    source_pixel_scale: float
    source_centre: tuple[float, float]
    model: str
    constrained: np.ndarray
    pixel_magnification: np.ndarray
    visibilities: DirtyImage | None
    sky: np.ndarray | None
    counted: str

    @property
    def residuals(self) -> np.ndarray:
        """Data minus model."""


def write_reconstruction(
    result: "WrittenResult",
    path: str | os.PathLike,
    overwrite: bool = False,
    header: "Header | None" = None,
    planes: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write a reconstruction of one system to a FITS file.

    The primary image is the source, in a linear WCS in arcsec around the origin of the lens model.
    Extensions: MODEL, DATA, RESIDUAL, NOISE (these with the cards of `header`), SOURCE_HISTORY and
    CHI2_HISTORY (a value per step of the method) and PSF, of rays through finer pixels FINE_PSF,
    too (RAYS of them per image pixel along each axis); NOISE_CORRELATION where the likelihood had
    one; of an interferometer SKY (the lensed source without the beam), BEAM (the dirty beam on
    twice the field, with what else chi^2 is made of as its cards), PROJECTION (the data
    of chi^2 in double precision) and perhaps PRIMARY_BEAM, and DATA and MODEL are dirty images;
    CONSTRAINED, 0 in the pixels of the source that no used image pixel sees, and MAGNIFICATION of
    each; of a linear inversion with
    uncertainties SOURCE_STD, too; of mass models other than 7 or 8 numbers SCENE, a table with a
    row for every parameter, and of given deflections DEFLECTIONS, the two maps. Masked pixels are
    NaN in DATA and RESIDUAL and infinite in NOISE. The primary header has the lens parameters (of 7
    or 8 numbers), the name of the model, chi^2 per pixel and the pixel scales; of a linear
    inversion also the strength of its prior (STRENGTH), the log evidence (LOGEV), of a matrix-free
    engine its standard error (LOGEVERR), and the standard deviations of fluxes and magnification
    (SFLUXSTD, MFLUXSTD, MAGNSTD).

    The file is complete or not there: it is written under another name and renamed.

    Args:
        result: Of one system.
        path: Where to, an existing folder; `.fits` or `.fits.gz`.
        overwrite: Replace a file that exists.
        header: WCS and unit of the image, see `FitsImage.header`.
        planes: More maps of the image's pixels, by the names of their extensions.

    Raises:
        FileExistsError: The file exists and `overwrite` is False.
        FileNotFoundError: The folder does not exist.
    """
    from astropy.io import fits

    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists. Say overwrite=True to replace it.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent}")
    primary = fits.PrimaryHDU(result.source, _source_header(result, header))
    units = [primary]
    for name, array in (
        ("MODEL", result.model_image),
        ("DATA", result.image),
        ("RESIDUAL", result.residuals),
        ("NOISE", result.noise),
        *(planes or {}).items(),
    ):
        units.append(fits.ImageHDU(array, header, name=name))
        units[-1].header["PIXSCALE"] = (result.image_pixel_scale, "arcsec")
    units.append(fits.ImageHDU(result.history, name="SOURCE_HISTORY"))
    units.append(fits.ImageHDU(np.asarray(result.chi2_history), name="CHI2_HISTORY"))
    units.append(fits.ImageHDU(result.psf, name="PSF"))
    if result.fine_psf is not None:
        units.append(fits.ImageHDU(result.fine_psf, name="FINE_PSF"))
        units[-1].header["RAYS"] = (result.ray_oversampling, "per image pixel along each axis")
        spacing = result.image_pixel_scale / result.ray_oversampling
        units[-1].header["PIXSCALE"] = (spacing, "arcsec")
    for name, array in (
        ("CONSTRAINED", np.asarray(result.constrained, "uint8")),
        ("MAGNIFICATION", result.pixel_magnification),
        ("SOURCE_STD", getattr(result, "source_std", None)),
    ):
        if array is not None:
            units.append(fits.ImageHDU(array, name=name))
            units[-1].header["PIXSCALE"] = (result.source_pixel_scale, "arcsec")
    if result.noise_correlation is not None:
        units.append(fits.ImageHDU(np.asarray(result.noise_correlation), name="NOISE_CORRELATION"))
    if result.visibilities is not None:
        units += _units_of_visibilities(result)
    if result.templates is not None:
        units.append(fits.ImageHDU(result.templates, name="TEMPLATES"))
        units.append(fits.ImageHDU(result.template_amplitudes, name="TEMPLATE_AMPLITUDES"))
    if not isinstance(result.form, MassModel):
        units.append(fits.ImageHDU(np.asarray(result.lens), name="DEFLECTIONS"))
        units[-1].header["BUNIT"] = ("arcsec", "alpha_x, alpha_y on the rays")
    elif result.form not in SHORT_FORMS.values():
        units.append(_scene_table(result.form, result.lens))
    with whole_file(path) as temporary:
        fits.HDUList(units).writeto(temporary, overwrite=True)


def _source_header(result: "WrittenResult", image_header: "Header | None") -> "Header":
    """Return the primary header: where the source's pixels lie, and how it was found."""
    from astropy.io import fits

    header = fits.Header()
    side = result.source.shape[-1]
    for axis, name in ((1, "X"), (2, "Y")):
        header[f"CTYPE{axis}"] = (name, "linear, along the image's pixel axes")
        header[f"CUNIT{axis}"] = "arcsec"
        header[f"CRPIX{axis}"] = (side + 1) / 2
        centre = result.source_centre[axis - 1]
        header[f"CRVAL{axis}"] = (centre, "from the origin of the lens model")
        header[f"CDELT{axis}"] = result.source_pixel_scale
    if image_header is not None and "BUNIT" in image_header:
        header["BUNIT"] = image_header["BUNIT"]
        # A card has 80 characters, and a comment begins after the 30th or later.
        written = max(30, len(str(header.cards["BUNIT"]).rstrip()))
        if written + len(f" / {_UNIT_COMMENT}") <= 80:
            header.comments["BUNIT"] = _UNIT_COMMENT
    header["CREATOR"] = f"rim_lensing {__version__}"
    header["MODEL"] = (result.model, "rim_lensing model or method")
    header["CHI2"] = (float(result.chi2), f"chi^2 per used {result.counted}")
    header["IMGSCALE"] = (result.image_pixel_scale, "arcsec per pixel of the image")
    header["SRCSCALE"] = (result.source_pixel_scale, "arcsec per pixel of the source")
    for name, (card, comment) in LINEAR_CARDS.items():
        value = getattr(result, name, 0.0)
        # No RIM has one, the exact engine's evidence has no error, and FITS has no NaN.
        if value != 0 and np.isfinite(value):
            header[card] = (float(value), comment)
    short = result.lens if result.form in SHORT_FORMS.values() else ()
    for (card, comment), value in zip(LENS_CARDS.items(), short, strict=False):
        if np.isnan(value):  # A lensing matrix was given instead.
            continue
        header[card] = (float(value), comment)
    return header


def _units_of_visibilities(result: "WrittenResult") -> list:
    """Return the extensions of an interferometer."""
    from astropy.io import fits

    dirty = result.visibilities
    maps = {"SKY": result.sky, "BEAM": dirty.beam, "PROJECTION": dirty.projection}
    if dirty.primary_beam is not None:
        maps["PRIMARY_BEAM"] = dirty.primary_beam
    units = [fits.ImageHDU(array, name=name) for name, array in maps.items()]
    header = units[1].header
    header["WEIGHT"] = (dirty.total_weight, "sum of weights, 1 / flux^2")
    header["SQUARE"] = (dirty.square, "chi^2 of no source")
    header["NVIS"] = (dirty.count, "visibilities with a weight")
    header["LOGNOISE"] = (dirty.log_noise, "sum of log rms of real and imaginary parts")
    for unit in units:
        unit.header["PIXSCALE"] = (result.image_pixel_scale, "arcsec")
    return units


def _scene_table(form: MassModel, lens: np.ndarray):
    """Return a mass model as a table, a row for every parameter."""
    from astropy.io import fits

    described = form.describe(lens)
    rows = [
        (component, facts["kind"], facts.get("m", 0), each.name, facts[each.name], each.unit)
        for component, facts in described.items()
        for each in form.components[component].parameters()
    ]
    formats = {"COMPONENT": "A32", "KIND": "A16", "ORDER": "J", "PARAMETER": "A16"}
    formats |= {"VALUE": "D", "UNIT": "A16"}
    columns = [
        fits.Column(name=name, format=kind, array=np.array(column))
        for (name, kind), column in zip(formats.items(), zip(*rows, strict=True), strict=True)
    ]
    return fits.BinTableHDU.from_columns(columns, name="SCENE")


def read_scene_table(table) -> dict[str, dict]:
    """Return the description (see `MassModel.describe`) that `_scene_table` wrote.

    Args:
        table: The rows of SCENE.
    """
    described: dict[str, dict] = {}
    for row in table:
        facts = described.setdefault(row["COMPONENT"], {"kind": row["KIND"]})
        facts |= {"m": int(row["ORDER"])} if row["ORDER"] else {}
        facts[row["PARAMETER"]] = float(row["VALUE"])
    return described

"""FITS in and out: what is read, what is refused, and where the sky is in a cutout."""

import os
from dataclasses import replace

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

import rim_lensing
from rim_lensing.files.cutouts import cutout
from rim_lensing.files.fits_files import read_image
from rim_lensing.results.result import Reconstruction
from rim_lensing.results.result_files import write_reconstruction
from rim_lensing.results.result_reader import read_reconstruction

SCALE = 0.1 / 3600


def sky_header(**cards) -> fits.Header:
    header = fits.Header()
    wcs = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.2}
    wcs |= {"CRPIX1": 20.0, "CRPIX2": 11.0, "CUNIT1": "deg", "CUNIT2": "deg"}
    for key, value in (wcs | cards).items():
        header[key] = value
    return header


ROTATED = {
    "CD1_1": -SCALE * np.cos(0.4),
    "CD1_2": SCALE * np.sin(0.4),
    "CD2_1": SCALE * np.sin(0.4),
    "CD2_2": SCALE * np.cos(0.4),
}


def write(path, array=None, header=None, **options):
    array = np.arange(30 * 40.0).reshape(30, 40) if array is None else array
    fits.PrimaryHDU(array, header).writeto(path, **options)
    return path


def result(side=8) -> Reconstruction:
    generator = np.random.default_rng(0)
    image = generator.uniform(1, 2, (side, side)) * 1e-20
    image[0, 0] = np.nan
    noise = np.full((side, side), 1e-21)
    noise[0, 0] = np.inf
    history = generator.uniform(0, 1e-20, (3, 6, 6))
    return Reconstruction(
        source=history[-1],
        history=history,
        model_image=generator.uniform(1, 2, (side, side)) * 1e-20,
        image=image,
        noise=noise,
        mask=np.isfinite(noise),
        lens=np.array([1.2, 0.1, -0.2, 0.01, 0.02, 0.03, 0.04], "float32"),
        psf=np.full((3, 3), 1 / 9, "float32"),
        chi2=1.5,
        chi2_history=np.array([9.0, 3.0, 1.5]),
        image_pixel_scale=0.1,
        source_pixel_scale=0.05,
        model="rim_test",
    )


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i2", "uint16"])
def test_reads_any_number_type_as_native_floats(tmp_path, dtype):
    array = np.arange(12).reshape(3, 4).astype(dtype)
    image = read_image(write(tmp_path / "a.fits", array))
    assert image.array.dtype == np.float64 and image.array.dtype.isnative
    np.testing.assert_array_equal(image.array, array)
    assert image.pixel_scale is None and len(image.header) == 0


@pytest.mark.parametrize(
    "cards",
    [
        sky_header(**ROTATED),
        sky_header(CDELT1=-SCALE, CDELT2=SCALE),
        sky_header(PC1_1=-SCALE, PC2_2=SCALE),
        sky_header(CDELT1=-SCALE * 60, CDELT2=SCALE * 60, CUNIT1="arcmin", CUNIT2="arcmin"),
        fits.Header({"CDELT1": 0.1, "CDELT2": 0.1, "CUNIT1": "arcsec", "CUNIT2": "arcsec"}),
        fits.Header({"PIXSCALE": 0.1}),
        fits.Header({"PIXSCAX": 0.1, "PIXSCAY": 0.1}),
        fits.Header({"SECPIX": 0.1}),
        fits.Header({"PIXELSCL": 0.1}),
        fits.Header({"PIXAR_A2": 0.01}),
        # Where on the sky, but not how large.
        sky_header(PIXSCALE=0.1),
    ],
)
def test_finds_the_pixel_scale(tmp_path, cards):
    path = write(tmp_path / "a.fits", header=cards)
    assert read_image(path).pixel_scale == pytest.approx(0.1, rel=1e-6)
    assert read_image(path, pixel_scale=0.2).pixel_scale == 0.2


@pytest.mark.parametrize(
    "cards, message",
    [
        (sky_header(CDELT1=-SCALE, CDELT2=2 * SCALE), "square.*0.1 x 0.2 arcsec"),
        (fits.Header({"PIXSCAX": 0.1, "PIXSCAY": 0.2}), "resample.*0.1 x 0.2 arcsec"),
        (fits.Header({"PIXSCAL1": 0.1, "PIXSCAL2": 0.2}), "resample.*0.1 x 0.2 arcsec"),
        (fits.Header({"PIXSCAL1": 0.1, "PIXSCAL2": 0.2, "SECPIX": 0.1}), "resample.*0.1 x 0.2"),
        (
            fits.Header({"PIXSCALE": 0.05, "SECPIX": "no number", "D001SCAL": 0.04}),
            r"PIXSCALE, D001SCAL of .* must agree.*Received: \[0.05, 0.04\]",
        ),
        (fits.Header({"PIXSCALE": 0.05, "D001SCAL": 0.04}), "PIXSCALE, D001SCAL.*--pixel-scale"),
        (fits.Header({"PIXSCALE": 0.0}), "makes no sense"),
    ],
)
def test_refuses_pixel_scales(tmp_path, cards, message):
    path = write(tmp_path / "a.fits", header=cards)
    with pytest.raises(ValueError, match=message):
        read_image(path)
    assert read_image(path, pixel_scale=0.1).pixel_scale == 0.1


def flt_file(path, tables=(1, 1), **options):
    """Write two chips with tables of distortion, as HST's FLT files have them."""
    units = [fits.PrimaryHDU()]
    for version in (1, 2):
        header = sky_header(**ROTATED)
        for axis in (1, 2):
            header[f"CPDIS{axis}"] = "LOOKUP"
            for card in (f"EXTVER: {version}", "NAXES: 2", "AXIS.1: 1", "AXIS.2: 2"):
                header.append((f"DP{axis}", card), end=True)
        units.append(fits.ImageHDU(np.full((30, 40), float(version)), header, name="SCI"))
        units[-1].ver = version
    for version, _ in enumerate(tables, start=1):
        units.append(fits.ImageHDU(np.full((4, 4), 0.01, "float32"), name="WCSDVARR"))
        units[-1].ver = version
        for key, value in (("CRPIX", 1.0), ("CRVAL", 1.0), ("CDELT", 10.0)):
            units[-1].header[f"{key}1"] = units[-1].header[f"{key}2"] = value
    fits.HDUList(units).writeto(path, **options)
    return path


def test_reads_a_file_with_tables_of_distortion(tmp_path):
    path = flt_file(tmp_path / "flt.fits")
    for extension, value in (("SCI,1", 1), ("sci, 2", 2), ("SCI", 1)):
        image = read_image(path, extension)
        assert image.array[0, 0] == value
        assert image.pixel_scale == pytest.approx(0.1, rel=1e-6)
        assert image.header["CTYPE1"] == "RA---TAN" and "CPDIS1" not in image.header
    for extension, message in ((None, "several images.*1 SCI, 2 SCI,2"), ("SCI,3", "no extension")):
        with pytest.raises(ValueError, match=message):
            read_image(path, extension)


def test_a_wcs_that_cannot_be_read_is_left_out_if_the_pixel_scale_is_given(tmp_path):
    path = flt_file(tmp_path / "flt.fits", tables=())
    with pytest.raises(ValueError, match="WCS of .*SCI.* --pixel-scale"):
        read_image(path, "SCI,1")
    with pytest.warns(UserWarning, match="WCS of .* is left out"):
        image = read_image(path, "SCI,1", pixel_scale=0.1)
    assert image.pixel_scale == 0.1 and len(image.header) == 0
    assert image.array.shape == (30, 40)


def test_keeps_the_unit(tmp_path):
    path = write(tmp_path / "a.fits", header=fits.Header({"BUNIT": "MJy/sr"}))
    assert read_image(path).header["BUNIT"] == "MJy/sr"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("length", [28, 29, 32, 70])
def test_a_comment_on_the_unit_is_whole_or_not_there(tmp_path, length):
    unit = "x" * length
    write_reconstruction(result(), tmp_path / "out.fits", header=fits.Header({"BUNIT": unit}))
    header = fits.getheader(tmp_path / "out.fits")
    assert header["BUNIT"] == unit
    comment = "as of the image, not per source pixel" if length == 28 else ""
    assert header.comments["BUNIT"] == comment


def several(path, names, primary=None):
    units = [fits.PrimaryHDU(primary)]
    for i, name in enumerate(names):
        units.append(fits.ImageHDU(np.full((4, 4), i + 1.0), name=name))
    units.append(fits.BinTableHDU.from_columns([fits.Column("a", "D", array=[1.0])], name="TABLE"))
    fits.HDUList(units).writeto(path)
    return path


def test_chooses_the_extension_that_is_meant(tmp_path):
    path = several(tmp_path / "a.fits", ["SCI", "WHT"])
    assert read_image(path).array[0, 0] == 1
    for extension in (2, "2", "WHT", "wht"):
        assert read_image(path, extension).array[0, 0] == 2
    assert read_image(several(tmp_path / "b.fits", ["VIS"])).array[0, 0] == 1
    assert read_image(several(tmp_path / "c.fits", ["A", "B"], np.zeros((4, 4)))).array.max() == 0


@pytest.mark.parametrize(
    "names, extension, message",
    [
        (["A", "B"], None, "several images.*`extension`.*fits.NAME.*1 A, 2 B, 3 TABLE"),
        (["A", "B"], "C", "no extension 'C'.*1 A, 2 B, 3 TABLE"),
        (["A", "B"], 7, "no extension 7.*1 A, 2 B"),
        (["A"], "TABLE", "not an image.*1 A"),
        (["A"], 0, "not an image"),
        ([], None, "holds no image.*1 TABLE"),
    ],
)
def test_refuses_extensions(tmp_path, names, extension, message):
    with pytest.raises(ValueError, match=message):
        read_image(several(tmp_path / "a.fits", names), extension)


def test_reads_compressed_images_and_cubes_of_one(tmp_path):
    array = np.arange(64.0 * 64).reshape(64, 64).astype("float32")
    unit = fits.CompImageHDU(array, compression_type="GZIP_1", quantize_level=0)
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(tmp_path / "a.fits")
    np.testing.assert_array_equal(read_image(tmp_path / "a.fits").array, array)
    np.testing.assert_array_equal(
        read_image(write(tmp_path / "b.fits.gz", array[None])).array, array
    )


def test_refuses_what_is_not_an_image_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file .*nothing.fits"):
        read_image(tmp_path / "nothing.fits")
    for content, message in ((b"", "is empty"), (b"hello" * 1000, "not a FITS file")):
        (tmp_path / "bad.fits").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_image(tmp_path / "bad.fits")
    for shape in ((5,), (2, 4, 4)):
        path = write(tmp_path / "shape.fits", np.zeros(shape), overwrite=True)
        with pytest.raises(ValueError, match="2-D image"):
            read_image(path)


def test_refuses_a_truncated_file(tmp_path):
    path = write(tmp_path / "a.fits", np.ones((100, 100)))
    path.write_bytes(path.read_bytes()[:5760])
    with pytest.warns(UserWarning, match="truncated"), pytest.raises(ValueError, match="complete"):
        read_image(path)


@pytest.mark.parametrize("cards", [ROTATED, {"CDELT1": -SCALE, "CDELT2": SCALE}])
@pytest.mark.parametrize("side, centre", [(10, None), (11, None), (8, (12, 25)), (7, (3, 36))])
def test_a_cutout_keeps_its_place_on_the_sky(tmp_path, cards, side, centre):
    header = sky_header(**cards)
    path = write(tmp_path / "a.fits", header=header)
    whole = read_image(path)
    part = whole.cutout(side, centre)
    assert part.array.shape == (side, side) and part.pixel_scale == whole.pixel_scale
    for row, column in ((0, 0), (2, 5), (side - 1, side - 1)):
        sky = WCS(part.header).pixel_to_world(column, row)
        x, y = WCS(header).world_to_pixel(sky)
        assert whole.array[round(float(y)), round(float(x))] == part.array[row, column]
        np.testing.assert_allclose([x, y], np.round([x, y]), atol=1e-6)


def test_the_centre_of_a_cutout_is_at_its_centre():
    array = np.zeros((30, 40))
    array[12, 25] = 1
    assert cutout(array, 7, (12, 25))[3, 3] == 1
    assert cutout(array, 8, (12, 25))[4, 4] == 1
    np.testing.assert_array_equal(cutout(array, 30, (14.5, 19.5)), array[:, 5:35])
    np.testing.assert_array_equal(cutout(array, 30), array[:, 5:35])


@pytest.mark.parametrize("side", [2, 4])
def test_a_cutout_is_a_copy(side):
    array = np.zeros((4, 4))
    cutout(array, side)[:] = 1
    assert array.sum() == 0


BEYOND = [(31, None), (10, (2, 20)), (10, (20, 38)), (8, (1e300, -1e300)), (4, (60, 90))]


@pytest.mark.parametrize("side, centre", BEYOND)
def test_refuses_cutouts_beyond_the_array(side, centre):
    with pytest.raises(ValueError, match="must lie within.*fill.*mask"):
        cutout(np.zeros((30, 40)), side, centre)
    if centre is not None:
        with pytest.raises(ValueError, match="must lie within"):
            cutout(np.zeros((30, 40)), side, np.array(centre))
    with pytest.raises(ValueError, match="`side` must be positive. Received: 0"):
        cutout(np.zeros((30, 40)), 0, centre)


@pytest.mark.parametrize("side, centre", BEYOND)
def test_a_cutout_beyond_the_array_is_filled(side, centre):
    """As one of an array that is padded by much on all sides."""
    array = np.arange(1200.0).reshape(30, 40)
    far = 100
    if centre is not None and max(map(abs, centre)) > far:
        expected = np.full((side, side), -1.0)
    else:
        there = None if centre is None else (centre[0] + far, centre[1] + far)
        expected = cutout(np.pad(array, far, constant_values=-1.0), side, there)
    np.testing.assert_array_equal(cutout(array, side, centre, fill=-1), expected)


def test_a_filled_cutout_keeps_its_place_on_the_sky(tmp_path):
    header = sky_header(**ROTATED)
    whole = read_image(write(tmp_path / "a.fits", header=header))
    part = whole.cutout(12, (1, 2), fill=np.nan)
    first = np.argwhere(np.isfinite(part.array))[0]
    sky = WCS(part.header).pixel_to_world(*first[::-1])
    np.testing.assert_allclose(WCS(header).world_to_pixel(sky), (0, 0), atol=1e-6)


def test_refuses_cutouts_of_cubes():
    with pytest.raises(ValueError, match="rows, columns"):
        cutout(np.zeros((3, 30, 40)), 5)


def test_a_reconstruction_comes_back_from_its_file(tmp_path):
    expected, header = result(), sky_header(**ROTATED)
    header["BUNIT"] = "electron/s"
    path = write(tmp_path / "in.fits", np.zeros((8, 8)), header)
    write_reconstruction(expected, tmp_path / "out.fits", header=read_image(path).header)
    arrays = {
        "PRIMARY": expected.source,
        "MODEL": expected.model_image,
        "DATA": expected.image,
        "RESIDUAL": expected.image - expected.model_image,
        "NOISE": expected.noise,
        "SOURCE_HISTORY": expected.history,
        "CHI2_HISTORY": expected.chi2_history,
        "PSF": expected.psf,
        "CONSTRAINED": expected.constrained,
        "MAGNIFICATION": expected.pixel_magnification,
    }
    with fits.open(tmp_path / "out.fits") as file:
        file.verify("exception")
        assert [unit.name for unit in file] == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(file[name].data, array)
        primary = file[0].header
        assert (primary["MODEL"], primary["CHI2"]) == ("rim_test", 1.5)
        assert (primary["IMGSCALE"], primary["SRCSCALE"]) == (0.1, 0.05)
        names = ("THETA_E", "E1", "E2", "LENS_X", "LENS_Y", "GAMMA1", "GAMMA2")
        np.testing.assert_allclose([primary[name] for name in names], expected.lens, rtol=1e-6)
        assert "SLOPE" not in primary
        assert primary.comments["LENS_X"] == "arcsec from the image's middle, with columns"
        assert primary["CREATOR"] == f"rim_lensing {rim_lensing.__version__}"
        assert primary["BUNIT"] == file["DATA"].header["BUNIT"] == "electron/s"
        assert primary.comments["BUNIT"] == "as of the image, not per source pixel"
        x, y = WCS(primary).wcs_pix2world([[2.5, 2.5]], 0)[0]
        np.testing.assert_allclose([x, y], 0, atol=1e-12)
        sky = SkyCoord(150.0002, 2.1999, unit="deg")
        for name in ("MODEL", "DATA", "RESIDUAL", "NOISE"):
            np.testing.assert_allclose(
                WCS(file[name].header).world_to_pixel(sky), WCS(header).world_to_pixel(sky), 1e-6
            )
    back = read_image(tmp_path / "out.fits")
    assert back.pixel_scale == 0.05
    assert read_image(tmp_path / "out.fits", "DATA").pixel_scale == pytest.approx(0.1)


def test_the_slope_of_an_epl_is_written(tmp_path):
    epl = replace(result(), lens=np.append(result().lens, 1.2))
    write_reconstruction(epl, tmp_path / "out.fits")
    assert fits.getheader(tmp_path / "out.fits")["SLOPE"] == pytest.approx(1.2)


def test_refuses_a_truncated_reconstruction(tmp_path):
    path = tmp_path / "out.fits"
    write_reconstruction(result(), path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match="out.fits must be a FITS file that .*to_fits"):
        read_reconstruction(path)


def test_does_not_overwrite_unless_told(tmp_path):
    path = tmp_path / "out.fits"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        result().to_fits(path)
    assert path.read_text() == "precious"
    result().to_fits(path, overwrite=True)
    assert read_image(path).array.shape == (6, 6)
    assert os.listdir(tmp_path) == ["out.fits"]


def test_a_file_is_complete_or_not_there(tmp_path, monkeypatch):
    def fail(self, name, **options):
        with open(name, "w") as file:
            file.write("half")
        raise OSError("disk full")

    monkeypatch.setattr(fits.HDUList, "writeto", fail)
    with pytest.raises(OSError, match="disk full"):
        result().to_fits(tmp_path / "out.fits")
    assert os.listdir(tmp_path) == []


def test_says_that_the_folder_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        result().to_fits(tmp_path / "no" / "out.fits")

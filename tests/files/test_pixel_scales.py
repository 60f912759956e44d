"""The pixel scale where the lens is, against astropy's separations on the sky; and units."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import rim_lensing
from rim_lensing import cli

SCALE = 0.1 / 3600
SHAPE = (120, 160)
MIDDLE = (59.5, 79.5)


def header(projection="TAN", **cards) -> fits.Header:
    """0.1" at the reference point, which is the image's middle."""
    wcs = {"CTYPE1": f"RA---{projection}"[:8], "CTYPE2": f"DEC--{projection}"[:8]}
    wcs |= {"CRVAL1": 150.0, "CRVAL2": 2.2, "CRPIX1": 80.5, "CRPIX2": 60.5}
    wcs |= {"CDELT1": -SCALE, "CDELT2": SCALE}
    return fits.Header(wcs | cards)


def sip(**cards) -> fits.Header:
    """The reference point 2000 columns away, as on a chip of a mosaic; scale grows with x and y."""
    radial = {"A_ORDER": 3, "A_3_0": 1e-8, "A_1_2": 1e-8, "B_ORDER": 3, "B_0_3": 1e-8}
    radial |= {"B_2_1": 1e-8, "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}
    return header(**radial | cards)


DEC_60 = {"CRVAL2": 0.0, "CRPIX2": 60.5 - 60 / SCALE}
"""The image's middle at declination 60, 60 degrees off the reference point on the equator."""

SQUARE = {
    "at the reference point": header(),
    "TPV, both axes stretched": header("TPV", PV1_1=1.05, PV2_1=1.05),
    "SIP, near CRPIX": sip(),
    "across 0 h": header(CRVAL1=0.0),
    "at the pole": header(CRVAL2=90.0),
    "a Mercator map": header("MER", **DEC_60),
}
OBLONG = {
    "CAR at declination 60": header("CAR", **DEC_60),
    "SIP, far from CRPIX": sip(CRPIX1=80.5 + 2000),
    "TPV, one axis stretched": header("TPV", PV1_1=1.05, PV2_1=1.0),
    "gnomonic, 20 degrees off": header(CRPIX1=80.5 + 20 / SCALE),
    "sheared": header(CD1_1=-SCALE, CD1_2=0.02 * SCALE, CD2_1=0.0, CD2_2=SCALE),
    "axes at 80 degrees": header(
        CD1_1=-SCALE,
        CD1_2=SCALE * np.cos(np.radians(80)),
        CD2_1=0.0,
        CD2_2=SCALE * np.sin(np.radians(80)),
    ),
    "linear, sheared": fits.Header(
        {"CTYPE1": "X", "CTYPE2": "Y", "CUNIT1": "arcsec", "CUNIT2": "arcsec"}
        | {"CD1_1": 0.1, "CD1_2": 0.02, "CD2_1": 0.0, "CD2_2": 0.1}
    ),
}


def write(path, cards, array=None):
    fits.PrimaryHDU(np.ones(SHAPE) if array is None else array, cards).writeto(path)
    return path


def separations(wcs: WCS, row: float, column: float) -> np.ndarray:
    """Sides of a pixel in arcsec, from astropy's positions of the middles of its four sides."""
    columns, rows = column + np.array([-0.5, 0.5, 0, 0]), row + np.array([0, 0, -0.5, 0.5])
    left, right, below, above = wcs.pixel_to_world(columns, rows)
    return np.array([left.separation(right).arcsec, below.separation(above).arcsec])


@pytest.mark.parametrize("name", SQUARE)
def test_the_scale_is_the_separation_on_the_sky(tmp_path, name):
    image = rim_lensing.read_image(write(tmp_path / "a.fits", SQUARE[name]))
    expected = separations(WCS(SQUARE[name]), *MIDDLE)
    np.testing.assert_allclose(image.pixel_scale, expected, rtol=1e-6)


def test_the_scales_are_not_all_that_of_the_reference_point():
    """By hand: TPV multiplies by 1.05; a Mercator map's ordinate is the Gudermannian's inverse."""
    for name, expected in (
        ("TPV, both axes stretched", 0.105),
        ("a Mercator map", 0.1 / np.cosh(np.radians(60))),
    ):
        assert separations(WCS(SQUARE[name]), *MIDDLE) == pytest.approx([expected] * 2, rel=1e-6)


@pytest.mark.parametrize("name", OBLONG)
def test_pixels_that_are_no_squares_on_the_sky_are_refused(tmp_path, name):
    path = write(tmp_path / "a.fits", OBLONG[name])
    with pytest.raises(ValueError, match="must be square: resample"):
        rim_lensing.read_image(path)
    assert rim_lensing.read_image(path, pixel_scale=0.1).pixel_scale == 0.1


def test_a_refusal_says_the_true_sides(tmp_path):
    """A plate carree map at declination 60 has half the width."""
    path = write(tmp_path / "a.fits", OBLONG["CAR at declination 60"])
    with pytest.raises(ValueError, match="0.05 x 0.1 arcsec, with sides at 90.0 degrees"):
        rim_lensing.read_image(path)
    path = write(tmp_path / "b.fits", OBLONG["axes at 80 degrees"])
    with pytest.raises(ValueError, match="with sides at (80|100).0 degrees"):
        rim_lensing.read_image(path)


def wide_plate(path):
    """A map from declination 0 to 60 with 0.5 degree pixels: square on the equator alone."""
    cards = header("CAR", CRVAL2=0.0, CRPIX2=1.0, CDELT1=-0.5, CDELT2=0.5)
    return write(path, cards), WCS(cards)


def test_a_cutout_is_measured_where_it_is(tmp_path):
    path, wcs = wide_plate(tmp_path / "a.fits")
    with pytest.raises(ValueError, match="If they are where the lens is: say `centre`"):
        rim_lensing.read_image(path)
    image = rim_lensing.read_image(path, centre=(5, 80))
    assert image.pixel_scale == pytest.approx(separations(wcs, 5, 80).mean(), rel=1e-6)
    part = image.cutout(5, (3, 80)).cutout(3, (1, 2))
    assert part.pixel_scale == pytest.approx(separations(wcs, 2, 80).mean(), rel=1e-6)
    assert part.pixel_scale != image.pixel_scale
    with pytest.raises(ValueError, match="row 101 .* must be square"):
        image.cutout(5, (100, 80))


def test_a_cutout_of_a_distorted_image_is_measured_where_it_is(tmp_path):
    cards = sip(A_1_1=2e-6, B_0_2=2e-6, A_2_0=2e-6, B_1_1=2e-6)
    image = rim_lensing.read_image(write(tmp_path / "a.fits", cards), centre=(60, 80))
    for centre in ((30, 20), (90, 140)):
        part = image.cutout(11, centre)
        expected = separations(WCS(cards), *centre)
        np.testing.assert_allclose(part.pixel_scale, expected.mean(), rtol=1e-6)
        # In the cutout's own header, too.
        np.testing.assert_allclose(separations(WCS(part.header), 5, 5), expected, rtol=1e-6)


def test_a_scale_that_was_given_is_kept_by_cutouts(tmp_path):
    path, _ = wide_plate(tmp_path / "a.fits")
    assert rim_lensing.read_image(path, pixel_scale=0.3).cutout(5).pixel_scale == 0.3


def test_the_command_line_measures_at_the_crop_centre(tmp_path, tiny_folder, tiny_mocks, capsys):
    """Square pixels of 0.3" around the lens, and oblong ones in the middle of a long image."""
    cards = sip(CRPIX1=20.5, CRPIX2=20.5, CDELT1=-3 * SCALE, CDELT2=3 * SCALE, A_3_0=1e-6)
    for keyword in ("A_1_2", "B_0_3", "B_2_1"):
        cards[keyword] = 0.0
    image = np.zeros((40, 400))
    image[12:28, 12:28] = tiny_mocks.image[0]
    path = write(tmp_path / "a.fits", cards, image)
    with pytest.raises(ValueError, match="must be square"):
        rim_lensing.read_image(path)
    options = ["--noise", str(tiny_mocks.noise[0].max()), "--psf", "0.1", "--lens", "theta_E=1.2"]
    options += ["--model", str(tiny_folder), "--output", str(tmp_path / "out")]
    assert cli.main(["reconstruct", str(path), *options, "--crop-centre", "300,20.5"]) == 2
    assert "column 300, row 20.5 (counted from 1) must be square" in capsys.readouterr().err
    assert cli.main(["reconstruct", str(path), *options, "--crop-centre", "20.5,20.5"]) == 0


UNIT_NAMES = {
    "deg": ("Degrees", "degree", "DEG", "degs", "deg"),
    "arcsec": ("arcsec", "ARCSEC", "arcseconds", "arc seconds", "asec", '"', "arcsec/pixel"),
    "arcmin": ("ArcMin", "arcminute", "amin"),
    "mas": ("mas", "milliarcsec", "MAS"),
    "rad": ("rad", "radians"),
}
IN_DEGREES = {"deg": 1, "arcsec": 1 / 3600, "arcmin": 1 / 60, "mas": 1 / 3.6e6}
IN_DEGREES["rad"] = 180 / np.pi


@pytest.mark.parametrize("celestial", [True, False])
@pytest.mark.parametrize(
    "unit, name", [(u, name) for u, names in UNIT_NAMES.items() for name in names]
)
def test_units_of_angle_in_any_spelling(tmp_path, unit, name, celestial):
    cards = header() if celestial else fits.Header({"CTYPE1": "X", "CTYPE2": "Y"})
    for axis, sign in ((1, -1), (2, 1)):
        cards[f"CDELT{axis}"] = sign * SCALE / IN_DEGREES[unit]
        cards[f"CUNIT{axis}"] = name
        cards[f"CRVAL{axis}"] = 0.5
    image = rim_lensing.read_image(write(tmp_path / "a.fits", cards))
    assert image.pixel_scale == pytest.approx(0.1, rel=1e-6)


def test_a_linear_wcs_as_astropy_writes_it(tmp_path):
    """It puts the scale into PC, and CDELT is 1."""
    wcs = WCS(naxis=2)
    wcs.wcs.cunit = ["arcsec", "arcsec"]
    wcs.wcs.pc = [[0.08, -0.06], [0.06, 0.08]]
    cards = wcs.to_header()
    assert "CD1_1" not in cards and cards.get("CDELT1", 1.0) == 1.0
    assert rim_lensing.read_image(write(tmp_path / "a.fits", cards)).pixel_scale == pytest.approx(
        0.1
    )


@pytest.mark.parametrize(
    "cards",
    [
        {"CD1_1": 0.1, "CD2_2": 0.1},
        {"CDELT1": 0.1, "CDELT2": 0.1},
        {"CDELT1": 0.2, "CDELT2": 0.2, "PC1_1": 0.5, "PC2_2": 0.5},
        {"CDELT1": -0.1},
        {"CDELT1": "0.1", "CDELT2": "1.0D-1"},
    ],
)
def test_linear_scales(tmp_path, cards):
    path = write(tmp_path / "a.fits", fits.Header({"CUNIT1": "arcsec"} | cards))
    assert rim_lensing.read_image(path).pixel_scale == pytest.approx(0.1)


def test_pixels_that_are_not_angles_have_no_scale(tmp_path):
    for unit in ("pixel", "Angstrom", "um"):
        cards = fits.Header({"CTYPE1": "LINEAR", "CUNIT1": unit, "CDELT1": 0.1, "CDELT2": 0.1})
        path = write(tmp_path / f"{unit}.fits", cards)
        assert rim_lensing.read_image(path).pixel_scale is None

"""Magnitudes from headers."""

import pytest
from astropy.io import fits

from rim_lensing.files.fits_files import read_image
from rim_lensing.files.zero_points import zero_point_of


def test_hst_cards_give_the_ab_zero_point():
    """ACS F814W in July 2012: 25.947 by the instrument's zero point calculator."""
    header = {"PHOTFLAM": 7.0332e-20, "PHOTPLAM": 8045.0}
    assert zero_point_of(header) == pytest.approx(25.947, abs=0.01)


@pytest.mark.parametrize("card", ["MAGZERO", "MAGZPT", "ZEROPT", "ZP"])
def test_surveys_write_it(card):
    assert zero_point_of({card: "24.6"}) == pytest.approx(24.6)


@pytest.mark.parametrize(
    "header",
    [None, {}, {"MAGZERO": "unknown"}, {"PHOTFLAM": 1e-19}, {"PHOTFLAM": 0, "PHOTPLAM": 1}],
)
def test_where_no_header_tells_it_is_not_known(header):
    assert zero_point_of(header) is None


def test_the_cards_come_through_with_the_image(tmp_path):
    header = fits.Header({"PHOTFLAM": 7.0332e-20, "PHOTPLAM": 8045.0, "EXPTIME": 420.0})
    path = tmp_path / "image.fits"
    fits.writeto(path, fits.PrimaryHDU([[1.0, 2.0], [3.0, 4.0]]).data, header)
    found = read_image(path, pixel_scale=0.05).header
    assert zero_point_of(found) == pytest.approx(25.947, abs=0.01)
    assert found["EXPTIME"] == 420.0

"""North and east of headers, by hand and by astropy's own sky offsets."""

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io.fits import Header
from astropy.wcs import WCS

from rim_lensing.files.sky_directions import described, north_and_east


def header(angle: float = 0.0, mirrored: bool = False, place=(150.0, 60.0)) -> Header:
    """Return cards of an image whose north is turned by an angle."""
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = np.diag([1 if mirrored else -1, 1]) @ turn * 0.05 / 3600
    cards = Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "BUNIT": "MJy/sr"})
    cards.update({"CRPIX1": 8.5, "CRPIX2": 8.5, "CRVAL1": place[0], "CRVAL2": place[1]})
    for row in (1, 2):
        for column in (1, 2):
            cards[f"CD{row}_{column}"] = matrix[row - 1, column - 1]
    return cards


def test_north_up_and_east_left():
    assert north_and_east(header(), (16, 16)) == pytest.approx((np.pi / 2, np.pi), abs=1e-5)


def test_a_mirrored_image_has_east_on_the_right():
    assert north_and_east(header(mirrored=True), (16, 16)) == pytest.approx(
        (np.pi / 2, 0), abs=1e-5
    )


@pytest.mark.parametrize("angle", [-2.0, 0.4, 1.7])
@pytest.mark.parametrize("place", [(150.0, 60.0), (0.0, -30.0), (359.9999, 0.0)])
def test_turned_images_agree_with_astropy(angle, place):
    cards = header(angle, place=place)
    wcs = WCS(cards)
    middle = SkyCoord(*place, unit="deg")
    for found, towards in zip(north_and_east(cards, (16, 16)), (0, 90), strict=True):
        there = middle.directional_offset_by(towards * units.deg, 1 * units.arcsec)
        x, y = wcs.world_to_pixel(there)
        expected = np.arctan2(y - 7.5, x - 7.5)
        assert np.exp(1j * found) == pytest.approx(np.exp(1j * expected), abs=1e-4)


@pytest.mark.parametrize("cards", [None, Header(), Header({"CRPIX1": 3.0, "BUNIT": " "})])
def test_without_a_sky_nothing_is_known(cards):
    assert described(cards, (16, 16)) == {"unit": None, "north": None}


def test_the_unit_is_the_headers():
    assert described(header(), (16, 16))["unit"] == "MJy/sr"

"""The one gate: every form in which astronomers have their data means the same, or is refused."""

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import (
    CCDData,
    InverseVariance,
    NDData,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.utils.masked import Masked
from astropy.wcs import WCS

from rim_lensing.files.fits_files import FitsImage
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.lens_parameters import LensParameters, as_lens_array
from rim_lensing.observation.arguments import arcsecond, numbers
from rim_lensing.observation.checks import check_observation
from rim_lensing.observation.correlated_noise import check_noise_correlation, noise_correlation
from rim_lensing.observation.observation import Observation

GRID = PixelGrid(16, 0.3)
NOISE = np.full((16, 16), 0.02)
NOISE[4] = 0.03
HOLE = np.zeros((16, 16), bool)
HOLE[2:4, 5:9] = True


def ring() -> np.ndarray:
    x, y = GRID.coordinates()
    image = np.exp(-0.5 * ((np.hypot(x, y) - 1.0) / 0.2) ** 2)
    return image + 0.02 * np.random.default_rng(1).standard_normal(image.shape)


def check(**changes):
    arguments = {"image": ring(), "noise": NOISE, "psf": 0.1, "lens": LensParameters(1.0)}
    return check_observation(**(arguments | changes), image_grid=GRID)


def header(scale: float = 0.3, **cards) -> fits.Header:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.0, 2.0], [8.5, 8.5]
    wcs.wcs.cdelt = [-scale / 3600, scale / 3600]
    result = wcs.to_header()
    result.update(cards)
    return result


def ccd(**more) -> CCDData:
    return CCDData(ring(), unit="electron / s", **more)


def masked(array):
    return Masked(array, mask=HOLE)


SAME = {
    "Quantity": lambda: {"image": ring() * units.Jy, "noise": NOISE * units.Jy},
    "noise in another unit": lambda: {
        "image": ring() * units.Jy,
        "noise": 1000 * NOISE * units.mJy,
    },
    "width in another unit": lambda: {"psf": 100 * units.mas},
    "pixel scale in degrees": lambda: {"pixel_scale": 0.3 / 3600 * units.deg},
    "pixel scale per pixel": lambda: {"pixel_scale": 0.3 * units.arcsec / units.pix},
    "lens with units": lambda: {"lens": {"theta_E": 1000 * units.mas}},
    "StdDevUncertainty": lambda: {"noise": StdDevUncertainty(NOISE)},
    "VarianceUncertainty": lambda: {"noise": VarianceUncertainty(NOISE**2)},
    "InverseVariance": lambda: {"noise": InverseVariance(NOISE**-2)},
    "NDData": lambda: {
        "image": NDData(ring(), uncertainty=VarianceUncertainty(NOISE**2)),
        "noise": None,
    },
    "NDData of noise": lambda: {"noise": NDData(NOISE)},
    "CCDData": lambda: {"image": ccd(uncertainty=StdDevUncertainty(NOISE)), "noise": None},
    "CCDData with a WCS": lambda: {
        "image": ccd(uncertainty=StdDevUncertainty(NOISE), wcs=WCS(header())),
        "noise": None,
    },
    "read_image": lambda: {
        "image": FitsImage(ring(), 0.3, header(BUNIT="Jy")),
        "noise": FitsImage(1000 * NOISE, 0.3, header(BUNIT="mJy")),
        "psf": 0.1,
        "mask": FitsImage(np.ones((16, 16)), 0.3, header()),
    },
    "Observation": lambda: {
        "image": Observation(ring(), NOISE, 0.1, pixel_scale=0.3),
        "noise": None,
        "psf": None,
    },
    "nested lists": lambda: {"image": ring().tolist(), "noise": NOISE.tolist()},
    "plain numbers as numpy has them": lambda: {
        "psf": np.float32(0.1),
        "pixel_scale": np.float64(0.3),
    },
}


@pytest.mark.parametrize("form", SAME)
def test_forms_that_say_the_same(form):
    expected, found = check(), check(**SAME[form]())
    for name in ("image", "noise", "psf", "lens"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=2e-6)


MASKED = {
    "numpy image": lambda: {"image": np.ma.masked_array(ring(), HOLE)},
    "numpy noise": lambda: {"noise": np.ma.masked_array(NOISE, HOLE)},
    "astropy image": lambda: {"image": masked(ring())},
    "astropy noise": lambda: {"noise": masked(NOISE)},
    "astropy quantity": lambda: {
        "image": Masked(ring() * units.Jy, mask=HOLE),
        "noise": NOISE * units.Jy,
    },
    "numpy mask with masked elements": lambda: {
        "mask": np.ma.masked_array(np.ones((16, 16), bool), HOLE)
    },
    "astropy mask with masked elements": lambda: {"mask": masked(np.ones((16, 16), bool))},
    "CCDData": lambda: {
        "image": ccd(uncertainty=StdDevUncertainty(NOISE), mask=HOLE),
        "noise": None,
    },
    "both": lambda: {
        "image": np.ma.masked_array(ring(), HOLE & (np.arange(16) < 7)),
        "noise": masked(NOISE),
    },
}


@pytest.mark.parametrize("form", MASKED)
def test_masks_that_other_types_carry_are_heeded(form):
    """A masked neighbour as bright as the arcs must not matter."""
    bright = ring()
    bright[HOLE] = 5.0
    changes = MASKED[form]()
    if form in ("numpy noise", "astropy noise"):
        changes["image"] = bright
    expected, found = check(mask=~HOLE), check(**changes)
    for name in ("image", "noise", "mask", "flux_unit"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=2e-6)


REFUSED = {
    "one unit": ({"image": ring() * units.Jy}, r"`noise` must have a unit.*Jy"),
    "the other unit": ({"noise": NOISE * units.Jy}, r"`image` must have a unit.*Jy"),
    "units that do not fit": (
        {"image": ring() * units.Jy, "noise": NOISE * units.m},
        r"`noise` must be in the image's unit.*noise in m, image in Jy",
    ),
    "a variance": (
        {"image": ring() * units.Jy, "noise": NOISE * units.Jy**2},
        r"`noise` must be the rms, not the variance.*square root",
    ),
    "a weight": (
        {"image": ring() * units.Jy, "noise": NOISE / units.Jy**2},
        r"`noise` must be the rms, not a weight",
    ),
    "an uncertainty of unknown kind": (
        {"noise": UnknownUncertainty(NOISE)},
        r"`noise` must be a StdDevUncertainty.*UnknownUncertainty",
    ),
    "an NDData that may be two things": (
        {"noise": NDData(ring(), uncertainty=StdDevUncertainty(NOISE))},
        r"`noise` must not be an NDData with an uncertainty.*noise=noise\.uncertainty",
    ),
    "a lens in one unit": (
        {"lens": np.array([1.0, 0, 0, 0, 0, 0, 0]) * units.deg},
        r"`lens` must not be one quantity.*deg",
    ),
    "a lens with masked parameters": (
        {"lens": np.ma.masked_array([1.0, 0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0])},
        r"`lens` must have all its parameters.*1 of 7",
    ),
    "an ellipticity with a unit": (
        {"lens": {"theta_E": 1.0, "e1": 0.1 * units.arcsec}},
        r"`e1` must be a number without a unit",
    ),
    "a mass as Einstein radius": (
        {"lens": {"theta_E": 1 * units.kg}},
        r"`theta_E` must be an angle",
    ),
    "a width in metres": ({"psf": 0.1 * units.m}, r"`psf` must be a length on the sky.*m"),
    "a pixel scale in metres": ({"pixel_scale": 1 * units.m}, r"`pixel_scale` must be a length"),
    "a PSF with a hole": (
        {"psf": np.ma.masked_array(np.full((3, 3), 1 / 9), np.eye(3))},
        r"`psf` must have a value everywhere.*3 masked",
    ),
    "an HDU": ({"image": fits.ImageHDU(ring())}, r"`image` must not be an HDU.*read_image"),
    "a list of quantities": ({"psf": [0.1 * units.arcsec]}, r"`psf` must be one quantity"),
    "an image of other pixels": (
        {"image": FitsImage(ring(), 0.2, header(0.2))},
        r"`pixel_scale` must be the model's",
    ),
    "noise on other pixels": (
        {"image": FitsImage(ring(), 0.3, header()), "noise": FitsImage(NOISE, 0.15, header(0.15))},
        r"`noise` must have the image's pixels, of 0\.3.*0\.15",
    ),
    "no noise": ({"noise": None}, r"`noise` must be given"),
    "no psf": ({"psf": None}, r"`psf` must be given"),
    "no lens": ({"lens": None}, r"`lens` must be given"),
    "both forms": (
        {"image": Observation(ring(), NOISE, 0.1)},
        r"`noise`, `psf` must be left out beside an Observation",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case):
    changes, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        check(**changes)


def test_all_problems_are_said_at_once():
    with pytest.raises(ValueError) as refusal:
        check(image=np.ones((20, 20)), noise=-1.0, psf=-0.1, lens={"theta": 1}, pixel_scale=0.2)
    message = str(refusal.value)
    assert message.startswith("4 things are wrong:\n1. ")
    for named in ("`image` must have the model's size", "`psf` must be", "`pixel_scale`", "`lens`"):
        assert named in message
    with pytest.raises(ValueError) as refusal:
        check(image="a picture", noise=np.ones(3) * units.m, mask=np.full((16, 16), 2), psf=None)
    message = str(refusal.value)
    for named in (
        "1. `image` must hold real numbers",
        "`mask` must hold True",
        "`psf` must be giv",
    ):
        assert named in message


def test_units_that_cannot_be_compared_are_told():
    image = FitsImage(ring(), 0.3, header(BUNIT="COUNTS PER HOUR"))
    with pytest.warns(UserWarning, match="cannot be compared, DN per pix and COUNTS PER HOUR"):
        check(image=image, noise=FitsImage(NOISE, 0.3, header(BUNIT="DN per pix")))


def test_numbers_without_a_unit():
    assert numbers("count", 3 * units.dimensionless_unscaled) == 3
    assert numbers("count", np.ma.masked_array([1.0, 2.0], [False, False])).tolist() == [1, 2]
    with pytest.raises(ValueError, match="`count` must have no unit.*kg"):
        numbers("count", 3 * units.kg)
    with pytest.raises(ValueError, match="`count` must have a value everywhere.*1 masked"):
        numbers("count", np.ma.masked_array([1.0, 2.0], [True, False]))


@pytest.mark.parametrize("value", [0, -1.0, np.nan, [0.1, 0.2], 0 * units.arcsec])
def test_a_pixel_scale_is_one_positive_length(value):
    with pytest.raises(ValueError, match="`pixel_scale` must be a positive number of arcsec"):
        arcsecond("pixel_scale", value)


def test_masked_pixels_are_not_blank():
    noise = np.random.default_rng(3).standard_normal((32, 32))
    blank = np.ones((32, 32), bool)
    hole = np.zeros((32, 32), bool)
    hole[5:9] = True
    spoilt = np.where(hole, 1e6, noise)
    expected = noise_correlation(noise, blank & ~hole)
    for given in (np.ma.masked_array(spoilt, hole), Masked(spoilt, mask=hole)):
        np.testing.assert_allclose(noise_correlation(given, blank), expected)
    np.testing.assert_allclose(noise_correlation(spoilt, np.ma.masked_array(blank, hole)), expected)


def test_a_correlation_may_be_a_file():
    correlation = np.array([[0, 0.1, 0], [0.1, 1, 0.1], [0, 0.1, 0]])
    read = FitsImage(correlation, None, fits.Header())
    np.testing.assert_array_equal(check_noise_correlation(read, (8, 8)), correlation)


def test_a_lens_of_masked_arrays_with_nothing_masked():
    lens = np.ma.masked_array([1.0, 0.1, 0, 0, 0, 0, 0], False)
    np.testing.assert_allclose(as_lens_array(lens)[0, :2], [1.0, 0.1])

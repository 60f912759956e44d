"""What a user hands in: every refusal, and that the unit of the flux does not matter."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

from rim_lensing.forward_model.psf import gaussian_kernel
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.lens_parameters import LensParameters
from rim_lensing.observation.checks import check_observation
from rim_lensing.observation.normalised import NormalisedObservation
from rim_lensing.reconstruction.training_range import warn_outside_training
from rim_lensing.simulation.priors import Priors

GRID = PixelGrid(16, 0.3)
LENS = LensParameters(theta_E=1.0)


def ring(batch: int | None = None) -> np.ndarray:
    """A ring of peak 1 in noise of rms 0.02."""
    x, y = GRID.coordinates()
    image = np.exp(-0.5 * ((np.hypot(x, y) - 1.0) / 0.2) ** 2)
    shape = image.shape if batch is None else (batch, *image.shape)
    return image + 0.02 * np.random.default_rng(1).standard_normal(shape)


def check(**changes) -> NormalisedObservation:
    arguments = {"image": ring(), "noise": 0.02, "psf": 0.1, "lens": LENS, "image_grid": GRID}
    return check_observation(**(arguments | changes))


def test_needs_no_keras():
    program = (
        "import sys, rim_lensing.observation.checks, rim_lensing.files.fits_files;"
        "sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_brings_one_image_to_its_form():
    observation = check(psf_side=5)
    assert observation.single and len(observation) == 1
    for array in (observation.image, observation.noise, observation.psf, observation.lens):
        assert array.dtype == np.float32
    assert observation.image.shape == observation.noise.shape == (1, 16, 16)
    assert observation.psf.shape == (1, 5, 5) and observation.lens.shape == (1, 7)
    assert observation.image.max() == 1
    np.testing.assert_allclose(observation.image[0] * observation.flux_unit, ring(), rtol=1e-6)
    np.testing.assert_allclose(observation.noise_level, 0.02 / ring().max(), rtol=1e-6)
    assert observation.mask.all()


@pytest.mark.parametrize("unit", [1e-20, 1e-40, 1e-200, 1e6, 1e30, 1e200])
def test_the_unit_is_carried_and_nothing_else_changes(unit):
    plain, scaled = check(), check(image=ring() * unit, noise=0.02 * unit)
    np.testing.assert_allclose(scaled.image, plain.image, rtol=1e-6)
    np.testing.assert_allclose(scaled.noise, plain.noise, rtol=1e-6)
    np.testing.assert_allclose(scaled.flux_unit / unit, plain.flux_unit, rtol=1e-12)


@pytest.mark.parametrize("dtype", [">f4", "<f8", "float32"])
def test_takes_any_real_type(dtype):
    assert check(image=ring().astype(dtype)).image.dtype == np.float32


@pytest.mark.parametrize("noise_shape", [(), (3,), (16, 16), (1, 16, 16), (3, 16, 16)])
def test_takes_noise_as_number_numbers_map_or_maps(noise_shape):
    observation = check(image=ring(3), noise=np.full(noise_shape, 0.03))
    expected = np.broadcast_to(0.03 / observation.flux_unit[:, None, None], (3, 16, 16))
    np.testing.assert_allclose(observation.noise, expected, rtol=1e-6)
    assert not observation.single


def test_what_is_masked_does_not_matter():
    mask = np.ones((16, 16), bool)
    mask[:4] = False
    plain = check(mask=mask)
    image, noise = ring(), np.full((16, 16), 0.02)
    image[:2], image[2:4], noise[:4] = np.nan, 1e9, -1
    for other in (check(image=image, noise=noise, mask=mask), check(mask=mask.astype(int))):
        for name in ("image", "noise", "flux_unit"):
            np.testing.assert_array_equal(getattr(other, name), getattr(plain, name))
    assert not plain.mask[0, :4].any() and plain.mask[0, 4:].all()
    assert np.all(plain.image[0, :4] == 0) and np.all(np.isinf(plain.noise[0, :4]))


def test_infinite_noise_masks():
    noise = np.full((16, 16), 0.02)
    noise[3, 4] = np.inf
    assert not check(noise=noise).mask[0, 3, 4]


def test_huge_noise_masks_as_pyautolens_does():
    """Its masked pixels have a noise of 1e8, and whatever value, garbage of 1e8 too."""
    image, noise = ring(), np.full((16, 16), 0.02)
    image[:5], noise[:5] = 3e8, 1e8
    observation = check(image=image, noise=noise)
    used = np.ones((16, 16), bool)
    used[:5] = False
    np.testing.assert_array_equal(observation.mask[0], used)
    reference = check(image=image, mask=used)
    np.testing.assert_array_equal(observation.image, reference.image)
    np.testing.assert_array_equal(observation.noise, reference.noise)


def test_a_mask_of_huge_noise_may_leave_a_few_pixels():
    noise = np.full((16, 16), 1e8)
    noise.ravel()[ring().argmax() + np.arange(2)] = 0.02
    np.testing.assert_array_equal(check(noise=noise).mask[0], noise < 1)


def test_a_quiet_row_does_not_mask_the_rest():
    """The edge of a mosaic: a row whose noise map says nothing."""
    noise = np.full((16, 16), 0.02)
    noise[0] = 1e-8
    image = ring() + 0.02 * np.random.default_rng(0).standard_normal((16, 16))
    with pytest.raises(ValueError, match=r"`noise` must be an rms.*mosaic.*16 such pixels.*1e-08"):
        check(image=image, noise=noise)


@pytest.mark.parametrize("flux", [0.0, 1e-3])
def test_dark_quiet_pixels_do_not_mask_the_arcs(flux):
    """A dead pixel, and the dark edge of a mosaic."""
    for place in ((3, 4), (slice(None), slice(0, 2))):
        image, noise = ring(), np.full((16, 16), 0.02)
        image[place], noise[place] = flux, 1e-8
        with pytest.raises(ValueError, match="`noise` must be an rms.*mosaic"):
            check(image=image, noise=noise)


def test_a_quiet_pixel_does_not_mask_faint_arcs():
    """No pixel of them stands out by 5 sigma, their 3x3 blocks do."""
    image, noise = ring(), np.full((16, 16), 0.3)
    image[3, 4], noise[3, 4] = 1e-6, 1e-8
    assert image.max() < 5 * 0.3
    with pytest.raises(ValueError, match="`noise` must be an rms.*mosaic.*1 such pixels"):
        check(image=image, noise=noise)


@pytest.mark.parametrize(("noise", "flux"), [(1e3, 1e4), (1e8, 9.97e36)])
def test_a_few_pixels_may_be_marked_whatever_they_hold(noise, flux):
    """A star of ten times the noise that was given to it; FITS files' fill value."""
    image, rms = ring(), np.full((16, 16), 0.02)
    image[3, 4], rms[3, 4] = flux, noise
    np.testing.assert_array_equal(check(image=image, noise=rms).mask[0], rms < 1)


def test_gaussians_are_those_of_the_training():
    sigma = np.array([0.0, 0.05, 0.1])
    mine = check(image=ring(3), psf=sigma, psf_side=7).psf
    np.testing.assert_allclose(mine, gaussian_kernel(sigma, 7, GRID.pixel_scale), atol=1e-7)


def test_gaussian_kernels_are_wide_enough_and_never_larger_than_the_image():
    assert check(psf=0.3, psf_side=3).psf.shape == (1, 9, 9)
    assert check(psf=2.0).psf.shape == (1, 15, 15)


def test_sharpness_of_a_kernel_is_that_of_its_gaussian():
    kernel = np.asarray(gaussian_kernel(np.array([0.4]), 13, 0.3))
    np.testing.assert_allclose(check(psf=kernel).psf_sigma, 0.4, rtol=0.02)
    assert check(psf=kernel[0]).psf.shape == (1, 13, 13)


def test_systems_can_be_taken_out():
    part = check(image=ring(3), noise=[0.01, 0.02, 0.03])[1:]
    assert len(part) == 2
    np.testing.assert_allclose(part.noise[:, 0, 0] * part.flux_unit, [0.02, 0.03], rtol=1e-6)


def with_value(value, where=(2, 3)):
    image = ring()
    image[where] = value
    return image


def bad_noise(value):
    noise = np.full((16, 16), 0.02)
    noise[5, :3] = value
    return noise


KERNEL = np.full((5, 5), 1 / 25)

REFUSED = {
    "one row": ({"image": np.ones(16)}, r"`image` must be \(y, x\).*shape \(16,\)"),
    "no system": ({"image": np.ones((0, 16, 16))}, r"`image` must be .*\(0, 16, 16\)"),
    "too large": (
        {"image": np.ones((20, 20))},
        r"crop it.*cutout\(image, 16.*own-pixels.*\(20, 20\)",
    ),
    "too small": ({"image": np.ones((8, 8))}, r"16 x 16.*pad it.*mask.*\(8, 8\)"),
    "crop and pad": ({"image": np.ones((8, 20))}, r"crop it.*pad it"),
    "words": ({"image": np.full((16, 16), "a")}, r"`image` must hold real numbers"),
    "complex": ({"image": ring() + 0j}, r"`image` must hold real numbers.*complex"),
    "NaN": ({"image": with_value(np.nan)}, r"`image` must be finite.*mask=.*1 NaN or inf.* of 256"),
    "infinity": ({"image": with_value(np.inf)}, r"`image` must be finite"),
    "zero noise": ({"noise": 0}, r"`noise` must be positive.*256 pixels.*smallest 0"),
    "negative noise": ({"noise": bad_noise(-1)}, r"`noise` must be positive.*3 pixels.*-1"),
    "NaN noise": ({"noise": bad_noise(np.nan)}, r"`noise` must be finite.*3 NaN"),
    "noise shape": ({"noise": np.ones((4, 4))}, r"`noise` must be a number.*\(4, 4\)"),
    "mosaic": ({"noise": bad_noise(1e-8)}, r"`noise` must be an rms.*3 such pixels.*1e-08"),
    "noise count": ({"noise": np.ones(2)}, r"`noise` must be a number.*\(2,\)"),
    "psf NaN": ({"psf": KERNEL * [1, 1, 1, 1, np.nan]}, r"`psf` must be finite.*5 NaN"),
    "psf negative": ({"psf": -KERNEL}, r"`psf` must have a positive sum.*-1"),
    "psf even": ({"psf": np.full((4, 4), 1 / 16)}, r"odd number of pixels.*side=4"),
    "psf large": ({"psf": np.full((17, 17), 17**-2)}, r"larger than the image \(16.*17 x 17.*22"),
    "psf count": ({"psf": [0.1, 0.1]}, r"one for each of the 1 systems. Received: 2"),
    "kernel count": ({"psf": np.stack([KERNEL] * 2)}, r"each of the 1 systems. Received: 2"),
    "psf width": ({"psf": -0.1}, r"`psf` must be a width.*-0.1"),
    "psf width beyond the image": ({"psf": 1e9}, r"`psf` must be a width .* at most half.*1e\+09"),
    "psf width NaN": ({"psf": np.nan}, r"`psf` must be a width"),
    "lens shape": ({"lens": np.ones((1, 5))}, r"`lens` must have 7 numbers"),
    "lens count": ({"lens": np.zeros((2, 7))}, r"`lens` must describe one system"),
    "lens name": ({"lens": {"theta": 1}}, r"`lens` must name theta_E"),
    "mask shape": ({"mask": np.ones((4, 4), bool)}, r"`mask` must have the image's shape"),
    "mask values": ({"mask": np.full((16, 16), 2)}, r"`mask` must hold True and False.*USED"),
    "all masked": (
        {"mask": np.zeros((16, 16), bool)},
        r"All pixels are masked.*USED.*--mask-marks masked",
    ),
    "pixel scale": ({"pixel_scale": 0.2}, r"`pixel_scale`.*0\.3.*with_image_grid\(side, 0\.2\)"),
    "pixel scale NaN": ({"pixel_scale": np.nan}, r"`pixel_scale`"),
    "zeros": ({"image": np.zeros((16, 16))}, r"no signal.*5 sigma.*Received: 0 sigma"),
    "negative": ({"image": -ring()}, r"no signal"),
    "noise alone": ({"noise": 3.0}, r"no signal.*unit.*variance.*USED"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case):
    changes, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        check(**changes)


def test_an_inverted_mask_is_noticed():
    with pytest.raises(ValueError, match="hides 100%.*USED"):
        check(mask=ring() < 0.1)


def test_names_the_systems_that_are_wrong():
    image = ring(12)
    image[[3, 7]] = 0
    with pytest.raises(ValueError, match=r"no signal in 2 of 12 systems \(index 3, 7\)"):
        check(image=image)


def test_accepts_a_pixel_scale_within_a_thousandth():
    assert check(pixel_scale=0.3 * 1.0009).single
    with pytest.raises(ValueError, match="`pixel_scale` must be the model's"):
        check(pixel_scale=0.3 * 1.005)


def test_noise_that_single_precision_does_not_know_is_refused():
    with pytest.raises(ValueError, match="`noise` must be at least 1e-06 of the brightest pixel"):
        check(noise=1e-20)
    assert check(noise=1e-5).single


TRAINED = Priors(theta_E=(0.5, 1.5), noise=(0.01, 0.1), psf_sigma=(0.0, 0.2))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"lens": LensParameters(1.7)}, r"theta_E.*0\.5 to 1\.5.*1\.7"),
        ({"lens": LensParameters(0.3)}, r"theta_E.*0\.5 to 1\.5.*0\.3"),
        ({"noise": 0.2}, r"noise.*0\.01 to 0\.1"),
        ({"noise": 0.001}, r"noise.*0\.01 to 0\.1"),
        ({"psf": 0.3}, r"PSF.*0 to 0\.2.*0\.3"),
        ({"psf": np.full((7, 7), 1 / 49)}, r"PSF"),
    ],
)
def test_warns_outside_of_the_training(changes, message):
    with pytest.warns(UserWarning, match=message):
        warn_outside_training(check(**changes), TRAINED)


@pytest.mark.parametrize(
    ("lens", "message"),
    [
        (LensParameters(1.0, e1=0.7), "axis ratio of the lens"),
        (LensParameters(1.0, y=-0.4), "lens centre"),
        (LensParameters(1.0, gamma2=0.3), "external shear"),
        (LensParameters(1.0, slope=1.4), "slope of the lens"),
    ],
)
def test_warns_of_lenses_unlike_the_trained_ones(lens, message):
    with pytest.warns(UserWarning, match=message):
        warn_outside_training(check(lens=lens, noise=0.05), Priors())


def test_does_not_warn_inside_of_the_training():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_outside_training(check(), TRAINED)
        warn_outside_training(check(psf=0.0), TRAINED)
        warn_outside_training(check(psf=np.ones((1, 1))), TRAINED)

"""PSFs as they are delivered: brought to form is what a detector sees, the rest is refused."""

import numpy as np
import pytest
from scipy.special import erf

from rim_lensing.observation.observation import Observation
from rim_lensing.observation.psf_forms import core_centre, on_image_pixels, rays_for
from rim_lensing.observation.rebinning import rebinned_correlation, shared_area


def gaussian(side, sigma, centre=None) -> np.ndarray:
    """A Gaussian sampled at pixel centres, (side, side) or of two sides, with the sum 1."""
    sides = np.broadcast_to(side, 2)
    centre = (sides - 1) / 2 if centre is None else centre
    profiles = [
        np.exp(-0.5 * ((np.arange(n) - c) / sigma) ** 2) for n, c in zip(sides, centre, strict=True)
    ]
    kernel = np.outer(*profiles)
    return kernel / kernel.sum()


def integrated(side, sigma) -> np.ndarray:
    """A Gaussian integrated over the pixels in closed form."""
    edges = np.arange(side + 1) - side / 2
    profile = np.diff(erf(edges / (np.sqrt(2) * sigma)))
    return np.outer(profile, profile) / profile.sum() ** 2


@pytest.mark.parametrize("ratio", [2, 3, 4, 5, 2.5, 3.3])
@pytest.mark.parametrize("odd", [0, 1])
def test_fine_pixels_are_averaged_over_the_images(ratio, odd):
    """Against the Gaussian's integral over a pixel; the fine pixels themselves are small."""
    sigma = 1.3
    side = int(12 * ratio) // 2 * 2 + odd
    kernel, done = on_image_pixels(gaussian(side, sigma * ratio), ratio, 64)
    assert len(kernel) % 2 == 1 and "averaged" in done[0]
    # Where a fine pixel is split in two, the variance grows by up to 2/12 of its area.
    error = 2.2 / (12 * (ratio * sigma) ** 2)
    np.testing.assert_allclose(kernel, integrated(len(kernel), sigma), atol=error * kernel.max())
    np.testing.assert_allclose(kernel.sum(), 1)


def test_averaging_is_the_sum_over_blocks():
    fine = 0.1 * np.random.default_rng(1).uniform(size=(21, 21)) + 100 * gaussian(21, 2)
    kernel, _ = on_image_pixels(fine, 3, 64)
    blocks = fine.reshape(7, 3, 7, 3).sum(axis=(1, 3))
    np.testing.assert_allclose(kernel, blocks / blocks.sum())


@pytest.mark.parametrize(("rows", "columns"), [(1, 0), (0, 1), (1, 1), (0, 0)])
def test_an_even_kernel_with_a_central_pixel_is_padded(rows, columns):
    """As Fourier transforms have it: the centre at n/2, or the mirror image of that."""
    centre = np.array([4 + rows, 4 + columns])
    kernel, done = on_image_pixels(gaussian(10, 1.2, centre), None, 64)
    assert kernel.shape == (11, 11) and "padded" in done[0]
    np.testing.assert_allclose(core_centre(kernel), [5, 5], atol=1e-6)
    np.testing.assert_allclose(kernel[5 - 3 : 5 + 4, 5 - 3 : 5 + 4], gaussian(7, 1.2), atol=3e-3)


def test_a_kernel_off_its_middle_is_moved_by_whole_pixels():
    kernel, done = on_image_pixels(gaussian(11, 1.2, (6, 3)), None, 64)
    np.testing.assert_allclose(core_centre(kernel), (np.array(kernel.shape) - 1) / 2, atol=1e-6)
    assert "(-2.0, +1.0) pixels (x, y) off" in done[0]


def test_an_oblong_kernel_is_padded():
    kernel, done = on_image_pixels(gaussian((7, 11), 1.2), None, 64)
    assert kernel.shape == (11, 11) and "square" in done[0]
    np.testing.assert_allclose(kernel[2:-2], gaussian((7, 11), 1.2))


def test_what_needs_nothing_stays_as_it_is():
    kernel = gaussian(9, 1.2, (4.2, 4.3))
    for given in (kernel, kernel[None]):
        found, done = on_image_pixels(given, 1.004, 64)
        assert done == [] and found.shape == given.shape
        np.testing.assert_allclose(found, given, rtol=1e-12)


def test_sums_and_wings_beyond_the_image():
    kernel, done = on_image_pixels(7 * gaussian(31, 1.5), None, 16)
    assert kernel.shape == (15, 15)
    assert done[0] == "divided by its sum, 7" and "cropped from 31 x 31 to 15 x 15" in done[1]
    np.testing.assert_allclose(kernel, gaussian(15, 1.5), rtol=1e-5)


@pytest.mark.parametrize(
    ("kernel", "oversampling", "message"),
    [
        (gaussian(10, 1.2), None, "centred between two pixels.*side=10"),
        (gaussian(31, 9), None, "must not be larger than the image.*31 x 31 pixels, with .*% of"),
        (gaussian(93, 18), 3, "must not be larger than the image.*93 x 93"),
        (gaussian(9, 1.2), 0.5, "must not have larger pixels than the image.*2 times as large"),
        (-gaussian(9, 1.2), None, "must have a positive sum.*-1"),
        (np.full((5, 5), np.nan), None, "must be finite.*25 NaN"),
        (np.ones(5), None, r"must be a square image.*\(5,\)"),
    ],
)
def test_refuses(kernel, oversampling, message):
    with pytest.raises(ValueError, match=f"`psf` {message}|`psf`.*{message}"):
        on_image_pixels(kernel, oversampling, 16)


@pytest.mark.parametrize("turn", range(8))
def test_every_orientation_is_treated_alike(turn):
    def turned(array):
        return np.rot90(array if turn < 4 else array[::-1], turn % 4, axes=(-2, -1))

    for kernel, ratio in ((gaussian(10, 1.2, (5, 4)), None), (gaussian(24, 3.0, (12, 11)), 2.5)):
        expected, _ = on_image_pixels(kernel, ratio, 64)
        found, _ = on_image_pixels(turned(kernel), ratio, 64)
        np.testing.assert_allclose(found, turned(expected), atol=1e-14)


def test_correlation_of_means_against_drawn_noise():
    """Noise correlated by a box of 2 x 2 pixels, averaged over 2 x 2: known in closed form."""
    correlation = np.outer([0.5, 1, 0.5], [0.5, 1, 0.5])
    # Means of two: weights 1 2 1 over three independent pixels; neighbours share one.
    along = np.array([1 / 6, 1, 1 / 6])
    np.testing.assert_allclose(rebinned_correlation(correlation, 2), np.outer(along, along))


def test_shared_areas_add_up():
    areas = shared_area(12, 5.5, 4, 3.0)
    np.testing.assert_array_equal(areas, np.kron(np.eye(4), np.ones(3)))
    # Five that lie inside of the pixels, and two of which half a pixel does.
    found = shared_area(12, 5.5, 7, 2.2)
    np.testing.assert_allclose(found.sum(axis=1), [0.5, *[2.2] * 5, 0.5])
    np.testing.assert_allclose(found.sum(axis=0), 1)


@pytest.mark.parametrize(
    "side, oversampling, expected",
    [
        (11, None, 1),
        (11, 1, 1),
        (11, 2, 2),
        (11, 2.01, 2),
        (11, 3, 3),
        (11, 4, 2),
        (11, 5, 3),
        (11, 6, 3),
        (11, 2.5, 1),
        (11, 1.96, 1),
        # Between two pixels: pixels twice as large are whole ones.
        (12, 2, 1),
        (12, 4, 2),
        (12, 3, 1),
    ],
)
def test_rays_are_as_fine_as_a_whole_oversampling(side, oversampling, expected):
    assert rays_for(gaussian(side, 2.0), oversampling) == expected
    assert rays_for(np.stack([gaussian(side, 2.0)] * 2), oversampling) == expected


def test_a_kernel_on_the_rays_pixels_stays_as_it_is():
    kernel = gaussian(11, 2.0, (5.2, 5.3))
    found, done = on_image_pixels(kernel, 2, 16, rays=2)
    assert done == []
    np.testing.assert_allclose(found, kernel, rtol=1e-12)


@pytest.mark.parametrize(
    "side, oversampling, rays, error",
    [
        (48, 4, 2, 0.01),
        (61, 6, 2, 0.003),
        # A ray's pixel takes parts of the kernel's.
        (51, 5, 3, 0.01),
        # Half of two pixels each, so that there is one in the middle: the variance grows by 1/4.
        (24, 2, 2, 0.04),
    ],
)
def test_finer_kernels_are_averaged_over_the_rays_pixels(side, oversampling, rays, error):
    sigma = 1.3
    kernel, done = on_image_pixels(gaussian(side, sigma * oversampling), oversampling, 64, rays)
    assert len(kernel) % 2 == 1 and f"{rays} times as fine" in done[0]
    expected = integrated(len(kernel), rays * sigma)
    np.testing.assert_allclose(kernel, expected, atol=error * kernel.max())


def test_rays_between_the_pixels_of_a_psf_are_refused():
    with pytest.raises(ValueError, match="`ray_oversampling` must not exceed .* 2. Received: 3"):
        on_image_pixels(gaussian(11, 2.0), 2, 16, rays=3)


@pytest.mark.parametrize("oversampling", [1, 3])
@pytest.mark.parametrize("offset", [(0, 0), (2, -5)])
def test_of_a_psf_with_wings_an_image_takes_what_it_has_room_for(oversampling, offset):
    """A Moffat profile of 201 fine pixels, for images of 40 and 41."""
    y, x = np.mgrid[-100:101, -100:101]
    y, x = y - offset[0] * oversampling, x - offset[1] * oversampling
    kernel = (1 + (x**2 + y**2) / (2.0 * oversampling) ** 2) ** -1.5
    kernel /= kernel.sum()
    seen = Observation(
        np.ones((40, 40)), 1.0, kernel, pixel_scale=0.1, psf_oversampling=oversampling
    )
    for side in (40, 41):
        part, lost = seen.with_psf_within(side)
        assert lost == pytest.approx(1 - part.psf.sum()) and 0.01 < lost < 0.5
        brought, _ = on_image_pixels(part.psf, oversampling, side)
        assert len(brought) <= side and len(brought) % 2 == 1
        assert np.unravel_index(np.argmax(brought), brought.shape) == (len(brought) // 2,) * 2
    with pytest.raises(ValueError, match="`psf` must not be larger than the image"):
        on_image_pixels(kernel, oversampling, 40)
    same, lost = seen.with_psf_within(401)
    assert lost == 0 and same.psf is seen.psf


def test_a_width_is_within_any_image():
    seen = Observation(np.ones((8, 8)), 1.0, 0.5, pixel_scale=0.1)
    assert seen.with_psf_within(8) == (seen, 0.0)


@pytest.mark.parametrize(("side", "image_side"), [(39, 39), (39, 40), (211, 211), (40, 41)])
def test_a_kernel_that_fits_stays_as_it_is(side, image_side):
    seen = Observation(np.ones((8, 8)), 1.0, gaussian(side, 2.0), pixel_scale=0.1)
    same, lost = seen.with_psf_within(image_side)
    assert same.psf is seen.psf and lost == 0


def test_a_core_near_an_edge_stays_in_the_middle():
    y, x = np.mgrid[:61, :61]
    kernel = (1 + ((x - 30) ** 2 + (y - 12) ** 2) / 4.0**2) ** -1.5
    seen = Observation(np.ones((50, 50)), 1.0, kernel / kernel.sum(), pixel_scale=0.1)
    part, lost = seen.with_psf_within(50)
    brought, _ = on_image_pixels(part.psf, 1.0, 50)
    assert brought.shape == (49, 49) and brought[24, 24] == brought.max() and lost > 0.01

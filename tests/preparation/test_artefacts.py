import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from rim_lensing.forward_model.psf_kernels import gaussian_on_pixels
from rim_lensing.preparation.artefacts import artefacts

SIGMA = 0.9


@pytest.fixture
def kernel():
    return gaussian_on_pixels(np.array([SIGMA]), 9)[0]


def test_rays_are_found_and_stars_are_not(kernel):
    generator = np.random.default_rng(1)
    light = np.zeros((120, 120))
    stars = generator.integers(8, 112, size=(12, 2))
    light[tuple(stars.T)] = 3000.0
    image = gaussian_filter(light, SIGMA) + generator.normal(size=light.shape)
    noise = np.sqrt(1 + np.maximum(gaussian_filter(light, SIGMA), 0) / 50)
    near_star = gaussian_filter(light, SIGMA) > 3
    rays = np.zeros(image.shape, bool)
    two_wide = np.zeros(image.shape, bool)
    two_wide[70:80, 60:62] = True
    rays[50, 20:32] = True
    rays[70:80, 60:62] = True
    rays[np.arange(90, 100), np.arange(80, 90)] = True
    rays[100, 30] = rays[20, 101] = True
    rays &= ~near_star
    image[rays] += 40.0
    image[rays & two_wide] += 200.0
    found = artefacts(image, noise, np.ones(image.shape, bool), kernel)
    assert found[rays].mean() > 0.95
    assert not found[near_star].any()
    assert found.sum() < 2 * rays.sum()


def test_noise_alone_is_hardly_ever_one(kernel):
    image = np.random.default_rng(2).normal(size=(400, 400))
    found = artefacts(image, np.ones(image.shape), np.ones(image.shape, bool), kernel)
    assert found.sum() <= 2


def test_what_is_darker_than_the_sky_is_one(kernel):
    image = np.random.default_rng(2).normal(size=(60, 60))
    image[30, 30] = -20.0
    found = artefacts(image, np.ones(image.shape), np.ones(image.shape, bool), kernel)
    assert found[30, 30]


def test_the_core_of_a_galaxy_is_none(make_raw, shapes):
    for n, q in ((4.0, 0.5), (1.0, 0.9), (6.0, 0.8)):
        raw = make_raw(n=n, q=q, r_eff=1.0, amplitude=0.5)
        kernel = gaussian_on_pixels(np.array([shapes.psf / shapes.scale]), 9)[0]
        found = artefacts(raw.image - shapes.sky, raw.noise, np.ones(raw.image.shape, bool), kernel)
        assert not found.any()

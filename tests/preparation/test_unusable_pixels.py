import numpy as np

from rim_lensing.preparation.unusable_pixels import has_no_data, is_saturated


def test_every_mark_of_missing_data_is_seen():
    generator = np.random.default_rng(0)
    image, noise = generator.normal(size=(40, 40)), np.full((40, 40), 0.1)
    marks = np.zeros(image.shape, bool)
    image[3, 4] = np.nan
    image[3, 5] = np.inf
    noise[5, 5], noise[5, 6], noise[5, 7], noise[5, 8] = np.nan, 0.0, -1.0, np.inf
    noise[6, 6] = 1e8
    image[:, 36:] = 0.0
    marks[3, 4:6] = marks[5, 5:9] = marks[6, 6] = marks[:, 36:] = True
    assert np.array_equal(has_no_data(image, noise), marks)


def test_noise_that_is_not_known_marks_nothing():
    image = np.random.default_rng(0).normal(size=(30, 30))
    assert not has_no_data(image, np.full(image.shape, np.nan)).any()


def test_photon_noise_of_a_bright_core_is_not_absurd():
    image = np.random.default_rng(0).normal(size=(30, 30))
    noise = np.full(image.shape, 0.1)
    noise[15, 15] = 10.0
    assert not has_no_data(image, noise).any()


def test_saturation_is_told_by_a_level_or_a_plateau():
    image = np.random.default_rng(0).normal(size=(40, 40))
    y, x = np.indices(image.shape) - 20
    image += 1000 * np.exp(-0.5 * (x**2 + y**2) / 9)
    assert not is_saturated(image).any()
    full = image > 700
    assert np.array_equal(is_saturated(image, 700.0), full)
    assert np.array_equal(is_saturated(np.minimum(image, 700.0)), full)

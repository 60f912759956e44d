import numpy as np
import pytest
from scipy.ndimage import convolve, gaussian_filter

from rim_lensing.preparation.noise_level import (
    correct_noise,
    electrons_per_unit,
    noise_level,
    smooth_light,
)

BLANK = np.ones((150, 150), bool)


def white(seed=0, rms=1.0):
    return rms * np.random.default_rng(seed).normal(size=BLANK.shape)


def drizzled(seed=0):
    """Noise averaged over a kernel, and its correlation by the kernel's own autocorrelation."""
    kernel = np.array([[0.05, 0.2, 0.05], [0.2, 1.0, 0.2], [0.05, 0.2, 0.05]])
    noise = convolve(white(seed), kernel, mode="wrap")
    rows = np.pad(kernel, 3)
    expected = np.array(
        [
            [(rows * np.roll(rows, (i, j), axis=(0, 1))).sum() for j in range(-3, 4)]
            for i in range(-3, 4)
        ]
    )
    return noise / np.sqrt((kernel**2).sum()), expected / (kernel**2).sum()


@pytest.mark.parametrize("factor", [0.62, 1.0, 1.8])
def test_the_factor_of_a_wrong_map_is_measured(factor):
    level = noise_level(white(rms=factor), np.ones(BLANK.shape), BLANK)
    assert level.factor == pytest.approx(factor, abs=4 * level.factor_error)
    assert level.factor_error == pytest.approx(1.167 * factor / np.sqrt(BLANK.size), rel=0.05)


def test_white_noise_is_not_called_correlated():
    assert all(
        noise_level(white(seed), np.ones(BLANK.shape), BLANK).correlation is None
        for seed in range(40)
    )


def test_the_correlation_of_drizzled_noise_is_measured():
    noise, expected = drizzled()
    found = noise_level(noise, np.ones(BLANK.shape), BLANK).correlation
    np.testing.assert_allclose(found, expected, atol=4 / np.sqrt(BLANK.size) * 1.5)


def test_faint_objects_in_blank_sky_are_no_noise():
    noise = white()
    noise[20:24, 20:24] += 30
    level = noise_level(noise, np.ones(BLANK.shape), BLANK)
    assert level.factor == pytest.approx(1, abs=0.03)
    assert level.correlation is None


def test_few_pixels_say_nothing_of_correlation():
    few = np.zeros(BLANK.shape, bool)
    few[::10, ::10] = True
    assert noise_level(drizzled()[0], np.ones(BLANK.shape), few).correlation is None


def test_photon_noise_is_that_of_counted_electrons():
    """The scatter of Poisson draws with a known exposure, image in electrons per second."""
    exposure, rms = 2000.0, 0.005
    light = 5 * np.exp(-0.5 * (np.indices((150, 150)) - 75.0).__pow__(2).sum(axis=0) / 15**2)
    generator = np.random.default_rng(3)
    draws = generator.poisson(light * exposure, (200, *light.shape)) / exposure
    draws += rms * generator.normal(size=draws.shape)
    truth = draws.std(axis=0)
    level = noise_level(white(rms=rms), np.ones(BLANK.shape), BLANK)
    smooth = smooth_light(draws[0], BLANK, np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25]))
    noise, changed, said = correct_noise(None, level, smooth, exposure)
    assert changed is None
    np.testing.assert_allclose(np.median(noise / truth), 1, atol=0.01)
    core = light > 1
    np.testing.assert_allclose(noise[core], truth[core], rtol=0.3)
    assert "Photon noise" in said[-1]


def test_drizzling_shares_photons():
    """Photon noise behind the same kernel as the sky's scatters by less, as much as the sky's."""
    rate, exposure = 20.0, 100.0
    counts = np.random.default_rng(4).poisson(rate * exposure, BLANK.shape) / exposure
    kernel = np.array([[0.05, 0.2, 0.05], [0.2, 1.0, 0.2], [0.05, 0.2, 0.05]])
    image = convolve(counts, kernel / kernel.sum(), mode="wrap")
    sky, _ = drizzled()
    level = noise_level(1e-6 * sky, np.ones(BLANK.shape), BLANK)
    noise, _, _ = correct_noise(None, level, np.full(BLANK.shape, rate), exposure)
    assert noise[0, 0] == pytest.approx(image.std(), rel=0.05)


def test_a_map_of_noise_is_left_to_its_photons():
    level = noise_level(white(rms=0.5), np.ones(BLANK.shape), BLANK)
    given = np.ones(BLANK.shape)
    given[70, 70] = 3.0
    noise, changed, said = correct_noise(given, level, np.full(BLANK.shape, 100.0), 10.0)
    np.testing.assert_allclose(noise, changed * given)
    assert changed == pytest.approx(0.5, abs=0.02)
    assert f"too large by a factor of {1 / changed:.3g}" in said[0]


@pytest.mark.parametrize(
    "unit, exposure, gain, expected",
    [
        ("ELECTRONS/S", 2000.0, None, 2000.0),
        ("electron / s", 2000.0, None, 2000.0),
        ("electrons", None, None, 1.0),
        ("DN", None, 1.5, 1.5),
        ("adu/s", 100.0, 1.5, 150.0),
        ("DN", 100.0, None, None),
        (None, 2000.0, None, 2000.0),
        (None, 2000.0, 2.0, 4000.0),
        (None, None, None, None),
        ("e", None, None, 1.0),
        ("e-/s", 50.0, 3.0, 50.0),
        ("MJy/sr", 100.0, 2.0, None),
        ("nJy", 100.0, None, None),
    ],
)
def test_electrons_by_unit(unit, exposure, gain, expected):
    assert electrons_per_unit(unit, exposure, gain) == expected


def test_light_is_smoothed_over_used_pixels_alone():
    light = gaussian_filter(white(), 3) + 5
    used = BLANK.copy()
    used[50:60, 50:60] = False
    kernel = np.full((3, 3), 1 / 9)
    smooth = smooth_light(np.where(used, light, 1e9), used, kernel)
    assert smooth.max() < 10

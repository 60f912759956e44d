"""Procedural galaxies: sound stamps, reproducible, varied, framed as cleaned galaxies are."""

import time

import numpy as np
import pytest

from rim_lensing.galaxies.procedural import draw_procedural_galaxies


@pytest.fixture(scope="module")
def stamps():
    """120 galaxies of seed 5."""
    return draw_procedural_galaxies(120, 5)


def half_light_radius(stamp):
    """Radius in pixels around the centre that holds half of the light."""
    offset = np.indices(stamp.shape) - (len(stamp) - 1) / 2
    order = np.argsort(np.hypot(*offset).ravel())
    light = np.cumsum(stamp.ravel()[order])
    inside = np.searchsorted(light, 0.5 * light[-1])
    return np.hypot(*offset).ravel()[order][inside]


def test_shape_type_range_and_peak(stamps):
    assert stamps.shape == (120, 96, 96)
    assert stamps.dtype == np.float32
    assert np.isfinite(stamps).all()
    assert stamps.min() == 0
    np.testing.assert_array_equal(stamps.max(axis=(1, 2)), 1)


def test_the_border_is_dark(stamps):
    for edge in (stamps[:, 0], stamps[:, -1], stamps[:, :, 0], stamps[:, :, -1]):
        assert edge.max() == 0
    assert stamps[:, :3].max() < 0.05


def test_centred_on_the_light_and_filling_the_stamp(stamps):
    rows = stamps.sum(axis=2) @ np.arange(96) / stamps.sum(axis=(1, 2))
    columns = stamps.sum(axis=1) @ np.arange(96) / stamps.sum(axis=(1, 2))
    assert np.abs(rows - 47.5).max() < 2
    assert np.abs(columns - 47.5).max() < 2
    bright = stamps > 0.01
    reach = [max(np.abs(np.argwhere(stamp) - 47.5).max(axis=0)) for stamp in bright]
    assert np.percentile(reach, 10) > 0.8 * 48
    assert min(reach) > 0.5 * 48


def test_the_same_seed_draws_the_same_galaxies(stamps):
    np.testing.assert_array_equal(draw_procedural_galaxies(4, 5), stamps[:4])
    np.testing.assert_array_equal(draw_procedural_galaxies(4, np.random.default_rng(5)), stamps[:4])
    assert not np.array_equal(draw_procedural_galaxies(1, 6), stamps[:1])


def test_a_generator_goes_on_where_it_was():
    rng = np.random.default_rng(3)
    pieces = [draw_procedural_galaxies(2, rng), draw_procedural_galaxies(1, rng)]
    np.testing.assert_array_equal(np.concatenate(pieces), draw_procedural_galaxies(3, 3))


def test_no_two_galaxies_are_alike(stamps):
    flat = stamps.reshape(len(stamps), -1)
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    likeness = flat @ flat.T - np.eye(len(flat))
    assert np.median(likeness) < 0.9
    assert likeness.max() < 0.999


def test_sizes_and_structure_are_those_of_real_galaxies(stamps):
    """Half-light radii of cleaned SDSS and HST stamps: 0.13 to 0.22 of the side (10% to 90%)."""
    radii = np.array([half_light_radius(stamp) for stamp in stamps]) / 96
    assert 0.15 < np.median(radii) < 0.22
    assert np.percentile(radii, 90) > 1.3 * np.percentile(radii, 10)
    # Real stamps have power in fine structure: their spectrum falls about as k^-4.
    power = np.abs(np.fft.fft2(stamps)) ** 2
    k = np.rint(np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(96) * 96]))).astype(int)
    spectrum = np.stack([np.bincount(k.ravel(), p.ravel()) / np.bincount(k.ravel()) for p in power])
    slopes = np.polyfit(np.log(np.arange(4, 25)), np.log(spectrum[:, 4:25]).T, 1)[0]
    assert -5.5 < np.median(slopes) < -3
    # Spirals, clumps and mergers are not symmetric; ellipticals are.
    turned = stamps[:, ::-1, ::-1]
    asymmetry = np.abs(stamps - turned).sum(axis=(1, 2)) / (2 * stamps.sum(axis=(1, 2)))
    assert np.percentile(asymmetry, 10) < 0.06
    assert np.percentile(asymmetry, 90) > 0.2


@pytest.mark.parametrize("side", [16, 33, 64, 128])
def test_any_side(side):
    stamps = draw_procedural_galaxies(6, 1, side=side)
    assert stamps.shape == (6, side, side)
    np.testing.assert_array_equal(stamps.max(axis=(1, 2)), 1)
    assert stamps[:, 0].max() == 0


def test_none_is_none():
    assert draw_procedural_galaxies(0, 0).shape == (0, 96, 96)


def test_a_million_galaxies_take_hours_not_weeks():
    draw_procedural_galaxies(2, 0)
    start = time.process_time()
    draw_procedural_galaxies(20, 0)
    assert (time.process_time() - start) / 20 < 0.05  # some 5 ms on an idle core


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((-1,), "count.*-1"),
        ((2.5,), "count.*2.5"),
        ((1, -3), "seed_or_rng.*-3"),
        ((1, "seed"), "seed_or_rng.*'seed'"),
        ((1, 0, 8), "side.*16.*8"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_procedural_galaxies(*arguments)

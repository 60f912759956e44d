from dataclasses import replace

import keras
import numpy as np
import pytest
from scipy import ndimage

from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.networks.presets import get_preset
from rim_lensing.simulation.mock_observations import (
    MockSimulator,
    border_fraction,
    place_galaxies,
)
from rim_lensing.simulation.priors import Priors
from rim_lensing.simulation.training_data import TrainingData

TINY = get_preset("tiny16")


def elongated_stamps(count=3, side=48):
    """Elliptical Gaussians, off-centre so that a mirror image shows."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.stack(
        [
            np.exp(-((x - 3) ** 2) / (2 * (4 + i) ** 2) - (y + 2) ** 2 / (2 * 2.5**2))
            for i in range(count)
        ]
    ).astype("float32")


@pytest.fixture(scope="module")
def simulator():
    return MockSimulator(elongated_stamps(), Priors(), TINY)


@pytest.mark.parametrize(
    ("angle", "parity", "shift"), [(0.0, 1, 0), (np.pi / 2, 1, 0), (0.0, -1, 0), (0.7, 1, 0.2)]
)
def test_placement_against_scipy(angle, parity, shift):
    """Centroid and orientation of the placed galaxy against scipy.ndimage on the same map."""
    stamp = elongated_stamps(1)
    grid = PixelGrid(64, 0.05)
    size = 2.4
    placement = np.array([[shift, -shift, size, angle, parity]], "float32")
    placed = keras.ops.convert_to_numpy(place_galaxies(stamp, placement, grid))[0]
    fine_x, fine_y = grid.coordinates(9)
    dx, dy = (fine_x - shift) * 48 / size, (fine_y + shift) * 48 / size
    u = parity * (np.cos(angle) * dx + np.sin(angle) * dy)
    v = np.cos(angle) * dy - np.sin(angle) * dx
    expected = ndimage.map_coordinates(stamp[0], [v + 23.5, u + 23.5], order=1, mode="constant")
    expected = expected.reshape(64, 9, 64, 9).mean(axis=(1, 3))
    np.testing.assert_allclose(placed, expected / expected.max(), atol=0.01)


@pytest.mark.parametrize("unit", [1e-20, 1e20])
def test_a_stamp_may_have_any_unit(unit):
    grid, placement = PixelGrid(32, 0.1), np.array([[0, 0, 2.4, 0, 1]], "float32")
    sources = [
        keras.ops.convert_to_numpy(place_galaxies(scale * elongated_stamps(1), placement, grid))
        for scale in (1, np.float32(unit))
    ]
    assert sources[1].max() == pytest.approx(1)
    np.testing.assert_allclose(sources[1], sources[0], atol=1e-6)


def test_a_quarter_turn_is_a_quarter_turn():
    stamp, grid = elongated_stamps(1), PixelGrid(64, 0.05)
    still = np.array([[0, 0, 2.4, 0, 1]], "float32")
    turned = np.array([[0, 0, 2.4, np.pi / 2, 1]], "float32")
    a, b = (keras.ops.convert_to_numpy(place_galaxies(stamp, p, grid))[0] for p in (still, turned))
    # Counter-clockwise with +y upwards: what was at (x, y) is at (-y, x).
    np.testing.assert_allclose(b, a.T[:, ::-1], atol=1e-4)


def test_mocks_meet_the_constraints(simulator):
    mocks = simulator.draw(np.random.default_rng(0), 24)
    assert np.all(mocks.magnification >= 3)
    assert np.all(border_fraction(mocks.source) <= simulator.priors.max_border)
    np.testing.assert_allclose(mocks.source.max(axis=(1, 2)), 1, rtol=1e-6)
    np.testing.assert_allclose(mocks.psf.sum(axis=(1, 2)), 1, rtol=1e-5)
    assert np.all((mocks.noise_level >= 0.001) & (mocks.noise_level <= 0.1))


def test_noise_is_what_the_noise_map_says(simulator):
    mocks = simulator.draw(np.random.default_rng(1), 48)
    model = ForwardModel(mocks.lens, mocks.psf, TINY.image_grid, TINY.source_grid)
    clean = keras.ops.convert_to_numpy(model.predict(mocks.source))
    normalised = (mocks.image - clean) / mocks.noise
    count = normalised.size
    assert abs(normalised.mean()) < 4 / np.sqrt(count)
    assert normalised.var() == pytest.approx(1, abs=4 * np.sqrt(2 / count))
    np.testing.assert_allclose(
        mocks.noise[:, 0, 0], mocks.noise_level * clean.max(axis=(1, 2)), rtol=1e-4
    )


def test_same_seed_same_mocks_and_another_seed_others(simulator):
    data = TrainingData(simulator, batch=4, steps_per_epoch=3, seed=5)
    first, again = data[1], data[1]
    for key, value in first[0].items():
        np.testing.assert_array_equal(value, again[0][key])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0]["image"], data[2][0]["image"])
    data.epoch = 1
    assert not np.array_equal(first[0]["image"], data[1][0]["image"])
    other = TrainingData(simulator, batch=4, steps_per_epoch=3, seed=6)
    assert not np.array_equal(first[0]["image"], other[1][0]["image"])


def test_galaxies_are_those_asked_for(simulator):
    chosen = np.array([2, 0, 1, 2])
    mocks = simulator.draw(np.random.default_rng(2), 4, galaxies=chosen)
    np.testing.assert_array_equal(mocks.galaxy, chosen)


def test_noise_per_batch_is_shared():
    simulator = MockSimulator(elongated_stamps(), Priors(noise_per_batch=True), TINY)
    mocks = simulator.draw(np.random.default_rng(3), 6)
    assert len(set(mocks.noise_level.tolist())) == 1


def test_impossible_constraints_are_reported():
    priors = replace(Priors(), min_magnification=1e6)
    simulator = MockSimulator(elongated_stamps(), priors, TINY)
    with pytest.raises(RuntimeError, match="2 of 2 systems.*widen the ranges"):
        simulator.draw(np.random.default_rng(0), 2)


@pytest.mark.parametrize("shape", [(0, 8, 8), (8, 8), (2, 8, 9)])
def test_stamps_of_a_wrong_shape_are_refused(shape):
    with pytest.raises(ValueError, match="stamps.*side"):
        MockSimulator(np.zeros(shape), Priors(), TINY)

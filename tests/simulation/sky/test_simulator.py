from dataclasses import replace

import keras
import numpy as np
import pytest
from lenstronomy.LensModel.lens_model import LensModel
from scipy.ndimage import map_coordinates

from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.networks.presets import get_preset
from rim_lensing.networks.rim import RIM
from rim_lensing.simulation.mock_observations import MockSimulator, place_galaxies, stacked
from rim_lensing.simulation.priors import Priors
from rim_lensing.simulation.sky.ranges import SkyRanges
from rim_lensing.simulation.sky.simulator import SkySimulator
from rim_lensing.simulation.sky.training_data import SkyTrainingData, cost_weights
from rim_lensing.simulation.sky.winged_galaxies import draw_winged_galaxies
from rim_lensing.training.rim_training import train_rim
from rim_lensing.training.training_run import Recipe

TINY = get_preset("tiny16")
RANGES = SkyRanges(image_sides=(1.0, 1.5), frame_width=(0.2, 0.9))
PAPER = Priors(source_size=(2.0, 2.6))


@pytest.fixture(scope="module")
def stamps():
    return draw_winged_galaxies(4, 0, side=48)


@pytest.fixture(scope="module")
def simulator(stamps):
    return SkySimulator(stamps, TINY, RANGES)


def test_images_against_lenstronomy(simulator, stamps):
    """Its rays, and the true source looked up where they land; the PSF is a point."""
    generator = np.random.default_rng(0)
    systems = stacked([simulator.candidate(generator, 24) for _ in range(3)])
    systems["psf"] = np.zeros_like(systems["psf"])
    systems["psf"][:, 2, 2] = 1
    rendered = simulator.render(stamps[:3], systems, 24)
    n, rays = 24, 24 * 16
    axis = (np.arange(rays) - (rays - 1) / 2) * TINY.image_pixel_scale / 16
    fine = PixelGrid(2 * (16 + 16), TINY.source_pixel_scale / 2)
    truths = keras.ops.convert_to_numpy(place_galaxies(stamps[:3], systems["placement"], fine))
    model = LensModel(["EPL", "SHEAR"])
    for i in range(3):
        lens, (x0, y0, scale) = systems["lens"][i].astype(float), systems["source_frame"][i]
        names = ("theta_E", "e1", "e2", "center_x", "center_y")
        main = dict(zip(names, lens[:5], strict=True)) | {"gamma": lens[7] + 1}
        shear = {"gamma1": lens[5], "gamma2": lens[6]}
        x, y = model.ray_shooting(*np.meshgrid(axis, axis), [main, shear])
        positions = [(c - c0) / (scale / 2) + 31.5 for c, c0 in ((y, y0), (x, x0))]
        image = map_coordinates(truths[i], positions, order=1, mode="grid-constant")
        image = image.reshape(n, 16, n, 16).mean(axis=(1, 3))
        ours = rendered["image"][i]
        # Some rays a pixel, for 16 x 16 of them.
        assert np.sqrt(np.mean((ours / ours.sum() - image / image.sum()) ** 2)) < (
            0.05 * np.max(image / image.sum())
        )
        area = (TINY.image_pixel_scale / (scale / 2)) ** 2
        magnification = image.sum() * area / truths[i].sum()
        assert rendered["magnification"][i] == pytest.approx(magnification, rel=0.03)


def test_data_are_not_made_with_the_networks_own_l(simulator):
    """The network's model of the true source is near the data, within some per cent, not equal."""
    clean = replace(RANGES, poisson_share=0, drizzled_share=0, sky_share=0, residual_share=0)
    priors = replace(simulator.priors, noise=(1e-6, 1e-6))
    mocks = SkySimulator(simulator.stamps, TINY, clean, priors).draw(
        np.random.default_rng(1), 6, 24
    )
    model = ForwardModel(
        mocks.lens, mocks.psf, simulator.image_grid(24), TINY.source_grid, 1, mocks.source_frame
    )
    predicted = keras.ops.convert_to_numpy(model.predict(mocks.source))
    error = np.abs(predicted - mocks.image).max(axis=(1, 2)) / mocks.image.max(axis=(1, 2))
    assert np.all((error > 1e-3) & (error < 0.5))


def test_mocks_meet_the_constraints_and_are_what_a_rim_takes(simulator):
    mocks = simulator.draw(np.random.default_rng(2), 8, 16)
    assert np.all(mocks.magnification >= 3)
    np.testing.assert_allclose(mocks.source.max(axis=(1, 2)), 1, rtol=1e-6)
    np.testing.assert_allclose(mocks.psf.sum(axis=(1, 2)), 1, rtol=1e-5)
    scale = mocks.pixel_ratio * mocks.source_frame[:, 2]
    np.testing.assert_allclose(scale, TINY.image_pixel_scale, rtol=1e-5)
    low, high = RANGES.ratios(16, TINY)
    assert np.all((mocks.pixel_ratio >= low) & (mocks.pixel_ratio <= high))
    hidden = ~np.isfinite(mocks.noise)
    assert 0 < hidden.mean() < 0.5
    network = RIM(TINY)
    network.build()
    sources = keras.ops.convert_to_numpy(network(mocks.network_inputs()))
    assert sources.shape == (8, TINY.steps, 16, 16)
    assert np.all(np.isfinite(sources))


def test_same_state_same_mocks(simulator):
    first, again = (simulator.draw(np.random.default_rng(5), 3, 24) for _ in range(2))
    for name in first.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))


def test_steps_go_through_the_sides_and_the_papers_recipe(simulator, stamps):
    paper = MockSimulator(stamps, PAPER, TINY)
    data = SkyTrainingData(simulator, 2, 6, seed=1, paper=paper)
    batches = [data[step] for step in range(6)]
    assert [inputs["image"].shape[1] for inputs, _, _ in batches] == [16, 24, 16, 16, 24, 16]
    for inputs, source, weight in batches:
        assert inputs["lens"].shape == (2, 8)
        assert inputs["source_frame"].shape == (2, 3)
        assert source.shape == (2, 16, 16)
        assert weight.shape == (2,)
    np.testing.assert_allclose(batches[2][0]["source_frame"][:, 2], TINY.source_pixel_scale)
    np.testing.assert_array_equal(data[4][0]["image"], batches[4][0]["image"])


def test_quiet_systems_count_more():
    weights = cost_weights(np.array([0.003, 0.03, 0.1]))
    assert weights[1] == 1
    assert weights[0] > 2 > 1 > weights[2]


@pytest.mark.slow
def test_a_run_on_several_telescopes_resumes_where_it_stopped(simulator, tmp_path):
    """Two epochs at once, and one and one, end with the same weights."""
    development = [simulator.draw(np.random.default_rng(9), 2, side) for side in (16, 24)]
    recipe = Recipe(2 * 2, batch=2, learning_rate=1e-3, steps_per_epoch=2)

    def weights_after(folder, data):
        keras.utils.set_random_seed(0)
        network = RIM(TINY)
        network.build()
        train_rim(network, recipe, data, development, {"a": "test"}, folder)
        return network.get_weights()

    whole = SkyTrainingData(simulator, 2, 2, seed=0)
    expected = weights_after(tmp_path / "whole", whole)
    assert (tmp_path / "whole" / "pictures" / "epoch_00002_24.png").exists()
    with pytest.raises(Exception, match="killed on purpose"):
        weights_after(tmp_path / "killed", _KilledData(simulator, 2, 2, seed=0))
    resumed = weights_after(tmp_path / "killed", whole)
    for one, other in zip(resumed, expected, strict=True):
        np.testing.assert_array_equal(one, other)


class _KilledData(SkyTrainingData):
    """Data that end a run at the beginning of its second epoch."""

    def __getitem__(self, step):
        if self.epoch >= 1:
            raise RuntimeError("killed on purpose")
        return super().__getitem__(step)

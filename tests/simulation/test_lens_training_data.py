import numpy as np
import pytest

from rim_lensing.galaxies.procedural import draw_procedural_galaxies
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.symmetries import SYMMETRIES, lens_matrix, transform_image
from rim_lensing.networks.lens_cnn_presets import get_lens_cnn_preset
from rim_lensing.simulation.lens_training_data import LensTrainingData
from rim_lensing.simulation.masks import draw_masks
from rim_lensing.simulation.mock_observations import border_fraction
from rim_lensing.simulation.priors import Priors

CONFIG = get_lens_cnn_preset("tiny16")
STAMPS = draw_procedural_galaxies(6, 1)


def data(seed=0, priors=None, **changes):
    arguments = {"batch": 8, "steps_per_epoch": 4, "dropout_units": 5} | changes
    return LensTrainingData(STAMPS, priors or Priors(), CONFIG, seed=seed, **arguments)


def equal(first, second):
    (inputs, lens), (other_inputs, other_lens) = first, second
    return np.array_equal(lens, other_lens) and all(
        np.array_equal(inputs[name], other_inputs[name]) for name in inputs
    )


def test_a_step_is_a_function_of_seed_epoch_and_step():
    first, second = data(), data()
    steps = [first[i] for i in range(4)]
    assert equal(steps[2], second[2]) and equal(steps[0], second[0])
    assert not equal(steps[0], steps[1])
    assert not equal(steps[0], data(seed=1)[0])
    second.epoch = 1
    assert not equal(steps[0], second[0])
    second.epoch = 0
    assert equal(steps[0], second[0])


def test_every_system_is_shown_under_every_symmetry_once_an_epoch():
    noiseless = Priors(noise=(1e-6, 1e-6))
    epoch = [data(priors=noiseless)[i] for i in range(4)]
    lenses = np.concatenate([lens for _, lens in epoch])
    images = np.concatenate([inputs["image"] for inputs, _ in epoch])
    assert len(np.unique(lenses.round(6), axis=0)) == 32
    for image, lens in zip(images, lenses, strict=True):
        for k in range(SYMMETRIES):
            turned = np.abs(lenses - lens @ lens_matrix(k).T).max(axis=1)
            assert turned.min() < 1e-6
            other = images[turned.argmin()]
            np.testing.assert_allclose(other, transform_image(image, k), atol=1e-4)


def test_systems_meet_the_priors_and_noise_is_what_it_says():
    priors = Priors(noise=(0.01, 0.02), max_border=0.1)
    one = data(priors=priors, batch=256, steps_per_epoch=1)[0]
    inputs, lens = one
    used = np.isfinite(inputs["noise"])
    rms = np.min(inputs["noise"], axis=(1, 2))
    level = rms / inputs["image"].max(axis=(1, 2))
    assert level.min() > 0.008 and level.max() < 0.021
    assert border_fraction(inputs["image"]).max() < 0.1 + 6 * 0.02
    assert lens[:, 0].min() >= 0.5 and lens[:, 0].max() <= 2.2
    assert 0.2 < np.mean(~used.all(axis=(1, 2))) < 0.4
    assert inputs["dropout"].shape == (256, 5)
    assert 0 <= inputs["dropout"].min() and inputs["dropout"].max() < 1


def test_noise_has_the_rms_that_it_says():
    # Two views of one system, turned back, differ by the noise of both.
    images, noises, lenses = [], [], []
    for step in range(4):
        inputs, lens = data(priors=Priors(noise=(0.05, 0.1)))[step]
        images.append(inputs["image"]), lenses.append(lens)
        noises.append(np.min(inputs["noise"], axis=(1, 2)))
    images, noises, lenses = (np.concatenate(parts) for parts in (images, noises, lenses))
    others = lenses @ lens_matrix(1).T
    pairs = [np.abs(lenses - other).max(axis=1).argmin() for other in others]
    turned = transform_image(images[pairs], 1)
    difference = (images - turned) / (np.sqrt(2) * noises[:, None, None])
    assert difference.std() == pytest.approx(1, abs=0.03)


def test_impossible_constraints_and_odd_epochs_are_refused():
    with pytest.raises(RuntimeError, match="widen the ranges"):
        data(priors=Priors(min_magnification=1e6))[0]
    with pytest.raises(ValueError, match="multiple of 8"):
        data(batch=3, steps_per_epoch=1)
    with pytest.raises(ValueError, match="noise_per_batch=False"):
        data(priors=Priors(noise_per_batch=True))


def test_masks():
    masks = draw_masks(np.random.default_rng(0), 1000, PixelGrid(16, 0.3))
    touched = ~masks.all(axis=(1, 2))
    assert 0.2 < touched.mean() < 0.3  # a few disks fall between the pixels, or there are none
    assert masks.any(axis=(1, 2)).all()
    outside_circle = ~masks[:, [0, 0, -1, -1], [0, -1, 0, -1]].any(axis=1)
    assert 0.1 < outside_circle.mean() < 0.2

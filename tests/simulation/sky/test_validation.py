import json

import numpy as np
import pytest

from rim_lensing.galaxies.galaxy_file import Galaxies, write_galaxy_file
from rim_lensing.networks.presets import get_preset
from rim_lensing.simulation.sky import validation as module
from rim_lensing.simulation.sky.ranges import SKY_PRIORS, SKY_RANGES, SkyRanges
from rim_lensing.simulation.sky.validation import (
    SKY_RECIPES,
    SKY_SYSTEMS,
    SkyGalaxyPool,
    SkyValidationSet,
    freeze_sky,
    sky_validation_set,
)
from rim_lensing.simulation.sky.winged_galaxies import draw_winged_galaxies

TINY = get_preset("tiny16")
RANGES = SkyRanges(image_sides=(1.0, 1.5), frame_width=(0.2, 0.9))


def galaxy_file(folder, stamps):
    """A file whose validation split is `stamps`."""
    names = tuple(f"galaxy{i}" for i in range(len(stamps)))
    validation = Galaxies(stamps, names, ("test",) * len(stamps))
    train = Galaxies(stamps[:0], (), ())
    return write_galaxy_file(
        folder / "galaxies.h5", train, validation, seed=0, made_by="a test", rounded=False
    )


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory):
    return galaxy_file(tmp_path_factory.mktemp("sky"), draw_winged_galaxies(4, 8, side=48))


def test_the_shipped_recipe_gives_the_same_parameters_here(tmp_path):
    """Galaxies are told apart by their means: stamps of the same means stand in for the file's."""
    recipe = json.loads((SKY_RECIPES / "euclid64_galaxies.json").read_text())
    stamps = [np.full((128, 128), mean, "float32") for mean in recipe["galaxy_means"]]
    file = galaxy_file(tmp_path, np.array(stamps))
    systems = sky_validation_set(get_preset("euclid64"), file)
    assert (systems.name, len(systems)) == ("euclid64_galaxies", SKY_SYSTEMS)
    assert systems.simulator.priors == SKY_PRIORS
    assert systems.simulator.ranges == SKY_RANGES
    assert systems.digest() == recipe["sha256"]


def test_a_system_is_the_same_alone_and_among_others(galaxies):
    systems = SkyValidationSet(SkyGalaxyPool(galaxies), TINY, 9, RANGES)
    found = {}
    for numbers, mocks in systems.batches(range(9)):
        for i, number in enumerate(numbers):
            found[number] = mocks.image[i]
            assert mocks.image[i].shape[0] == (16, 24)[number % 2]
            assert mocks.magnification[i] > 3 * (1 - 1e-4)
    assert sorted(found) == list(range(9))
    ((_, alone),) = systems.batches([5])
    np.testing.assert_allclose(alone.image[0], found[5], atol=1e-5 * found[5].max())


def test_frozen_and_found_again(galaxies, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SKY_SYSTEMS", 4)
    monkeypatch.setattr(module, "SKY_RECIPES", tmp_path / "sky")
    path = freeze_sky("tiny", TINY, galaxies, ranges=RANGES)
    with pytest.raises(FileExistsError, match="--overwrite"):
        freeze_sky("tiny", TINY, galaxies)
    frozen = sky_validation_set(TINY, galaxies, 3)
    assert (frozen.name, len(frozen)) == ("tiny", 3)
    assert frozen.simulator.ranges == RANGES
    recipe = json.loads(path.read_text())
    path.write_text(json.dumps(recipe | {"sha256": "0"}))
    with pytest.raises(RuntimeError, match="come out differently"):
        sky_validation_set(TINY, galaxies, 3)
    with pytest.raises(ValueError, match="`systems` must be from 1 to 4"):
        sky_validation_set(TINY, galaxies, 5)

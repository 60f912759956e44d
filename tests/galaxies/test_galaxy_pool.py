import numpy as np
import pytest

from rim_lensing.galaxies.galaxy_file import Galaxies, read_galaxies, write_galaxy_file
from rim_lensing.galaxies.galaxy_pool import (
    DEVELOPMENT_SHARE,
    development_galaxies,
    training_galaxies,
    unseen_galaxies,
)

COUNT, SIDE = 245, 16


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A file whose galaxies can be told apart: galaxy i has one bright pixel, number i."""
    stamps = np.zeros((COUNT + 5, SIDE**2), "float32")
    stamps[np.arange(COUNT + 5), np.arange(COUNT + 5)] = 1
    stamps = stamps.reshape(-1, SIDE, SIDE)
    parts = (
        Galaxies(part, tuple(f"{kind}{i}" for i in range(len(part))), (kind,) * len(part))
        for kind, part in (("train", stamps[:COUNT]), ("validation", stamps[COUNT:]))
    )
    path = tmp_path_factory.mktemp("pool") / "galaxies.h5"
    return write_galaxy_file(path, *parts, seed=0, made_by="a test")


def identities(stamps):
    return {int(np.argmax(stamp)) for stamp in stamps}


def test_three_pools_are_disjoint_and_complete(path):
    trained = identities(training_galaxies(path, procedural=0, seed=0))
    developed = identities(development_galaxies(path))
    unseen = identities(unseen_galaxies(path))
    assert not (trained & developed or trained & unseen or developed & unseen)
    assert trained | developed | unseen == set(range(COUNT + 5))
    # Within four standard deviations.
    spread = np.sqrt(COUNT * DEVELOPMENT_SHARE * (1 - DEVELOPMENT_SHARE))
    assert abs(len(developed) - COUNT * DEVELOPMENT_SHARE) < 4 * spread


def test_the_order_of_a_file_decides_nothing(path, tmp_path):
    parts = [read_galaxies(path, split) for split in ("train", "validation")]
    turned = (Galaxies(part.stamps[::-1], part.names[::-1], part.kinds[::-1]) for part in parts)
    other = write_galaxy_file(tmp_path / "turned.h5", *turned, seed=0, made_by="a test")
    for pool in (development_galaxies, lambda path: training_galaxies(path, 0, seed=0)):
        np.testing.assert_array_equal(pool(other), pool(path))


@pytest.mark.parametrize("count", [2, 12])
def test_few_galaxies_have_one_for_development(tmp_path, count):
    stamps = np.eye(SIDE**2, dtype="float32")[:count].reshape(-1, SIDE, SIDE)
    names = tuple(f"galaxy {i}" for i in range(count))
    part = Galaxies(stamps, names, ("a",) * count)
    none = Galaxies(stamps[:0], (), ())
    path = write_galaxy_file(tmp_path / "few.h5", part, none, seed=0, made_by="a test")
    developed = len(development_galaxies(path))
    assert developed >= 1
    assert len(training_galaxies(path, 0, seed=0)) == count - developed


def test_pictures_of_one_object_stay_together(tmp_path):
    objects = 60
    stamps = np.eye(SIDE**2, dtype="float32")[: 2 * objects].reshape(-1, SIDE, SIDE)
    names = tuple(f"NGC{i}_{band}" for band in ("f814w", "sdss") for i in range(100, 160))
    part = Galaxies(stamps, names, ("hst",) * objects + ("sdss",) * objects)
    none = Galaxies(stamps[:0], (), ())
    path = write_galaxy_file(tmp_path / "pairs.h5", part, none, seed=0, made_by="a test")
    developed = identities(development_galaxies(path))
    assert developed and {i % objects for i in developed if i < objects} == {
        i % objects for i in developed if i >= objects
    }


def test_procedural_pools_differ():
    pools = (
        training_galaxies(None, procedural=3, seed=0),
        development_galaxies(None, procedural=3),
        unseen_galaxies(None, procedural=3),
    )
    assert all(pool.shape[0] == 3 and pool.dtype == np.float16 for pool in pools)
    assert len({galaxy.tobytes() for pool in pools for galaxy in pool}) == 9


@pytest.mark.parametrize("procedural", [-5, 0])
def test_without_galaxies_there_is_no_training(procedural):
    with pytest.raises(ValueError, match=f"`procedural` must be .* Received: {procedural}"):
        training_galaxies(None, procedural, seed=0)


def test_seeds_of_other_pools_are_refused(monkeypatch):
    """Each draws a pool that training must not see: found out by what is drawn."""
    seeds = []

    def draw(count, seed, side):
        seeds.append(seed)
        return np.zeros((count, side, side))

    monkeypatch.setattr("rim_lensing.galaxies.galaxy_pool.draw_procedural_galaxies", draw)
    development_galaxies(None, draw=draw)
    unseen_galaxies(None)
    assert len(set(seeds)) == 2
    for seed in seeds:
        with pytest.raises(ValueError, match=f"`seed` must not be .* Received: {seed}"):
            training_galaxies(None, 3, seed)


def test_one_object_is_not_enough_to_train_on(tmp_path):
    stamps = np.eye(SIDE**2, dtype="float32")[:2].reshape(-1, SIDE, SIDE)
    part = Galaxies(stamps, ("image", "image"), ("ngc1234", "ngc1300"))
    none = Galaxies(stamps[:0], (), ())
    path = write_galaxy_file(tmp_path / "one.h5", part, none, seed=0, made_by="a test")
    with pytest.raises(ValueError, match="one.h5 must hold at least two objects"):
        training_galaxies(path, 3, seed=0)

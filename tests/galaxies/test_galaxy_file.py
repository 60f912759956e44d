"""The HDF5 format: what is written is read, nothing half-written stays, errors name the file."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from rim_lensing.files.hdf5_files import FileHeldError
from rim_lensing.galaxies import galaxy_file
from rim_lensing.galaxies.galaxy_file import Galaxies, read_galaxies, write_galaxy_file


def some_galaxies(count, side=16, first=0, seed=0):
    """`count` random stamps with peak 1 and names of their own."""
    stamps = np.random.default_rng(seed).random((count, side, side)).astype(np.float32)
    stamps /= stamps.max(axis=(1, 2), keepdims=True)
    names = tuple(f"galaxy{first + i}" for i in range(count))
    return Galaxies(stamps, names, ("procedural",) * count)


@pytest.fixture
def written(tmp_path):
    """A file of 5 + 2 galaxies, and both splits."""
    train, validation = some_galaxies(5), some_galaxies(2, first=5, seed=1)
    path = write_galaxy_file(tmp_path / "g.h5", train, validation, seed=3, made_by="a test")
    return path, train, validation


def test_what_is_written_is_read(written):
    path, train, validation = written
    for split, expected in (("train", train), ("validation", validation)):
        found = read_galaxies(path, split)
        assert found.stamps.dtype == np.float32
        assert found.names == expected.names
        assert found.kinds == expected.kinds
        np.testing.assert_allclose(found.stamps, expected.stamps, atol=1 / 2048)
        np.testing.assert_array_equal(found.stamps.max(axis=(1, 2)), 1.0)
    with h5py.File(path) as file:
        assert (file.attrs["side"], file.attrs["seed"], file.attrs["made_by"]) == (16, 3, "a test")


def test_half_precision_is_the_same_numbers(written):
    half = read_galaxies(written[0], dtype="float16").stamps
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half.astype(np.float32), read_galaxies(written[0]).stamps)


def test_an_empty_validation_split_survives(tmp_path):
    none = Galaxies(np.zeros((0, 16, 16), np.float32), (), ())
    path = write_galaxy_file(tmp_path / "g.h5", some_galaxies(2), none, seed=0, made_by="")
    assert len(read_galaxies(path, "validation")) == 0


def test_smooth_stamps_compress(tmp_path):
    axis = np.linspace(-1, 1, 96)
    stamp = np.exp(-8 * np.hypot(axis[:, None], axis))
    stamps = np.repeat(stamp[None] / stamp.max(), 20, axis=0).astype(np.float32)
    names = tuple(map(str, range(20)))
    galaxies = Galaxies(stamps, names, names)
    none = Galaxies(stamps[:0], (), ())
    path = write_galaxy_file(tmp_path / "g.h5", galaxies, none, seed=0, made_by="")
    assert path.stat().st_size < 0.5 * stamps.size * 2


def test_an_existing_file_is_kept_unless_told(written):
    path, train, validation = written
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="g.h5 exists"):
        write_galaxy_file(path, train, validation, seed=0, made_by="")
    assert path.read_bytes() == before
    write_galaxy_file(path, some_galaxies(1), validation, seed=0, made_by="", overwrite=True)
    assert len(read_galaxies(path)) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch, error):

    def interrupted(group, galaxies, rounded):
        group.create_dataset("stamps", data=galaxies.stamps)
        raise error

    monkeypatch.setattr(galaxy_file, "_write_split", interrupted)
    with pytest.raises(error):
        write_galaxy_file(tmp_path / "g.h5", some_galaxies(2), some_galaxies(1, first=2), 0, "")
    assert list(tmp_path.iterdir()) == []


def test_one_galaxy_in_both_splits_is_refused(tmp_path):
    with pytest.raises(ValueError, match="galaxy0"):
        write_galaxy_file(tmp_path / "g.h5", some_galaxies(2), some_galaxies(1), 0, "")
    two_bands = [replace(some_galaxies(1), names=(f"NGC100_{band}",)) for band in "gr"]
    with pytest.raises(ValueError, match="n100"):
        write_galaxy_file(tmp_path / "g.h5", *two_bands, 0, "")


@pytest.mark.parametrize("value, message", [(-0.1, "non-negative"), (np.nan, "finite"), (2.0, "1")])
def test_stamps_out_of_range_are_refused(tmp_path, value, message):
    bad = some_galaxies(2)
    bad.stamps[1, 3, 3] = value
    with pytest.raises(ValueError, match=message):
        write_galaxy_file(tmp_path / "g.h5", bad, some_galaxies(1, first=2), 0, "")


def test_disagreeing_parts_are_refused():
    with pytest.raises(ValueError, match="equally many.*2, 1 and 2"):
        Galaxies(np.zeros((2, 8, 8)), ("a",), ("b", "c"))
    with pytest.raises(ValueError, match=r"\(n, side, side\).*\(2, 8, 9\)"):
        Galaxies(np.zeros((2, 8, 9)), ("a", "b"), ("b", "c"))


def test_wrong_files_are_named(tmp_path, written):
    with pytest.raises(FileNotFoundError, match="nowhere.h5"):
        read_galaxies(tmp_path / "nowhere.h5")
    text = tmp_path / "text.h5"
    text.write_text("not HDF5")
    with pytest.raises(ValueError, match="text.h5 is not an HDF5 file"):
        read_galaxies(text)
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = 1
    with pytest.raises(ValueError, match="other.h5 is not a galaxy file"):
        read_galaxies(other)
    with h5py.File(written[0], "a") as file:
        del file["train/kind"]
    with pytest.raises(ValueError, match="g.h5 is an incomplete galaxy file"):
        read_galaxies(written[0])


def test_a_truncated_file_is_named(written):
    path = written[0]
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match="g.h5"):
        read_galaxies(path)


def test_a_later_version_is_refused(written):
    with h5py.File(written[0], "a") as file:
        file.attrs["version"] = 99
    with pytest.raises(ValueError, match="version 99"):
        read_galaxies(written[0])


def test_unknown_split_and_type_are_refused(written):
    with pytest.raises(ValueError, match="train, validation.*'test'"):
        read_galaxies(written[0], "test")
    with pytest.raises(ValueError, match="float64"):
        read_galaxies(written[0], dtype="float64")


def test_a_file_that_is_being_written_is_not_called_damaged(written, hold, monkeypatch):
    monkeypatch.setattr("rim_lensing.files.hdf5_files.PATIENCE", 0.1)
    hold(written[0], "a")
    with pytest.raises(FileHeldError, match="g.h5 is being written by another process"):
        read_galaxies(written[0])

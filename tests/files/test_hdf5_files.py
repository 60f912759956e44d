import threading

import h5py
import pytest

from rim_lensing.files import hdf5_files
from rim_lensing.files.hdf5_files import FileHeldError, open_hdf5, when_free


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / "some.h5", "w") as file:
        file.attrs["number"] = 7
    return tmp_path / "some.h5"


@pytest.mark.parametrize(("theirs", "ours"), [("a", "r"), ("a", "a"), ("r", "a")])
def test_a_file_is_opened_when_another_process_lets_it_go(path, hold, theirs, ours):
    hold(path, theirs, 0.5)
    with open_hdf5(path, ours) as file:
        assert file.attrs["number"] == 7


@pytest.mark.parametrize(
    ("theirs", "ours", "said"),
    [("a", "r", "being written by another"), ("r", "a", "being read by another")],
)
def test_a_file_that_stays_held_is_said_to_be(path, hold, theirs, ours, said):
    hold(path, theirs)
    with pytest.raises(FileHeldError, match=f"{path} is {said} process .* not damaged"):
        open_hdf5(path, ours, patience=0.1)


def test_readers_share_a_file(path, hold):
    hold(path, "r")
    with open_hdf5(path, patience=0) as file:
        assert file.attrs["number"] == 7


def test_a_file_that_this_process_holds_is_said_to_be(path):
    with (
        h5py.File(path),
        pytest.raises(FileHeldError, match="held open by this process itself"),
    ):
        open_hdf5(path, "a", patience=0.1)


def test_a_thread_of_this_process_is_waited_for(path):
    file = h5py.File(path)
    threading.Timer(0.3, file.close).start()
    with open_hdf5(path, "a") as again:
        assert again.attrs["number"] == 7


def test_other_errors_come_at_once(path, monkeypatch):
    monkeypatch.setattr(hdf5_files, "PATIENCE", 1e9)
    with pytest.raises(FileNotFoundError):
        open_hdf5(path.with_name("missing.h5"))
    path.write_text("no HDF5")
    with pytest.raises(OSError, match="signature") as caught:
        open_hdf5(path)
    assert not isinstance(caught.value, FileHeldError)
    with pytest.raises(ZeroDivisionError):
        when_free(lambda: 1 / 0, path)

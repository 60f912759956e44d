"""The HDF5 file in which a chain grows step by step: emcee's backend, and what made the chain.

emcee writes every step as soon as it is made, so that an interrupted run loses nothing. Beside its
group the file says what was sampled, as JSON, and a chain of something else is never continued.
Other processes may look at the chain while it grows.
"""

import contextlib
import fcntl
import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from emcee.backends import HDFBackend

from rim_lensing.files.hdf5_files import FileHeldError, is_being_written, open_hdf5
from rim_lensing.files.whole_files import whole_file
from rim_lensing.plain_numbers import plain

_DESCRIPTION = "description"
_MAY_CHANGE = ("start",)
"""What may change: an optimiser's answer differs in its last digit on another machine, and a chain
that has begun has left its start behind."""


@dataclass(frozen=True)
class Steps:
    """The last steps of a chain, as they were at one moment.

    Args:
        walkers: (steps, walkers, p).
        log_posteriors: (steps, walkers).
        acceptance: Mean probability that a step is accepted, of all steps.
    """

    walkers: np.ndarray
    log_posteriors: np.ndarray
    acceptance: float


class ChainFile:
    """A chain on disk, new or to be continued.

    Args:
        path: Where it is, or is to be made; in an existing folder.
        description: What is sampled, and how: values of JSON. None reads a chain that is there.
            A file without a step becomes that of this description; see `alone_with`.

    Attributes:
        description: What is sampled.
        backend: emcee's.

    Raises:
        FileNotFoundError: There is no such folder; or, without a description, no such file.
        FileExistsError: The file holds a chain of something else; the message says what differs.
            Where it started may differ.
        FileHeldError: Another process holds the file for longer than `hdf5_files.PATIENCE`.
        ValueError: It is not a file of this class.
    """

    def __init__(self, path: str | os.PathLike, description: dict | None = None):
        """Read the file, or make one without a step."""
        self.path, description = Path(path), plain(description)
        _check_folder(self.path)
        if not self.path.exists():
            if description is None:
                raise FileNotFoundError(f"There is no file {self.path}")
            self._create(description)
        self.description = self._read_description()
        self.backend = _WatchedBackend(self.path)
        if description is not None and not self.steps:
            # Left by a run that failed, or was stopped, before its first step.
            self._create(description)
            self.description = self._read_description()
        elif description is not None:
            self._compare(json.loads(json.dumps(description)))

    @property
    def steps(self) -> int:
        """Steps that it holds."""
        return int(self.backend.iteration) if self.backend.initialized else 0

    def read(self, first: int, steps: int) -> Steps:
        """Return the steps from the number `first` up to `steps`, though there may be more now."""
        with self.backend.open() as file:
            group = file[self.backend.name]
            return Steps(
                walkers=group["chain"][first:steps],
                log_posteriors=group["log_prob"][first:steps],
                acceptance=float(np.mean(group["accepted"][:]) / group.attrs["iteration"]),
            )

    def note(self, name: str, default: float = 0.0) -> float:
        """Return a number that was kept beside the chain."""
        with self.backend.open() as file:
            return float(file.attrs.get(name, default))

    def keep(self, **numbers: float) -> None:
        """Keep numbers beside the chain."""
        with self.backend.open("a") as file:
            file.attrs.update(numbers)

    def _create(self, description: dict) -> None:
        with whole_file(self.path) as temporary, h5py.File(temporary, "w") as file:
            file.attrs[_DESCRIPTION] = json.dumps(description)

    def _read_description(self) -> dict:
        try:
            with open_hdf5(self.path) as file:
                return json.loads(file.attrs[_DESCRIPTION])
        except FileHeldError:
            raise
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(
                f"{self.path} is not a chain of `sample_lens_posterior`, or is damaged: {error}"
            ) from error

    def _compare(self, wanted: dict) -> None:
        names = sorted((wanted.keys() | self.description.keys()) - set(_MAY_CHANGE))
        differ = [name for name in names if wanted.get(name) != self.description.get(name)]
        if differ:
            raise FileExistsError(
                f"{self.path} holds a chain with other {', '.join(differ)}: choose another file, "
                "or give what it was made with, and it goes on"
            )


@contextlib.contextmanager
def alone_with(path: str | os.PathLike) -> Iterator[None]:
    """Keep others from sampling into the same file: two chains would be mixed in it.

    A hidden file beside it is locked, and removed in the end.

    Args:
        path: Of the chain.

    Raises:
        FileNotFoundError: There is no such folder.
        FileExistsError: Another process samples into it.
    """
    path = Path(path)
    _check_folder(path)
    beside = path.with_name(f".{path.name}.lock")
    handle = os.open(beside, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileExistsError(f"Another process is sampling into {path}") from None
        except OSError:
            # A file system without locks: HDF5 has none there either.
            pass
        try:
            yield
        finally:
            beside.unlink(missing_ok=True)
    finally:
        os.close(handle)


class _WatchedBackend(HDFBackend):
    """emcee's, for a file that others look at: locks are waited for.

    A reader that keeps the file open does not stop the sampler: after `hdf5_files.PATIENCE` it is
    told, and the steps are written in spite of its lock, which does them no harm.
    """

    def __init__(self, path: Path):
        super().__init__(os.fspath(path), dtype=np.float64)
        self._overrules_readers = False

    @property
    def initialized(self) -> bool:
        """Whether there is a chain; emcee's own takes a locked file for an empty one."""
        if not os.path.exists(self.filename):
            return False
        with self.open() as file:
            return self.name in file

    def open(self, mode: str = "r") -> h5py.File:
        if mode == "r":
            return open_hdf5(self.filename)
        try:
            return open_hdf5(self.filename, mode, 0 if self._overrules_readers else None)
        except FileHeldError as error:
            if isinstance(error.__cause__, BlockingIOError) and not is_being_written(self.filename):
                return self._open_unlocked(mode, error)
            raise

    def _open_unlocked(self, mode: str, error: FileHeldError) -> h5py.File:
        if not self._overrules_readers:
            self._overrules_readers = True
            warnings.warn(
                f"{error} The chain goes on meanwhile; what is read there may be out of date.",
                UserWarning,
                stacklevel=2,
            )
        return h5py.File(self.filename, mode, locking=False)


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent}")

"""HDF5 files that someone else holds open: they are waited for, and said to be held.

The HDF5 library locks a file for as long as it is open: readers share it, a writer is alone.
"""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import h5py

PATIENCE = 20.0
"""Seconds that a file which someone else holds is waited for. A sampler holds its chain, and who
looks at it, for some milliseconds."""

_PAUSE = 0.02
_IN_THIS_PROCESS = "already open"
_TRUNCATED, _TRUNCATED_SECONDS = "truncated file", 0.5
"""The library takes the length of a file before it waits for the lock: of one that grows between
the two it says this, once. Of one that is damaged it still says so after that many seconds."""

Opened = TypeVar("Opened")


class FileHeldError(OSError):
    """An HDF5 file cannot be opened now, because someone else has it open: nothing is damaged."""


def open_hdf5(path: str | os.PathLike, mode: str = "r", patience: float | None = None) -> h5py.File:
    """Return `h5py.File(path, mode)`, as soon as who holds the file lets it go.

    Args:
        path: Of the file.
        mode: As h5py takes it.
        patience: Seconds; PATIENCE by default.

    Raises:
        FileHeldError: It was held all the time; the message says how.
        OSError: It cannot be opened for another reason.
    """
    return when_free(lambda: h5py.File(path, mode), path, patience)


def when_free(
    opening: Callable[[], Opened], path: str | os.PathLike, patience: float | None = None
) -> Opened:
    """Return what a function that opens an HDF5 file returns, such as Keras's `load_weights`.

    Args:
        opening: Called again as long as someone else holds the file.
        path: Of the file.
        patience: Seconds; PATIENCE by default.

    Raises:
        FileHeldError: It was held all the time; the message says how.
    """
    patience = PATIENCE if patience is None else patience
    began = time.monotonic()
    while True:
        try:
            return opening()
        except OSError as error:
            waited, here = time.monotonic() - began, _IN_THIS_PROCESS in str(error)
            grown = _TRUNCATED in str(error) and waited < _TRUNCATED_SECONDS
            if not (here or grown or isinstance(error, BlockingIOError)):
                raise
            if waited > patience and not grown:
                raise FileHeldError(_as_held(path, here, patience)) from error
        time.sleep(_PAUSE)


def is_being_written(path: str | os.PathLike) -> bool:
    """Whether another process has a file open for writing."""
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _as_held(path: str | os.PathLike, here: bool, patience: float) -> str:
    who = "this process itself" if here else "another process"
    if here:
        how = "held open"
    else:
        how = "being written" if is_being_written(path) else "being read"
    return (
        f"{Path(path)} is {how} by {who} (waited {patience:g} s). The file is not damaged: close "
        "it there, or wait, and try again."
    )

"""Folders of models that are written whole or not at all, whatever is killed on the way."""

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ASIDE, _PART = ".old", ".part"
_ABANDONED_SECONDS = 24 * 3600.0
"""Seconds after which an unfinished folder is nobody's: publishing takes minutes."""


def clear_up(folder: Path) -> None:
    """Put a model back, or remove what is left, where a process of before was killed at work.

    Args:
        folder: Of the model, where it stands or has stood.
    """
    for aside in folder.parent.glob(f".{folder.name}.*{_ASIDE}"):
        _put_back(aside, folder)  # Between the two renames.
    for left in folder.parent.glob(f".{folder.name}.*{_PART}"):
        if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


def temporary_beside(folder: Path) -> Path:
    """Return a new path beside a model's folder, under which `clear_up` finds it."""
    return folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}{_PART}")


@contextmanager
def changed_copy(folder: Path) -> Iterator[Path]:
    """Hand out a copy of a model's folder, and put it in the folder's place if all went well."""
    temporary = temporary_beside(folder)
    try:
        shutil.copytree(folder, temporary)
        yield temporary
        move_into_place(temporary, folder, overwrite=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def move_into_place(temporary: Path, folder: Path, overwrite: bool) -> None:
    """Rename; a model that is replaced is set aside until the new one stands.

    Args:
        temporary: The whole new folder, see `temporary_beside`.
        folder: Where it is to stand.
        overwrite: Replace a folder that is there.

    Raises:
        FileExistsError: There is one, and `overwrite` is False.
    """
    if folder.exists() and not overwrite:
        raise FileExistsError(f"{folder} has come to exist. Say overwrite (--overwrite).")
    aside = folder.with_name(f"{temporary.name}{_ASIDE}")
    try:
        if folder.exists():
            os.rename(folder, aside)
        os.rename(temporary, folder)
    finally:
        _put_back(aside, folder)


def _put_back(aside: Path, folder: Path) -> None:
    """Return a model that was set aside to its place, or remove it if another stands there."""
    if aside.exists() and folder.exists():
        shutil.rmtree(aside, ignore_errors=True)
    elif aside.exists():
        os.rename(aside, folder)

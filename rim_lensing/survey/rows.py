"""What workers are given and what they give back: a row of the survey's table, and how it ended."""

import errno
import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

LONGEST_FOLDER = 80
"""Characters of a folder's name before its hash; file systems take 255 bytes."""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

FAILED = "failed"
"""The verdict of a row that has no result."""


class Failure(StrEnum):
    """Why a row has no result."""

    MISSING = "file not found"
    REFUSED = "input refused"
    DISK = "disk full"
    MEMORY = "out of memory"
    DIED = "worker died"
    ERROR = "error"


@dataclass(frozen=True)
class Row:
    """A row of the table, as workers get it.

    Args:
        name: As the table has it.
        folder: Of its files, see `folder_of`.
        arguments: What is asked, as text: two rows with the same are the same fit.
    """

    name: str
    folder: str
    arguments: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """What a task returns of a row: the verdict, why, and numbers and words for the results."""

    verdict: str
    reason: str = ""
    numbers: dict = {}


@dataclass
class Record:
    """How a row ended: the content of record.json in its folder.

    Args:
        name: Of the row, and so are folder and arguments.
        folder: In the folder of all lenses.
        arguments: What was asked.
        verdict: Of the fit; FAILED where there is no result.
        failure: Why there is none, one of `Failure`; empty where there is one.
        reason: Why, in words.
        numbers: What the task has found.
        files: Names, in its folder.
        worker: Which did it: name, process and host.
        deaths: What is known of workers that died while they worked on it.
        peak_memory: Largest of the worker's process while it worked on it, GiB.
        began: UTC, ISO 8601.
        seconds: Of wall time.
        version: Of rim_lensing.
        run: Which call of the command it was: in one call a row ends once, even if it fails.
    """

    name: str
    folder: str
    arguments: list[str]
    verdict: str
    failure: str = ""
    reason: str = ""
    numbers: dict = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    worker: str = ""
    deaths: list[str] = field(default_factory=list)
    peak_memory: float = 0.0
    began: str = ""
    seconds: float = 0.0
    version: str = ""
    run: str = ""

    @property
    def is_result(self) -> bool:
        """Whether the row was fitted, whatever the verdict."""
        return not self.failure

    def answers(self, row: Row, run: str = "") -> bool:
        """Whether it is a result of this very row, or how it has ended in this run."""
        same = tuple(self.arguments) == row.arguments
        return same and (self.is_result or (bool(run) and self.run == run))


def folder_of(name: str) -> str:
    """Return the name of a row's folder: its own where that is safe, else a safe one with a hash.

    Letters, digits and ._+- are kept, but for a dot at the beginning: no name leads out of the
    folder of all lenses, or is hidden there.
    """
    safe = re.sub(r"[^A-Za-z0-9._+-]", "_", name)[:LONGEST_FOLDER]
    safe = re.sub(r"^\.", "_", safe)
    if safe == name:
        return name
    return f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def failure_of(error: BaseException) -> Failure:
    """Return the name of what went wrong in a task."""
    if isinstance(error, FileNotFoundError):
        return Failure.MISSING
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return Failure.DISK
    if isinstance(error, MemoryError):
        return Failure.MEMORY
    if isinstance(error, ValueError | TypeError | PermissionError):
        return Failure.REFUSED
    return Failure.ERROR

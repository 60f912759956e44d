"""How large a worker is, noted while it works: who is killed cannot tell any more."""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

PAUSE = 0.05
"""Seconds between two looks."""

GROWTH = 1.02
"""Grown by this factor, a process is noted anew."""

NEAR_LIMIT = 0.75
"""Of a worker's memory: one that was last seen with more, and died, died of it."""

GIB = 2**30


@dataclass
class MemoryNote:
    """What is known of a process that works on a row.

    Args:
        worker: Its name.
        pid: Its process.
        host: Where that runs.
        limit: Bytes that it may have; 0 of one without a limit.
        began: Seconds of Unix time.
        peak: Bytes that it had at most.
    """

    worker: str
    pid: int
    host: str
    limit: int
    began: float
    peak: int = 0

    @property
    def is_alive(self) -> bool:
        """Whether the process is there, as far as it can be told from here."""
        return self.host == socket.gethostname() and psutil.pid_exists(self.pid)

    @property
    def was_memory(self) -> bool:
        """Whether it had next to all of its memory."""
        return bool(self.limit) and self.peak > NEAR_LIMIT * self.limit

    def __str__(self) -> str:
        """Return how it died, in words."""
        had = f"it had {self.peak / GIB:.2f} GiB"
        if self.limit:
            had += f" of the {self.limit / GIB:.2f} GiB that it may have"
        cause = " of memory" if self.was_memory else ""
        return f"worker {self.worker} (process {self.pid} on {self.host}) died{cause}: {had}"


def read_note(path: Path) -> MemoryNote | None:
    """Return what a file says; None if it says nothing."""
    try:
        return MemoryNote(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


@contextlib.contextmanager
def memory_noted(path: Path, worker: str, limit: int) -> Iterator[MemoryNote]:
    """Note this process's memory in a file, from time to time, until the block ends.

    Args:
        path: Of the file, which is left there.
        worker: Name of the worker.
        limit: Bytes that it may have; 0 without a limit.

    Yields:
        The note, whose peak grows; at the end it is the block's.
    """
    process, ended = psutil.Process(), threading.Event()
    note = MemoryNote(worker, os.getpid(), socket.gethostname(), limit, time.time())

    def look() -> None:
        size = process.memory_info().rss
        if size > GROWTH * note.peak:
            note.peak = size
            with contextlib.suppress(OSError):
                # Not synced: the process may die, the machine hardly at the same time.
                temporary = path.with_suffix(".new")
                temporary.write_text(json.dumps(asdict(note)))
                os.replace(temporary, path)

    def watch() -> None:
        while not ended.wait(PAUSE):
            look()

    look()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield note
    finally:
        ended.set()
        watcher.join()

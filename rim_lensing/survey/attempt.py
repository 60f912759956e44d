"""In a worker: a row is done, and its folder given its place, whatever happens to the row."""

import contextlib
import io
import os
import socket
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from rim_lensing import __version__
from rim_lensing.survey.folders import NOTE, SurveyFolder
from rim_lensing.survey.memory_notes import GIB, memory_noted
from rim_lensing.survey.rows import FAILED, Failure, Outcome, Record, Row, failure_of

LOG = "log.txt"
"""In a row's folder: what the fit has printed."""

DEATHS = 3
"""A row on which so many workers have died is a failure."""

Task = Callable[[Row, Path], Outcome]
"""Does a row: writes files into a folder, and may raise."""


def attempt(task: Task, row: Row, output: str, run: str) -> Record:
    """Do a row, unless it has a result, or has ended in this run, and put its files in their place.

    Raises nothing for what is wrong with the row: that is a record with a failure. If no record can
    be written (the disk is full), it is returned all the same; another run begins the row anew. A
    row on which DEATHS workers have died is not done again.

    Args:
        task: What is done.
        row: With what.
        output: Folder of the survey.
        run: Name of this run.
    """
    place = SurveyFolder(output)
    earlier = place.record(row.folder)
    if earlier is not None and earlier.answers(row, run):
        return earlier
    worker, limit = _this_worker()
    record = new_record(row, run)
    record.worker = f"{worker}, process {os.getpid()} on {socket.gethostname()}"
    dead = [note for note in place.notes(row.folder) if not note.is_alive]
    record.deaths = [str(note) for note in dead]
    began = time.perf_counter()
    try:
        if len(dead) >= DEATHS:
            return killed(row, place, run)
        work = place.begin(row.folder)
        with memory_noted(work / NOTE, worker, limit) as memory:
            _do(task, row, work, record)
        record.peak_memory = round(memory.peak / GIB, 3)
        record.seconds = round(time.perf_counter() - began, 3)
        if record.failure == Failure.DISK:
            _empty(work)
        try:
            return place.commit(work, row, record)
        except OSError as error:
            _fail(record, error)
            _empty(work)
            return place.commit(work, row, record)
    except OSError as error:
        _fail(record, error)
        return record


def killed(row: Row, place: SurveyFolder, run: str) -> Record:
    """Return, and write, the record of a row that workers do not survive."""
    notes, record = place.notes(row.folder), new_record(row, run)
    of_memory = any(note.was_memory for note in notes)
    record.failure = str(Failure.MEMORY if of_memory else Failure.DIED)
    record.deaths = [str(note) for note in notes]
    record.reason = (
        f"{len(notes)} workers died of it, the last: {notes[-1]}" if notes else "no worker began"
    )
    record.peak_memory = round(max((note.peak for note in notes), default=0) / GIB, 3)
    return place.commit(place.begin(row.folder), row, record)


def new_record(row: Row, run: str) -> Record:
    """Return the record of a row that begins now, and has failed until it has not."""
    return Record(
        name=row.name,
        folder=row.folder,
        arguments=list(row.arguments),
        verdict=FAILED,
        began=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        run=run,
    )


def _this_worker() -> tuple[str, int]:
    """Return the name of the dask worker that this is, and the bytes that it may have."""
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:
        return "none", 0
    return str(worker.name), worker.memory_manager.memory_limit or 0


def _do(task: Task, row: Row, work: Path, record: Record) -> None:
    """Do a row, and note how it ended; what it prints goes to its log."""
    with _printed() as log:
        try:
            outcome = task(row, work)
        except Exception as error:
            # Of any kind: a row that fails is a result with a name, and stops no other.
            _fail(record, error)
            traceback.print_exception(error)
        else:
            record.verdict, record.reason, record.numbers = outcome
    try:
        (work / LOG).write_text(log.getvalue(), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        _fail(record, error)


def _fail(record: Record, error: Exception) -> None:
    record.verdict, record.failure = FAILED, str(failure_of(error))
    record.reason = str(error) or type(error).__name__
    if record.failure == Failure.ERROR:
        record.reason = f"{type(error).__name__}: {record.reason}"


def _empty(work: Path) -> None:
    """Make room on a disk that is full."""
    for each in work.iterdir():
        each.unlink()


@contextlib.contextmanager
def _printed() -> Iterator[io.StringIO]:
    """Keep what this process, which does one row at a time, prints and warns of."""
    log = io.StringIO()
    with (
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")
        yield log

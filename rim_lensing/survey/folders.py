"""The folder of a survey. Its state is the folders of finished rows: each is whole, or not there.

DIR/lenses/NAME/             files of a row that has ended, with record.json
DIR/unfinished/NAME.x7f2/    what a worker writes; becomes the above when the row has ended
DIR/results.ecsv, results.parquet, index.html    made from these, and can be made again
"""

import contextlib
import json
import os
import shutil
import socket
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from rim_lensing.files.json_files import write_json
from rim_lensing.survey.memory_notes import MemoryNote, read_note
from rim_lensing.survey.page import INDEX, write_lens_page
from rim_lensing.survey.rows import Record, Row

RECORD = "record.json"
NOTE = "worker.json"
"""In a folder that is being written: which process writes it, and how large that is."""


class SurveyFolder:
    """Where a survey's files are.

    Args:
        output: The folder, on a disk that all workers see.
    """

    def __init__(self, output: str | os.PathLike):
        """Make nothing yet."""
        self.output = Path(output).absolute()
        self.lenses = self.output / "lenses"
        self.unfinished = self.output / "unfinished"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder this process's alone, and clear what earlier ones left unfinished.

        The lock goes with the process, however it ends. What a worker of an earlier process still
        writes has no place any more: its row is begun anew, and ends once.

        Raises:
            FileExistsError: Another process works in it.
        """
        import fcntl

        self.lenses.mkdir(parents=True, exist_ok=True)
        with open(self.output / ".lock", "a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise FileExistsError(
                    f"Another survey works in {self.output}: {lock.read().strip()}"
                ) from None
            lock.truncate(0)
            lock.write(f"process {os.getpid()} on {socket.gethostname()}")
            lock.flush()
            shutil.rmtree(self.unfinished, ignore_errors=True)
            self.unfinished.mkdir(exist_ok=True)
            yield
            shutil.rmtree(self.unfinished, ignore_errors=True)

    def records(self, rows: Iterable[Row]) -> dict[str, Record]:
        """Return how these rows have ended, by folder, of those that have."""
        there = set(os.listdir(self.lenses))
        found = {row.folder: self.record(row.folder) for row in rows if row.folder in there}
        return {folder: record for folder, record in found.items() if record is not None}

    def record(self, folder: str) -> Record | None:
        """Return how a row ended; None if it has not, or nobody can tell any more."""
        try:
            return Record(**json.loads((self.lenses / folder / RECORD).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def begin(self, folder: str) -> Path:
        """Return a new folder to write a row's files into."""
        work = self.unfinished / f"{folder}.{uuid.uuid4().hex[:8]}"
        work.mkdir()
        return work

    def commit(self, work: Path, row: Row, record: Record) -> Record:
        """Give the files of a row that has ended their place, with its page and its record.

        Returns:
            What holds: this record; or that of another worker, which was first.

        Raises:
            OSError: The record cannot be written.
        """
        (work / NOTE).unlink(missing_ok=True)
        names = {path.name for path in work.iterdir()}
        record.files = sorted(names - {RECORD, INDEX})
        write_lens_page(record, work)
        write_json(asdict(record), work / RECORD)
        final = self.lenses / row.folder
        earlier = self.record(row.folder)
        if earlier is not None and earlier.answers(row, record.run):
            shutil.rmtree(work, ignore_errors=True)
            return earlier
        # A folder cannot be renamed over one that holds files.
        old = self.unfinished / f"{row.folder}.{uuid.uuid4().hex[:8]}"
        with contextlib.suppress(FileNotFoundError):
            os.rename(final, old)
        os.rename(work, final)
        shutil.rmtree(old, ignore_errors=True)
        return record

    def notes(self, folder: str) -> list[MemoryNote]:
        """Return what is known of the processes that began with a row and did not end it."""
        notes = map(read_note, self.unfinished.glob(f"{folder}.????????/{NOTE}"))
        return sorted((note for note in notes if note is not None), key=lambda note: note.began)

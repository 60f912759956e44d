"""A survey: rows that are done already, rows through workers, and what there is to look at."""

import os
import sys
import time
from collections.abc import Mapping, Sequence

from tqdm import tqdm

from rim_lensing.survey.attempt import Task
from rim_lensing.survey.engine import ended
from rim_lensing.survey.folders import SurveyFolder
from rim_lensing.survey.page import write_index
from rim_lensing.survey.results_table import as_columns, write_results
from rim_lensing.survey.rows import Record, Row
from rim_lensing.survey.workers import described, local_workers, workers_of

PAUSE = 30.0
"""Seconds at least from one report to the next."""

SHARE = 20
"""So many times as long as a report takes is between two."""


class Survey:
    """Rows that are done by workers; the state lies on the disk.

    Args:
        output: Folder of the survey.
        rows: In the table's order; their folders differ.
        carried: Columns that are handed on to the results: by name, the rows' names to values.
        units: Of the numbers that the task finds.
        title: Of the page.
    """

    def __init__(
        self,
        output: str | os.PathLike,
        rows: Sequence[Row],
        carried: Mapping[str, Mapping[str, object]] | None = None,
        units: Mapping[str, str] | None = None,
        title: str = "survey",
    ):
        """Look at nothing yet."""
        self.place = SurveyFolder(output)
        self.rows, self.title = tuple(rows), title
        self.carried, self.units = dict(carried or {}), dict(units or {})
        self.records: dict[str, Record] = {}

    def run(
        self,
        task: Task,
        workers: int | None = None,
        scheduler: str | None = None,
        memory: int | None = None,
    ) -> list[Record]:
        """Do the rows that have no result yet, and return how all have ended.

        Rows that failed in an earlier run are tried again. Results, page and records are on the
        disk whenever this ends, by an error or ctrl-C, too; the same call goes on.

        Args:
            task: What is done with a row; importable where the workers are.
            workers: Processes on this machine; None, one a core.
            scheduler: Of dask, whose workers are used instead: its address, or its file.
            memory: Bytes that a worker of this machine may have; None, an equal share.

        Raises:
            ValueError: A row has changed since it was done.
            FileExistsError: Another process works in the folder.
            OSError: There is no such scheduler, or it has ended.
        """
        with self.place.locked():
            self.records = self._earlier()
            left = [row for row in self.rows if not self._is_done(row)]
            self._tell_left(left)
            try:
                if left:
                    chosen = workers_of(scheduler) if scheduler else local_workers(workers, memory)
                    with chosen as client:
                        print(described(client), flush=True)
                        self._run(task, left, client)
            except KeyboardInterrupt:
                # Workers may have ended rows after the interrupt.
                self.records |= self.place.records(left)
                done = sum(map(self._is_done, self.rows))
                print(
                    f"{done} of {len(self.rows)} rows have a result; the same command goes on",
                    file=sys.stderr,
                )
                raise
            finally:
                self.report()
        return self._in_order()

    def report(self) -> None:
        """Write table and page of what has ended."""
        records = self._in_order()
        if not records:
            return
        columns, about = as_columns(records, self.carried, self.units)
        write_results(columns, about, self.place.output)
        write_index(columns, list(self.carried), self.place.output, self.title)

    def _run(self, task: Task, left: Sequence[Row], client) -> None:
        began, took = time.monotonic(), 0.0
        with tqdm(
            total=len(self.rows), initial=len(self.rows) - len(left), unit="lens", smoothing=0.05
        ) as progress:
            for record in ended(client, task, left, self.place):
                self.records[record.folder] = record
                for death in record.deaths:
                    progress.write(f"{record.name}: {death}", file=sys.stderr)
                progress.set_postfix_str(f"{self._failures()} failed", refresh=False)
                progress.update()
                if time.monotonic() - began > max(PAUSE, SHARE * took):
                    before = time.monotonic()
                    self.report()
                    began = time.monotonic()
                    took = began - before

    def _earlier(self) -> dict[str, Record]:
        """Return how rows have ended in earlier runs, by folder."""
        records = self.place.records(self.rows)
        changed = [
            row.name
            for row in self.rows
            if row.folder in records
            and records[row.folder].is_result
            and not records[row.folder].answers(row)
        ]
        if changed:
            raise ValueError(
                f"{len(changed)} rows of TABLE, such as {changed[0]!r}, have changed since they "
                "were fitted: choose another --output, or remove their folders in "
                f"{self.place.lenses}"
            )
        return records

    def _is_done(self, row: Row) -> bool:
        return row.folder in self.records and self.records[row.folder].is_result

    def _failures(self) -> int:
        return sum(not record.is_result for record in self.records.values())

    def _in_order(self) -> list[Record]:
        return [self.records[row.folder] for row in self.rows if row.folder in self.records]

    def _tell_left(self, left: Sequence[Row]) -> None:
        done = len(self.rows) - len(left)
        if done:
            again = self._failures()
            said = f", {again} failed ones are tried again" if again else ""
            print(f"{done} of {len(self.rows)} rows have a result{said}", flush=True)

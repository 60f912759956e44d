"""Rows through workers, until all have ended."""

import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rim_lensing.survey.attempt import DEATHS, Task, attempt, killed
from rim_lensing.survey.folders import SurveyFolder
from rim_lensing.survey.rows import Record, Row

if TYPE_CHECKING:
    from distributed import Client, Future

LOOKS = 2.0
"""Seconds between two looks for workers that have come or gone."""

PAUSE = 0.1
"""Seconds between two looks for rows that have ended."""


class SchedulerGone(OSError):
    """The scheduler has ended, with rows left to do."""


def ended(
    client: "Client",
    task: Task,
    rows: Sequence[Row],
    place: SurveyFolder,
) -> Iterator[Record]:
    """Have workers do rows, and yield how each has ended, as they end.

    A worker has one row at a time, so that what kills it is known.

    Args:
        client: Of the scheduler.
        task: What is done; must be importable where the workers are.
        rows: With what.
        place: Of the survey.

    Raises:
        SchedulerGone: The scheduler has ended.
        RuntimeError: Workers cannot do the task at all.
    """
    waiting, run = list(reversed(rows)), uuid.uuid4().hex[:8]
    running: dict[Future, Row] = {}
    lost: Counter[Row] = Counter()
    threads, looked = 0, -LOOKS
    while waiting or running:
        look = time.monotonic() - looked > LOOKS
        if look:
            threads, looked = _threads(client, threads), time.monotonic()
        while waiting and len(running) < threads:
            row = waiting.pop()
            # Not pure: of the same name in another run, another task.
            future = client.submit(attempt, task, row, str(place.output), run, pure=False)
            running[future] = row
        # Asked for, not called back: a future whose worker dies at the end of its row may be
        # pending again, though its row has ended.
        ended_now = [
            future
            for future, row in running.items()
            if future.status != "pending" or (look and _on_disk(row, place, run) is not None)
        ]
        if not ended_now:
            time.sleep(PAUSE)
        for future in ended_now:
            row = running.pop(future)
            record = _record(future, row, place, run)
            if record is None:
                lost[row] += 1
                if lost[row] < DEATHS:
                    # Some of the workers died of other rows, before this one in their queue.
                    waiting.append(row)
                    continue
                record = killed(row, place, run)
            yield record


def _threads(client: "Client", before: int) -> int:
    """Return how many rows the workers take at once."""
    try:
        return sum(client.nthreads().values())
    except (OSError, TimeoutError):
        # Said by the futures, which are lost with the scheduler.
        return before


def _record(future: "Future", row: Row, place: SurveyFolder, run: str) -> Record | None:
    """Return how a row has ended whose future is done; None if its workers died."""
    from distributed import KilledWorker

    # The disk knows best: the worker may have died since, of its next row, and its memory with it.
    record = _on_disk(row, place, run)
    if record is not None:
        return record
    if future.cancelled():
        raise SchedulerGone("The scheduler has ended: start it again, and the same command goes on")
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, KilledWorker):
        return None
    raise RuntimeError(f"Workers cannot do a row: {type(error).__name__}: {error}") from error


def _on_disk(row: Row, place: SurveyFolder, run: str) -> Record | None:
    """Return how a row has ended, if it has in this run, or has a result."""
    record = place.record(row.folder)
    return record if record is not None and record.answers(row, run) else None

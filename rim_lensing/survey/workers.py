"""Processes that do rows: on this machine, or those of a dask scheduler that the user has started.

dask.distributed, and not Ray: it is Python alone, runs under SLURM without a daemon of its own, and
asks for no shared-memory store; rows are few, long, and need none.
"""

import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from rim_lensing.survey.memory_notes import GIB

if TYPE_CHECKING:
    from distributed import Client

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
"""Environment of a worker: as many workers as cores are faster than threads that share a row."""

_CONFIG = {
    # Workers count themselves whom a row has killed; this counts rows that wait for them, too.
    "distributed.scheduler.allowed-failures": 10,
    # Rows hand on nothing, so that there is nothing to spill, and a worker that pauses for memory
    # would pause for ever.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
}


@contextlib.contextmanager
def local_workers(number: int | None = None, memory: int | None = None) -> Iterator["Client"]:
    """Start worker processes of one thread, which listen on this machine alone.

    Args:
        number: Of workers; None, one a core.
        memory: Bytes that each may have: more, and it is ended and begun anew; None, an equal share
            of the machine's.

    Yields:
        The client of their scheduler.
    """
    import dask
    from distributed import Client, LocalCluster

    number = number or len(os.sched_getaffinity(0))
    memory = memory or psutil.virtual_memory().total // number
    with dask.config.set(_CONFIG):
        with _deaf_to_interrupts():
            cluster = LocalCluster(
                n_workers=number,
                threads_per_worker=1,
                memory_limit=memory,
                host="127.0.0.1",
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
                env=ONE_THREAD,
            )
        with cluster, Client(cluster) as client:
            yield client


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Leave ctrl-C, which a terminal sends to workers too, to this thread alone.

    What threads and processes begin with they have from their parents, and so have workers that are
    begun anew later.
    """
    # Its start would end what follows in the thread that needs it first.
    resource_tracker.ensure_running()
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)


@contextlib.contextmanager
def workers_of(scheduler: str) -> Iterator["Client"]:
    """Use the workers of a scheduler.

    Args:
        scheduler: Its address, such as tcp://node1:8786, or the file that it was told to write.

    Raises:
        OSError: It does not answer.
        ValueError: Its workers have several threads.
    """
    from distributed import Client

    # Of a scheduler that ends these tell in tracebacks what is told here in a line. distributed has
    # levels of their own for some of its loggers.
    known = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    for name in ("asyncio", "tornado", "distributed", "distributed.client", *known):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    by_file = Path(scheduler).is_file()
    try:
        client = Client(scheduler_file=scheduler) if by_file else Client(scheduler)
    except (OSError, ValueError) as error:
        raise OSError(
            "--scheduler must be the address of a dask scheduler, such as tcp://node1:8786, or its "
            f"file. Received: {scheduler}, {error}"
        ) from None
    with client:
        threads = set(client.nthreads().values())
        if threads - {1}:
            raise ValueError(
                "Workers must have one thread each, `dask worker --nthreads 1 --nworkers N`: a row "
                f"is one thread's work. Received: {max(threads)} threads"
            )
        yield client


def described(client: "Client") -> str:
    """Return how many workers there are, and what memory each may have, in words."""
    workers = client.scheduler_info()["workers"].values()
    if not workers:
        return "no workers yet: rows wait for them"
    limits = {worker["memory_limit"] / GIB for worker in workers}
    each = " to ".join(f"{limit:.1f}" for limit in sorted({min(limits), max(limits)}))
    number = f"{len(workers)} workers" if len(workers) > 1 else "one worker"
    return f"{number} of one thread and {each} GiB of memory each"

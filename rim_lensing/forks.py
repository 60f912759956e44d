"""A process that was forked after TensorFlow or JAX began to work is told so, before it hangs.

A fork copies the memory of a process, and of its threads the one that forks alone: the first
operation that waits for one of the others waits for ever.
"""

import os
import sys
from pathlib import Path

_THREADS = Path("/proc/self/task")

_inherited: str | None = None
"""What had begun to work before this process was forked."""


def check_process() -> None:
    """Refuse to compute in a process in which the computation would never end.

    Raises:
        RuntimeError: This process was forked after TensorFlow or JAX had computed something.
    """
    if _inherited:
        raise RuntimeError(
            f"This process was forked after {_inherited} had computed something, and its threads "
            "were not copied: the next operation would wait for ever. Start the workers with "
            'multiprocessing.get_context("spawn") or "forkserver" (concurrent.futures takes it as '
            "mp_context; joblib's loky and dask do so by themselves) and give them the model, "
            "which pickles; or fork before anything is computed"
        )


def _at_work() -> str | None:
    """Return which of the two has started its threads in this process, or in its parent.

    Neither says so in public; a version that keeps it elsewhere counts as at work.
    """
    context = sys.modules.get("tensorflow.python.eager.context")
    if context is not None:
        of_thread = getattr(context, "_context", context)
        if of_thread is not None and getattr(of_thread, "_context_handle", of_thread) is not None:
            return "TensorFlow"
    bridge = sys.modules.get("jax._src.xla_bridge")
    if bridge is not None and getattr(bridge, "_backends", True):
        return "JAX"
    return None


def _note() -> None:
    global _inherited
    _inherited = _inherited or _at_work()


def _note_earlier_fork() -> None:
    """See a fork of before this module was imported: what is at work has threads, and has none."""
    if _THREADS.is_dir() and len(list(_THREADS.iterdir())) == 1:
        _note()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note)
_note_earlier_fork()

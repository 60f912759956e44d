"""Many products of small matrices, on one thread: several wait for each other more than they work.

On two busy cores `joint_start` took 149 s of processor time on two threads, and 7 s on one.
"""

import functools
from collections.abc import Callable

from threadpoolctl import threadpool_limits


def on_one_blas_thread(function: Callable) -> Callable:
    """Return a function whose linear algebra has one thread."""

    @functools.wraps(function)
    def limited(*arguments, **keywords):
        with threadpool_limits(limits=1, user_api="blas"):
            return function(*arguments, **keywords)

    return limited

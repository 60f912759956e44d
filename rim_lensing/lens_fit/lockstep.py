"""Several searches at once, what they ask answered as one batch.

scipy's optimisers ask for one point at a time, and a network reconstructs many sources in little
more than the time of one. Every search runs in a thread of its own; when all of them wait for an
answer, the caller's thread gives the answers of all.
"""

import queue
import threading
from collections.abc import Callable, Sequence

Ask = Callable[[object], object]
"""Given to a search: from a question to its answer."""


class _Abandoned(BaseException):
    """Ends a search that nobody answers any more; no `except Exception` of its own holds it up."""


def in_lockstep(
    searches: Sequence[Callable[[Ask], object]], answer: Callable[[list], Sequence]
) -> list:
    """Run searches to their ends.

    Args:
        searches: Each is called with a function `ask`, and returns its result.
        answer: From the questions of all the searches that are left to their answers, in order.

    Returns:
        The results, in order.

    Raises:
        Exception: The first that a search or `answer` raises; the other searches end, too.
    """
    asked: queue.SimpleQueue = queue.SimpleQueue()
    answers = [queue.SimpleQueue() for _ in searches]

    def run(index: int) -> None:
        def ask(question):
            asked.put((index, question, None))
            reply = answers[index].get()
            if isinstance(reply, _Abandoned):
                raise reply
            return reply

        try:
            results[index] = searches[index](ask)
            asked.put((index, None, None))
        except _Abandoned:
            pass
        except Exception as error:
            asked.put((index, None, error))

    results: list = [None] * len(searches)
    threads = [
        threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(searches))
    ]
    running, waiting = set(range(len(searches))), {}
    for thread in threads:
        thread.start()
    try:
        while running:
            index, question, error = asked.get()
            if error is not None:
                raise error
            if question is None:
                running.discard(index)
            else:
                waiting[index] = question
            if waiting and len(waiting) == len(running):
                order = sorted(waiting)
                replies = answer([waiting[index] for index in order])
                waiting.clear()
                for index, reply in zip(order, replies, strict=True):
                    answers[index].put(reply)
    finally:
        for index in running:
            answers[index].put(_Abandoned())
        for thread in threads:
            thread.join()
    return results

"""Searches in threads that are answered together."""

import threading

import numpy as np
import pytest
from scipy.optimize import minimize, rosen

from rim_lensing.lens_fit.lockstep import in_lockstep

STARTS = np.array([[-1.2, 1.0], [0.5, 0.5], [2.0, -1.0]])


def simplex(start, function):
    return minimize(function, start, method="Nelder-Mead")


def test_searches_go_as_they_would_alone():
    batches = []

    def answer(points):
        batches.append(len(points))
        return [rosen(point) for point in points]

    found = in_lockstep([lambda ask, s=start: simplex(s, ask) for start in STARTS], answer)
    for start, together in zip(STARTS, found, strict=True):
        alone = simplex(start, rosen)
        np.testing.assert_array_equal(together.x, alone.x)
        assert together.nfev == alone.nfev
    assert batches[0] == 3 and len(batches) == max(one.nfev for one in found)


def test_answers_come_from_the_callers_thread():
    here = threading.current_thread()

    def answer(questions):
        assert threading.current_thread() is here
        return questions

    assert in_lockstep([lambda ask: ask("a"), lambda ask: ask(ask("b"))], answer) == ["a", "b"]


@pytest.mark.parametrize("who", ["a search", "the answer"])
def test_an_error_ends_all(who):
    def fails(ask):
        ask(1)
        raise ZeroDivisionError

    def waits(ask):
        while True:
            ask(2)

    def answer(questions):
        if who == "the answer":
            raise ZeroDivisionError
        return questions

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        in_lockstep([fails, waits, waits], answer)
    assert threading.active_count() == before


def test_ctrl_c_ends_all():
    def waits(ask):
        while True:
            ask(2)

    def answer(questions):
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        in_lockstep([waits, waits], answer)
    assert threading.active_count() == before

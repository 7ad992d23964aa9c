"""Stages that call one another: each has its own time alone."""

from __future__ import annotations

from itertools import accumulate
from types import SimpleNamespace

import pytest

from benchmarks.scale_stopwatch import Stopwatch


def ticking(*steps: float) -> Stopwatch:
    """A stopwatch whose clock goes on by the next of these steps at each look."""
    times = iter(accumulate(steps))
    return Stopwatch(lambda: next(times))


def test_a_stage_is_without_the_stages_within() -> None:
    watch = ticking(0, 1, 10, 100)  # outer 0 to 111, inner 1 to 11
    with watch.stage("outer"), watch.stage("inner"):
        pass
    assert watch.seconds == {"outer": 101, "inner": 10}


def test_time_of_the_same_stage_adds_up() -> None:
    watch = ticking(0, 1, 5, 2)
    for _ in range(2):
        with watch.stage("one"):
            pass
    assert watch.seconds == {"one": 3}


def test_a_stage_that_fails_counts_and_ends() -> None:
    watch = ticking(0, 4, 1, 2)
    with pytest.raises(ValueError, match="x"), watch.stage("one"):
        raise ValueError("x")
    with watch.stage("two"):
        pass
    assert watch.seconds == {"one": 4, "two": 2}


def test_calls_are_timed_while_they_are_watched() -> None:
    owner = SimpleNamespace(double=lambda n: 2 * n)
    watch = ticking(0, 3)
    with watch.calls("doubling", owner, "double"):
        assert owner.double(4) == 8
    assert owner.double(5) == 10
    assert watch.seconds == {"doubling": 3}


def test_what_is_not_there_cannot_be_watched() -> None:
    with pytest.raises(AttributeError), Stopwatch().calls("x", SimpleNamespace(), "double"):
        pass


def test_of_items_only_to_get_them_is_timed() -> None:
    watch = ticking(0, 1, 50, 1, 50, 1)
    assert list(watch.each("get", [7, 8])) == [7, 8]
    assert watch.seconds == {"get": 3}

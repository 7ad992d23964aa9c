from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from celes_beam.stores.share_out import share_out


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_each_item_is_taken_once(threads: int) -> None:
    done = share_out(range(100), list, threads=threads)
    assert sorted(item for items in done for item in items) == list(range(100))
    assert len(done) == 1 or threads != 1


def test_nothing_to_do_is_one_call() -> None:
    assert share_out([], list, threads=4) == [[]]


def test_threads_work_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=30)

    def meet(items: Iterator[int]) -> int:
        next(items)
        return meeting.wait()

    assert sorted(share_out([1, 2], meet, threads=2)) == [0, 1]


def test_a_failure_ends_the_work_of_all() -> None:
    failed = threading.Event()
    taken: list[int] = []

    def work(items: Iterator[int]) -> None:
        for item in items:
            if item == 0:
                failed.set()
                raise ValueError("item 0 is bad")
            # Held back until the other has failed, so that what it takes then would be too much.
            failed.wait(30)
            taken.append(item)

    with pytest.raises(ValueError, match="item 0 is bad"):
        share_out(range(10_000), work, threads=2)
    assert len(taken) < 10_000 - 1

"""Leases are extended before they end, until they are let go; failures are counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from hypothesis import given
from hypothesis import strategies as st

from celes_beam.stores.messages.lease import Leases, pieces


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 3))
def test_pieces_are_all_there_and_small(lengths: list[int], factor: int) -> None:
    ids = [f"{n}".ljust(length, "x") for n, length in enumerate(lengths * 50 * factor)]

    cut = list(pieces(ids))

    assert [ack_id for piece in cut for ack_id in piece] == ids
    assert all(0 < len(piece) <= 2_500 for piece in cut)
    assert all(sum(map(len, piece)) <= 400_000 for piece in cut)


def test_no_ids_are_no_piece() -> None:
    assert list(pieces([])) == []


@contextmanager
def leases(extend: Callable[[Sequence[str], int], None], ack_deadline: int) -> Iterator[Leases]:
    made = Leases(extend, ack_deadline)
    made.start()
    try:
        yield made
    finally:
        made.close()


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_lease_is_extended_before_it_ends() -> None:
    asked: list[tuple[float, list[str], int]] = []
    began = time.monotonic()

    with leases(lambda ids, s: asked.append((time.monotonic(), list(ids), s)), 1) as held:
        held.add(["a", "b", "c"])
        held.drop(["b", "never"])
        until(lambda: bool(asked))
        held.drop(["a", "c"])

    moment, ids, seconds = asked[0]
    assert 0.3 < moment - began < 0.9
    assert (ids, seconds) == (["a", "c"], 30)
    assert (held.extended, held.failed, held.expired) == (2, 0, 0)


def test_a_failure_is_tried_again_and_an_expiry_counted_once() -> None:
    works = threading.Event()

    def extend(ids: Sequence[str], seconds: int) -> None:
        if not works.is_set():
            raise OSError("no route to host")

    with leases(extend, 1) as held:
        held.add(["a"])
        until(lambda: held.expired == 1 and held.failed >= 4)
        works.set()
        until(lambda: held.extended == 1)
    assert held.expired == 1

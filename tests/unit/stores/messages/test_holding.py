"""What a receiver holds stays within its bounds, whatever comes and goes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celes_beam.errors import ConfigError
from celes_beam.stores.messages.holding import Batching, Holding, Pulled

SOON = Batching(max_rows=1_000, max_bytes=10**6, max_seconds=0.0)


def pulled(*numbers: int, size: int = 10, received: float | None = None) -> list[Pulled]:
    now = time.monotonic() if received is None else received
    return [Pulled(b"%d" % n, {"n": str(n)}, f"id{n}", n, f"ack{n}", size, now) for n in numbers]


def test_a_batch_is_due_when_it_is_full_or_old() -> None:
    holding = Holding(100, 10_000)
    asked = holding.ask()
    assert asked == 100
    assert holding.due_in(SOON) is None
    holding.came(asked, pulled(1, 2, 3))
    late = Batching(max_rows=5, max_bytes=1_000, max_seconds=60.0)

    assert 59 < (holding.due_in(late) or 0) <= 60
    assert holding.due_in(Batching(3, 1_000, 60.0)) == 0
    assert holding.due_in(Batching(5, 30, 60.0)) == 0
    assert holding.due_in(SOON) == 0

    held = holding.take(Batching(2, 1_000, 60.0))
    assert held.messages.data == [b"1", b"2"]
    assert held.messages.ids == ["id1", "id2"]
    assert held.messages.attributes == [{"n": "1"}, {"n": "2"}]
    assert held.messages.published == [1, 2]
    assert held.ack_ids == ["ack1", "ack2"]
    assert (holding.messages, holding.bytes, holding.waiting, holding.oldest) == (3, 30, 1, 1)
    assert holding.let_go(held)
    assert not holding.let_go(held)
    assert (holding.messages, holding.bytes, holding.oldest) == (1, 10, 3)


def test_what_can_get_no_fuller_is_due() -> None:
    holding = Holding(100, 10_000, limit=3)
    asked = holding.ask()
    holding.came(asked, pulled(1, 2))
    assert asked == 3
    assert (holding.due_in(Batching(9, 1_000, 60.0)) or 0) > 59

    holding.came(holding.ask(), pulled(3))
    assert holding.ask() == 0
    assert holding.due_in(Batching(9, 1_000, 60.0)) == 0


def test_what_is_given_back_may_come_again_under_a_limit() -> None:
    holding = Holding(100, 10_000, limit=5)
    holding.came(holding.ask(), pulled(1, 2, 3, 4, 5))
    held = holding.take(Batching(2, 1_000, 0.0))
    assert holding.ask() == 0

    holding.let_go(held, returned=True)
    assert holding.ask() == 2
    assert holding.drop_waiting() == ["ack3", "ack4", "ack5"]
    assert holding.ask() == 3


def test_a_message_larger_than_a_batch_is_one() -> None:
    holding = Holding(100, 10_000)
    holding.came(holding.ask(), [*pulled(1, size=500), *pulled(2)])
    batching = Batching(max_rows=10, max_bytes=100, max_seconds=0.0)

    assert len(holding.take(batching)) == 1
    assert holding.take(batching).messages.data == [b"2"]


@pytest.mark.parametrize(("messages", "size"), [(0, 1), (1, 0), (-1, 1)])
def test_bounds_below_one_are_refused(messages: int, size: int) -> None:
    with pytest.raises(ConfigError, match="expected 1 or more"):
        Holding(messages, size)


@given(
    most=st.integers(1, 2_500),
    limit=st.none() | st.integers(1, 3_000),
    steps=st.lists(st.tuples(st.sampled_from("pppptab"), st.integers(0, 1_000)), max_size=60),
)
def test_bounds_hold(most: int, limit: int | None, steps: list[tuple[str, int]]) -> None:
    holding = Holding(most, 100_000, limit)
    asked: list[int] = []
    taken = []
    acked = came = 0
    for step, number in steps:
        if step == "p":
            if room := holding.ask():
                asked.append(room)
            elif asked:
                room = asked.pop()
                count = min(number, room)
                holding.came(room, pulled(*range(came, came + count), size=1))
                came += count
        elif step == "t" and holding.waiting:
            taken.append(holding.take(Batching(max(1, number), 10**6, 0.0)))
        elif step == "a" and taken:
            held = taken.pop()
            assert holding.let_go(held)
            acked += len(held)
        elif step == "b" and taken:
            held = taken.pop()
            assert holding.let_go(held, returned=True)
            came -= len(held)
        assert holding.messages + sum(asked) <= most
        assert limit is None or acked + holding.messages + sum(asked) <= limit
        assert holding.messages == holding.waiting + sum(map(len, taken))
        assert holding.bytes == holding.messages


def test_bytes_are_exceeded_by_one_answer_at_most() -> None:
    holding = Holding(10_000, 1_000)
    holding.came(holding.ask(), pulled(*range(10), size=50))
    assert holding.ask() == 10
    assert holding.ask() == 0
    holding.came(10, pulled(*range(10), size=50))
    assert holding.ask() == 0
    held = holding.take(Batching(1, 1_000, 0.0))
    assert holding.ask() == 0
    holding.let_go(held)
    assert holding.ask() == 1

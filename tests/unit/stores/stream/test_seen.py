from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from celes_beam.stores.stream.seen import Hashes, SeenIds

MINUTE = 60_000_000
IDS = st.text(alphabet="abñ/0", max_size=3)


def colliding(ids: Sequence[str]) -> Hashes:
    return np.array([len(i) for i in ids], np.int64)


@given(st.lists(st.tuples(st.lists(IDS, max_size=6), st.integers(0, MINUTE // 50))), st.lists(IDS))
def test_remembers_all_ids_and_no_others_whatever_their_hashes(
    batches: list[tuple[list[str], int]], asked: list[str]
) -> None:
    known = {i for ids, _ in batches for i in ids}
    for window in (MINUTE, 1):
        for seen in (SeenIds(window), SeenIds(window, hash_ids=colliding)):
            for ids, at in batches:
                seen.add(ids, at)
            assert len(seen) == sum(len(ids) for ids, _ in batches)
            assert seen.seen(asked).tolist() == [i in known for i in asked]


@given(
    st.lists(st.integers(0, MINUTE), min_size=1, max_size=200).map(sorted),
    st.integers(1, 2 * MINUTE),
)
def test_forgets_nothing_within_the_window_and_all_beyond_it_and_an_eighth(
    times: list[int], window: int
) -> None:
    seen = SeenIds(window)
    for number, at in enumerate(times):
        seen.add([f"{number}"], at)
    now = times[-1] + window // 2
    seen.forget(now)
    found = seen.seen([f"{n}" for n in range(len(times))])
    for at, is_seen in zip(times, found, strict=True):
        if at >= now - window:
            assert is_seen
        if at < now - window - window // 8:
            assert not is_seen


def test_many_batches_become_few_runs() -> None:
    seen = SeenIds(10 * MINUTE)
    for number in range(1200):
        seen.add([f"{number}-{i}" for i in range(50)], number * MINUTE // 120)
    assert len(seen._runs) < 60
    ids = [f"{n}-{i}" for n in range(0, 1200, 100) for i in range(50)]
    assert seen.seen(ids).all()
    assert not seen.seen([f"x{i}" for i in ids]).any()

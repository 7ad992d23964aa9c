"""Which rejected rows are chosen: what was asked for, each once, and none that cannot be judged."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from celes_beam.contract import EPOCH, REASONS
from celes_beam.sales.identities import IdentitySet, identify
from celes_beam.stores.replay.selection import Chooser, Selection
from tests.rejected import REJECTED_AT, rejected_rows

HOUR = timedelta(hours=1)


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "position": st.integers(0, 3),
            "attempt": st.integers(1, 3),
            "reasons": st.lists(
                st.sampled_from(REASONS).map(str), min_size=1, max_size=3, unique=True
            ),
            "raw": st.sampled_from([b"x", b""]),
            "rejected_at": st.sampled_from([REJECTED_AT - HOUR, REJECTED_AT, REJECTED_AT + HOUR]),
        }
    ),
    max_size=12,
)
SELECTIONS = st.builds(
    Selection,
    st.lists(st.sampled_from(REASONS).map(str), max_size=2).map(tuple),
    st.sampled_from([None, REJECTED_AT]),
    st.sampled_from([None, REJECTED_AT, REJECTED_AT + HOUR]),
)


@given(st.lists(ROWS, max_size=4), SELECTIONS, ROWS)
def test_every_row_is_chosen_or_left_out_for_a_reason(
    batches: list[list[dict[str, Any]]], asked: Selection, replayed: list[dict[str, Any]]
) -> None:
    before = IdentitySet()
    before.add(identify(rejected_rows(*replayed)))
    seen = set(identify(rejected_rows(*replayed)).tolist())
    judged_at = (REJECTED_AT - EPOCH) // timedelta(microseconds=1)
    chooser = Chooser(asked, before, [judged_at])
    chosen = 0
    for rows in batches:
        batch = rejected_rows(*rows)
        fates = chooser.choose(batch)
        for row, key, is_chosen, is_over in zip(
            batch.to_pylist(),
            identify(batch).tolist(),
            fates.chosen.tolist(),
            fates.over.tolist(),
            strict=True,
        ):
            wanted = (
                (not asked.reasons or bool(set(asked.reasons) & set(row["reasons"])))
                and (asked.since is None or row["rejected_at"] >= asked.since)
                and (asked.until is None or row["rejected_at"] < asked.until)
                and row["raw"] != b""
                and not (row["attempt"] > 1 and row["rejected_at"] == REJECTED_AT)
            )
            assert is_chosen == (wanted and key not in seen)
            assert is_over == (wanted and key in seen)
            if wanted:
                seen.add(key)
        chosen += int(fates.chosen.sum())
    tally = chooser.tally
    left_out = tally.not_asked_for + tally.replayed_before + tally.judged_before + tally.kept
    assert tally.seen == tally.rows + left_out == sum(map(len, batches))
    assert tally.rows == chosen == sum(map(len, chooser.identities))


def test_the_source_may_know_what_is_whole() -> None:
    batch = rejected_rows({"raw": b"x" * 70_000}, {"position": 1})
    fates = Chooser(Selection(), IdentitySet()).choose(batch, np.array([True, False]))
    assert fates.chosen.tolist() == [True, False]

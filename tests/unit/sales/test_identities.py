"""Identities: the same wherever a row is read, and sets of them as Python's own would be."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from celes_beam.sales.identities import IdentitySet, from_arrow, identify, to_arrow
from tests.rejected import REJECTED_AT, rejected_rows


def test_place_time_and_attempt_make_the_identity_and_nothing_else() -> None:
    other = {"reasons": ["unknown"], "raw": b"y", "column": None, "value": "v", "rules_version": 9}
    same: list[dict[str, Any]] = [{}, other]
    others: list[dict[str, Any]] = [
        {"source": "otra.csv"},
        {"position": 8},
        {"attempt": 2},
        {"rejected_at": REJECTED_AT + timedelta(microseconds=1)},
    ]
    found = identify(rejected_rows(*same, *others)).tolist()
    assert found[0] == found[1]
    assert len(set(found)) == 5


def test_no_rows_have_no_identities() -> None:
    assert len(identify(rejected_rows())) == 0
    assert len(IdentitySet().add(identify(rejected_rows()))) == 0


@given(st.lists(st.lists(st.binary(min_size=16, max_size=16), max_size=9), max_size=9))
def test_a_set_tells_what_is_new(lists: list[list[bytes]]) -> None:
    found, expected = IdentitySet(), set[bytes]()
    for values in lists:
        new = found.add(np.array(values, "S16"))
        # numpy leaves out the zeros at an end, but compares as if they were there.
        for value, is_new in zip(values, new.tolist(), strict=True):
            assert is_new == (value not in expected)
            expected.add(value)
        assert found.holds(np.array(values, "S16")).all()
    assert len(found) == len(expected)


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=9), st.integers(0, 3))
def test_identities_survive_arrow(values: list[bytes], start: int) -> None:
    there = to_arrow(np.array(values, "S16"))
    assert there.to_pylist() == values
    assert to_arrow(from_arrow(there.slice(start))).to_pylist() == values[start:]

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celes_beam.errors import ConfigError
from celes_beam.sales.chance import choose_rows, one_of


@settings(max_examples=50)
@given(
    st.integers(0, 2**63 - 1),
    st.integers(1, 9),
    st.integers(0, 10**12),
    st.lists(st.integers(0, 90_000), min_size=1, max_size=4),
    st.floats(0, 1),
)
def test_any_batching_chooses_the_same_rows(
    seed: int, stream: int, first_row: int, sizes: list[int], share: float
) -> None:
    whole = choose_rows(seed, stream, first_row, sum(sizes), share, name="x")
    starts = np.cumsum([0, *sizes[:-1]])
    parts = [
        choose_rows(seed, stream, first_row + int(start), rows, share, name="x")
        for start, rows in zip(starts, sizes, strict=True)
    ]
    indexes = [part[0] + start for part, start in zip(parts, starts, strict=True)]
    assert np.array_equal(np.concatenate(indexes), whole[0])
    assert np.array_equal(np.concatenate([part[1] for part in parts]), whole[1])


def test_streams_choose_rows_that_have_nothing_to_do_with_each_other() -> None:
    one, two = (set(choose_rows(42, s, 0, 100_000, 0.1, name="x")[0].tolist()) for s in (2, 3))
    assert len(one & two) == pytest.approx(1000, abs=150)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_what_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=f"late_share={share}: expected a share from 0 to 1"):
        choose_rows(42, 2, 0, 10, share, name="late_share")


def test_draws_become_evenly_spread_numbers() -> None:
    _, draws = choose_rows(42, 2, 0, 70_000, 1.0, name="x")
    counts = np.bincount(one_of(draws, 7))
    assert len(counts) == 7
    assert counts.min() > 9_500
    assert one_of(np.array([0, 2**32 - 1], np.uint64), 7).tolist() == [0, 6]

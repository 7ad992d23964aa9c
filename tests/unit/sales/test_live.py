"""Sums by window: those of a loop over the rows."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celes_beam.contract import EPOCH, MAX_CENTS, SCHEMA
from celes_beam.sales.aggregate import Share
from celes_beam.sales.live import WindowSum, split_by_end, window_sums
from tests.sales import sales_batch

_MICRO = timedelta(microseconds=1)
_DATES = st.datetimes(
    datetime(2000, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)
) | st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 1, 0, 5), timezones=st.just(UTC))
_ROWS = st.tuples(
    st.sampled_from(["Hogar", "Ropa", "Niños"]),
    st.sampled_from(["Norte", "Sur"]),
    st.integers(1, MAX_CENTS),
    _DATES,
)


@given(st.lists(_ROWS, max_size=40), st.sampled_from([1, 7, 60, 3600, 86_400]))
def test_sums_are_those_of_a_loop(rows: list[tuple[str, str, int, datetime]], seconds: int) -> None:
    expected: dict[tuple[int, str, str], Share] = defaultdict(lambda: Share(0, 0))
    for category, region, cents, date in rows:
        start = (date - EPOCH) // _MICRO // (seconds * 1_000_000) * seconds * 1_000_000
        expected[start, category, region] += Share(1, cents)
    batch = sales_batch([row[:3] for row in rows], [row[3] for row in rows])

    found = window_sums(batch, seconds)

    assert [(one.start, one.category, one.region) for one in found] == sorted(expected)
    assert {(one.start, one.category, one.region): one.share for one in found} == expected


def test_no_rows_have_no_windows() -> None:
    assert window_sums(pa.RecordBatch.from_pylist([], schema=SCHEMA), 60) == ()


@pytest.mark.parametrize(("micro", "start"), [(0, 60), (59_999_999, 60), (-1, 0)])
def test_a_window_has_its_beginning_and_not_its_end(micro: int, start: int) -> None:
    date = EPOCH + timedelta(days=12_000, seconds=60, microseconds=micro)
    (one,) = window_sums(sales_batch([("Hogar", "Norte", 5)], [date]), 60)

    assert one == WindowSum((12_000 * 86_400 + start) * 1_000_000, "Hogar", "Norte", Share(1, 5))


def test_windows_that_end_before_a_moment_are_old() -> None:
    sums = [WindowSum(n * 60_000_000, "Hogar", "Norte", Share(1, 1)) for n in range(4)]

    young, old = split_by_end(sums, 60, 120_000_000)

    assert (young, old) == (sums[1:], sums[:1])

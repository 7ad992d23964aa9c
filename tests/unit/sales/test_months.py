from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from celes_beam.contract import EPOCH, MAX_CENTS
from celes_beam.sales.aggregate import Share
from celes_beam.sales.months import Months, merge_months, sum_months
from tests.sales import sales_batch

Dated = list[tuple[datetime, int]]

MOMENTS = st.datetimes(
    min_value=datetime(1999, 12, 1), max_value=datetime(2030, 1, 31), timezones=st.just(UTC)
)
DATED = st.lists(st.tuples(MOMENTS, st.integers(1, MAX_CENTS)), max_size=40)


def batch(dated: Dated) -> object:
    return sales_batch([("Ropa", "Sur", cents) for _, cents in dated], [d for d, _ in dated])


def row_by_row(dated: Dated) -> Months:
    sums: dict[str, Share] = defaultdict(lambda: Share(0, 0))
    for moment, cents in dated:
        sums[f"{moment:%Y-%m}"] += Share(1, cents)
    dates = [moment for moment, _ in dated]
    return Months(dict(sums), min(dates, default=None), max(dates, default=None))


@given(DATED)
def test_months_are_those_of_a_sum_row_by_row(dated: Dated) -> None:
    assert sum_months(batch(dated)) == row_by_row(dated)


@given(DATED, DATED)
def test_sums_of_parts_add_up(one: Dated, other: Dated) -> None:
    parts = [sum_months(batch(one)), sum_months(batch(other))]
    assert merge_months(parts) == row_by_row(one + other) == parts[0] + parts[1]


def test_the_edges_of_a_month_and_of_time() -> None:
    moment = datetime(2024, 3, 1, tzinfo=UTC)
    micro = timedelta(microseconds=1)
    dated = [(moment, 1), (moment - micro, 2), (EPOCH - micro, 4), (EPOCH, 8)]
    months = sum_months(batch(dated))
    assert {name: s.cents for name, s in months.by_month.items()} == {
        "2024-03": 1,
        "2024-02": 2,
        "1969-12": 4,
        "1970-01": 8,
    }
    assert (months.first, months.last) == (EPOCH - micro, moment)

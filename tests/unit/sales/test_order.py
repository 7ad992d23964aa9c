from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celes_beam.contract import MAX_CENTS, REGION, SCHEMA
from celes_beam.errors import ConfigError
from celes_beam.sales.order import (
    SORT_COLUMNS,
    Order,
    choose_bounds,
    first_rows,
    in_order,
    range_codes,
    sample_keys,
    sort_indexes,
)
from tests.answers import Row, batch_of, rows_of
from tests.answers import in_order as expected_order

DAY = datetime(2024, 5, 3, tzinfo=UTC)
TEXTS = st.sampled_from(["a", "b", "ñ", "Z", "💶", "a b"])
ROWS = st.lists(
    st.tuples(
        st.integers(1, 3) | st.integers(1, 2**63 - 1),
        st.just(DAY)
        | st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
        st.integers(1, 3).map(Decimal) | st.integers(1, MAX_CENTS).map(lambda c: Decimal(c) / 100),
        TEXTS,
        TEXTS,
    ),
    max_size=40,
)
ORDERS = st.builds(Order, st.sampled_from(SORT_COLUMNS), st.booleans())


@settings(deadline=None)
@given(ROWS, ORDERS)
def test_rows_in_order_are_those_of_python(rows: list[Row], order: Order) -> None:
    expected = expected_order(rows, order.column, descending=order.descending)
    assert rows_of(in_order(batch_of(rows), order)) == expected


@settings(deadline=None)
@given(ROWS, ORDERS, st.integers(1, 50))
def test_first_rows_are_the_beginning_of_all_in_order(
    rows: list[Row], order: Order, most: int
) -> None:
    first = first_rows(batch_of(rows), order, most)
    assert rows_of(first) == rows_of(in_order(batch_of(rows), order))[:most]
    assert first.schema.equals(SCHEMA)


def test_texts_as_dictionaries_are_ordered_by_text_not_by_code() -> None:
    rows = [(1, DAY, Decimal(1), "x", region) for region in ("b", "c", "a", "c")]
    batch = batch_of(rows)
    texts = pa.DictionaryArray.from_arrays(pa.array([2, 0, 1, 0], pa.int32()), ["c", "a", "b"])
    encoded = batch.set_column(4, REGION, texts)

    assert sort_indexes(encoded, Order()).tolist() in ([2, 0, 1, 3], [2, 0, 3, 1])
    assert first_rows(encoded, Order(), 2).schema.equals(SCHEMA)


def test_an_unknown_column_is_refused() -> None:
    with pytest.raises(ConfigError, match="--sort_by region_de_venta: expected one of"):
        Order(REGION)


@settings(deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(-2, 2)] * 3), max_size=60),
    st.integers(1, 8),
    st.integers(1, 4),
)
def test_ranges_follow_one_another_and_none_is_empty(
    rows: list[tuple[int, int, int]], ranges: int, every: int
) -> None:
    keys = [np.array([row[i] for row in rows], np.int64) for i in range(3)]

    sample = sample_keys(keys, 0, every)
    bounds = choose_bounds(sample, ranges)
    codes = range_codes(keys, bounds).tolist()

    as_rows = [tuple(bound) for bound in bounds.tolist()]
    assert len(bounds) < ranges
    assert codes == [sum(bound <= row for bound in as_rows) for row in rows]
    of_sample = [np.ascontiguousarray(sample[:, i]) for i in range(3)]
    if len(sample):
        assert set(range_codes(of_sample, bounds).tolist()) == set(range(len(bounds) + 1))


def test_a_sample_does_not_depend_on_how_rows_are_split() -> None:
    keys = [np.arange(100) * factor for factor in (1, 2, 3)]

    whole = sample_keys(keys, 5, 7, seed=3)
    parts = [
        sample_keys([k[a:b] for k in keys], 5 + a, 7, seed=3)
        for a, b in ((0, 1), (1, 33), (33, 36), (36, 36), (36, 100))
    ]

    assert np.concatenate(parts).tolist() == whole.tolist()
    blocks = ((whole[:, 0] + 5) // 7).tolist()
    assert [b for b in blocks if b > 0] == list(range(1, 15))
    assert sample_keys(keys, 5, 7, seed=4).tolist() != whole.tolist()


def test_ranges_are_of_about_equal_size() -> None:
    rows = [
        (i % 997 + 1, DAY + timedelta(minutes=i % 31), Decimal(i * i % 50 + 1), "a", "b")
        for i in range(5000)
    ]
    keys = Order().keys(batch_of(rows))
    codes = range_codes(keys, choose_bounds(sample_keys(keys, 0, 5), 10))
    sizes = np.bincount(codes).tolist()
    assert len(sizes) == 10
    assert max(sizes) < 700


def test_ranges_are_about_equal_when_nearly_all_rows_have_one_amount() -> None:
    """The other columns divide those, so that no worker has to sort nearly everything."""
    rows = [
        (i % 997 + 1, DAY + timedelta(minutes=i % 31), Decimal(i if i % 100 == 0 else 7), "a", "b")
        for i in range(1, 5001)
    ]
    keys = Order().keys(batch_of(rows))
    codes = range_codes(keys, choose_bounds(sample_keys(keys, 0, 5), 10))
    sizes = np.bincount(codes).tolist()
    assert len(sizes) == 10
    assert max(sizes) < 700

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celes_beam.contract import MAX_CENTS
from celes_beam.sales.columns import (
    cents_view,
    decimal_array,
    int64_view,
    small_decimal_array,
    text_codes,
    timestamp_array,
)


@given(st.lists(st.integers(-MAX_CENTS, MAX_CENTS)), st.integers(0, 3))
def test_cents_survive_the_way_to_decimals_and_back(values: list[int], offset: int) -> None:
    cents = np.array(values, dtype=np.int64)

    array = decimal_array(cents)

    assert array.type == pa.decimal128(12, 2)
    assert array.to_pylist() == [Decimal(v).scaleb(-2) for v in values]
    assert cents_view(array.slice(offset)).tolist() == values[offset:]


def test_small_decimals_hold_the_same_amounts() -> None:
    cents = np.array([1, 1234, MAX_CENTS], dtype=np.int64)

    assert small_decimal_array(cents).cast(pa.decimal128(12, 2)).equals(decimal_array(cents))


def test_timestamps_are_microseconds_in_utc() -> None:
    when = datetime(2024, 5, 3, 12, 30, tzinfo=UTC)
    micros = np.array([int(when.timestamp() * 1e6)], dtype=np.int64)

    assert timestamp_array(micros).to_pylist() == [when]


def test_int64_view_of_a_slice_starts_at_its_offset() -> None:
    assert int64_view(pa.array([1, 2, 3, 4]).slice(1, 2)).tolist() == [2, 3]
    assert int64_view(pa.array([], pa.int64())).tolist() == []


@pytest.mark.parametrize(
    "array",
    [
        pa.array(["b", "a", "b"]),
        pa.array(["b", "a", "b"]).dictionary_encode(),
        pa.array(["x", "b", "a", "b"]).slice(1),
        pa.array(["x", "b", "a", "b"]).dictionary_encode().slice(1),
    ],
)
def test_text_codes_stand_for_the_texts(array: pa.Array) -> None:
    codes, texts = text_codes(array)

    assert [texts[c] for c in codes] == ["b", "a", "b"]

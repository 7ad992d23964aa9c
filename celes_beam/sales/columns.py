"""Numpy views of Arrow sales columns, and Arrow columns from numpy, without copies where possible.

Row work in this package is integer work: ids, microseconds since 1970 (UTC), cents, and codes of
texts. Arrays here hold no nulls: the contract has none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from celes_beam.contract import AMOUNT, AMOUNT_PRECISION, AMOUNT_SCALE, DATE, ID

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.signedinteger[Any]]

_WORDS_PER_DECIMAL = 2


def int64_view(array: pa.Array) -> Ints:
    """View an int64 or timestamp array of n rows as n int64; no copy."""
    data = (
        np.frombuffer(array.buffers()[1], dtype=np.int64) if len(array) else np.empty(0, np.int64)
    )
    return data[array.offset : array.offset + len(array)]


def cents_view(array: pa.Array) -> Ints:
    """View a decimal128(12, 2) array of n rows as n int64 cents (every other word); no copy.

    The high words are sign extensions, since 12 digits always fit 64 bits.
    """
    if not len(array):
        return np.empty(0, np.int64)
    words = np.frombuffer(array.buffers()[1], dtype="<i8")
    start = array.offset * _WORDS_PER_DECIMAL
    return words[start : start + len(array) * _WORDS_PER_DECIMAL : _WORDS_PER_DECIMAL]


def decimal_array(cents: Ints) -> pa.Array:
    """Make decimal128(12, 2) from int64 cents."""
    words = np.empty((len(cents), _WORDS_PER_DECIMAL), dtype="<i8")
    words[:, 0] = cents
    np.right_shift(cents, 63, out=words[:, 1])
    return _from_buffer(pa.decimal128(AMOUNT_PRECISION, AMOUNT_SCALE), len(cents), words)


def small_decimal_array(cents: Ints) -> pa.Array:
    """Wrap int64 cents as decimal64(12, 2), which Parquet stores like decimal128; no copy."""
    return _from_buffer(pa.decimal64(AMOUNT_PRECISION, AMOUNT_SCALE), len(cents), cents)


def timestamp_array(micros: Ints) -> pa.Array:
    """Wrap int64 microseconds since 1970 as timestamp[us, UTC]; no copy."""
    return _from_buffer(pa.timestamp("us", tz="UTC"), len(micros), micros)


def _from_buffer(kind: pa.DataType, rows: int, data: npt.NDArray[Any]) -> pa.Array:
    return pa.Array.from_buffers(kind, rows, [None, pa.py_buffer(np.ascontiguousarray(data))])


def text_codes(array: pa.Array) -> tuple[Codes, list[str]]:
    """Encode a text column of n rows as n codes and the distinct texts they stand for.

    Accepts string and dictionary arrays; of a dictionary, texts may be there that no row uses.
    """
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()


def ids(batch: pa.RecordBatch) -> Ints:
    """Customer ids of a batch, as int64."""
    return int64_view(batch.column(ID))


def micros(batch: pa.RecordBatch) -> Ints:
    """Dates of a batch, as int64 microseconds since 1970, UTC."""
    return int64_view(batch.column(DATE))


def cents(batch: pa.RecordBatch) -> Ints:
    """Amounts of a batch, as int64 cents."""
    return cents_view(batch.column(AMOUNT))

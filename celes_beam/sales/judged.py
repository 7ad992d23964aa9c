"""One column after judgement: its values, and for each row the reason why it is wrong, if it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from celes_beam.contract import AMOUNT, DATE, REASONS, SCHEMA, Reason

_AMOUNT_TYPE = SCHEMA.field(AMOUNT).type
_DATE_TYPE = SCHEMA.field(DATE).type

Codes = npt.NDArray[np.uint8]
"""For each row 0 when it is accepted, else 1 + the place of its reason in ``REASONS``."""

OK = 0
MISSING, UNPARSEABLE, OUT_OF_RANGE, INEXACT, UNKNOWN = (
    1 + REASONS.index(r)
    for r in (
        Reason.MISSING,
        Reason.UNPARSEABLE,
        Reason.OUT_OF_RANGE,
        Reason.INEXACT,
        Reason.UNKNOWN,
    )
)


@dataclass(frozen=True)
class JudgedColumn:
    """A column's values in its contract type (meaningless where a code is not 0) and its codes."""

    values: pa.Array
    codes: Codes


def cents_array(cents: npt.NDArray[np.int64]) -> pa.Array:
    """Make decimal128(12, 2) out of int64 cents, without a copy through Python."""
    words = np.empty((len(cents), 2), np.int64)
    words[:, 0] = cents
    # A decimal128 is a little-endian pair of words, the second of which carries the sign.
    words[:, 1] = cents >> 63
    return pa.Array.from_buffers(_AMOUNT_TYPE, len(cents), [None, pa.py_buffer(words)])


def micros_array(micros: npt.NDArray[np.int64]) -> pa.Array:
    """Make timestamp[us, UTC] out of int64 microseconds since 1970, without a copy."""
    return pa.Array.from_buffers(_DATE_TYPE, len(micros), [None, pa.py_buffer(micros)])


def spread(distinct: JudgedColumn, indices: pa.Array) -> JudgedColumn:
    """Give each row the value and code of the distinct value it points to; null is missing."""
    codes = np.full(len(indices), MISSING, np.uint8)
    if indices.null_count:
        present = pc.is_valid(indices).to_numpy(zero_copy_only=False)
        codes[present] = distinct.codes[indices.drop_null().to_numpy()]
    elif len(indices):
        codes = distinct.codes[indices.to_numpy()]
    return JudgedColumn(distinct.values.take(indices), codes)


def empty_column(column: str, rows: int, code: int) -> JudgedColumn:
    """Make a column of which no value can be read: nulls, and the same code for every row."""
    return JudgedColumn(pa.nulls(rows, SCHEMA.field(column).type), np.full(rows, code, np.uint8))

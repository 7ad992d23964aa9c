"""One column after judgement: its values, and for each row the reason why it is wrong, if it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from celes_beam.contract import REASONS, SCHEMA, Reason

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

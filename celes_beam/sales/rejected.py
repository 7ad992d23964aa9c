"""What became of some records: the accepted rows, and the rejected ones with their reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from celes_beam.contract import MAX_RAW_BYTES, REJECTED_SCHEMA, RULES_VERSION, Reason, Rules
from celes_beam.errors import IntegrityError
from celes_beam.sales.validate import Verdict

NONE_REJECTED = pa.RecordBatch.from_pylist([], schema=REJECTED_SCHEMA)


@dataclass(frozen=True)
class Checked:
    """What became of ``rows`` records: the unit that decoders yield.

    ``accepted`` has ``contract.SCHEMA``, ``rejected`` has ``contract.REJECTED_SCHEMA``. Raises
    ``IntegrityError`` when the two do not add up to ``rows``.
    """

    rows: int
    accepted: pa.RecordBatch
    rejected: pa.RecordBatch

    def __post_init__(self) -> None:
        kept = self.accepted.num_rows + self.rejected.num_rows
        if self.rows != kept:
            raise IntegrityError(
                f"{self.rows} rows were read, but {self.accepted.num_rows} accepted and "
                f"{self.rejected.num_rows} rejected ones make {kept}: report this as a bug, with "
                "the input"
            )


def checked(
    verdict: Verdict,
    source: str,
    positions: npt.NDArray[np.int64],
    raws: Callable[[npt.NDArray[np.int64]], pa.Array],
    rules: Rules,
) -> Checked:
    """Make the ``Checked`` of a verdict.

    ``positions`` holds one int64 for each of the verdict's rows. ``raws`` is given the indexes of
    the rejected rows and returns their raw bytes (binary); it is not called when there are none.
    """
    if not len(verdict.rejected):
        return Checked(verdict.rows, verdict.accepted, NONE_REJECTED)
    rejected = rejected_batch(
        source,
        positions[verdict.rejected],
        verdict.reasons,
        verdict.columns,
        verdict.values,
        raws(verdict.rejected),
        rules,
    )
    return Checked(verdict.rows, verdict.accepted, rejected)


def rejected_batch(  # noqa: PLR0917 - one for each varying column of the schema
    source: str,
    positions: npt.NDArray[np.int64],
    reasons: pa.Array,
    columns: pa.Array,
    values: pa.Array,
    raws: pa.Array,
    rules: Rules,
) -> pa.RecordBatch:
    """Make rejected rows (``contract.REJECTED_SCHEMA``) out of one array per varying column.

    ``raws`` (binary) is cut at ``contract.MAX_RAW_BYTES``. ``rejected_at`` is the start of the run,
    so that a retried bundle makes the very same rows.
    """
    rows = len(positions)
    started = pa.scalar(rules.started, REJECTED_SCHEMA.field("rejected_at").type)
    return pa.RecordBatch.from_arrays(
        [
            pa.repeat(source, rows),
            pa.array(positions, pa.int64()),
            reasons,
            columns,
            values,
            _cut(raws),
            pa.repeat(started, rows),
            pa.repeat(pa.scalar(RULES_VERSION, pa.int32()), rows),
            pa.repeat(pa.scalar(rules.attempt, pa.int32()), rows),
        ],
        schema=REJECTED_SCHEMA,
    )


def malformed_batch(
    source: str, positions: npt.NDArray[np.int64], raws: pa.Array, rules: Rules
) -> pa.RecordBatch:
    """Make the rejected rows of records that are no rows at all: reason ``malformed``, no column.

    ``positions`` (int64) and ``raws`` (binary) have one item for each record.
    """
    return whole_batch(source, positions, raws, rules, Reason.MALFORMED, None)


def whole_batch(  # noqa: PLR0917 - one for each varying column of the schema
    source: str,
    positions: npt.NDArray[np.int64],
    raws: pa.Array,
    rules: Rules,
    reason: Reason,
    value: str | None,
) -> pa.RecordBatch:
    """Make the rejected rows of records that are rejected as a whole, all for one reason.

    ``positions`` (int64) and ``raws`` (binary) have one item for each record. No column is wrong;
    ``value`` may tell more of the reason.
    """
    rows = len(positions)
    reasons = pa.ListArray.from_arrays(
        pa.array(np.arange(rows + 1, dtype=np.int32)), pa.repeat(str(reason), rows)
    )
    columns = pa.nulls(rows, pa.string())
    values = pa.repeat(pa.scalar(value, pa.string()), rows)
    return rejected_batch(source, positions, reasons, columns, values, raws, rules)


def _cut(raws: pa.Array) -> pa.Array:
    lengths = pc.binary_length(raws)
    if (pc.max(lengths).as_py() or 0) > MAX_RAW_BYTES:
        raws = pc.binary_slice(raws, 0, MAX_RAW_BYTES)
    return raws.cast(pa.binary())

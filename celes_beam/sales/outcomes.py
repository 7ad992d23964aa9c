"""``Checked`` of the common cases: every row accepted, or some records that are no rows at all."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from celes_beam.contract import SCHEMA, Reason, Rules
from celes_beam.sales.records import Ints
from celes_beam.sales.rejected import NONE_REJECTED, Checked, malformed_batch, whole_batch

_NO_ACCEPTED = pa.RecordBatch.from_pylist([], schema=SCHEMA)


def nothing_read() -> Checked:
    """No records."""
    return Checked(0, _NO_ACCEPTED, NONE_REJECTED)


def all_accepted(rows: pa.RecordBatch) -> Checked:
    """Rows (``contract.SCHEMA``) of which each was accepted."""
    return Checked(rows.num_rows, rows, NONE_REJECTED)


def all_malformed(source: str, positions: Ints, raws: pa.Array, rules: Rules) -> Checked:
    """Records that are no rows at all; see ``rejected.malformed_batch``."""
    rejected = malformed_batch(source, positions, raws, rules)
    return Checked(rejected.num_rows, _NO_ACCEPTED, rejected)


def all_rejected(  # noqa: PLR0917 - one for each varying column of the schema
    source: str,
    positions: Ints,
    raws: pa.Array,
    rules: Rules,
    reason: Reason,
    value: str | None = None,
) -> Checked:
    """Records that are all rejected as a whole for one reason; see ``rejected.whole_batch``."""
    rejected = whole_batch(source, positions, raws, rules, reason, value)
    return Checked(rejected.num_rows, _NO_ACCEPTED, rejected)


def together(first: Checked, second: Checked) -> Checked:
    """Put two results of one block together, with the rejected rows in order of position."""
    rejected = pa.concat_batches([first.rejected, second.rejected])
    order = np.argsort(rejected.column("position").to_numpy(), kind="stable")
    accepted = [c.accepted for c in (first, second) if c.accepted.num_rows]
    return Checked(
        first.rows + second.rows,
        pa.concat_batches(accepted) if len(accepted) > 1 else (accepted or [first.accepted])[0],
        rejected.take(pa.array(order)),
    )

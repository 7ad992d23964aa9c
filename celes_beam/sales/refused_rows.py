"""Accepted rows that BigQuery did not take, as rejected ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from celes_beam.contract import REJECTED_SCHEMA, RULES_VERSION, Reason
from celes_beam.sales.encode_json import encode_json


def refused_batch(
    rows: pa.RecordBatch,
    ids: pa.Array,
    whys: Sequence[str],
    *,
    source: str,
    rejected_at: datetime,
    other_fields: pa.Array | None = None,
    attempts: Sequence[int] | None = None,
) -> pa.RecordBatch:
    """Make rejected rows (``contract.REJECTED_SCHEMA``), reason ``refused``, of accepted ones.

    ``rows`` has ``contract.SCHEMA``; ``ids`` (string), ``whys``, ``other_fields`` (JSON objects as
    text, or null: what the message had besides) and ``attempts`` have an item for each row. The row
    is written as JSON anew; its source is ``source/id``, its position 0, its value the why.
    """
    objects = encode_json(rows)
    if other_fields is not None:
        objects = [_joined(o, f) for o, f in zip(objects, other_fields.to_pylist(), strict=True)]
    count = rows.num_rows
    return pa.RecordBatch.from_pydict(
        {
            "source": [f"{source}/{row_id}" for row_id in ids.to_pylist()],
            "position": [0] * count,
            "reasons": [[Reason.REFUSED]] * count,
            "column": [None] * count,
            "value": list(whys),
            "raw": objects,
            "rejected_at": [rejected_at] * count,
            "rules_version": [RULES_VERSION] * count,
            "attempt": list(attempts or [1] * count),
        },
        schema=REJECTED_SCHEMA,
    )


def _joined(row: bytes, others: str | None) -> bytes:
    inside = (others or "{}").strip()[1:-1].strip()
    return row[:-1] + b"," + inside.encode() + b"}" if inside else row

"""Rows as requests of the Storage Write API: Arrow record batches, none over what it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

REQUEST_BYTES = 10_000_000
"""Google documents 20 MB for a request today, and long said 10 MB, which stand-ins hold to."""
_ENVELOPE_BYTES = 64 * 1024
"""More than what a request holds beside its rows: names, the schema, lengths."""
ROWS_BYTES = REQUEST_BYTES - _ENVELOPE_BYTES

Indices = npt.NDArray[np.int64]


def piece_starts(rows: pa.RecordBatch, most_bytes: int = ROWS_BYTES) -> Indices:
    """Where the pieces of a batch begin that are requests of their own; the first is 0.

    The same rows are cut at the same places again. A single row may be over ``most_bytes``.
    """
    return np.array(_cut(rows, 0, most_bytes), dtype=np.int64)


def _cut(rows: pa.RecordBatch, start: int, most_bytes: int) -> list[int]:
    size = pa.ipc.get_record_batch_size(rows)
    if size <= most_bytes or rows.num_rows <= 1:
        return [start]
    step = -(-rows.num_rows // min(rows.num_rows, -(-size // most_bytes)))
    return [
        place
        for first in range(0, rows.num_rows, step)
        for place in _cut(rows.slice(first, step), start + first, most_bytes)
    ]


def taken(rows: pa.RecordBatch, indices: Indices) -> pa.RecordBatch:
    """The rows at ``indices``, which rise; no copy when they follow one another."""
    first, last = int(indices[0]), int(indices[-1])
    if last - first + 1 == len(indices):
        return rows.slice(first, len(indices))
    return rows.take(pa.array(indices))


def append_request(
    rows: pa.RecordBatch, stream: str, offset: int | None, *, with_schema: bool
) -> Any:
    """An ``AppendRowsRequest``; the schema is needed in the first one of a connection."""
    from google.cloud.bigquery_storage_v1 import types  # noqa: PLC0415

    # The stand-in asks for the stream in every request; Google allows it.
    request = types.AppendRowsRequest(write_stream=stream)
    if offset is not None:
        request.offset = offset
    data = types.AppendRowsRequest.pb(request).arrow_rows
    data.rows.serialized_record_batch = rows.serialize().to_pybytes()
    if with_schema:
        data.writer_schema.serialized_schema = rows.schema.serialize().to_pybytes()
        request.trace_id = "celes-beam"
    return request

"""The tables that rows are streamed into: those of batch, and where each row came from.

Beside the columns of the contract stand the message of a row and when it was written, so that rows
of a message that was delivered again can be told apart; all are nullable, for rows that are loaded
have none.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa

from celes_beam.contract import DATE, INGESTED_AT, MESSAGE_ID, OTHER_FIELDS, SCHEMA
from celes_beam.sales.columns import int64_view
from celes_beam.stores.warehouse.append_batch import Refused
from celes_beam.stores.warehouse.table_name import TableName
from celes_beam.stores.warehouse.tables import Beside, Destination, Tables, look_at, make
from celes_beam.stores.warehouse.views import View

UNIQUE_VIEW = "ventas_unicas"

STREAM_SCHEMA: pa.Schema = pa.schema(
    [
        *SCHEMA,
        pa.field(MESSAGE_ID, pa.string()),
        pa.field(INGESTED_AT, pa.timestamp("us", tz="UTC")),
    ]
)
"""What ``stream_batch`` gives without other fields."""
OTHER_FIELDS_SCHEMA: pa.Schema = STREAM_SCHEMA.append(pa.field(OTHER_FIELDS, pa.string()))
"""What it gives with them."""

_DAY_US = 86_400_000_000
_DAYS_BACK = 1_825
_DAYS_AHEAD = 366
_DESCRIPTIONS = {
    MESSAGE_ID: "Message that the row came in, with /n for row n of several; null when loaded.",
    INGESTED_AT: "When the row was written, UTC; null when it was loaded.",
    OTHER_FIELDS: "Fields of the message that are no column, as JSON; null when there are none.",
}


def stream_batch(
    accepted: pa.RecordBatch,
    ids: pa.Array,
    ingested_at_us: int,
    other_fields: pa.Array | None = None,
) -> pa.RecordBatch:
    """Accepted rows (``contract.SCHEMA``) with what the stream's table has beside them.

    ``ids`` and ``other_fields`` (JSON texts, or null) are as long as ``accepted``;
    ``ingested_at_us`` is in µs since 1970.
    """
    written = pa.repeat(pa.scalar(ingested_at_us, pa.timestamp("us", tz="UTC")), len(ids))
    columns = [*accepted.columns, ids, written]
    if other_fields is None:
        return pa.RecordBatch.from_arrays(columns, schema=STREAM_SCHEMA)
    return pa.RecordBatch.from_arrays([*columns, other_fields], schema=OTHER_FIELDS_SCHEMA)


def beyond_partitions(accepted: pa.RecordBatch, at_us: int) -> list[Refused]:
    """Rows (``contract.SCHEMA``) that BigQuery takes from load jobs, and not from streams.

    Into a table that is partitioned by day it streams rows of the five years before and the year
    after now, which is ``at_us``, and refuses the whole request for one other
    (cloud.google.com/bigquery/docs/write-api-streaming, "Work with partitioned tables").
    """
    micros = int64_view(accepted.column(DATE))
    days = micros // _DAY_US - at_us // _DAY_US
    wrong = np.flatnonzero((days < -_DAYS_BACK) | (days > _DAYS_AHEAD)).tolist()
    why = (
        f"more than {_DAYS_BACK:,} days back or {_DAYS_AHEAD} ahead, which BigQuery takes from "
        "load jobs alone: pipelines.replay loads it"
    )
    return [Refused(index, why) for index in wrong]


def look_at_stream(
    destination: Destination, partition_by: Collection[str] = (), *, keep_other_fields: bool = False
) -> Tables:
    """Look at what is there of a stream's tables, and describe what is missing; makes nothing.

    See ``tables.look_at``; nullable columns that are missing are listed in ``columns_missing``.
    """
    return look_at(destination, partition_by, _beside(destination.table, keep_other_fields))


def make_stream(
    destination: Destination, partition_by: Collection[str] = (), *, keep_other_fields: bool = False
) -> Tables:
    """Make what is missing: tables, nullable columns of a table that is there, and views.

    ``partition_by`` are the partition columns of the lake, if there is one. Raises as
    ``tables.make``.
    """
    return make(destination, partition_by, _beside(destination.table, keep_other_fields))


def stream_fields(*, keep_other_fields: bool) -> list[Any]:
    """Fields of the sales table beside those of the contract."""
    from google.cloud.bigquery import SchemaField  # noqa: PLC0415

    types = {MESSAGE_ID: "STRING", INGESTED_AT: "TIMESTAMP", OTHER_FIELDS: "JSON"}
    return [
        SchemaField(name, kind, mode="NULLABLE", description=_DESCRIPTIONS[name])
        for name, kind in types.items()
        if keep_other_fields or name != OTHER_FIELDS
    ]


def unique_view(table: TableName) -> View:
    """One row for each ``_message_id``, the first that was written, and all rows without one."""
    return View(
        UNIQUE_VIEW,
        f"SELECT * FROM `{table.path}` WHERE TRUE QUALIFY {MESSAGE_ID} IS NULL OR ROW_NUMBER() "
        f"OVER (PARTITION BY {MESSAGE_ID} ORDER BY {INGESTED_AT}) = 1",
        "Sales, each message's rows once, however often it was delivered.",
    )


def _beside(table: TableName, keep_other_fields: bool) -> Beside:
    fields = stream_fields(keep_other_fields=keep_other_fields)
    return Beside(tuple(fields), (unique_view(table),))

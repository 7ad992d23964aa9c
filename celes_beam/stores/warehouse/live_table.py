"""The table of live windows: sums of a minute (or so), category and region, while a stream runs.

A row tells all that its *series* has counted of a window so far, so the largest of a series counts
and all others are of no matter: a row that was written twice, late, or before a restart adds
nothing. Series add up. Amounts are greater than 0, so the largest is the last that was counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from celes_beam.contract import CATEGORY, REGION
from celes_beam.sales.aggregate import amount
from celes_beam.stores.cloud.clients import bigquery_client, bigquery_retry
from celes_beam.stores.cloud.failures import cloud_errors
from celes_beam.stores.warehouse.schema import partitioned
from celes_beam.stores.warehouse.shape import check_fits
from celes_beam.stores.warehouse.table_name import TableName
from celes_beam.stores.warehouse.tables import (
    NEEDS,
    Destination,
    make_views,
    table_there,
    views_there,
)
from celes_beam.stores.warehouse.views import View

LIVE_SUFFIX = "_en_vivo"
LIVE_VIEW = "ventas_por_ventana"
ON_TIME = "a_tiempo"
"""The first of a window, told when it was over."""
CORRECTION = "correccion"
"""Rows came after that."""
PARTIAL = "parcial"
"""The stream ended before the window did."""

_START, _END, _EMITTED = "inicio", "fin", "emitida"
_TIME = pa.timestamp("us", tz="UTC")
# NUMERIC of BigQuery has 29 digits before the point.
LIVE_SCHEMA: pa.Schema = pa.schema(
    [
        pa.field(_START, _TIME, nullable=False),
        pa.field(_END, _TIME, nullable=False),
        pa.field(CATEGORY, pa.string(), nullable=False),
        pa.field(REGION, pa.string(), nullable=False),
        pa.field("ventas", pa.int64(), nullable=False),
        pa.field("total", pa.decimal128(31, 2), nullable=False),
        pa.field("tardias", pa.int64(), nullable=False),
        pa.field("clase", pa.string(), nullable=False),
        pa.field("emision", pa.int64(), nullable=False),
        pa.field("serie", pa.string(), nullable=False),
        pa.field(_EMITTED, _TIME, nullable=False),
    ]
)
_DESCRIPTIONS = {
    _START: "When the window begins, UTC, by the date of the sales.",
    _END: "When it ends, UTC; that moment is the next window's.",
    CATEGORY: "Product category.",
    REGION: "Sales region.",
    "ventas": "Sales of the window that this series has counted so far.",
    "total": "The sum of their amounts.",
    "tardias": "Those of them that came after the window had been told first.",
    "clase": "a_tiempo: the first of its window; correccion: sales came late; parcial: the stream "
    "ended before the window did.",
    "emision": "Number of the row among those of its window and series, from 0.",
    "serie": "Who counted; of a series the largest row counts, and series add up.",
    _EMITTED: "When the row was written, UTC.",
}
LIVE_DESCRIPTION = "Sums of live windows; ask the view, which takes every sale once."
LIVE_DAY = _EMITTED
"""The table is partitioned by it: a stream may write to no partition that is long past."""
LIVE_CLUSTERED_BY = (_START, REGION, CATEGORY)
_TYPES = {pa.int64(): "INT64", pa.string(): "STRING", _TIME: "TIMESTAMP"}


@dataclass(frozen=True)
class LiveSpec:
    """What live windows a stream has: of ``seconds``, into ``table``; small and picklable.

    A sale that comes more than ``lateness_seconds`` after its window ended is told at once, in a
    series of its own. ``series`` begins the names of series, and no other job may have it.
    """

    table: TableName
    seconds: int
    lateness_seconds: float
    series: str


@dataclass(frozen=True)
class LiveRow:
    """A row of the table but for when it was written; times are in µs since 1970.

    ``added`` are those of its ``rows`` that the row before it of the series did not have.
    """

    start: int
    end: int
    category: str
    region: str
    rows: int
    cents: int
    late: int
    kind: str
    number: int
    series: str
    added: int


def live_batch(rows: Sequence[LiveRow], emitted_us: int) -> pa.RecordBatch:
    """Make rows of the table (``LIVE_SCHEMA``), written at a time in µs since 1970."""
    columns: list[list[Any]] = [
        [row.start for row in rows],
        [row.end for row in rows],
        [row.category for row in rows],
        [row.region for row in rows],
        [row.rows for row in rows],
        [amount(row.cents) for row in rows],
        [row.late for row in rows],
        [row.kind for row in rows],
        [row.number for row in rows],
        [row.series for row in rows],
        [emitted_us] * len(rows),
    ]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, LIVE_SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=LIVE_SCHEMA)


def live_table_name(table: TableName, name: str | None = None) -> TableName:
    """The table beside one of sales: ``<table>_en_vivo`` unless it has another name."""
    return table.beside(name or table.table + LIVE_SUFFIX)


def live_view(table: TableName) -> View:
    """The sums of each window, category and region, every sale once."""
    group = f"{_START}, {_END}, {CATEGORY}, {REGION}"
    return View(
        LIVE_VIEW,
        f"SELECT {group}, SUM(ventas) AS ventas, SUM(total) AS total, "
        "ROUND(SUM(total) / SUM(ventas), 6) AS media, SUM(tardias) AS tardias, "
        f"MAX({_EMITTED}) AS {_EMITTED} FROM (SELECT {group}, serie, MAX(ventas) AS ventas, "
        f"MAX(total) AS total, MAX(tardias) AS tardias, MAX({_EMITTED}) AS {_EMITTED} "
        f"FROM `{table.path}` GROUP BY {group}, serie) GROUP BY {group}",
        "Rows, total and mean of sales by window of time, category and region, with corrections.",
    )


def live_fields() -> list[Any]:
    """Fields of the table, as BigQuery is told of them."""
    from google.cloud.bigquery import SchemaField  # noqa: PLC0415

    return [
        SchemaField(
            f.name,
            _TYPES.get(f.type, "NUMERIC"),
            mode="REQUIRED",
            description=_DESCRIPTIONS[f.name],
        )
        for f in LIVE_SCHEMA
    ]


def live_table(name: TableName, kms_key: str | None) -> Any:
    """Describe the table of live windows (``google.cloud.bigquery.Table``), as it is made."""
    from google.cloud import bigquery  # noqa: PLC0415

    table = bigquery.Table(name.path, schema=live_fields())
    table.clustering_fields = list(LIVE_CLUSTERED_BY)
    return partitioned(table, LIVE_DAY, LIVE_DESCRIPTION, kms_key)


def make_live_table(destination: Destination, name: TableName) -> None:
    """Make the table of live windows and its view where they are missing; the dataset is there.

    ``destination`` is that of the sales. Raises ``UsageError`` when a table that is there does not
    fit.
    """
    client = bigquery_client(name.project)
    wanted = live_table(name, destination.kms_key)
    with cloud_errors("look at", f"table {name}", needs=NEEDS):
        there = table_there(client, name.path)
    if there is not None:
        check_fits(name, there, wanted.schema, destination.kms_key, flag="--live_table")
    else:
        with cloud_errors("make", f"table {name}", needs=NEEDS):
            client.create_table(wanted, exists_ok=True, retry=bigquery_retry())
    make_views(client, name, views_there(client, name, [live_view(name)]))

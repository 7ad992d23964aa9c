"""A stream as Beam's examples have it: a message at a time, and rows inserted from JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from google.cloud import bigquery

from celes_beam.stores.cloud.clients import bigquery_client

_COLUMNS = {
    "id_cliente": "INT64",
    "fecha_de_transaccion": "DATE",
    "cantidad_de_venta": "NUMERIC",
    "categoria_de_producto": "STRING",
    "region_de_venta": "STRING",
}
_POLL_SECONDS = 0.25
_PATIENCE_SECONDS = 300.0


def straightforward(subscription: str, table: str, rows: int) -> float:
    """Stream until so many rows are in a table (PROJECT:DATASET.NAME); returns seconds for them.

    They are counted from the moment when the first rows are seen there, for the start is not
    measured. The pipeline never ends by itself.
    """
    project, _, rest = table.partition(":")
    path = f"{project}.{rest}"
    client = bigquery_client(project)
    client.create_dataset(f"{project}.{rest.partition('.')[0]}", exists_ok=True)
    schema = [bigquery.SchemaField(name, kind) for name, kind in _COLUMNS.items()]
    client.create_table(bigquery.Table(path, schema=schema))
    pipeline = beam.Pipeline(options=PipelineOptions(["--streaming", "--runner=DirectRunner"]))
    _ = (
        pipeline
        | beam.io.ReadFromPubSub(subscription=subscription)
        | beam.FlatMap(valid_rows)
        | beam.BatchElements(min_batch_size=100, max_batch_size=500)
        | beam.ParDo(_InsertFn(project, path))
    )

    def count() -> int:
        return int(next(iter(client.query(f"SELECT COUNT(*) FROM `{path}`").result()))[0])

    # It is stopped when nobody holds its result.
    going = pipeline.run()
    first, began = _seen(count, 1)
    there, ended = _seen(count, rows)
    del going
    return rows * (ended - began) / max(there - first, 1)


def valid_rows(data: bytes) -> Iterator[dict[str, Any]]:
    """The row of a message, if it is a sale."""
    try:
        sale = json.loads(data, parse_float=Decimal)
        amount = Decimal(sale["cantidad_de_venta"])
        if not isinstance(sale["id_cliente"], int) or sale["id_cliente"] <= 0:
            return
        if amount <= 0 or amount != round(amount, 2):
            return
        if not sale["categoria_de_producto"] or not sale["region_de_venta"]:
            return
        day = date.fromisoformat(str(sale["fecha_de_transaccion"])[:10])
    except (ValueError, ArithmeticError, KeyError, TypeError):
        return
    given = {name: sale[name] for name in _COLUMNS}
    yield given | {"fecha_de_transaccion": day.isoformat(), "cantidad_de_venta": str(amount)}


class _InsertFn(beam.DoFn):
    def __init__(self, project: str, path: str) -> None:
        self._project = project
        self._path = path

    def setup(self) -> None:
        self._client = bigquery_client(self._project)

    def process(self, rows: Sequence[dict[str, Any]]) -> None:
        errors = self._client.insert_rows_json(self._path, list(rows))
        if errors:
            raise ValueError(errors)


def _seen(count: Callable[[], int], least: int) -> tuple[int, float]:
    """How many rows there are once there are so many, and when that was."""
    until = time.perf_counter() + _PATIENCE_SECONDS
    while (there := count()) < least:
        if time.perf_counter() > until:
            raise TimeoutError(f"{there:,} of {least:,} rows came")
        time.sleep(_POLL_SECONDS)
    return there, time.perf_counter()

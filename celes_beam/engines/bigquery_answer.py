"""What BigQuery answers: one query for both sums, since rows may come in between two."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from celes_beam.contract import AMOUNT, CATEGORY, COLUMN_NAMES, REGION, SCHEMA
from celes_beam.errors import InputError
from celes_beam.sales.aggregate import Share, Sums
from celes_beam.sales.order import Order
from celes_beam.stores.cloud.clients import bigquery_client, bigquery_retry
from celes_beam.stores.cloud.failures import cloud_errors
from celes_beam.stores.results.engine_answer import share
from celes_beam.stores.warehouse.table_name import TableName

_NEEDS = "roles/bigquery.dataViewer and roles/bigquery.jobUser"


def ask_table(table: TableName, order: Order, top: int) -> tuple[Sums, pa.Table | None, float]:
    """The sums of a table's rows, its first rows if any are asked for, and the queries' seconds.

    Raises ``UsageError`` when the table is not there or may not be read, ``InputError`` when it
    holds rows without a category, a region or an amount, and ``StorageError`` when a query fails.
    """
    with cloud_errors("ask", f"table {table}", needs=_NEEDS):
        client = bigquery_client(table.project)
        location = client.get_table(table.path, retry=bigquery_retry()).location
        started = time.perf_counter()
        groups = [tuple(row) for row in client.query(_sums(table), location=location).result()]
        first = client.query(_first(table, order, top), location=location).result() if top else None
        rows = None if first is None else [dict(row.items()) for row in first]
        seconds = time.perf_counter() - started
    sums = Sums(_shares(table, groups, CATEGORY), _shares(table, groups, REGION))
    return sums, None if rows is None else pa.Table.from_pylist(rows, SCHEMA), seconds


def _sums(table: TableName) -> str:
    return " UNION ALL ".join(
        f"SELECT '{column}' AS grouped, {column} AS name, COUNT(*) AS sales, "
        f"COUNT({AMOUNT}) AS amounts, SUM({AMOUNT}) AS total FROM `{table.path}` GROUP BY {column}"
        for column in (CATEGORY, REGION)
    )


def _first(table: TableName, order: Order, top: int) -> str:
    others = ", ".join(column for column in COLUMN_NAMES if column != order.column)
    falling = " DESC" if order.descending else ""
    return (
        f"SELECT {', '.join(COLUMN_NAMES)} FROM `{table.path}` "
        f"ORDER BY {order.column}{falling}, {others} LIMIT {top}"
    )


def _shares(table: TableName, groups: Iterable[tuple[Any, ...]], column: str) -> dict[str, Share]:
    found = {}
    for grouped, name, sales, amounts, total in groups:
        if grouped == column:
            if name is None or sales != amounts:
                empty = column if name is None else AMOUNT
                raise InputError(
                    f"table {table} holds rows without a value in {empty}, which no lake has: name "
                    "the table that the lake was loaded into"
                )
            found[name] = share(sales, total)
    return found

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from celes_beam.contract import DATE, INGESTED_AT, MESSAGE_ID, OTHER_FIELDS, SCHEMA
from celes_beam.errors import UsageError
from celes_beam.stores.warehouse.shape import check_fits
from celes_beam.stores.warehouse.stream_tables import (
    OTHER_FIELDS_SCHEMA,
    STREAM_SCHEMA,
    beyond_partitions,
    stream_batch,
    stream_fields,
    unique_view,
)
from celes_beam.stores.warehouse.table_name import parse_table_name
from celes_beam.stores.warehouse.tables import Beside, needed_fields
from tests.sales import sales_batch

NAME = parse_table_name("my-project:sales.ventas")


def test_a_batch_has_the_message_and_the_moment_of_each_row() -> None:
    sales = sales_batch([("Hogar", "Norte", 100), ("Ropa", "Sur", 1)])
    batch = stream_batch(sales, pa.array(["m", None], pa.string()), 5)
    assert batch.schema.equals(STREAM_SCHEMA)
    assert batch.column(MESSAGE_ID).to_pylist() == ["m", None]
    assert batch.column(INGESTED_AT).cast(pa.int64()).to_pylist() == [5, 5]
    kept = stream_batch(sales, pa.array(["m", None]), 5, pa.array(["{}", None]))
    assert kept.schema.equals(OTHER_FIELDS_SCHEMA)
    assert kept.column(OTHER_FIELDS).to_pylist() == ["{}", None]


def test_columns_beside_the_contract_are_nullable_and_described() -> None:
    fields = stream_fields(keep_other_fields=True)
    assert [f.name for f in fields] == OTHER_FIELDS_SCHEMA.names[5:]
    assert {f.mode for f in fields} == {"NULLABLE"}
    assert all(f.description for f in fields)
    assert [f.name for f in stream_fields(keep_other_fields=False)] == STREAM_SCHEMA.names[5:]


@pytest.mark.parametrize(
    ("there", "problem"),
    [
        ({}, None),
        ({MESSAGE_ID: "STRING", OTHER_FIELDS: "STRING"}, None),
        ({OTHER_FIELDS: "JSON"}, None),
        ({MESSAGE_ID: "INT64"}, "_message_id is INTEGER, expected STRING"),
        ({OTHER_FIELDS: "BYTES"}, "_otros_campos is BYTES, expected JSON"),
    ],
)
def test_a_table_fits_without_the_columns_of_a_stream_but_not_with_others_of_their_names(
    there: dict[str, str], problem: str | None
) -> None:
    from google.cloud.bigquery import SchemaField

    beside = Beside(tuple(stream_fields(keep_other_fields=True)))
    table: Any = SimpleNamespace(
        table_type="TABLE",
        schema=[SchemaField(name, kind) for name, kind in there.items()],
        encryption_configuration=None,
    )
    fields = needed_fields(list(beside.fields), table, beside)
    if problem is None:
        check_fits(NAME, table, fields, None)
    else:
        with pytest.raises(UsageError, match=problem):
            check_fits(NAME, table, fields, None)


def test_the_view_counts_rows_without_a_message_each() -> None:
    view = unique_view(NAME)
    assert view.name == "ventas_unicas"
    assert "`my-project.sales.ventas`" in view.query
    assert "_message_id IS NULL OR ROW_NUMBER()" in view.query


def test_days_that_a_stream_may_not_write_to() -> None:
    sales = sales_batch([("Hogar", "Norte", 100)] * 4)
    day = timedelta(days=1)
    now = datetime(2026, 11, 24, 23, 59, tzinfo=UTC)
    dates = [now - 1826 * day, now - 1825 * day, now + 366 * day, now + 367 * day]
    column = pa.array(dates, SCHEMA.field(DATE).type)
    sales = sales.set_column(1, SCHEMA.field(DATE), column)
    refused = beyond_partitions(sales, int(now.timestamp() * 1e6))
    assert [row.index for row in refused] == [0, 3]
    assert all("load jobs" in row.why for row in refused)

"""The table of live windows, its rows, and what its view makes of rows that came twice."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from celes_beam.stores.warehouse.live_table import (
    CORRECTION,
    LIVE_SCHEMA,
    ON_TIME,
    LiveRow,
    live_batch,
    live_fields,
    live_view,
)
from celes_beam.stores.warehouse.table_name import parse_table_name
from tests.tools import need_module

TABLE = parse_table_name("my-project:sales.ventas_en_vivo")
FIRST = LiveRow(
    start=60_000_000,
    end=120_000_000,
    category="Hogar",
    region="Norte",
    rows=2,
    cents=350,
    late=0,
    kind=ON_TIME,
    number=0,
    series="a",
    added=2,
)
SECOND = replace(FIRST, rows=3, cents=10**14, late=1, kind=CORRECTION, number=1, added=1)


def test_fields_are_those_of_the_batches() -> None:
    fields = live_fields()

    assert [f.name for f in fields] == LIVE_SCHEMA.names
    assert {f.mode for f in fields} == {"REQUIRED"}
    assert all(f.description for f in fields)
    kinds = {f.name: f.field_type for f in fields}
    assert (kinds["inicio"], kinds["ventas"], kinds["total"]) == ("TIMESTAMP", "INT64", "NUMERIC")


def test_a_batch_has_exact_amounts() -> None:
    batch = live_batch([FIRST, SECOND], 5)

    assert batch.schema.equals(LIVE_SCHEMA)
    assert batch.column("total").to_pylist() == [Decimal("3.50"), Decimal(10**12)]
    assert batch.column("clase").to_pylist() == ["a_tiempo", "correccion"]


@pytest.mark.parametrize(
    ("rows", "sales", "cents", "late"),
    [
        ([FIRST], 2, 350, 0),
        ([FIRST, SECOND], 3, 10**14, 1),
        ([SECOND], 3, 10**14, 1),
        ([SECOND, FIRST, SECOND, FIRST], 3, 10**14, 1),
        ([FIRST, replace(FIRST, series="b")], 4, 700, 0),
        ([FIRST, FIRST, replace(SECOND, series="a/batch"), SECOND], 6, 2 * 10**14, 2),
    ],
)
def test_each_sale_counts_once_however_often_it_was_told(
    rows: list[LiveRow], sales: int, cents: int, late: int
) -> None:
    duckdb: Any = need_module("duckdb", "make engines")
    query = live_view(TABLE).query.replace(f"`{TABLE.path}`", "live")
    with duckdb.connect() as database:
        database.register("live", live_batch(rows, 7))
        found = database.execute(query).fetchall()

    assert len(found) == 1
    assert found[0][2:6] == ("Hogar", "Norte", sales, Decimal(cents).scaleb(-2))
    assert found[0][7] == late

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pytest

from celes_beam.contract import COLUMN_NAMES
from celes_beam.sales.decode_parquet import decode_columns
from celes_beam.sales.rejected import Checked
from celes_beam.sales.texts import PLAIN_NOTATION, Notation
from tests.sales import RULES


def batch(**columns: Any) -> pa.RecordBatch:
    usual = {
        "id_cliente": [1, 2],
        "fecha_de_transaccion": [date(2024, 1, 31)] * 2,
        "cantidad_de_venta": [5.5, 7.25],
        "categoria_de_producto": ["Hogar", "Ropa"],
        "region_de_venta": ["Norte", "Sur"],
    }
    return pa.RecordBatch.from_pydict({**usual, **columns})


def decode(rows: pa.RecordBatch, notation: Notation = PLAIN_NOTATION, **names: str) -> Checked:
    chosen = [names.get(name, name) for name in COLUMN_NAMES]
    return decode_columns(
        rows, chosen, source="v.parquet", first_row=100, rules=RULES, notation=notation
    )


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"id_cliente": pa.array([1, 2], pa.uint8())},
        {"fecha_de_transaccion": pa.array([datetime(2024, 1, 31)] * 2, pa.timestamp("ns"))},
        {"fecha_de_transaccion": ["2024-01-31", "2024-01-31T00:00:00Z"]},
        {"cantidad_de_venta": ["5.50", "7.25"]},
        {"categoria_de_producto": pa.array(["Hogar", " Ropa"]).dictionary_encode()},
        {"region_de_venta": pa.array(["Norte", "Sur"], pa.large_string())},
    ],
)
def test_columns_of_many_types_are_accepted(columns: dict[str, Any]) -> None:
    accepted = decode(batch(**columns)).accepted
    assert [[str(v) for v in row.values()] for row in accepted.to_pylist()] == [
        ["1", "2024-01-31 00:00:00+00:00", "5.50", "Hogar", "Norte"],
        ["2", "2024-01-31 00:00:00+00:00", "7.25", "Ropa", "Sur"],
    ]


def test_a_rejected_row_has_its_number_and_its_values_as_json() -> None:
    result = decode(batch(cantidad_de_venta=[5.5, 0.001], extra=["a", "b"]))
    assert result.accepted.num_rows == 1
    (row,) = result.rejected.to_pylist()
    assert (row["source"], row["position"], row["reasons"]) == ("v.parquet", 101, ["inexact"])
    assert json.loads(row["raw"]) == {
        "id_cliente": 2,
        "fecha_de_transaccion": "2024-01-31",
        "cantidad_de_venta": 0.001,
        "categoria_de_producto": "Ropa",
        "region_de_venta": "Sur",
    }


def test_any_value_can_be_written_as_json() -> None:
    odd = batch(
        id_cliente=[float("nan"), 1.5],
        cantidad_de_venta=pa.array([b"\xff\x00", None], pa.binary()),
        region_de_venta=[{"a": datetime(2024, 1, 1)}, None],
        fecha_de_transaccion=pa.array([1, 2**62], pa.timestamp("ns")),
    )
    result = decode(odd)
    assert result.rejected.num_rows == 2
    assert all(json.loads(raw) for raw in result.rejected.column("raw").to_pylist())


def test_columns_by_other_names() -> None:
    rows = batch().rename_columns(["household", *COLUMN_NAMES[1:]])
    assert decode(rows, id_cliente="household").accepted.num_rows == 2


def test_texts_are_read_by_the_users_notation() -> None:
    rows = batch(cantidad_de_venta=["5,50", "7,25"], fecha_de_transaccion=["31/01/2024"] * 2)
    assert decode(rows, Notation(",", "dd/mm/yyyy")).accepted.num_rows == 2
    assert decode(rows).rejected.num_rows == 2

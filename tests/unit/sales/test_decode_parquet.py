from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from celes_beam.contract import COLUMN_NAMES
from celes_beam.sales.decode_parquet import decode_columns
from celes_beam.sales.rejected import Checked
from celes_beam.sales.texts import PLAIN_NOTATION, Notation
from celes_beam.sales.transform import Transform
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


def test_a_transform_gets_columns_as_they_are_stored_and_all_others() -> None:
    rows = batch(tienda=["N-1", "S-1"], centimos=[550, 700], stamp=[datetime(2024, 1, 31)] * 2)
    rows = rows.drop_columns(["cantidad_de_venta", "region_de_venta"])
    result = decode_columns(
        rows,
        rows.schema.names,
        source="v.parquet",
        first_row=100,
        rules=RULES,
        transform=Transform("tests.hooks:region_of_shop"),
    )
    (row,) = result.accepted.to_pylist()
    assert (row["cantidad_de_venta"], row["region_de_venta"]) == (Decimal("5.50"), "Norte")
    (wrong,) = result.rejected.to_pylist()
    assert (wrong["position"], wrong["column"]) == (101, "region_de_venta")
    assert json.loads(wrong["raw"]) == {
        "id_cliente": 2,
        "fecha_de_transaccion": "2024-01-31",
        "categoria_de_producto": "Ropa",
        "tienda": "S-1",
        "centimos": 700,
        "stamp": "2024-01-31T00:00:00",
    }


@pytest.mark.parametrize("hook", ["same", "sliced"])
def test_a_transform_that_changes_nothing_changes_nothing(hook: str) -> None:
    rows = batch(cantidad_de_venta=[5.5, 0.001])
    plain = decode(rows)
    result = decode_columns(
        rows,
        COLUMN_NAMES,
        source="v.parquet",
        first_row=100,
        rules=RULES,
        transform=Transform(f"tests.hooks:{hook}"),
    )
    assert result.accepted.equals(plain.accepted)
    assert result.rejected.equals(plain.rejected)


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


FAR = [2**31 - 1, -(2**31)]
FURTHER = [2**63 - 1, 253402300799]


@pytest.mark.parametrize(
    "dates",
    [
        pa.array(FAR, pa.int32()).view(pa.date32()),
        *(pa.array(FURTHER, pa.int64()).view(pa.timestamp(unit)) for unit in ("s", "ms")),
        *(
            pa.array(FURTHER, pa.int64()).view(pa.timestamp("s", tz=zone))
            for zone in ("Europe/Madrid", "UTC", "+05:00", "Mars/Phobos")
        ),
        pa.array([datetime(9999, 12, 31, 23, 59, 59)] * 2, pa.timestamp("us", tz="America/Bogota")),
    ],
    ids=lambda array: str(array.type),
)
def test_dates_that_python_cannot_hold_are_out_of_range(dates: pa.Array) -> None:
    result = decode(batch(fecha_de_transaccion=dates))
    assert result.rejected.column("reasons").to_pylist() == [["out_of_range"]] * 2
    raws = [json.loads(raw) for raw in result.rejected.column("raw").to_pylist()]
    assert [type(raw["fecha_de_transaccion"]) for raw in raws] == [str, str]


@pytest.mark.parametrize("name", ["id_cliente", "cantidad_de_venta", "region_de_venta"])
@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.binary_view()],
    ids=str,
)
@pytest.mark.parametrize("wrong", [b"Ni\xc3", b"\xff", b"\xed\xa0\x80"])
def test_texts_that_are_not_utf8_are_unparseable(
    name: str, kind: pa.DataType, wrong: bytes
) -> None:
    views = pa.types.is_string_view(kind) or pa.types.is_binary_view(kind)
    plain = pa.binary_view() if views else pa.binary()
    if pa.types.is_large_string(kind):
        plain = pa.large_binary()
    column = pa.array([b"7", wrong], plain).view(kind)
    result = decode(batch(**{name: column}))
    assert result.accepted.num_rows == 1
    (row,) = result.rejected.to_pylist()
    assert (row["reasons"], row["column"]) == (["unparseable"], name)
    assert "\ufffd" in row["value"]
    assert json.loads(row["raw"])["cantidad_de_venta"]


def test_encoded_texts_that_are_not_utf8_are_unparseable() -> None:
    names = pa.array([b"Norte", b"Ni\xc3"], pa.binary()).view(pa.string())
    encoded = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), names)
    (row,) = decode(batch(region_de_venta=encoded)).rejected.to_pylist()
    assert (row["position"], row["reasons"]) == (101, ["unparseable"])
    assert json.loads(row["raw"])["region_de_venta"] == "Ni\ufffd"


@pytest.mark.parametrize(
    "odd",
    [
        pa.array(["Norte", "x" * 300], pa.string_view()),
        pa.StructArray.from_arrays([pa.array(["a", "b"], pa.string_view())], ["a"]),
        pa.StructArray.from_arrays([pa.array(FAR, pa.int32()).view(pa.date32())], ["a"]),
        pa.StructArray.from_arrays([pa.array([1, 2]), pa.array([3, 4])], ["a", "a"]),
        pa.array([[1, 2], None], pa.list_view(pa.int64())),
        pa.array([2**62, -1], pa.int64()).view(pa.time64("us")),
    ],
    ids=lambda array: str(array.type),
)
def test_whatever_a_value_is_its_row_is_rejected_and_shown(odd: pa.Array) -> None:
    result = decode(batch(region_de_venta=odd, id_cliente=[0, 0]))
    assert [r["position"] for r in result.rejected.to_pylist()] == [100, 101]
    assert all(
        "region_de_venta" in json.loads(r) for r in result.rejected.column("raw").to_pylist()
    )


def test_columns_by_other_names() -> None:
    rows = batch().rename_columns(["household", *COLUMN_NAMES[1:]])
    assert decode(rows, id_cliente="household").accepted.num_rows == 2


def test_texts_are_read_by_the_users_notation() -> None:
    rows = batch(cantidad_de_venta=["5,50", "7,25"], fecha_de_transaccion=["31/01/2024"] * 2)
    assert decode(rows, Notation(",", "dd/mm/yyyy")).accepted.num_rows == 2
    assert decode(rows).rejected.num_rows == 2

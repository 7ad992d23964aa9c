from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celes_beam.config import load_config
from celes_beam.contract import COLUMN_NAMES, MAX_CENTS, MIN_DATE, SCHEMA, normalize_text
from celes_beam.sales.decode_ndjson import decode_ndjson
from celes_beam.sales.encode_json import encode_json
from celes_beam.sales.generate import Generator
from tests.sales import RULES

Row = tuple[int, datetime, Decimal, str, str]

MAY = datetime(2024, 5, 3, tzinfo=UTC)


def batch(*rows: Row) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else [[]] * len(COLUMN_NAMES)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def test_an_object_for_each_row() -> None:
    noon = MAY + timedelta(hours=12, microseconds=5)
    rows = batch(
        (4711, MAY, Decimal("12.30"), "Alimentos", "Norte"),
        (1, noon, Decimal("9999999999.99"), 'El "\\', "Sur\n\té"),
    )
    assert encode_json(rows) == [
        b'{"id_cliente":4711,"fecha_de_transaccion":"2024-05-03","cantidad_de_venta":12.30,'
        b'"categoria_de_producto":"Alimentos","region_de_venta":"Norte"}',
        b'{"id_cliente":1,"fecha_de_transaccion":"2024-05-03T12:00:00.000005Z",'
        b'"cantidad_de_venta":9999999999.99,"categoria_de_producto":"El \\"\\\\",'
        b'"region_de_venta":"Sur\\n\\t' + "é".encode() + b'"}',
    ]


def test_amounts_as_texts_have_the_same_digits() -> None:
    rows = batch((1, MAY, Decimal("0.01"), "a", "b"))
    assert json.loads(encode_json(rows, amounts_as_text=True)[0])["cantidad_de_venta"] == "0.01"
    assert b'"cantidad_de_venta":0.01,' in encode_json(rows)[0]


def test_no_rows_are_no_objects() -> None:
    assert encode_json(batch()) == []


def test_texts_may_be_codes() -> None:
    generator = Generator(load_config())
    assert encode_json(generator.columns(5, 100)) == encode_json(generator.batch(5, 100))


def test_nulls_are_refused() -> None:
    rows = {name: pa.nulls(1, SCHEMA.field(name).type) for name in COLUMN_NAMES}
    with pytest.raises(ValueError, match="column id_cliente holds nulls"):
        encode_json(rows)


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30).filter(
    lambda text: bool(normalize_text(text)) and len(text.encode()) < 50
)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 2**63 - 1),
            st.datetimes(
                MIN_DATE.replace(tzinfo=None), datetime(2026, 1, 1), timezones=st.just(UTC)
            ),
            st.integers(1, MAX_CENTS).map(lambda cents: Decimal(cents) / 100),
            TEXTS.map(normalize_text),
            TEXTS.map(normalize_text),
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_what_is_written_is_read_back(rows: list[Row], amounts_as_text: bool) -> None:
    written = batch(*rows)
    lines = b"".join(o + b"\n" for o in encode_json(written, amounts_as_text=amounts_as_text))
    read = decode_ndjson(lines, source="x", rules=RULES)
    assert read.rejected.num_rows == 0
    assert read.accepted.cast(SCHEMA).to_pylist() == written.to_pylist()

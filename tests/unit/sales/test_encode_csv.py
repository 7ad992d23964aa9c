from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celes_beam.config import Config
from celes_beam.contract import COLUMN_NAMES, SCHEMA
from celes_beam.sales.encode_csv import HEADER, csv_lines, encode_csv
from celes_beam.sales.generate import Generator

Row = tuple[int, datetime, Decimal, str, str]

MAY = datetime(2024, 5, 3, tzinfo=UTC)


def batch(*rows: Row) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else [[]] * len(COLUMN_NAMES)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def written(*rows: Row) -> str:
    return encode_csv(batch(*rows)).to_pybytes().decode()


def test_a_line_for_each_row() -> None:
    assert written(
        (4711, MAY, Decimal("12.34"), "Alimentos", "Norte"),
        (1, datetime(1999, 12, 31, tzinfo=UTC), Decimal("9999999999.99"), "Electrónica", "Sur"),
    ) == ("4711,2024-05-03,12.34,Alimentos,Norte\n1,1999-12-31,9999999999.99,Electrónica,Sur\n")


def test_header_names_the_columns_of_the_contract() -> None:
    assert HEADER == (
        b"id_cliente,fecha_de_transaccion,cantidad_de_venta,categoria_de_producto,region_de_venta\n"
    )


def test_an_instant_that_is_not_a_midnight_is_written_whole() -> None:
    assert written(
        (1, MAY, Decimal("1.00"), "a", "b"),
        (2, MAY + timedelta(hours=9, minutes=5, microseconds=250), Decimal("0.10"), "a", "b"),
        (3, MAY - timedelta(microseconds=1), Decimal("0.01"), "a", "b"),
    ) == (
        "1,2024-05-03,1.00,a,b\n"
        "2,2024-05-03T09:05:00.000250Z,0.10,a,b\n"
        "3,2024-05-02T23:59:59.999999Z,0.01,a,b\n"
    )


def test_texts_are_quoted_only_when_they_must_be() -> None:
    assert written(
        (1, MAY, Decimal("1.00"), "Ropa, calzado", 'El "Sur"'),
        (2, MAY, Decimal("1.00"), "dos\nlíneas", "una\rlínea"),
        (3, MAY, Decimal("1.00"), " espacios ", "'simple'; punto"),
    ) == (
        '1,2024-05-03,1.00,"Ropa, calzado","El ""Sur"""\n'
        '2,2024-05-03,1.00,"dos\nlíneas","una\rlínea"\n'
        "3,2024-05-03,1.00, espacios ,'simple'; punto\n"
    )


def test_no_rows() -> None:
    assert encode_csv(batch()).to_pybytes() == b""
    assert encode_csv(Generator(Config()).columns(0, 0)).to_pybytes() == b""


def test_a_slice_is_written_alone() -> None:
    sales = Generator(Config()).batch(0, 100)
    assert encode_csv(sales.slice(40, 20)).equals(encode_csv(Generator(Config()).batch(40, 20)))


def test_codes_and_texts_are_written_alike() -> None:
    generator = Generator(Config())
    assert encode_csv(generator.columns(7, 3000)).equals(encode_csv(generator.batch(7, 3000)))


def test_more_pairs_of_texts_than_are_looked_up_at_once() -> None:
    texts = tuple(f'"{i}", o así' for i in range(300))
    sales = Generator(Config(categories=texts, regions=texts)).batch(0, 1000)
    read = csv.reader(io.StringIO(encode_csv(sales).to_pybytes().decode(), newline=""))
    assert [tuple(row[3:]) for row in read] == [
        tuple(row.values())[3:] for row in sales.to_pylist()
    ]


def test_lines_hold_a_row_each() -> None:
    lines = csv_lines(Generator(Config()).columns(0, 3)).to_pylist()
    assert len(lines) == 3
    assert all(line.endswith("\n") and line.count(",") == 4 for line in lines)


def test_nulls_are_refused() -> None:
    columns = dict(Generator(Config()).columns(0, 2))
    columns["cantidad_de_venta"] = pa.array([Decimal("1.00"), None], pa.decimal128(12, 2))
    with pytest.raises(ValueError, match="cantidad_de_venta holds nulls"):
        encode_csv(columns)


rows = st.tuples(
    st.integers(1, 2**63 - 1),
    st.one_of(
        st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),
        st.dates(MAY.date()).map(lambda d: datetime(d.year, d.month, d.day)),
    ).map(lambda instant: instant.replace(tzinfo=UTC)),
    st.decimals(Decimal("0.01"), Decimal("9999999999.99"), places=2),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.sampled_from(["Norte", "Sur, Este", '"', "\r\n", "ñandú"]),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(rows, max_size=30))
def test_python_reads_back_what_was_written(sales: list[Row]) -> None:
    text = encode_csv(batch(*sales)).to_pybytes().decode()
    read = [
        (int(i), datetime.fromisoformat(d).replace(tzinfo=UTC), Decimal(a), c, r)
        for i, d, a, c, r in csv.reader(io.StringIO(text, newline=""))
    ]
    assert read == sales

from __future__ import annotations

import dataclasses
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celes_beam.contract import COLUMN_NAMES, MAX_RAW_BYTES, MAX_RECORD_BYTES
from celes_beam.errors import ColumnError, ConfigError, InputError, IntegrityError
from celes_beam.sales.csv_dialect import CsvDialect, CsvHeader, read_header
from celes_beam.sales.decode_csv import decode_csv
from celes_beam.sales.records import Block
from celes_beam.sales.rejected import Checked
from celes_beam.sales.texts import Notation
from celes_beam.sales.transform import Transform
from tests import hooks
from tests.sales import RULES
from tests.slow_csv import slow_rows

HEADER = ",".join(COLUMN_NAMES).encode()
PLAIN = CsvHeader(5, (0, 1, 2, 3, 4))
HOOKED = CsvHeader(5, (), names=COLUMN_NAMES)
GOOD = b"1,2024-01-31,5.50,Hogar,Norte\n"


def decode(
    data: bytes, header: CsvHeader = PLAIN, offset: int = 0, hook: str | None = None
) -> Checked:
    transform = None if hook is None else Transform(f"tests.hooks:{hook}")
    return decode_csv(
        Block.of(data), header, source="v.csv", offset=offset, rules=RULES, transform=transform
    )


def rejected(result: Checked) -> list[tuple[Any, ...]]:
    return [
        (r["position"], r["reasons"], r["column"], r["value"], r["raw"])
        for r in result.rejected.to_pylist()
    ]


def malformed(position: int, raw: bytes) -> tuple[Any, ...]:
    return (position, ["malformed"], None, None, raw)


fields = [
    st.sampled_from(
        [b"\xef\xbb\xbf1", b"1", b" 7 ", b"0x10", b'"12"', b"", b"0", b"x", b"\xff", b"+3", b"12.0"]
    ),
    st.sampled_from([b"2024-01-31", b'"2024-01-31 10:30"', b"2024-01-31T10:00:00Z", b"ayer", b""]),
    st.sampled_from(
        [
            b"5.50",
            b"5",
            b'"1.25"',
            b"1e2",
            b"500e-2",
            b"9e-99",
            b"5.555",
            b"-1",
            b"nan",
            b"NULL",
            b"",
        ]
    ),
    st.sampled_from([b"Hogar", "Electrónica".encode(), b'"a,b"', b'"a\nb"', b'"a\r\nb"', b"\xe9"]),
    st.sampled_from([b"Norte", b'"No""rte"', b'5" x', b'"a"x', b'"a" ', b"a\rb", b" ", b'"open']),
]
rows = st.tuples(*fields).map(b",".join)
wild_rows = st.one_of(
    rows, rows, st.sampled_from([b"", b"  ", b"1,2", GOOD[:-1], GOOD[:-1] + b",x", b",,,,", b"\r"])
)


def csv_of(lines: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    ended = st.tuples(lines, st.sampled_from([b"\n", b"\r\n"])).map(b"".join)
    return st.lists(ended, max_size=12).map(b"".join)


def expected(data: bytes, reference: ModuleType) -> tuple[list[dict[str, Any]], list[Any]]:
    accepted, wrong = [], []
    for position, raw, record in slow_rows(data, MAX_RECORD_BYTES):
        try:
            values = [field.decode() or None for field in record or ()]
        except UnicodeDecodeError:
            values = []
        if len(values) != len(COLUMN_NAMES):
            wrong.append(malformed(position, raw))
            continue
        found = {
            name: reference.judge_text(name, value, RULES)
            for name, value in zip(COLUMN_NAMES, values, strict=True)
        }
        bad = [n for n in COLUMN_NAMES if isinstance(found[n], reference.Reason)]
        if bad:
            reasons = [str(found[n]) for n in bad]
            wrong.append((position, reasons, bad[0], values[COLUMN_NAMES.index(bad[0])], raw))
        else:
            accepted.append(found)
    return accepted, wrong


@settings(deadline=None, max_examples=500)
@given(csv_of(wild_rows) | csv_of(rows) | csv_of(st.just(GOOD[:-1])))
def test_agrees_with_reading_and_judging_one_byte_and_row_at_a_time(
    reference: ModuleType, data: bytes
) -> None:
    result = decode(data)
    accepted, wrong = expected(data, reference)
    assert rejected(result) == wrong
    assert result.accepted.to_pylist() == accepted


@settings(deadline=None, max_examples=200)
@given(csv_of(wild_rows) | csv_of(rows), st.sampled_from(["same", "sliced"]))
def test_a_transform_that_changes_nothing_changes_nothing(data: bytes, hook: str) -> None:
    result = decode(data, HOOKED, 7, hook)
    plain = decode(data, PLAIN, 7)
    assert rejected(result) == rejected(plain)
    assert result.accepted.to_pylist() == plain.accepted.to_pylist()


def test_a_transform_gets_all_fields_by_name_and_makes_up_for_missing_ones() -> None:
    line = b"Tienda;Cliente;fecha_de_transaccion;categoria_de_producto;centimos;\n"
    mapping = {"id_cliente": "cliente"}
    header = read_header(line, CsvDialect(), mapping, "v.csv", every_field=True)
    assert header.names == ("Tienda", "id_cliente", *COLUMN_NAMES[1::2], "centimos", "")

    named = dataclasses.replace(header, names=("tienda", *header.names[1:]))
    data = b"N-1;7;2024-01-31;Hogar;550;\xff\n" + b"S-1;8;2024-01-31;Hogar;-1;x\nx;y\n"
    result = decode(data, named, 100, "region_of_shop")

    (row,) = result.accepted.to_pylist()
    assert (row["id_cliente"], row["cantidad_de_venta"]) == (7, Decimal("5.50"))
    first, second = data.splitlines()[1:]
    reasons = ["out_of_range", "missing"]
    assert rejected(result) == [
        (129, reasons, "cantidad_de_venta", "-0.01", first),
        malformed(129 + len(first) + 1, second),
    ]


@pytest.mark.parametrize(
    ("header", "mapping", "says"),
    [
        (b"Id_cliente,ID_CLIENTE", None, "column id_cliente is there 2 times"),
        (b"x", {"id_cliente": "cliente"}, "no column for id_cliente"),
    ],
)
def test_a_transform_makes_up_for_no_header_that_was_named_or_is_there_twice(
    header: bytes, mapping: dict[str, str] | None, says: str
) -> None:
    with pytest.raises(ColumnError, match=says):
        read_header(header, CsvDialect(), mapping, "v.csv", every_field=True)


def test_headers_that_are_alike_are_told_apart() -> None:
    line = b"id_cliente,ID_CLIENTE ,x,x"
    found = read_header(line, CsvDialect(), None, "v.csv", every_field=True).names
    assert found == ("id_cliente", "ID_CLIENTE", "x", "x_2")


def test_a_transform_that_fails_rejects_the_rows_it_was_given_and_no_others() -> None:
    result = decode(GOOD + b"1,2\n" + GOOD, HOOKED, 0, "fail")
    why = "--transform tests.hooks:fail raised RuntimeError: no tariff for 2 rows (hooks.py, line "
    first, second, third = rejected(result)
    assert result.rows == 3
    assert first[:3] == (0, ["transform_failed"], None)
    assert first[3].startswith(why)
    assert second == malformed(len(GOOD), b"1,2")
    assert (third[0], third[4]) == (len(GOOD) + 4, GOOD[:-1])


def test_a_transform_is_called_once_a_block_and_not_for_nothing() -> None:
    hooks.calls.clear()
    for data in (GOOD * 3, b"", b"\n\r\n", b"1,2\n", GOOD + b'"'):
        decode(data, HOOKED, 0, "count")
    assert hooks.calls == [3, 1]


BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize("before", [b"", GOOD, b"x,,,,\n", b"\n"])
@pytest.mark.parametrize("after", [b"", GOOD, b"x,,,,\n"])
def test_a_byte_order_mark_within_a_file_is_a_part_of_its_field(
    before: bytes, after: bytes
) -> None:
    result = decode(before + BOM + GOOD + after)
    raws = result.rejected.column("raw").to_pylist()
    assert BOM + GOOD[:-1] in raws
    last = CsvHeader(5, (4, 1, 2, 3, 0))
    for mark in (BOM, BOM * 2):
        data = before + mark + b"Norte,2024-01-31,5.50,Hogar,1\n" + after
        names = decode(data, last).accepted.column("region_de_venta").to_pylist()
        assert mark.decode() + "Norte" in names


@pytest.mark.parametrize("beside", [b"", GOOD, b"x,,,,\n"])
def test_a_name_with_a_nul_is_unparseable(beside: bytes) -> None:
    wrong = GOOD.replace(b"Hogar", b"Ho\0gar")
    found = [r for r in rejected(decode(beside + wrong)) if r[4] == wrong[:-1]]
    assert found == [(len(beside), ["unparseable"], "categoria_de_producto", "Ho\0gar", wrong[:-1])]


@pytest.mark.parametrize("count", [1, 3, 5000])
def test_one_wrong_row_leaves_its_neighbours_alone(count: int) -> None:
    before, after = GOOD * count, GOOD * 2
    for wrong in (b"1,2", b"1,2,3,4,5,6", b"\xff,2024-01-31,1,a,b", b'"a"b,1,2,3,4'):
        result = decode(before + wrong + b"\n" + after, offset=100)
        assert result.accepted.num_rows == count + 2
        if wrong[:1] == b"\xff" or wrong.count(b",") != 4 or wrong[:1] == b'"':
            assert rejected(result) == [malformed(100 + len(before), wrong)]


def test_reasons_of_a_row_in_contract_order_with_the_text_as_it_stood() -> None:
    result = decode(GOOD + b"007x, ,5.001,Hogar,\n")
    assert rejected(result) == [
        (
            len(GOOD),
            ["unparseable", "missing", "inexact", "missing"],
            "id_cliente",
            "007x",
            b"007x, ,5.001,Hogar,",
        )
    ]


@pytest.mark.parametrize("value", [b"nan", b"NaN", b"NULL", b"null", b"N/A", b"#N/A", b"-nan"])
def test_only_the_empty_text_is_missing(value: bytes) -> None:
    result = decode(b"1,2024-01-31," + value + b",Hogar,Norte\n")
    assert rejected(result)[0][1:4] == (["unparseable"], "cantidad_de_venta", value.decode())
    named = decode(b"1,2024-01-31,1," + value + b",Norte\n")
    assert named.accepted.column("categoria_de_producto").to_pylist() == [value.decode()]


@pytest.mark.parametrize("amount", ["123456789012e-146", "1E-113", "12345e-4"])
def test_small_exponents_are_read_by_our_own_rules(amount: str) -> None:
    result = decode(f"1,2024-01-31,{amount},Hogar,Norte\n".encode())

    assert rejected(result)[0][1:4] == (["inexact"], "cantidad_de_venta", amount)


def test_a_dash_after_an_e_may_stand_in_other_columns() -> None:
    result = decode(b"1,2024-01-31,123400e-2,e-commerce,Norte\n")

    assert result.accepted.to_pylist()[0]["cantidad_de_venta"] == Decimal("1234.00")


def test_hexadecimal_ids_are_refused_though_other_columns_may_hold_such_texts() -> None:
    result = decode(GOOD + b"2,2024-01-31,5.50,0xHogar,Norte\n")
    assert result.accepted.column("id_cliente").to_pylist() == [1, 2]
    result = decode(GOOD + b"0x10,2024-01-31,5.50,0xHogar,Norte\n")
    assert rejected(result)[0][1:4] == (["unparseable"], "id_cliente", "0x10")


def test_blank_lines_are_no_rows_and_blanks_are_a_malformed_one() -> None:
    result = decode(b"\n\r\n" + GOOD + b"\n" + GOOD + b" \n")
    assert result.rows == 3
    assert rejected(result) == [malformed(3 + 2 * len(GOOD) + 1, b" ")]


def test_a_record_longer_than_allowed_is_malformed_and_its_raw_bytes_cut() -> None:
    long = b"1,2024-01-31,5.50," + b"x" * MAX_RECORD_BYTES + b",Norte\n"
    result = decode(GOOD + long + GOOD)
    assert (result.rows, result.accepted.num_rows) == (3, 2)
    assert rejected(result) == [malformed(len(GOOD), long[:MAX_RAW_BYTES])]


def test_a_long_record_that_is_allowed_is_accepted() -> None:
    long = b"0" * (MAX_RECORD_BYTES - 100) + GOOD
    assert decode(long + GOOD).accepted.num_rows == 2


def test_a_quote_that_never_closes_costs_one_record() -> None:
    result = decode(GOOD + b'2,2024-01-31,5.50,"Hogar,Norte\n' + GOOD * 3)
    assert result.accepted.num_rows == 4
    assert rejected(result) == [malformed(len(GOOD), b'2,2024-01-31,5.50,"Hogar,Norte')]


def test_a_quote_that_closes_on_a_later_line_swallows_no_row_unseen() -> None:
    # Read by the letter, category and region of the first line would hold the second line.
    data = b'1,2024-01-31,1,"Hogar,Norte\n2,2024-01-31,2,"Ropa",Sur\n' + GOOD
    result = decode(data)
    assert result.accepted.num_rows == 1
    assert [r[1] for r in rejected(result)] == [["malformed"]]


def test_quotes_within_fields_are_characters() -> None:
    inches = b'3,2024-01-31,5.50,7" pipe,"Nor\nte"\n'
    for data in (inches.replace(b"3", b"1", 1) * 50 + GOOD, inches + GOOD + b"bad\n"):
        result = decode(data)
        assert result.accepted.column("categoria_de_producto")[0].as_py() == '7" pipe'
        assert result.accepted.num_rows == result.rows - data.count(b"bad")


def test_extra_columns_are_ignored_whatever_they_hold() -> None:
    header = read_header(
        b"a,region_de_venta,b," + HEADER.rpartition(b",")[0], CsvDialect(), {}, "v"
    )
    result = decode(b'\xff,Norte,"x\ny",1,2024-01-31,5.50,Hogar\n', header)
    assert result.accepted.to_pylist()[0]["cantidad_de_venta"] == Decimal("5.50")


def test_a_spanish_export() -> None:
    dialect = CsvDialect(encoding="latin-1", notation=Notation(",", "dd/mm/yyyy"))
    header = read_header(HEADER.replace(b",", b";"), dialect, None, "v.csv")
    rows = "1;31/01/2024;1234,50;Electrónica;Unión\n2;32/01/2024;1;Año;ñ\n".encode("latin-1")
    result = decode(rows, header)
    assert [str(v) for v in result.accepted.to_pylist()[0].values()] == [
        "1",
        "2024-01-31 00:00:00+00:00",
        "1234.50",
        "Electrónica",
        "Unión",
    ]
    wrong = rows.splitlines()[1]
    assert rejected(result) == [
        (len(rows) - len(wrong) - 1, ["unparseable"], "fecha_de_transaccion", "32/01/2024", wrong)
    ]


def test_every_date_of_a_fast_block_may_be_in_the_users_form() -> None:
    header = CsvHeader(5, (0, 1, 2, 3, 4), notation=Notation(date_format="dd/mm/yyyy"))
    result = decode(b"1,31/01/2024,5.50,Hogar,Norte\n" * 1000, header)
    assert result.accepted.num_rows == 1000
    assert decode(GOOD, header).rejected.num_rows == 1


def test_dates_with_and_without_an_offset_in_one_block() -> None:
    data = b"".join(
        b"1,%b,5.50,Hogar,Norte\n" % date
        for date in (b"2024-01-31T23:00:00-02:00", b"2024-02-01T01:00:00Z", b"2024-02-01 01:00")
    )
    for block in (data, b"".join(reversed(data.splitlines(keepends=True))), data[:40]):
        found = set(decode(block).accepted.column("fecha_de_transaccion").cast("int64").to_pylist())
        assert found == {1706749200000000}


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "mac-roman", "cp850"])
def test_codecs_of_one_byte_keep_positions(encoding: str) -> None:
    header = CsvHeader(5, (0, 1, 2, 3, 4), encoding=CsvDialect(encoding=encoding).encoding)
    good = "1,2024-01-31,5.50,Electrónica,Ñuble\n".encode(encoding)
    result = decode(good * 3 + b"mal\n" + good, header)
    assert result.accepted.column("region_de_venta").to_pylist() == ["Ñuble"] * 4
    assert rejected(result) == [malformed(3 * len(good), b"mal")]


def test_bytes_that_a_codec_does_not_have_are_malformed() -> None:
    header = CsvHeader(5, (0, 1, 2, 3, 4), encoding="cp1252")
    wrong = b"1,2024-01-31,5.50,Hog\x81ar,Norte"
    assert rejected(decode(GOOD + wrong + b"\n", header)) == [malformed(len(GOOD), wrong)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_header(delimiter: str) -> None:
    header = read_header(HEADER.replace(b",", delimiter.encode()), CsvDialect(), None, "v.csv")
    assert header.delimiter == delimiter
    assert decode(GOOD.replace(b",", delimiter.encode()), header).accepted.num_rows == 1


def test_headers_with_accents_case_blanks_quotes_and_byte_order_mark() -> None:
    line = '\ufeff"ID_Cliente", Fecha_de_Transacción ,CANTIDAD_DE_VENTA,otra,'.encode()
    line += "Categoría_de_producto,región_de_venta\r\n".encode()
    header = read_header(line, CsvDialect(), None, "v.csv")
    assert (header.fields, header.places) == (6, (0, 1, 2, 4, 5))


def test_a_header_that_cannot_be_used_says_why() -> None:
    with pytest.raises(ColumnError, match=r"^v\.csv: no column for region_de_venta;.*region"):
        read_header(HEADER.replace(b"region_de_venta", b"region"), CsvDialect(), None, "v.csv")
    with pytest.raises(ColumnError, match=r"^v\.csv: column id_cliente is there 2 times"):
        read_header(HEADER + b",id_cliente", CsvDialect(), None, "v.csv")
    with pytest.raises(ColumnError, match=r"^v\.csv: header 'id_cliente' would be both"):
        read_header(HEADER, CsvDialect(), {"region_de_venta": "id_cliente"}, "v.csv")
    with pytest.raises(InputError, match=r"byte f3 .* is not utf-8: .*--csv_encoding latin-1"):
        read_header("transacción".encode("latin-1"), CsvDialect(), None, "v.csv")
    with pytest.raises(InputError, match="quotes of the header"):
        read_header(b'"id_cliente,fecha', CsvDialect(), None, "v.csv")


@pytest.mark.parametrize("delimiter", [";;", "", '"', "\n", "ñ"])
def test_a_delimiter_that_cannot_be_used_is_refused(delimiter: str) -> None:
    with pytest.raises(ConfigError, match="expected one ASCII character"):
        CsvDialect(delimiter=delimiter)


@pytest.mark.parametrize(
    "encoding",
    ["klingon", "base64", "rot13", "", "idna", "punycode", "unicode_escape", "undefined"],
)
def test_an_encoding_that_is_none_is_refused(encoding: str) -> None:
    with pytest.raises(ConfigError, match="expected the name of a text encoding"):
        CsvDialect(encoding=encoding)


def test_which_codecs_keep_line_ends_and_delimiters_in_place() -> None:
    kept = [
        e for e in ("utf-8", "utf-8-sig", "cp1252", "koi8-r") if CsvDialect(None, e).keeps_bytes
    ]
    assert kept == ["utf-8", "utf-8-sig", "cp1252", "koi8-r"]
    others = ("utf-16", "utf-32-le", "shift_jis", "cp037", "utf-7")
    assert not any(CsvDialect(None, e).keeps_bytes for e in others)


def test_a_lone_carriage_return_ends_no_record() -> None:
    # To pyarrow these are two rows, which is also the number of line feeds.
    result = decode(GOOD[:-1] + b"\r" + GOOD + b"\n")
    assert rejected(result) == [malformed(0, GOOD[:-1] + b"\r" + GOOD[:-1])]


def test_a_row_that_the_parser_loses_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    parse = decode_csv.__globals__["_parse"]

    def lossy(*given: Any, **named: Any) -> Any:
        return parse(*given, **named).slice(1)

    monkeypatch.setitem(decode_csv.__globals__, "_parse", lossy)
    with pytest.raises(IntegrityError, match="3 records were found, but pyarrow made 2 rows"):
        decode(GOOD * 3)


def test_no_records() -> None:
    assert decode(b"").rows == 0
    assert decode(b"\n\n").rows == 0

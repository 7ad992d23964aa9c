from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celes_beam.contract import COLUMN_NAMES, MAX_RAW_BYTES, MAX_RECORD_BYTES
from celes_beam.sales.decode_ndjson import decode_ndjson
from celes_beam.sales.json_lines import MOST_OTHERS, LineDecoder, other_fields
from celes_beam.sales.rejected import Checked
from celes_beam.sales.texts import PLAIN_NOTATION, Notation
from celes_beam.sales.transform import Transform
from tests.sales import RULES

VALUES = {
    "id_cliente": 1,
    "fecha_de_transaccion": "2024-01-31",
    "cantidad_de_venta": 5.5,
    "categoria_de_producto": "Electrónica",
    "region_de_venta": "Norte",
}
GOOD = json.dumps(VALUES).encode() + b"\n"


def line(**changes: Any) -> bytes:
    return json.dumps({**VALUES, **changes}).encode() + b"\n"


def decode(
    data: bytes,
    mapping: dict[str, str] | None = None,
    notation: Notation = PLAIN_NOTATION,
    offset: int = 0,
    hook: str | None = None,
) -> Checked:
    return decode_ndjson(
        data,
        mapping,
        source="v.ndjson",
        offset=offset,
        rules=RULES,
        notation=notation,
        transform=None if hook is None else Transform(f"tests.hooks:{hook}"),
    )


def rejected(result: Checked) -> list[tuple[Any, ...]]:
    return [
        (r["position"], r["reasons"], r["column"], r["value"], r["raw"])
        for r in result.rejected.to_pylist()
    ]


def malformed(position: int, raw: bytes) -> tuple[Any, ...]:
    return (position, ["malformed"], None, None, raw)


def amounts(result: Checked) -> list[str]:
    return [str(value) for value in result.accepted.column("cantidad_de_venta").to_pylist()]


raw_lines = st.sampled_from(
    [
        GOOD[:-1],
        b" " + GOOD[:-1],
        line(extra={"a": [1, None]})[:-1],
        line(id_cliente="12")[:-1],
        line(id_cliente="0x10")[:-1],
        line(id_cliente=True)[:-1],
        line(cantidad_de_venta="7.25")[:-1],
        line(cantidad_de_venta=7.255)[:-1],
        line(cantidad_de_venta=None)[:-1],
        line(fecha_de_transaccion="2024-01-31T10:00:00+02:00")[:-1],
        line(fecha_de_transaccion=20240131)[:-1],
        line(region_de_venta=["Norte"])[:-1],
        line(region_de_venta=5)[:-1],
        line(region_de_venta='No"rte\n')[:-1],
        line(extra=float("nan"))[:-1],
        b'{"id_cliente": 1}',
        b'{"id_cliente": 1, "id_cliente": 2}',
        b"{",
        b"[1]",
        b"5",
        b"null",
        b"",
        b"  ",
        GOOD[:-1] + b" x",
        GOOD[:-1] + GOOD[:-1],
        GOOD[:-1].replace(b"Norte", b"\xff"),
        GOOD[:-1].replace(b"Norte", b"\\ud800"),
        GOOD[:-1].replace(b"id_cliente", b"ID_Cliente"),
        b'{"ID_CLIENTE": 8, ' + GOOD[1:-1],
        GOOD[:-2] + b', "ID_CLIENTE": 8}',
        GOOD[:-2] + b', "id\\u005fcliente": 8}',
        GOOD[:-2] + b', "id_cliente": 8}',
        GOOD[:-2] + b', "id_cliente": null}',
        GOOD[:-2] + ', "categor\u00eda_de_producto ": "Z"}'.encode(),
        GOOD[:-2] + b', "x": {"id_cliente": 9}}',
        GOOD[:-2] + b', "x": "\\"id_cliente\\": 9 [[{{"}',
        GOOD[:-2] + b', "x": 5}',
        GOOD[:-2] + b', "x": ' + b"[" * 99 + b"]" * 99 + b"}",
        GOOD[:-2] + b', "x": ' + b"[" * 100 + b"]" * 100 + b"}",
        GOOD[:-2] + b', "x": "' + b"[" * 200 + b'"}',
        GOOD[:-2] + b', "x": ' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
        GOOD[:-1].replace(b"5.5", b"123456789012e-146"),
        GOOD[:-1].replace(b"5.5", b'"123456789012E-146"'),
        GOOD[:-1].replace(b"5.5", b'"123456789012\\u0065-146"'),
        GOOD[:-1].replace(b"5.5", b'"123456789012e\\u002d146"'),
        GOOD[:-1].replace(b"5.5", b"550e-2"),
        GOOD[:-1].replace(b"Norte", b"Pre-venta 3e-4"),
        GOOD[:-1].replace(b"Norte", b"Nor\\u0000te"),
        GOOD[:-1].replace(b"Norte", b"N\\u006frte"),
        b"\xef\xbb\xbf" + GOOD[:-1],
        line(region_de_venta=True)[:-1],
        line(region_de_venta="__HIVE_DEFAULT_PARTITION__")[:-1],
    ]
)
texts = st.lists(
    st.tuples(raw_lines | st.just(GOOD[:-1]), st.sampled_from([b"\n", b"\r\n"])), max_size=8
).map(lambda lines: b"".join(a + b for a, b in lines))


@settings(deadline=None, max_examples=300)
@given(texts)
def test_a_block_comes_out_as_its_lines_one_by_one(data: bytes) -> None:
    whole = decode(data)
    parts, position = [], 0
    for one in data.splitlines(keepends=True):
        parts.append(decode(one, offset=position))
        position += len(one)
    assert whole.accepted.to_pylist() == [r for p in parts for r in p.accepted.to_pylist()]
    assert rejected(whole) == [r for p in parts for r in rejected(p)]
    assert whole.rows == sum(part.rows for part in parts)


@settings(deadline=None, max_examples=200)
@given(texts, st.sampled_from(["same", "sliced"]))
def test_a_transform_that_changes_nothing_changes_nothing(data: bytes, hook: str) -> None:
    result, plain = decode(data, hook=hook, offset=7), decode(data, offset=7)
    assert rejected(result) == rejected(plain)
    assert result.accepted.to_pylist() == plain.accepted.to_pylist()


def test_a_transform_gets_other_fields_as_texts_and_makes_up_for_missing_ones() -> None:
    usual = {"id_cliente": 7, "FECHA_de_transaccion": "2024-01-31", "categoria_de_producto": "x"}
    north = json.dumps({**usual, "tienda": "N-1", "centimos": 550}).encode()
    south = json.dumps({"centimos": "-1", "tienda": "S", "n": {"a": [1]}, **usual}).encode()

    result = decode(north + b"\n" + south + b"\n[]\n", hook="region_of_shop", offset=10)

    (row,) = result.accepted.to_pylist()
    assert (row["cantidad_de_venta"], row["region_de_venta"]) == (Decimal("5.50"), "Norte")
    after = 10 + len(north) + 1
    assert rejected(result) == [
        (after, ["out_of_range", "missing"], "cantidad_de_venta", "-0.01", south),
        malformed(after + len(south) + 1, b"[]"),
    ]


def test_other_fields_are_texts_or_json() -> None:
    raws = {
        "s": b'"\\u00e1"',
        "n": b"1.50",
        "b": b"true",
        "z": b"null",
        "o": b'{"a": [1]}',
    }
    columns = dict(other_fields([raws, {"late": b'""'}]))
    assert {name: array.to_pylist() for name, array in columns.items()} == {
        "s": ["\u00e1", None],
        "n": ["1.50", None],
        "b": ["true", None],
        "z": [None, None],
        "o": ['{"a": [1]}', None],
        "late": [None, ""],
    }


def test_keys_that_are_data_are_no_columns_of_a_transform() -> None:
    few = b"".join(line(**{f"k{i}": i}) for i in range(MOST_OTHERS))
    assert decode(few, hook="same").accepted.num_rows == MOST_OTHERS
    result = decode(few + line(one_more=1), hook="same")
    assert result.accepted.num_rows == 0
    reasons = {(*row[1], row[3].split(",")[0]) for row in rejected(result)}
    assert reasons == {
        (
            "transform_failed",
            "more than 256 different fields beside the columns in one block of rows",
        )
    }


def test_a_number_for_a_name_is_still_none_unless_a_transform_changes_it() -> None:
    wrong = line(region_de_venta=5)
    assert [row[1:4] for row in rejected(decode(wrong, hook="same"))] == [
        (["unparseable"], "region_de_venta", "5")
    ]
    changed = line(region_de_venta=5, tienda="N-1", centimos=1)
    assert decode(changed, hook="region_of_shop").accepted.num_rows == 1


@pytest.mark.parametrize(
    "wrong",
    [
        b"{",
        b"[1]",
        b'"text"',
        b"null",
        b"{}x",
        GOOD[:-1] * 2,
        GOOD[:-1].replace(b"Norte", b"\xff"),
        b'{"extra": NaN}',
        b"[" * 100_000,
        line(region_de_venta={"a": 1})[:-1],
        line(cantidad_de_venta=[5])[:-1],
    ],
)
def test_a_malformed_line_leaves_its_neighbours_alone(wrong: bytes) -> None:
    result = decode(GOOD * 3 + wrong + b"\r\n" + GOOD * 2, offset=10)
    assert result.accepted.num_rows == 5
    assert rejected(result) == [malformed(10 + 3 * len(GOOD), wrong[:MAX_RAW_BYTES])]


def test_undecodable_bytes_and_nan_are_malformed_in_ignored_values_too() -> None:
    for extra in (b'"\xff"', b"NaN", b"-Infinity"):
        wrong = b'{"extra": ' + extra + b", " + GOOD[1:]
        assert rejected(decode(wrong)) == [malformed(0, wrong[:-1])]


def test_blank_lines_are_no_rows() -> None:
    assert decode(b"\n\r\n" + GOOD + b"  \n" + GOOD[:-1]).rows == 2
    assert decode(b"").rows == 0
    assert decode(b"\n").rows == 0


@pytest.mark.parametrize(
    ("number", "amount"),
    [
        ("5", "5.00"),
        ("5.10", "5.10"),
        ("1.5e2", "150.00"),
        ("12.3400000000001", "12.34"),
        ("0.30000000000000004", "0.30"),
        ("9999999999.99", "9999999999.99"),
        ("1234567890.12", "1234567890.12"),
        ('"12.34"', "12.34"),
        ('" 12.34 "', "12.34"),
        ('"1\\u0032.34"', "12.34"),
    ],
)
def test_amounts_are_read_exactly(number: str, amount: str) -> None:
    data = GOOD.replace(b"5.5", number.encode())
    assert amounts(decode(data)) == [amount]
    # Beside a line that makes the whole block take the slow path.
    assert amounts(decode(data + b"x\n")) == [amount]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("5.555", "inexact"),
        ("12.340001", "inexact"),
        ("0", "out_of_range"),
        ("-1.5", "out_of_range"),
        ("10000000000", "out_of_range"),
        ("1e400", "out_of_range"),
        ("null", "missing"),
        ('""', "missing"),
        ('"nan"', "unparseable"),
        ("true", "unparseable"),
    ],
)
def test_amounts_that_are_refused(number: str, reason: str) -> None:
    result = decode(GOOD.replace(b"5.5", number.encode()))
    value = None if number == "null" else number.strip('"')
    assert rejected(result)[0][1:4] == ([reason], "cantidad_de_venta", value)


def test_an_amount_given_as_number_has_a_point_though_texts_have_a_comma() -> None:
    spanish = Notation(",", "dd/mm/yyyy")
    data = line(fecha_de_transaccion="31/01/2024") + line(
        fecha_de_transaccion="01/02/2024", cantidad_de_venta="7,25"
    )
    assert amounts(decode(data, notation=spanish)) == ["5.50", "7.25"]


def test_a_date_form_of_the_users() -> None:
    data = line(fecha_de_transaccion="31/01/2024") * 100
    assert decode(data, notation=Notation(date_format="dd/mm/yyyy")).accepted.num_rows == 100
    assert decode(data).rejected.num_rows == 100


def test_ids_as_strings() -> None:
    data = line(id_cliente="12") * 10
    assert decode(data).accepted.column("id_cliente").to_pylist() == [12] * 10
    result = decode(data + line(id_cliente="0x10"))
    assert rejected(result)[0][1:4] == (["unparseable"], "id_cliente", "0x10")


def test_dates_with_and_without_an_offset() -> None:
    data = line(fecha_de_transaccion="2024-02-01 01:00") + line(
        fecha_de_transaccion="2024-01-31T23:00:00-02:00"
    )
    found = decode(data).accepted.column("fecha_de_transaccion").cast("int64").to_pylist()
    assert found == [1706749200000000] * 2


def test_keys_are_matched_as_headers_are() -> None:
    renamed = dict(zip([name.upper() for name in COLUMN_NAMES], VALUES.values(), strict=True))
    renamed["FECHA_DE_TRANSACCIÓN"] = renamed.pop("FECHA_DE_TRANSACCION")
    renamed["household"] = renamed.pop("ID_CLIENTE")
    data = json.dumps(renamed).encode() + b"\n"
    mapping = {"id_cliente": "household"}
    for extra in (b"", b"x\n", b'{"Household": 1}\n'):
        result = decode(data * 2 + extra, mapping)
        assert result.accepted.to_pylist()[0]["cantidad_de_venta"] == Decimal("5.50")
        assert (result.accepted.num_rows, result.rejected.num_rows) == (2, int(bool(extra)))
    missing = decode(b'{"Household": 1}\n', mapping)
    assert rejected(missing)[0][1:3] == (["missing"] * 4, "fecha_de_transaccion")


def test_a_line_longer_than_allowed_is_malformed() -> None:
    long = line(extra="x" * MAX_RECORD_BYTES)
    result = decode(GOOD + long + GOOD)
    assert result.accepted.num_rows == 2
    assert rejected(result) == [malformed(len(GOOD), long[:MAX_RAW_BYTES])]


TWICE = [
    b'{"ID_CLIENTE": 8, ' + GOOD[1:],
    GOOD[:-2] + b', "ID_CLIENTE": null}\n',
    GOOD[:-2] + b', "id_cliente": 1}\n',
    GOOD[:-2] + b', "id\\u005fcliente": 1}\n',
    GOOD.replace(b"Norte", b"a\\u003ab\\u003a")[:-2] + b', "id\\u005fcliente": 1}\n',
    '{"regi\u00f3n_de_venta": "Sur", "regi\\u00f3n_de_venta": "Sur", '.encode()
    + GOOD[1:].replace(b', "region_de_venta": "Norte"', b""),
    GOOD[:-2] + ', "REGI\u00d3N_DE_VENTA": "Sur"}\n'.encode(),
]


@pytest.mark.parametrize("twice", TWICE)
@pytest.mark.parametrize("other", [b"", b"x\n", line(tienda=5), line(tienda=[5])])
def test_two_keys_for_one_column_are_malformed_whatever_stands_beside(
    twice: bytes, other: bytes
) -> None:
    for data in (twice + other, other + twice, GOOD + other + twice, other + twice + GOOD):
        found = {r["raw"] + b"\n": r["reasons"] for r in decode(data).rejected.to_pylist()}
        assert found.pop(twice) == ["malformed"]
        assert set(found) == ({other} if other == b"x\n" else set())


@pytest.mark.parametrize("key", ['a"b', "a\\b", "a\nb", "\0", "", "ñ", "😀", "x" * 5000])
def test_other_keys_may_be_anything(key: str) -> None:
    data = line(**{key: 5})
    assert decode(data * 2).accepted.num_rows == 2
    assert decode(data * 2 + b"x\n" + data).accepted.num_rows == 3
    mapping = {"id_cliente": key}
    renamed = data.replace(b"id_cliente", b"other")
    if key.strip():
        assert decode(renamed * 2, mapping).accepted.column("id_cliente").to_pylist() == [5, 5]
        assert decode(renamed + b"x\n", mapping).accepted.num_rows == 1


def test_further_keys_may_come_and_go_and_change_their_types() -> None:
    data = line(tienda=5) + line(tienda="a", caja=[1]) + line(otra={"id_cliente": 1}) + GOOD
    assert decode(data).accepted.num_rows == 4
    assert decode(data * 3 + b"x\n").accepted.num_rows == 12
    wide = line(**{f"k{i}": i for i in range(200)})
    assert decode(wide * 2 + b"x\n").accepted.num_rows == 2


@pytest.mark.parametrize("beside", [b"", GOOD, b"x\n"])
def test_how_deep_a_line_may_be_does_not_depend_on_the_others(beside: bytes) -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        # The object itself is the first level.
        fine = GOOD[:-2] + b', "x": ' + opening * 99 + b"1" + closing * 99 + b"}\n"
        deep = GOOD[:-2] + b', "x": ' + opening * 100 + b"1" + closing * 100 + b"}\n"
        result = decode(fine + beside + deep)
        assert [r["raw"] for r in result.rejected.to_pylist() if r["raw"] != b"x"] == [deep[:-1]]


@pytest.mark.parametrize("amount", ["123456789012e-146", '"123456789012e-146"', "1E-113"])
@pytest.mark.parametrize("beside", [b"", GOOD, b"x\n"])
def test_amounts_far_below_a_cent_are_inexact(amount: str, beside: bytes) -> None:
    found = decode(beside + GOOD.replace(b"5.5", amount.encode())).rejected.to_pylist()
    assert [r["reasons"] for r in found if r["raw"] != b"x"] == [["inexact"]]


def test_texts_that_look_like_exponents_are_left_alone() -> None:
    data = line(tienda="3e-4", region_de_venta="Pre-venta 1e-5") * 10
    assert decode(data).accepted.num_rows == 10


@pytest.mark.parametrize("value", ["7", "true", "1e2", "-0"])
@pytest.mark.parametrize("column", ["categoria_de_producto", "region_de_venta"])
def test_numbers_are_no_names(column: str, value: str) -> None:
    data = re.sub(rb'("%b": )"[^"]*"' % column.encode(), rb"\g<1>" + value.encode(), GOOD)
    for block in (data, GOOD + data, data + b"x\n"):
        (found, *_) = rejected(decode(block))
        assert found[1:4] == (["unparseable"], column, value)
    assert decode(line(**{column: value})).accepted.num_rows == 1


def test_a_name_with_a_nul_is_unparseable() -> None:
    for extra in (b"", b"x\n"):
        (found, *_) = rejected(decode(line(region_de_venta="Nor\0te") + extra))
        assert found[1:3] == (["unparseable"], "region_de_venta")


def test_a_broken_line_at_the_beginning_does_not_slow_down_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slowly: list[bytes] = []
    decode_any = LineDecoder._decode_any

    def count(decoder: LineDecoder, text: bytes, *others: Any) -> Any:
        slowly.append(text)
        return decode_any(decoder, text, *others)

    monkeypatch.setattr(LineDecoder, "_decode_any", count)
    rows = [line(id_cliente=n) for n in range(1, 50)]
    checked = decode(b"".join([b'{"a": 1}\n', b"{\n", *rows]))
    assert (checked.rows, checked.accepted.num_rows) == (51, 49)
    assert len(slowly) <= 2

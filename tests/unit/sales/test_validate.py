"""Judgement of whole rows agrees with the slow, obvious reference, whatever the values."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celes_beam.contract import (
    AMOUNT,
    CATEGORY,
    COLUMN_NAMES,
    DATE,
    ID,
    MIN_DATE,
    REGION,
    SCHEMA,
    Rules,
)
from celes_beam.sales.texts import Notation
from celes_beam.sales.validate import Verdict, accept_typed, judge_texts, judge_typed

STARTED = datetime(2025, 6, 1, 12, 30, tzinfo=UTC)
ANY = Rules(STARTED)
SOME = Rules(STARTED, categories=("Ropa", "Electrónica", "Pan y café"), regions=("Norte", "Sur"))
NOTATIONS = [
    Notation(),
    Notation(decimal_point=","),
    Notation(date_format="dd/mm/yyyy"),
    Notation(decimal_point=",", date_format="dd/mm/aaaa HH:MM:SS"),
    Notation(date_format="yyyymmdd"),
    Notation(date_format="MM-DD-YYYY"),
    Notation(date_format="%d.%m.%Y %H:%M"),
]
GOOD = {
    ID: 7,
    DATE: datetime(2024, 2, 29, 10, 11, 12, tzinfo=UTC),
    AMOUNT: Decimal("12.34"),
    CATEGORY: "Ropa",
    REGION: "Norte",
}
GOOD_TEXT = {ID: "7", DATE: "2024-02-29T10:11:12", AMOUNT: "12.34", CATEGORY: "Ropa", REGION: "Sur"}


def mixed(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("".join)


def digits(low: int, high: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=low, max_size=high)


space = st.sampled_from(["", "", "", "", " ", "\t ", "\u00a0", "\u2003", "\n"])
junk = st.one_of(
    st.none(),
    st.sampled_from(
        ["", " ", "\u3000", "abc", "nan", "NaN", "inf", "-inf", "None", "null", "0x10", "٣", "1_0"]
    ),
    st.text(max_size=8),
)
ids = st.one_of(
    junk,
    mixed(space, st.sampled_from(["", "", "+", "-", "--"]), digits(1, 21), space),
    st.integers(2**63 - 3, 2**63 + 3).map(str),
    mixed(digits(0, 3), st.sampled_from([".", ",", "."]), st.sampled_from(["", "0", "00", "5"])),
    st.just("9" * 300),
    st.just("0" * 300 + "5"),
)
amounts = st.one_of(
    junk,
    mixed(
        space,
        st.sampled_from(["", "", "", "+", "-"]),
        digits(0, 13),
        st.sampled_from([".", ".", ",", "", "..", "'"]),
        st.one_of(digits(0, 4), digits(0, 2).map(lambda d: d + "0" * 30)),
        st.sampled_from(["", "", "", "e2", "E-3", "e+1", "e", "e12", "e-99", "e99999999999", "e0"]),
        space,
    ),
    st.sampled_from(
        [
            "9999999999.99",
            "9999999999.990",
            "9999999999.999",
            "10000000000",
            "0.01",
            "0.001",
            "0.00",
            "-0",
            "1,234.56",
            "1.234,56",
            "$5",
            "0000000000000000000000000000012.34",
            "1234e-2",
            "12345e-3",
            "0e5",
            "1e-2",
            "1e9",
            "1e10",
            "0." + "0" * 200 + "1",
            "9" * 100,
        ]
    ),
)
two = st.one_of(st.integers(0, 32).map("{:02d}".format), digits(0, 3))
years = st.sampled_from(["2024", "2000", "1999", "2025", "0000", "9999", "24", "2023", "2100"])
times = mixed(
    st.sampled_from(["T", " ", "t", "", "  "]),
    st.sampled_from(["10", "23", "24", "00", "9"]),
    st.sampled_from(["", ":11", ":60", ":5", "11"]),
    st.sampled_from(["", ":12", ":59", ":60", ":1"]),
    st.sampled_from(["", ".5", ".123456", ".123456789", ".1234567890", ".", ",5"]),
)
zones = st.sampled_from(
    ["", "", "Z", "z", " UTC", "+05:00", "-0530", "+14", "+24:00", "+05:60", "-23:59", " Z", "EST"]
)
dates = st.one_of(
    junk,
    mixed(space, years, st.just("-"), two, st.just("-"), two, st.one_of(st.just(""), times), zones),
    mixed(two, st.just("/"), two, st.just("/"), years, st.one_of(st.just(""), times)),
    mixed(two, st.just("."), two, st.just("."), years, times),
    mixed(years, two, two),
    mixed(two, st.just("-"), two, st.just("-"), years, space),
    st.datetimes(datetime(1999, 12, 30), datetime(2000, 1, 3)).map(datetime.isoformat),
    st.datetimes(datetime(2025, 6, 2), datetime(2025, 6, 3)).map(datetime.isoformat),
    st.datetimes().map(lambda d: d.strftime("%d/%m/%Y %H:%M:%S")),
    st.datetimes(datetime(1990, 1, 1)).map(lambda d: d.strftime("%Y%m%d")),
    st.sampled_from(["2024-02-30", "31/31/2024", "29/02/2023", "29/02/2024", "2023-02-29"]),
)
names = st.one_of(
    junk,
    mixed(
        space,
        st.sampled_from(
            [
                "Ropa",
                "Electrónica",
                "Electro\u0301nica",
                "Pan y café",
                "Norte",
                "Sur",
                "norte",
                "é ",
                "Ro\0pa",
                "__HIVE_DEFAULT_PARTITION__",
                "__HIVE_DEFAULT_PARTITION_é",
            ]
        ),
        space,
    ),
    # The longest that can name a folder, and one longer, plain and escaped.
    st.tuples(st.integers(232, 240), st.sampled_from("aé")).map(lambda x: x[1] * x[0]),
    st.tuples(st.integers(76, 80), st.sampled_from("/=%:\x7f")).map(lambda x: x[1] * x[0]),
)
TEXTS = {ID: ids, DATE: dates, AMOUNT: amounts, CATEGORY: names, REGION: names}


@st.composite
def text_rows(draw: st.DrawFn) -> dict[str, list[str | None]]:
    rows = draw(st.integers(0, 12))
    columns = {}
    for column in COLUMN_NAMES:
        # Mostly good columns, else hardly a row would be accepted.
        values = draw(st.sampled_from([TEXTS[column], st.just(GOOD_TEXT[column])]))
        columns[column] = draw(st.lists(values, min_size=rows, max_size=rows))
    return columns


def sliced(values: list[Any], kind: pa.DataType) -> pa.Array:
    """An array that does not start at its buffers' start, nor end at their end."""
    return pa.array([values[0], *values, values[-1]] if values else [], kind).slice(1, len(values))


def decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with texts that stayed encoded decoded."""
    plain = [a.dictionary_decode() if pa.types.is_dictionary(a.type) else a for a in batch.columns]
    return pa.RecordBatch.from_arrays(plain, schema=SCHEMA)


def assert_same(
    verdict: Verdict, columns: dict[str, list[Any]], judge: Any, reference: Any, to_text: Any = str
) -> None:
    accepted, rejected = reference.judge_rows(columns, judge)
    assert verdict.rows == len(columns[ID])
    assert verdict.accepted.schema == SCHEMA
    verdict.accepted.validate(full=True)
    assert verdict.rejected.dtype == np.int64
    found = list(
        zip(
            verdict.rejected.tolist(),
            verdict.reasons.to_pylist(),
            verdict.columns.to_pylist(),
            verdict.values.to_pylist(),
            strict=True,
        )
    )
    assert found == [(i, r, c, None if v is None else to_text(v)) for i, r, c, v in rejected]
    assert verdict.accepted.to_pylist() == accepted


@settings(deadline=None, max_examples=400)
@given(text_rows(), st.sampled_from([ANY, SOME]), st.sampled_from(NOTATIONS))
def test_texts_agree_with_the_reference(
    reference: Any, columns: dict[str, list[str | None]], rules: Rules, notation: Notation
) -> None:
    arrays = {c: sliced(v, pa.string()) for c, v in columns.items()}

    def judge(column: str, text: str | None) -> Any:
        return reference.judge_text(
            column, text, rules, notation.decimal_point, notation.date_format
        )

    verdict = judge_texts(arrays, rules, notation)
    assert_same(verdict, columns, judge, reference)
    # Typed judgement of texts, encoded or not, is the same judgement.
    encoded = {c: a.dictionary_encode() for c, a in arrays.items()}
    assert_same(judge_typed(encoded, rules, notation), columns, judge, reference)
    batch = accept_typed(arrays, rules, notation)
    assert (batch is not None) == (len(verdict.rejected) == 0)
    assert batch is None or decoded(batch).equals(verdict.accepted)


@settings(deadline=None, max_examples=150)
@given(st.data())
@pytest.mark.parametrize("column", COLUMN_NAMES)
def test_each_text_column_agrees_with_the_reference(
    reference: Any, column: str, data: st.DataObject
) -> None:
    texts = data.draw(st.lists(TEXTS[column], min_size=1, max_size=40))
    notation = data.draw(st.sampled_from(NOTATIONS))
    good = {**GOOD_TEXT, DATE: _written(GOOD[DATE], notation)}
    good[AMOUNT] = good[AMOUNT].replace(".", notation.decimal_point)
    columns = {c: [good[c]] * len(texts) for c in COLUMN_NAMES} | {column: texts}
    arrays = {c: sliced(v, pa.string()) for c, v in columns.items()}
    judge = partial(_judge_text, reference, notation)
    assert_same(judge_texts(arrays, SOME, notation), columns, judge, reference)


def _judge_text(reference: Any, notation: Notation, column: str, text: str | None) -> Any:
    return reference.judge_text(column, text, SOME, notation.decimal_point, notation.date_format)


def _written(moment: datetime, notation: Notation) -> str:
    return {
        None: "2024-02-29 10:11:12",
        "dd/mm/yyyy": "29/02/2024",
        "dd/mm/aaaa HH:MM:SS": "29/02/2024 10:11:12",
        "yyyymmdd": "20240229",
        "MM-DD-YYYY": "02-29-2024",
        "%d.%m.%Y %H:%M": "29.02.2024 10:11",
    }[notation.date_format]


near_cents = st.integers(-5, 10**12 + 5).flatmap(
    lambda c: st.sampled_from([c / 100, c / 100 + 1e-12, c / 100 + 1e-3, c / 100 * (1 + 2e-16)])
)
naive = st.datetimes(datetime(1970, 1, 1), datetime(2030, 1, 1))
seconds = naive.map(lambda d: d.replace(microsecond=0))
aware = naive.map(lambda d: d.replace(tzinfo=UTC))


def scaled(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    top = 10**precision - 1
    numbers = st.one_of(st.integers(-top, top), st.integers(0, min(top, 10 ** (scale + 4))))
    cents = st.integers(0, min(top, 10**12 + 10)).map(
        lambda c: min(top, c * 10 ** max(scale - 2, 0))
    )
    return st.one_of(numbers, cents).map(lambda n: Decimal((n < 0, _digits(n), -scale)))


def _digits(n: int) -> tuple[int, ...]:
    return tuple(map(int, str(abs(n))))


blob = st.one_of(st.sampled_from([b"5", b"12.34", b"2024-01-01", b"Sur", b" ", b"\xff"]))
TYPED: dict[str, list[tuple[pa.DataType, st.SearchStrategy[Any]]]] = {
    ID: [
        (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
        (pa.int8(), st.integers(-3, 3)),
        (pa.uint64(), st.integers(0, 2**64 - 1)),
        (pa.float64(), st.floats()),
        (pa.float64(), st.integers(-3, 2**54).map(float)),
        (pa.float32(), st.floats(width=32)),
        (pa.decimal128(20, 0), scaled(20, 0)),
        (pa.decimal128(8, 2), scaled(8, 2)),
        (pa.bool_(), st.booleans()),
        (pa.binary(), blob),
        (pa.null(), st.none()),
        (pa.list_(pa.int64()), st.lists(st.integers(0, 3))),
        (pa.date32(), st.dates()),
    ],
    DATE: [
        (pa.timestamp("us"), naive),
        (pa.timestamp("us", tz="UTC"), aware),
        (pa.timestamp("us", tz="America/Bogota"), aware),
        (pa.timestamp("ms"), seconds),
        (pa.timestamp("s"), seconds),
        (pa.timestamp("ns"), naive),
        (pa.date32(), st.dates()),
        (pa.date64(), st.dates(date(1990, 1, 1))),
        (pa.time64("us"), st.times()),
        (pa.duration("us"), st.timedeltas(timedelta(0), timedelta(9))),
        (pa.int64(), st.integers(0, 10**10)),
        (pa.binary(), blob),
        (pa.large_string(), dates),
    ],
    AMOUNT: [
        (pa.decimal128(12, 2), scaled(12, 2)),
        (pa.decimal128(18, 2), scaled(18, 2)),
        (pa.decimal128(38, 9), scaled(38, 9)),
        (pa.decimal128(9, 1), scaled(9, 1)),
        (pa.decimal128(30, 25), scaled(30, 25)),
        (pa.decimal256(60, 4), scaled(60, 4)),
        (pa.decimal256(76, 2), scaled(76, 2)),
        (pa.decimal128(11, -2), scaled(11, -2)),
        (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
        (pa.int32(), st.integers(-5, 2**31 - 1)),
        (pa.uint64(), st.integers(0, 2**64 - 1)),
        (pa.float64(), st.floats()),
        (pa.float64(), near_cents),
        (pa.float32(), st.floats(width=32)),
        (pa.bool_(), st.booleans()),
        (pa.binary(), blob),
        (pa.string_view(), amounts),
    ],
    CATEGORY: [
        (pa.large_string(), names),
        (pa.string_view(), names),
        (pa.dictionary(pa.int8(), pa.string()), names),
        (pa.dictionary(pa.int32(), pa.large_string()), names),
        (pa.large_binary(), blob),
        (pa.int64(), st.integers(0, 9)),
        (pa.null(), st.none()),
        (pa.struct([("a", pa.int64())]), st.just({"a": 1})),
    ],
}
TYPED[REGION] = TYPED[CATEGORY]


@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from([ANY, SOME]))
@pytest.mark.parametrize(
    ("column", "number"), [(c, i) for c, kinds in TYPED.items() for i in range(len(kinds))]
)
def test_typed_columns_agree_with_the_reference(
    reference: Any, column: str, number: int, data: st.DataObject, rules: Rules
) -> None:
    kind, strategy = TYPED[column][number]
    values = data.draw(st.lists(st.one_of(strategy, strategy, st.none()), max_size=15))
    good = SCHEMA.empty_table().schema
    columns = {c: [GOOD[c]] * len(values) for c in COLUMN_NAMES} | {column: values}
    arrays = {c: sliced(v, good.field(c).type) for c, v in columns.items() if c != column}
    arrays[column] = sliced(values, kind)
    columns[column] = arrays[column].to_pylist()

    def judge(name: str, value: Any) -> Any:
        return reference.judge_value(name, value, rules)

    verdict = judge_typed(arrays, rules)
    # How a value of some type is shown is for people to read, and another test's.
    shown = verdict.values.to_pylist()
    verdict = Verdict(
        verdict.rows,
        verdict.accepted,
        verdict.rejected,
        verdict.reasons,
        verdict.columns,
        pa.array([None if v is None else "…" for v in shown], pa.string()),
    )
    assert_same(verdict, columns, judge, reference, to_text=lambda _: "…")
    batch = accept_typed(arrays, rules)
    assert (batch is not None) == (len(verdict.rejected) == 0)
    assert batch is None or decoded(batch).equals(verdict.accepted)


def typed(rows: int, **changed: Any) -> dict[str, pa.Array]:
    columns = {f.name: pa.array([GOOD[f.name]] * rows, f.type) for f in SCHEMA}
    return {**columns, **{c: pa.array(v) for c, v in changed.items()}}


def test_clean_typed_columns_are_passed_on_without_a_copy() -> None:
    columns = typed(5)
    batch = accept_typed(columns, ANY)
    assert batch is not None
    assert batch.schema == SCHEMA
    for name in COLUMN_NAMES:
        assert batch[name].buffers()[1].address == columns[name].buffers()[1].address


def test_encoded_names_stay_encoded() -> None:
    names = pa.array(["Ropa", "Electrónica", "Ropa"]).dictionary_encode()
    batch = accept_typed(typed(3) | {CATEGORY: names, REGION: names}, ANY)
    assert batch is not None
    assert batch[CATEGORY].equals(names)
    assert batch.schema.field(REGION).nullable is False
    # Names that no row uses do not count; the texts that are not normal are decoded to be mended.
    odd = pa.DictionaryArray.from_arrays(
        pa.array([1, 1, 0]), pa.array(["Sur", " Norte ", "", None])
    )
    batch = accept_typed(typed(3) | {CATEGORY: odd}, ANY)
    assert batch is not None
    assert batch[CATEGORY].to_pylist() == ["Norte", "Norte", "Sur"]


def test_timestamps_without_a_zone_are_utc_and_not_copied() -> None:
    columns = typed(3)
    columns[DATE] = columns[DATE].cast(pa.timestamp("us"))
    batch = accept_typed(columns, ANY)
    assert batch is not None
    assert batch[DATE].to_pylist() == [GOOD[DATE]] * 3
    assert batch[DATE].buffers()[1].address == columns[DATE].buffers()[1].address


@pytest.mark.parametrize(
    ("moment", "fine"),
    [
        (MIN_DATE, True),
        (MIN_DATE - timedelta(microseconds=1), False),
        (STARTED + timedelta(days=1), True),
        (STARTED + timedelta(days=1, microseconds=1), False),
    ],
)
def test_bounds_of_dates_are_inclusive(moment: datetime, fine: bool) -> None:
    columns = typed(1) | {DATE: pa.array([moment], pa.timestamp("us", tz="UTC"))}
    assert (accept_typed(columns, ANY) is not None) == fine
    text = {c: pa.array([GOOD_TEXT[c]]) for c in COLUMN_NAMES}
    text[DATE] = pa.array([moment.isoformat()])
    verdict = judge_texts(text, ANY)
    assert verdict.reasons.to_pylist() == ([] if fine else [["out_of_range"]])


def test_amounts_beyond_the_precision_of_their_type_are_out_of_range() -> None:
    # pyarrow's CSV reader puts 12345678901 into a decimal128(12, 2) without a word.
    words = np.array([[1234567890100, 0], [1, 1], [1, 0]], np.int64)
    array = pa.Array.from_buffers(pa.decimal128(12, 2), 3, [None, pa.py_buffer(words)])
    columns = typed(3) | {AMOUNT: array}
    assert accept_typed(columns, ANY) is None
    assert judge_typed(columns, ANY).rejected.tolist() == [0, 1]


def test_every_wrong_column_gives_a_reason_in_contract_order() -> None:
    columns = {
        ID: pa.array(["x", "1", None]),
        DATE: pa.array(["2024-01-01", "1990-01-01", "soon"]),
        AMOUNT: pa.array(["1.234", "0", "1"]),
        CATEGORY: pa.array(["Pan", "Ropa", " "]),
        REGION: pa.array(["Norte", "", "Norte"]),
    }
    verdict = judge_texts(columns, SOME)
    assert verdict.rejected.tolist() == [0, 1, 2]
    assert verdict.reasons.to_pylist() == [
        ["unparseable", "inexact", "unknown"],
        ["out_of_range", "out_of_range", "missing"],
        ["missing", "unparseable", "missing"],
    ]
    assert verdict.columns.to_pylist() == [ID, DATE, ID]
    assert verdict.values.to_pylist() == ["x", "1990-01-01", None]


def test_values_are_shown_as_they_stood() -> None:
    columns = typed(
        6,
        **{
            ID: [0, 1, 1, 1, 1, 1],
            AMOUNT: [1.0, 0.125, 1.0, 1.0, 1.0, 1.0],
            CATEGORY: [b"a", b"a", b" ", b"a\xff", b"a", b"a"],
            REGION: [True] * 6,
        },
    )
    verdict = judge_typed(columns, ANY)
    assert verdict.values.to_pylist() == ["0", "0.125", " ", "a�", "true", "true"]


def test_parts_of_a_microsecond_are_cut_off() -> None:
    nanos = pa.array([1_700_000_000_123_456_789]).view(pa.timestamp("ns"))
    batch = accept_typed(typed(1) | {DATE: nanos}, ANY)
    assert batch is not None
    assert batch[DATE].cast(pa.int64()).to_pylist() == [1_700_000_000_123_456]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_far_away_timestamps_do_not_wrap_around(unit: str) -> None:
    ends = pa.array([-(2**63), 2**63 - 1]).view(pa.timestamp(unit))
    verdict = judge_typed(typed(2) | {DATE: ends}, ANY)
    assert verdict.reasons.to_pylist() == [["out_of_range"]] * 2


def test_no_rows() -> None:
    texts = {c: pa.array([], pa.string()) for c in COLUMN_NAMES}
    for verdict in (judge_texts(texts, SOME), judge_typed(typed(0), SOME)):
        assert verdict.rows == 0
        assert verdict.accepted.num_rows == 0
        assert verdict.reasons.to_pylist() == []
    batch = accept_typed(typed(0), SOME)
    assert batch is not None
    assert batch.schema == SCHEMA


def test_columns_of_one_length_are_needed() -> None:
    with pytest.raises(ValueError, match="same length"):
        accept_typed(typed(2) | {ID: pa.array([1])}, ANY)


def test_a_blank_name_is_missing_even_when_configured() -> None:
    rules = Rules(STARTED, categories=("", "Ropa"))
    columns = typed(2) | {CATEGORY: pa.array(["", "Ropa"])}
    assert accept_typed(columns, rules) is None
    assert judge_typed(columns, rules).reasons.to_pylist() == [["missing"]]


def test_arrow_strips_what_python_strips() -> None:
    every = [chr(i) for i in range(0x110000) if not 0xD800 <= i < 0xE000]
    blank = pc.equal(pc.utf8_trim_whitespace(pa.array(every)), "").to_pylist()
    assert blank == [c.isspace() for c in every]

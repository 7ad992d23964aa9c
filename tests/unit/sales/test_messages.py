from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celes_beam.contract import MAX_RAW_BYTES, MAX_RECORD_BYTES, REJECTED_SCHEMA, SCHEMA
from celes_beam.errors import IntegrityError
from celes_beam.sales import message_records
from celes_beam.sales.messages import (
    CheckedMessages,
    Drift,
    MessageRules,
    Messages,
    check_messages,
    key_of_row,
)
from celes_beam.sales.texts import Notation
from tests.messages import (
    GZIP,
    PUBLISHED,
    SOURCE,
    VALUES,
    check,
    malformed,
    messages_of,
    rejected,
    row_ids,
    sale,
)
from tests.sales import RULES

GOOD = sale()
WRONG = sale(id_cliente=-1)
PRETTY = json.dumps(VALUES, indent=2).encode()


def wrong(message: int, raw: bytes, position: int = 0) -> tuple[Any, ...]:
    """A row of ``rejected`` of a sale whose id is -1."""
    return (message, position, ["out_of_range"], "id_cliente", "-1", raw)


def test_objects() -> None:
    checked = check(GOOD, sale(id_cliente=2))
    assert (checked.messages, checked.rows, checked.rejected.num_rows) == (2, 2, 0)
    assert checked.accepted.schema == SCHEMA
    assert checked.rejected.schema == REJECTED_SCHEMA
    assert checked.accepted.column("id_cliente").to_pylist() == [1, 2]
    assert row_ids(checked) == ["m0", "m1"]
    assert checked.other_fields is None


@pytest.mark.parametrize("drift", list(Drift))
def test_no_messages(drift: Drift) -> None:
    checked = check(drift=drift)
    assert (checked.messages, checked.rows, row_ids(checked)) == (0, 0, [])
    assert (checked.other_fields is not None) == (drift is Drift.KEEP)


@pytest.mark.parametrize("around", [b"", b"\n", b"\r\n", b" \t", b"\n\n  "])
@pytest.mark.parametrize("beside", [[], [b"x"], [PRETTY]])
def test_space_around_an_object(around: bytes, beside: list[bytes]) -> None:
    checked = check(around + GOOD + around, *beside)
    assert row_ids(checked)[0] == "m0"


def test_an_object_of_several_lines_is_one() -> None:
    pretty_wrong = PRETTY.replace(b": 1,", b": -1,")
    for ends in (b"\n", b"\r\n"):
        as_sent = b"\n  " + pretty_wrong.replace(b"\n", ends) + b"\n"
        checked = check(PRETTY.replace(b"\n", ends), as_sent)
        assert row_ids(checked) == ["m0"]
        assert rejected(checked) == [wrong(1, as_sent.strip(), 3)]
        assert checked.rejected_whole.tolist() == [True]


@pytest.mark.parametrize("indent", [None, 2])
def test_arrays(indent: int | None) -> None:
    values = [VALUES, {**VALUES, "id_cliente": -1}, {**VALUES, "id_cliente": 3}]
    array = json.dumps(values, indent=indent).encode()
    checked = check(GOOD, b" " + array + b"\n", GOOD)
    assert row_ids(checked) == ["m0", "m1/0", "m1/2", "m2"]
    ((message, position, reasons, column, value, raw),) = rejected(checked)
    assert (message, reasons, column, value) == (1, ["out_of_range"], "id_cliente", "-1")
    assert json.loads(raw) == values[1]
    assert (b" " + array)[position:].startswith(raw)
    assert checked.rejected_whole.tolist() == [False]


def test_ndjson() -> None:
    data = b"\n" + GOOD + b"\r\n  \n" + WRONG + b"\r\nx\n" + sale(id_cliente=4)
    checked = check(GOOD, data)
    first = len(b"\n" + GOOD + b"\r\n  \n")
    assert row_ids(checked) == ["m0", "m1/0", "m1/3"]
    assert rejected(checked) == [
        wrong(1, WRONG, first),
        malformed(1, b"x", first + len(WRONG) + 2),
    ]
    assert not checked.rejected_whole.any()


def test_a_message_that_holds_one_record_has_its_own_id_and_is_whole() -> None:
    for data in (b"[%b]", b"\n%b\n", b"[\n%b\n]", b"%b\n \n"):
        assert row_ids(check(data % GOOD)) == ["m0"]
        assert check(data % WRONG).rejected_whole.tolist() == [True]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"\n\n",
        b" \r\n\t",
        b"\x0b",
        b"[]",
        b"[ \n ]",
        b"x",
        b"5",
        b"null",
        b'"a"',
        b"{",
        b"[",
        b"{}x",
        b"[%b" % GOOD,
        b"[%b]x" % GOOD,
        b"[%b,]" % GOOD,
        GOOD + GOOD,
        GOOD.replace(b"Norte", b"\xff"),
        GOOD.decode().encode("utf-16"),
        PRETTY[:-2],
        PRETTY + b"x",
        b"x\ny\n",
        b"[" * 100_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        gzip.compress(GOOD),
    ],
)
def test_messages_that_cannot_be_read(data: bytes) -> None:
    checked = check(GOOD, data, GOOD)
    assert row_ids(checked) == ["m0", "m2"]
    ((message, position, *others, raw),) = rejected(checked)
    assert (message, others) == (1, [["malformed"], None, None])
    assert raw in (data, data[position:].strip(b"\r\n"), data[:MAX_RAW_BYTES])
    assert checked.rejected_whole.tolist() == [True]


def test_items_of_an_array_that_are_no_objects() -> None:
    data = b'[1, %b, "a\\"]",\n[2, 3],null]' % GOOD
    checked = check(data)
    assert row_ids(checked) == ["m0/1"]
    assert rejected(checked) == [
        malformed(0, raw, data.index(raw)) for raw in (b"1", b'"a\\"]"', b"[2, 3]", b"null")
    ]


def test_an_array_with_an_object_that_is_no_row() -> None:
    twice = GOOD[:-1] + b', "ID_CLIENTE": 2}'
    checked = check(b"[%b,%b,{}]" % (twice, GOOD))
    assert row_ids(checked) == ["m0/1"]
    assert [reasons for _, _, reasons, *_ in rejected(checked)] == [
        ["malformed"],
        ["missing"] * 5,
    ]


def test_an_array_that_is_nested_too_deep_is_malformed_as_a_whole() -> None:
    for depth, rows in ((99, 2), (100, 0)):
        deep = GOOD[:-1] + b', "x": ' + b"[" * depth + b"]" * depth + b"}"
        data = b"[%b,%b]" % (GOOD, deep)
        checked = check(data)
        assert checked.accepted.num_rows == rows
        assert rejected(checked) == ([] if rows else [malformed(0, data)])
        beside = b"[%b%b\n]" % (b"1," * 200, deep)
        assert check(beside).rows == (201 if rows else 1)
        # By itself, or in a line, it is that object alone.
        assert check(deep, GOOD).accepted.num_rows == (rows or 1)
        assert check(deep + b"\n" + GOOD).accepted.num_rows == (rows or 1)


def test_a_byte_order_mark_before_a_message() -> None:
    mark = b"\xef\xbb\xbf"
    checked = check(mark + GOOD, mark + WRONG, mark + b"[%b]" % GOOD)
    assert row_ids(checked) == ["m0", "m2"]
    assert rejected(checked) == [wrong(1, WRONG, 3)]


@pytest.mark.parametrize("size", [MAX_RECORD_BYTES - 1, MAX_RECORD_BYTES])
def test_a_record_longer_than_allowed(size: int) -> None:
    long = GOOD[:-1] + b', "x": "' + b"a" * (size - len(GOOD) - len(b', "x": ""')) + b'"}'
    assert len(long) == size
    for data in ([long], [long, GOOD], [GOOD + b"\n" + long], [b"[%b]" % long]):
        checked = check(*data)
        found = [(reasons, raw) for _, _, reasons, _, _, raw in rejected(checked)]
        if size < MAX_RECORD_BYTES:
            assert found == []
        else:
            assert found == [(["malformed"], long[:MAX_RAW_BYTES])]


@pytest.mark.parametrize(
    "attributes",
    [GZIP, {"Content-Encoding": "GZIP"}, {"other": "x", "CONTENT-ENCODING": " gzip "}],
)
def test_gzip(attributes: dict[str, str]) -> None:
    packed = gzip.compress(GOOD + b"\n" + WRONG)
    members = gzip.compress(GOOD[:20]) + gzip.compress(GOOD[20:]) + bytes(3)
    checked = check(packed, GOOD, members, attributes=[attributes, {}, attributes])
    assert row_ids(checked) == ["m0/0", "m1", "m2"]
    assert rejected(checked) == [wrong(0, WRONG, len(GOOD) + 1)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD,
        gzip.compress(GOOD)[:-1],
        gzip.compress(GOOD)[:-8] + bytes(8),
        gzip.compress(GOOD) + b"x",
        zlib.compress(GOOD),
        gzip.compress(GOOD) + gzip.compress(GOOD)[:-5],
    ],
)
def test_what_is_no_gzip_though_it_says_so(data: bytes) -> None:
    checked = check(data, GOOD, attributes=[GZIP, {}])
    assert rejected(checked) == [malformed(0, data)]
    assert checked.rejected_whole.tolist() == [True]


@pytest.mark.parametrize("members", [1, 2])
def test_what_a_message_may_be_decompressed_to_is_bounded(members: int) -> None:
    blank = b" " * (message_records.MAX_MESSAGE_BYTES // members - len(GOOD))
    fits = gzip.compress(GOOD + blank, 1) + gzip.compress(blank, 1) * (members - 1)
    bomb = fits + gzip.compress(b" " * (len(GOOD) * members + 1))
    # What fits is read, though it is longer than a record may be; a bomb is kept as it came.
    for data, raw in ((fits, (GOOD + blank)[:MAX_RAW_BYTES]), (bomb, bomb[:MAX_RAW_BYTES])):
        checked = check(data, attributes=[GZIP])
        assert rejected(checked) == [malformed(0, raw)]


def test_how_many_records_a_message_may_hold_is_bounded() -> None:
    most = message_records.MAX_MESSAGE_RECORDS
    for data in (b"[" + b"{}," * most + b"{}]", b"{}\n" * most + b"{}", b"[" + b"1," * 10**7):
        assert rejected(check(data)) == [malformed(0, data[:MAX_RAW_BYTES])]


def test_large_batches_come_in_pieces_of_whole_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    data = [GOOD, b"x", b"[%b,1,%b]" % (GOOD, WRONG), b"", PRETTY, GOOD + b"\n" + WRONG] * 5
    whole = check(*data, drift=Drift.KEEP)
    monkeypatch.setattr(message_records, "_PIECE_BYTES", 200)
    pieces = check(*data, drift=Drift.KEEP)
    assert pieces.rows == whole.rows
    assert pieces.accepted.equals(whole.accepted)
    assert row_ids(pieces) == row_ids(whole)
    assert rejected(pieces) == rejected(whole)
    assert pieces.rejected_whole.tolist() == whole.rejected_whole.tolist()


def test_where_a_rejected_row_comes_from() -> None:
    checked = check(WRONG, b"[%b]" % WRONG, attributes=[{"order": "o1"}, {}], id_attribute="order")
    assert checked.rejected.column("source").to_pylist() == [f"{SOURCE}/m0", f"{SOURCE}/m1"]
    assert checked.rejected.column("position").to_pylist() == [0, 1]


def test_an_attribute_as_id() -> None:
    attributes = [{"order": "o1"}, {}, {"order": ""}, {"order": "o4"}]
    checked = check(
        GOOD, GOOD, GOOD, b"[%b,%b]" % (GOOD, GOOD), attributes=attributes, id_attribute="order"
    )
    assert row_ids(checked) == ["o1", "m1", "m2", "o4/0", "o4/1"]


@given(st.lists(st.tuples(st.from_regex(r"[ab](/[01]){0,2}", fullmatch=True), st.booleans())))
def test_no_two_messages_have_rows_of_one_id(made: list[tuple[str, bool]]) -> None:
    named = dict(made)
    data = [b"[%b, %b]" % (GOOD, GOOD) if several else GOOD for several in named.values()]
    checked = check(*data, attributes=[{"order": key} for key in named], id_attribute="order")
    found = row_ids(checked)
    assert len(set(found)) == len(found) == sum(1 + several for several in named.values())
    assert {key_of_row(row_id) for row_id in found} == set(named)


@pytest.mark.parametrize(
    ("text", "attempt"),
    [("1", 2), ("007", 8), ("2147483646", 2**31 - 1), ("2147483647", 2**31 - 1)]
    + [(t, 1) for t in ("", "x", "-1", "1.5", " 1", "٣", "²", "9" * 5000, "0")],
)
def test_attempts_are_counted_on(text: str, attempt: int) -> None:
    checked = check(WRONG, WRONG, attributes=[{"celes_attempt": text}, {}])
    assert checked.rejected.column("attempt").to_pylist() == [attempt, 1]


def test_dates_are_bounded_by_the_newest_publish_time() -> None:
    data = [sale(fecha_de_transaccion=day) for day in ("2026-01-02", "2026-01-02T00:00:01Z")]
    day = 86_400_000_000
    for last, accepted in ((PUBLISHED, ["m0"]), (PUBLISHED + day, ["m0", "m1"])):
        messages = Messages(data, [{}, {}], ["m0", "m1"], [last, PUBLISHED - day])
        checked = check_messages(messages, MessageRules(SOURCE))
        assert row_ids(checked) == accepted
    checked = check(*data)
    assert checked.rejected.column("rejected_at").to_pylist() == [RULES.started]


def test_rules_that_batch_has_too() -> None:
    data = GOOD.replace(b"id_cliente", b"household").replace(b"2024-01-31", b"31/01/2024")
    checked = check(
        data,
        sale(region_de_venta="Sur"),
        columns={"id_cliente": "household"},
        notation=Notation(date_format="dd/mm/yyyy"),
        categories=("Electrónica",),
        regions=("Norte",),
    )
    assert row_ids(checked) == ["m0"]
    assert [reasons for _, _, reasons, *_ in rejected(checked)] == [
        ["missing", "unparseable", "unknown"]
    ]


def test_numbers_that_do_not_add_up() -> None:
    good = check(GOOD)
    with pytest.raises(IntegrityError, match="1 messages with 2 rows"):
        CheckedMessages(
            1,
            2,
            good.accepted,
            good.accepted_ids,
            None,
            good.rejected,
            good.rejected_messages,
            good.rejected_whole,
            0,
        )
    with pytest.raises(IntegrityError, match="0 ids"):
        CheckedMessages(
            1,
            1,
            good.accepted,
            pa.array([], pa.string()),
            None,
            good.rejected,
            good.rejected_messages,
            good.rejected_whole,
            0,
        )


def test_messages_know_their_size_and_the_newest() -> None:
    messages = messages_of([b"abc", b"", b"d"])
    assert (len(messages), messages.size, messages.newest) == (3, 4, PUBLISHED)

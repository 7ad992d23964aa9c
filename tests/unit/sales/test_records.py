from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celes_beam.contract import MAX_RECORD_BYTES
from celes_beam.sales import record_ends
from celes_beam.sales.record_ends import find_records
from celes_beam.sales.records import (
    Block,
    count_lines,
    field_counts,
    has_lone_return,
    has_long_line,
    keep_records,
    line_ends,
    split_record,
    text_bounds,
)
from tests.slow_csv import slow_ends, slow_split

COMMA = ord(",")
LIMIT = 12

wild_texts = st.lists(
    st.sampled_from([b'"', b'""', b",", b"\n", b"\r\n", b"\r", b"a", b"bc", b" ", b'","', b"\xff"]),
    max_size=60,
).map(lambda parts: b"".join(parts) + b"\n")
regular_fields = st.sampled_from([b"", b"a", b"bcd", b'""', b'"e,f"', b'"g""h"', b'"i\n\njkl"'])
regular_texts = st.lists(
    st.tuples(st.lists(regular_fields, min_size=1, max_size=4), st.sampled_from([b"\n", b"\r\n"])),
    min_size=1,
    max_size=20,
).map(lambda rows: b"".join(b",".join(fields) + end for fields, end in rows))
texts = wild_texts | regular_texts


def as_array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def ends_of(data: bytes, *, final: bool = True) -> list[int]:
    return find_records(as_array(data), COMMA, final=final).ends.tolist()


@settings(deadline=None, max_examples=400)
@given(texts)
def test_records_end_where_reading_byte_by_byte_ends_them(data: bytes) -> None:
    assert ends_of(data) == slow_ends(data, MAX_RECORD_BYTES)


@settings(deadline=None, max_examples=400)
@given(texts, st.integers(0, 200))
def test_a_beginning_holds_the_first_of_all_records(data: bytes, size: int) -> None:
    every = ends_of(data)
    some = ends_of(data[:size], final=False)
    assert some == every[: len(some)]
    assert len(some) + 1 >= sum(end <= size for end in every[: len(some) + 1])


@pytest.fixture
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_ends, "MAX_RECORD_BYTES", LIMIT)


@pytest.mark.usefixtures("short_limit")
@settings(deadline=None, max_examples=600)
@given(texts, st.integers(0, 200))
def test_records_that_are_too_long_end_at_their_first_line(data: bytes, size: int) -> None:
    every = ends_of(data)
    assert every == slow_ends(data, LIMIT)
    some = ends_of(data[:size], final=False)
    assert some == every[: len(some)]
    rest = data[some[-1] if some else 0 : size]
    assert len(rest) <= LIMIT or b"\n" not in rest


def test_a_quote_that_never_closes_costs_one_line() -> None:
    data = b'1,"a\n2,b\n3,c\n'
    assert ends_of(data) == [5, 9, 13]
    assert ends_of(data, final=False) == []


def test_many_records_with_stray_quotes_are_found_one_by_one() -> None:
    line = b'7" pipe,"two\nlines",x\n'
    found = find_records(as_array(line * 500 + b"plain,a,b\n" * 200), COMMA, final=True)
    assert len(found.ends) == 700
    assert found.odd[:500].all()


def test_quotes_within_fields_are_nothing_special_to_other_readers() -> None:
    inches = b'1,7" pipe,x\n'
    found = find_records(as_array(inches * 500 + b'"a","b",c\n'), COMMA, final=True)
    assert found.odd.tolist() == [True] * 500 + [False]
    assert not found.ambiguous
    assert find_records(as_array(inches + b'"a"b\n'), COMMA, final=True).ambiguous
    assert find_records(as_array(b"a\rb\n"), COMMA, final=True).ambiguous


@settings(deadline=None, max_examples=300)
@given(texts)
def test_records_that_are_not_odd_follow_the_rules_of_csv(data: bytes) -> None:
    found = find_records(as_array(data), COMMA, final=True)
    starts, stops = text_bounds(as_array(data), found)
    for start, stop, odd in zip(starts, stops, found.odd, strict=True):
        record = data[start:stop]
        fields = split_record(record, COMMA)
        if not odd:
            reader = csv.reader(io.StringIO(record.decode("latin-1"), newline=""), strict=True)
            assert fields is not None
            assert [f.decode("latin-1") for f in fields] == (next(reader, None) or [""])


@settings(deadline=None, max_examples=300)
@given(texts)
def test_fields_of_regular_records_are_counted_all_at_once(data: bytes) -> None:
    found = find_records(as_array(data), COMMA, final=True)
    if found.odd.all():
        return
    regular = bytes(keep_records(memoryview(data), found, ~found.odd))
    own = find_records(as_array(regular), COMMA, final=True)
    starts, stops = text_bounds(as_array(regular), own)
    expected = [
        len(split_record(regular[a:b], COMMA) or []) for a, b in zip(starts, stops, strict=True)
    ]
    assert field_counts(as_array(regular), COMMA).tolist() == expected


@pytest.mark.parametrize(
    ("record", "fields"),
    [
        (b"", [b""]),
        (b",", [b"", b""]),
        (b'"a,b",c', [b"a,b", b"c"]),
        (b'"a""b",""', [b'a"b', b""]),
        (b'"a\nb"', [b"a\nb"]),
        (b'"a" ,b', [b"a", b"b"]),
        (b'a"b,c"', [b'a"b', b'c"']),
        (b'"a"b', None),
        (b'"a', None),
        (b'x,"', None),
        (b"a\rb", [b"a\rb"]),
    ],
)
def test_split_record(record: bytes, fields: list[bytes] | None) -> None:
    assert split_record(record, COMMA) == fields


@settings(deadline=None, max_examples=400)
@given(texts)
def test_records_are_split_as_byte_by_byte(data: bytes) -> None:
    assert split_record(data[:-1], COMMA) == slow_split(data[:-1])


def test_a_blank_may_be_the_delimiter() -> None:
    assert split_record(b'"a" b', ord(" ")) == [b"a", b"b"]


def test_odd_records_are_those_with_text_after_a_quote_or_a_lone_return() -> None:
    data = b'"a","b"\n"a"x,b\na,b\rc\r\n"a" ,b\na,"b"\r\na,b\n'
    found = find_records(as_array(data), COMMA, final=True)
    assert found.odd.tolist() == [False, True, True, True, False, False]


def test_lines_are_counted_across_pieces() -> None:
    data = b"ab\n" * 200_000
    assert count_lines(as_array(data)) == 200_000
    assert line_ends(as_array(b"a\n\nb\n")).tolist() == [2, 3, 5]


def test_a_long_line_is_noticed_wherever_it_stands() -> None:
    long = b"x" * MAX_RECORD_BYTES + b"\n"
    for before in (0, 1, 1000, 700_000):
        data = b"ab\n" * (before // 3) + long + b"ab\n" * 1000
        assert has_long_line(as_array(data))
    assert not has_long_line(as_array(b"ab\n" * 1_000_000))
    # Less than half a record to the line: surely none is too long.
    assert not has_long_line(as_array((b"x" * 500_000 + b"\n") * 8))


def test_lone_returns_are_told_from_line_ends() -> None:
    assert not has_lone_return(as_array(b"a\r\nb\r\n"))
    assert has_lone_return(as_array(b"a\r\r\nb\n"))


def test_a_block_ends_with_a_line_feed() -> None:
    assert bytes(Block.of(b"a").view) == b"a\n"
    assert bytes(Block.of(memoryview(b"a\nb")).view) == b"a\nb\n"
    assert Block.of(b"").size == 0
    block = Block(bytearray(b"a\nb\nrest"), 4)
    assert (bytes(block.view), block.has(b"b"), block.has(b"r")) == (b"a\nb\n", True, False)

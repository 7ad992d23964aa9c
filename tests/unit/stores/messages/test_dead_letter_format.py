from __future__ import annotations

import gzip
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from celes_beam.contract import EPOCH, REASONS, REJECTED_SCHEMA
from celes_beam.sales.messages import Messages
from celes_beam.stores.messages.dead_letter_format import (
    CUT,
    OURS,
    attributes_of_row,
    fit,
    read_dead_letters,
)
from celes_beam.stores.messages.topic_writer import (
    MOST_ATTRIBUTES,
    MOST_KEY_BYTES,
    MOST_VALUE_BYTES,
    message_size,
)

MOST = 400_000
AT = datetime(2026, 5, 3, 12, 30, 0, 250, tzinfo=UTC)
ROW: dict[str, Any] = {
    "source": "pubsub:projects/p/subscriptions/s/77",
    "position": 31,
    "reasons": ["missing", "inexact"],
    "column": "id_cliente",
    "value": "  ",
    "raw": b"{}",
    "rejected_at": AT,
    "rules_version": 1,
    "attempt": 2,
}


def pulled(*messages: tuple[bytes, dict[str, str]]) -> Messages:
    data, attributes = zip(*messages, strict=True)
    ids = [str(i) for i in range(len(data))]
    return Messages(list(data), list(attributes), ids, [1_000_000] * len(data))


def read(data: bytes, attributes: dict[str, str]) -> dict[str, Any]:
    batch = read_dead_letters(pulled((data, attributes)))
    assert batch.schema == REJECTED_SCHEMA
    (row,) = batch.to_pylist()
    return dict(row)


# Written


def test_attributes_tell_all_of_a_row() -> None:
    assert attributes_of_row(ROW, "77") == {
        "celes_reasons": "missing,inexact",
        "celes_attempt": "2",
        "celes_message_id": "77",
        "celes_source": "pubsub:projects/p/subscriptions/s/77",
        "celes_position": "31",
        "celes_column": "id_cliente",
        "celes_value": "  ",
        "celes_rejected_at": "2026-05-03T12:30:00.000250Z",
        "celes_rules_version": "1",
    }


def test_what_is_null_has_no_attribute() -> None:
    attributes = attributes_of_row(ROW | {"column": None, "value": None}, "77")
    assert not {"celes_column", "celes_value"} & set(attributes)


def test_attributes_are_added_to_those_that_were_there() -> None:
    theirs = {"sale": "42-1", "celes_attempt": "1", "celes_value": "old", "googclient_x": "JSON"}
    data, attributes = fit(b"x", theirs, {"celes_attempt": "2"}, MOST)
    assert (data, attributes) == (b"x", {"sale": "42-1", "celes_attempt": "2"})


def test_long_values_are_cut_at_a_character() -> None:
    for value in ("á" * 600, "€" * 400, "𝄞" * 300, "a" * 1025):
        _, attributes = fit(b"", {}, {"celes_value": value}, MOST)
        cut = attributes["celes_value"]
        assert cut.endswith("…")
        assert value.startswith(cut[:-1])
        assert MOST_VALUE_BYTES - 4 < len(cut.encode()) <= MOST_VALUE_BYTES
    whole = "á" * 512
    assert fit(b"", {}, {"celes_value": whole}, MOST)[1] == {"celes_value": whole}


def test_where_there_is_no_room_the_least_important_go_first() -> None:
    ours = attributes_of_row(ROW, "77")
    theirs = {f"k{i}": "v" for i in range(MOST_ATTRIBUTES - 2)}
    _, attributes = fit(b"x", theirs, ours, MOST)
    assert attributes == theirs | {"celes_reasons": "missing,inexact", "celes_attempt": "2"}
    full = {f"k{i}": "v" for i in range(MOST_ATTRIBUTES)}
    assert fit(b"x", full, ours, MOST) == (b"x", full)
    # And so where the bytes do not suffice.
    room = message_size(b"x" * 300_000, {"celes_reasons": "missing,inexact"})
    data, attributes = fit(b"x" * 300_000, {}, ours, room + 3)
    assert (len(data), attributes) == (300_000, {"celes_reasons": "missing,inexact"})


def test_data_that_do_not_fit_are_cut_and_say_so() -> None:
    ours = attributes_of_row(ROW, "77")
    data, attributes = fit(b"x" * (MOST + 1), {"sale": "1"}, ours, MOST)
    assert attributes == {"sale": "1", CUT: str(len(data))} | ours
    assert MOST - 10 <= message_size(data, attributes) <= MOST


def test_what_was_cut_once_always_says_so() -> None:
    _, attributes = fit(b"x", {CUT: "77", "celes_value": "old"}, {"celes_attempt": "2"}, MOST)
    assert attributes == {CUT: "77", "celes_attempt": "2"}
    full = {f"k{i}": "v" for i in range(MOST_ATTRIBUTES)}
    for ours, data in (({CUT: "77"}, b"x"), ({}, bytes(MOST + 1))):
        kept, attributes = fit(data, full, ours, MOST)
        assert attributes[CUT] == ("77" if ours else str(len(kept)))
        assert len(attributes) == MOST_ATTRIBUTES
        assert full.items() - attributes.items() == {("k99", "v")}


KEYS = st.text(min_size=1, max_size=64).filter(lambda text: len(text.encode()) <= MOST_KEY_BYTES)
VALUES = st.text(max_size=1024).filter(lambda text: len(text.encode()) <= MOST_VALUE_BYTES)
ATTRIBUTES = st.one_of(
    st.dictionaries(st.one_of(KEYS, st.sampled_from(OURS)), VALUES, max_size=6),
    st.integers(90, 100).map(lambda n: {f"k{i}": "v" * i for i in range(n)}),
)
TEXT = st.text()
ROWS = st.builds(
    lambda **row: ROW | row,
    source=TEXT,
    column=st.none() | TEXT,
    value=st.none() | TEXT | TEXT.map(lambda text: text * 500),
    reasons=st.lists(st.sampled_from(REASONS), min_size=1, max_size=5),
    position=st.integers(0, 2**63 - 1),
    attempt=st.integers(1, 2**31 - 1),
)


@given(ROWS, ATTRIBUTES, st.sampled_from([0, 1, MOST - 3_000, MOST - 200, MOST, MOST + 1]))
def test_whatever_is_rejected_keeps_the_limits_and_its_own(
    row: dict[str, Any], theirs: dict[str, str], size: int
) -> None:
    data = bytes(size)
    kept, attributes = fit(data, theirs, attributes_of_row(row, "1"), MOST)
    assert message_size(kept, attributes) <= MOST
    assert len(attributes) <= MOST_ATTRIBUTES
    assert all(0 < len(key.encode()) <= MOST_KEY_BYTES for key in attributes)
    assert all(len(value.encode()) <= MOST_VALUE_BYTES for value in attributes.values())
    own = {k: v for k, v in theirs.items() if k not in OURS and not k.startswith("goog")}
    if len(kept) < size:
        assert kept == data[: int(attributes[CUT])]
    if CUT in attributes:
        assert len(own.items() - attributes.items()) <= 1
    else:
        assert kept == data
        assert CUT not in theirs
        assert own.items() <= attributes.items()
    # What is left out of ours is the least important.
    ours = [key for key in OURS if key in attributes and key != CUT]
    assert ours == [key for key in OURS if key in attributes_of_row(row, "1")][: len(ours)]


# Read back


@given(ROWS)
def test_what_was_written_is_read_back(row: dict[str, Any]) -> None:
    assume(len(row["source"].encode()) <= MOST_VALUE_BYTES and row["source"])
    attributes = attributes_of_row(row, "1")
    data, attributes = fit(row["raw"], {"sale": "1"}, attributes, MOST)
    found = read(data, attributes)
    value = found.pop("value")
    expected = dict(row)
    original = expected.pop("value")
    assert found == expected
    assert value == original or original.startswith(value.removesuffix("…"))


def test_compressed_data_are_read_decompressed() -> None:
    packed = gzip.compress(b"{}")
    assert read(packed, {"Content-Encoding": "GZIP "})["raw"] == b"{}"
    assert read(packed, {})["raw"] == packed
    assert read(b"no gzip", {"content-encoding": "gzip"})["raw"] == b"no gzip"


def test_what_pubsub_itself_put_there_is_malformed() -> None:
    row = read(
        b"[]",
        {
            "CloudPubSubDeadLetterSourceDeliveryCount": "5",
            "CloudPubSubDeadLetterSourceSubscription": "ventas",
            "CloudPubSubDeadLetterSourceSubscriptionProject": "celes",
        },
    )
    assert row == {
        "source": "pubsub:projects/celes/subscriptions/ventas/0",
        "position": 0,
        "reasons": ["malformed"],
        "column": None,
        "value": None,
        "raw": b"[]",
        "rejected_at": EPOCH.replace(second=1),
        "rules_version": 0,
        "attempt": 1,
    }


@given(st.binary(max_size=40), st.dictionaries(st.sampled_from(OURS), st.text(max_size=30)))
def test_any_message_is_read(data: bytes, attributes: dict[str, str]) -> None:
    row = read(data, attributes)
    assert row["raw"] == data
    assert row["attempt"] >= 1
    assert row["reasons"]
    assert set(row["reasons"]) <= set(REASONS)


@pytest.mark.parametrize("number", ["", "-1", "x", "1e3", "٣", "9" * 19, "9" * 5000, " 4"])
def test_numbers_that_are_none_are_not_believed(number: str) -> None:
    attributes = dict.fromkeys(("celes_attempt", "celes_position", "celes_rules_version"), number)
    row = read(b"", attributes)
    if number == "9" * 19:
        assert (row["attempt"], row["rules_version"]) == (2**31 - 1, 2**31 - 1)
        assert row["position"] == 2**63 - 1
    else:
        assert (row["attempt"], row["position"], row["rules_version"]) == (1, 0, 0)


@pytest.mark.parametrize(
    "time", ["", "ayer", "2026-05-03", "2026-05-03T12:00:00", "0001-01-01T00:00:00+23:59"]
)
def test_times_that_are_none_are_that_of_the_message(time: str) -> None:
    assert read(b"", {"celes_rejected_at": time})["rejected_at"] == EPOCH.replace(second=1)


def test_no_messages_are_no_rows() -> None:
    assert read_dead_letters(Messages([], [], [], [])).schema == REJECTED_SCHEMA

"""Rejected rows in a topic of the local Pub/Sub, and back from there."""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Iterator

import pyarrow as pa
import pytest
from google.api_core.exceptions import RetryError

from celes_beam.contract import MAX_RAW_BYTES, REJECTED_SCHEMA
from celes_beam.errors import StorageError, UsageError
from celes_beam.sales.message_records import MessageRecords, read_records
from celes_beam.sales.messages import MessageRules, Messages, check_messages
from celes_beam.sales.refused_rows import refused_batch
from celes_beam.stores.messages.dead_letters import DeadLetters, read_dead_letters
from celes_beam.stores.messages.topic_writer import (
    MOST_BYTES,
    TopicWriter,
    message_size,
    most_message_bytes,
)
from tests.messages import GZIP, SOURCE, check, messages_of, sale
from tests.sales import NOON, sales_batch
from tests.topics import Topic

MISSING = "projects/celes-dev/topics/missing"


@pytest.fixture
def topic(pubsub: str) -> Topic:
    return Topic.make()


def send(topic: Topic, messages: Messages, **rules: str) -> Messages:
    """What arrives of the rejected rows of messages."""
    checked = check_messages(messages, MessageRules(SOURCE, **rules))  # type: ignore[arg-type]
    with DeadLetters(topic.path, id_attribute=rules.get("id_attribute")) as letters:
        assert letters.send(messages, checked) == checked.rejected.num_rows
    return topic.pull(checked.rejected.num_rows)


def by_data(messages: Messages) -> dict[bytes, dict[str, str]]:
    return dict(zip(messages.data, messages.attributes, strict=True))


def test_a_row_that_is_its_whole_message_goes_as_it_came(topic: Topic) -> None:
    packed = gzip.compress(sale(id_cliente=None))
    broken = b"\xff\xfe {"
    messages = messages_of(
        [packed, sale(), broken, b""],
        [{**GZIP, "sale": "42-7"}, {}, {"canal": "tienda ñ"}, {"celes_attempt": "4"}],
    )
    arrived = by_data(send(topic, messages))
    assert arrived.keys() == {packed, broken, b""}
    assert arrived[packed] == {
        **GZIP,
        "sale": "42-7",
        "celes_reasons": "missing",
        "celes_attempt": "1",
        "celes_message_id": "m0",
        "celes_source": f"{SOURCE}/m0",
        "celes_position": "0",
        "celes_column": "id_cliente",
        "celes_rejected_at": "2026-01-01T00:00:00.000000Z",
        "celes_rules_version": "1",
    }
    assert arrived[broken]["canal"] == "tienda ñ"
    assert arrived[broken]["celes_reasons"] == "malformed"
    assert arrived[b""]["celes_attempt"] == "5"


def test_what_is_read_back_is_what_was_rejected(topic: Topic) -> None:
    several = b"\n".join([sale(id_cliente=0), sale(), b"[1]", sale(cantidad_de_venta="1,5")])
    messages = messages_of([several, sale(region_de_venta=" "), gzip.compress(several)])
    messages.attributes[2].update(GZIP)
    rejected = check_messages(messages, MessageRules(SOURCE)).rejected
    assert rejected.num_rows == 7
    read = read_dead_letters(send(topic, messages))
    assert read.schema == REJECTED_SCHEMA
    places = ["source", "position"]
    assert (
        pa.table(read)
        .sort_by([(p, "ascending") for p in places])
        .equals(pa.table(rejected).sort_by([(p, "ascending") for p in places]))
    )


def test_rows_of_one_message_become_messages_that_differ(topic: Topic) -> None:
    lines = [sale(id_cliente=0), sale(), sale(id_cliente=-1)]
    packed = gzip.compress(b"\n".join(lines))
    messages = messages_of([packed], [{"Content-Encoding": "gzip", "sale": "a", "x": "y"}])
    arrived = by_data(send(topic, messages, id_attribute="sale"))
    assert arrived.keys() == {lines[0], lines[2]}
    assert {attributes["x"] for attributes in arrived.values()} == {"y"}
    assert not any("Content-Encoding" in attributes for attributes in arrived.values())
    places = [0, len(lines[0]) + len(lines[1]) + 2]
    assert sorted(a["sale"] for a in arrived.values()) == [f"a/at{place}" for place in places]


def test_a_long_record_of_several_is_kept_whole(topic: Topic) -> None:
    long = sale(id_cliente=0, nota="ñ" * MAX_RAW_BYTES)
    hopeless = b"x" * (MAX_RAW_BYTES + 7)
    several = b"\n".join([sale(), long, hopeless])
    arrived = by_data(send(topic, messages_of([several])))
    assert arrived.keys() == {long, hopeless[:MAX_RAW_BYTES]}
    assert "celes_cut" not in arrived[long]
    assert arrived[hopeless[:MAX_RAW_BYTES]]["celes_cut"] == str(MAX_RAW_BYTES)


def test_a_message_of_many_long_records_is_decoded_once(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A few kB of gzip hold five hundred of them, and decoding takes half a second each time.
    decoded: list[list[bytes]] = []

    def counted(messages: list[bytes], compressed: set[int]) -> Iterator[MessageRecords]:
        decoded.append(messages)
        yield from read_records(messages, compressed)

    monkeypatch.setattr("celes_beam.stores.messages.dead_letters.read_records", counted)
    packed = [
        gzip.compress(
            b"\n".join(sale(id_cliente=-n, nota=str(m) * MAX_RAW_BYTES) for n in range(6))
        )
        for m in (1, 2)
    ]
    arrived = send(topic, messages_of(packed, [GZIP, GZIP]))
    assert decoded == [[packed[0]], [packed[1]]]
    assert sorted({len(data) > MAX_RAW_BYTES for data in arrived.data}) == [True]
    assert len(set(arrived.data)) == 12


def test_rows_that_bigquery_refused(topic: Topic) -> None:
    rows = sales_batch([("Hogar", "Norte", 100), ("Ropa", "Sur", 250)])
    ids = pa.array(["7", "8/1"])
    refused = refused_batch(rows, ids, ["no", "é" * 600], source=SOURCE, rejected_at=NOON)
    with DeadLetters(topic.path, id_attribute="sale") as letters:
        assert letters.send_refused(refused, ids) == 2
    arrived = topic.pull(2)
    whys = {a["celes_message_id"]: a for a in arrived.attributes}
    assert whys["7"]["celes_value"] == "no"
    assert whys["7"]["celes_reasons"] == "refused"
    assert whys["8/1"]["sale"] == "8/1"
    assert whys["8/1"]["celes_value"] == "é" * 510 + "…"
    again = check(*arrived.data)
    assert sorted(again.accepted.to_pylist(), key=str) == sorted(rows.to_pylist(), key=str)


def test_nothing_rejected_is_nothing_sent(topic: Topic) -> None:
    assert len(send(topic, messages_of([sale()]))) == 0


def test_messages_as_large_as_they_may_be(topic: Topic) -> None:
    most = most_message_bytes(topic.path)
    data = [b"x" * (most - message_size(b"", {"k": "v"})), b"y" * (MOST_BYTES // 2), b"z"]
    with TopicWriter(topic.path) as writer:
        assert writer.write((d, {"k": "v"}) for d in data) == 3
        sizes = [r.ByteSize() for r in writer.requests((d, {"k": "v"}) for d in data)]
    assert max(sizes) <= MOST_BYTES
    assert len(sizes) == 2
    assert sorted(map(len, topic.pull(3).data)) == sorted(map(len, data))


def test_a_row_too_large_with_what_we_add_is_cut_or_bare(topic: Topic) -> None:
    most = most_message_bytes(topic.path)
    bare, large = b"[" * (most - 200), b"x" * (most + 1)
    # One that is larger comes only from a topic with a shorter name.
    arrived = by_data(send(topic, messages_of([bare, large])))
    lengths = sorted(map(len, arrived))
    assert lengths[1] == len(bare)
    assert arrived[bare]["celes_reasons"] == "malformed"
    assert "celes_rules_version" not in arrived[bare]
    cut = next(d for d in arrived if d != bare)
    assert large.startswith(cut)
    assert arrived[cut]["celes_cut"] == str(len(cut))


def test_a_topic_that_is_missing_is_told(pubsub: str) -> None:
    messages = messages_of([b"{"])
    checked = check_messages(messages, MessageRules(SOURCE))
    with (
        DeadLetters(MISSING) as letters,
        pytest.raises(UsageError, match=rf"no topic {MISSING}: make it \(gcloud pubsub topics cre"),
    ):
        letters.send(messages, checked)


def test_a_service_that_is_away_is_told_when_patience_ends(
    pubsub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{unused.getsockname()[1]}")
        messages = messages_of([b"{"])
        checked = check_messages(messages, MessageRules(SOURCE))
        started = time.monotonic()
        with (
            DeadLetters(MISSING, seconds=1.0) as letters,
            pytest.raises(
                StorageError, match=f"cannot write to {MISSING}: .*; run it again"
            ) as raised,
        ):
            letters.send(messages, checked)
        assert time.monotonic() - started < 10
        assert isinstance(raised.value.__cause__, RetryError)

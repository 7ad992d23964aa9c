"""``pipelines.streaming`` against the local Pub/Sub and BigQuery, on two runners."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from celes_beam.commands.stream_summary import StreamSummary
from celes_beam.config import load_config
from celes_beam.contract import OTHER_FIELDS
from celes_beam.errors import ConfigError, StorageError, UsageError
from celes_beam.sales.message_parts import parts
from celes_beam.sales.messages import MessageRules, Messages
from celes_beam.sales.traffic import SALE, Traffic, what_was_published
from celes_beam.stores.cloud.clients import (
    LOCAL_PROJECT,
    bigquery_client,
    publisher_client,
    subscriber_client,
)
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from celes_beam.stores.messages.publish import Pace, publish
from celes_beam.stores.stream.delivery import DeliverySpec
from celes_beam.stores.warehouse.stream_tables import make_stream
from celes_beam.stores.warehouse.table_name import TableName, parse_table_name
from celes_beam.stores.warehouse.tables import Destination
from celes_beam.transforms import deliver
from celes_beam.transforms.deliver import DeliverMessages
from pipelines import replay, streaming
from tests.cloud import gcloud
from tests.numbered import deleted_once_pulled, until
from tests.topics import Topic

PATIENCE = 60.0
SALE_OF_1 = {
    "id_cliente": 1,
    "fecha_de_transaccion": "2024-05-03",
    "cantidad_de_venta": 1.25,
    "categoria_de_producto": "Hogar",
    "region_de_venta": "Norte",
}


@pytest.fixture
def topic(pubsub: str) -> Topic:
    return Topic.make()


@pytest.fixture
def table(dataset: str) -> TableName:
    return parse_table_name(f"{dataset}.ventas")


def send(topic: Topic, *messages: dict[str, Any] | bytes, **attributes: str) -> None:
    with publisher_client() as client:
        for message in messages:
            data = message if isinstance(message, bytes) else json.dumps(message).encode()
            client.publish(topic.path, data, **attributes).result(PATIENCE)


def stream(topic: Topic, messages: int, *flags: str) -> StreamSummary:
    summary = streaming.run(
        [
            *("--subscription", topic.subscription, "--max_messages", str(messages)),
            *("--deadline", str(PATIENCE), "--max_batch_seconds", "0.2", "--progress", "off"),
            *flags,
        ]
    )
    assert isinstance(summary, StreamSummary)
    assert summary.rows_read == summary.rows_accepted + summary.rows_rejected
    return summary


def ask(query: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in bigquery_client(LOCAL_PROJECT).query(query).result()]


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_rows_arrive_on_each_runner(
    runner: list[str], delivery: str, topic: Topic, table: TableName, tmp_path: Path
) -> None:
    letters, lake = Topic.make(), tmp_path / "lake"
    traffic = Traffic(load_config(flags={"seed": 3}), error_rate=0.03, rows_per_message=3)
    sent = publish(traffic, topic.path, Pace(0, rows=3000))
    summary = stream(
        *(topic, sent.messages, "--bigquery_table", str(table), "--output", str(lake)),
        *("--dead_letter_topic", letters.path, "--delivery", delivery, *runner),
    )

    expected = what_was_published(3, 0, 3000, 0.03, knows_names=False)
    rejected = {str(reason): rows for reason, rows in expected.rejected.items() if rows}
    amounts = expected.accepted["cantidad_de_venta"].to_pylist()
    assert summary.ended_by == "max_messages"
    assert (summary.messages, summary.rows_read) == (sent.messages, 3000)
    assert summary.rejected_by_reason == rejected
    assert ask(f"SELECT COUNT(*), SUM(cantidad_de_venta) FROM `{table.path}`") == [
        (len(amounts), sum(amounts))
    ]
    assert ask(f"SELECT COUNT(DISTINCT _message_id) FROM `{table.path}`") == [(len(amounts),)]
    assert ask(f"SELECT COUNT(*) FROM `{table.rejected.path}`") == [(sum(rejected.values()),)]
    found = letters.pull(sum(rejected.values()))
    assert len(found) == summary.dead_letters == sum(rejected.values())
    assert {a["celes_reasons"] for a in found.attributes} <= set(rejected)
    opened = Lake.open(str(lake))
    assert verify(opened).problems == ()
    snapshot = opened.snapshot()
    assert (snapshot.rows, snapshot.total) == (len(amounts), sum(amounts))
    assert all(run.streamed_to == (table.key,) for run in snapshot.runs)
    ids = pq.read_table(lake, columns=["id_cliente"])["id_cliente"].to_pylist()
    assert sorted(ids) == sorted(expected.accepted["id_cliente"].to_pylist())


def test_bare_names_are_those_of_the_local_project(topic: Topic, tmp_path: Path) -> None:
    letters = Topic.make()
    send(topic, b"no row")
    flags = ["--output", str(tmp_path / "lake")]
    flags += ["--dead_letter_topic", letters.path.rpartition("/")[2]]
    subscription = topic.subscription.rpartition("/")[2]
    summary = streaming.run(["--subscription", subscription, "--max_messages", "1", *flags])
    assert isinstance(summary, StreamSummary)
    assert (summary.dead_letter_topic, summary.dead_letters) == (letters.path, 1)
    assert letters.pull(1).data == [b"no row"]


def test_a_message_that_comes_again_is_not_written_again(topic: Topic, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    send(topic, SALE_OF_1, SALE_OF_1 | {"id_cliente": 2}, sale="a")
    first = stream(topic, 2, "--output", str(lake), "--id_attribute", SALE)
    send(topic, SALE_OF_1 | {"id_cliente": 3}, sale="a")
    send(topic, SALE_OF_1 | {"id_cliente": 4}, sale="b")
    second = stream(topic, 2, "--output", str(lake), "--id_attribute", SALE)

    assert (first.duplicates, first.rows_accepted) == (1, 1)
    assert (second.duplicates, second.rows_accepted) == (1, 1)
    assert Lake.open(str(lake)).snapshot().rows == 2


def test_a_batch_of_many_rows_is_written_in_parts(
    topic: Topic, table: TableName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "parts", partial(parts, most_records=20))
    for first in (1, 4, 7):
        rows = [json.dumps(SALE_OF_1 | {"id_cliente": first + n}) for n in range(3)]
        send(topic, "\n".join([*rows, "{}"]).encode())
    lake = tmp_path / "lake"
    summary = stream(
        *(topic, 3, "--output", str(lake), "--bigquery_table", str(table)),
        *("--delivery", "exactly_once"),
    )
    assert (summary.messages, summary.rows_accepted, summary.rows_rejected) == (3, 9, 3)
    assert len(list(lake.glob("_stream/*/*.entry"))) == 3
    assert ask(f"SELECT id_cliente FROM `{table.path}` ORDER BY 1") == [(n,) for n in range(1, 10)]


def test_ordering_is_told_to_be_slow(
    topic: Topic, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ordered = Topic(topic.path, f"{topic.subscription}-ordered")
    with subscriber_client() as client:
        client.create_subscription(
            request={
                "name": ordered.subscription,
                "topic": topic.path,
                "enable_message_ordering": True,
            }
        )
    send(topic, SALE_OF_1)
    assert stream(ordered, 1, "--output", str(tmp_path / "lake")).rows_accepted == 1
    assert f"{ordered.subscription} has message ordering" in caplog.text


def test_a_run_id_may_be_used_again(topic: Topic, tmp_path: Path) -> None:
    for number in (1, 2):
        send(topic, SALE_OF_1 | {"id_cliente": number})
        summary = stream(topic, 1, "--output", str(tmp_path / "lake"), "--run_id", "mine")
        assert (summary.messages, summary.rows_accepted, summary.commits) == (1, 1, 1)
    runs = Lake.open(str(tmp_path / "lake")).runs()
    assert [(run.run_id, run.rows_accepted) for run in runs] == [
        ("mine-00001", 1),
        ("mine-00002", 1),
    ]


@pytest.mark.parametrize(
    ("drift", "accepted", "kept"),
    [("discard", 2, None), ("freeze", 1, None), ("keep", 2, '{"cupón":"X1"}')],
)
def test_fields_that_are_no_column(
    drift: str, accepted: int, kept: str | None, topic: Topic, table: TableName
) -> None:
    send(topic, SALE_OF_1, SALE_OF_1 | {"id_cliente": 2, "cupón": "X1"})
    summary = stream(topic, 2, "--bigquery_table", str(table), "--schema_drift", drift)

    assert (summary.rows_accepted, summary.rows_with_unknown_fields) == (accepted, 1)
    if drift == "freeze":
        assert summary.rejected_by_reason == {"unknown": 1}
        rejected = ask(f"SELECT `column`, value FROM `{table.rejected.path}`")
        assert rejected == [("cupón", '"X1"')]
    if kept is not None:
        rows = ask(f"SELECT id_cliente, {OTHER_FIELDS} FROM `{table.path}` ORDER BY 1")
        # JSON comes as text or as a value, by the server.
        found = [(i, json.loads(v) if isinstance(v, str) else v) for i, v in rows]
        assert found == [(1, None), (2, json.loads(kept))]


def test_what_gcloud_publishes_arrives(topic: Topic, table: TableName) -> None:
    gcloud("pubsub", "topics", "publish", topic.path, "--message", json.dumps(SALE_OF_1))
    stream(topic, 1, "--bigquery_table", str(table))

    assert ask(f"SELECT id_cliente, cantidad_de_venta FROM `{table.path}`") == [
        (1, Decimal("1.25"))
    ]


def test_a_function_of_the_user(
    topic: Topic, table: TableName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_for_streams.py").write_text(
        "import pyarrow.compute as pc\n"
        "def shout(rows):\n"
        "    at = rows.schema.get_field_index('region_de_venta')\n"
        "    return rows.set_column(at, 'region_de_venta', pc.utf8_upper(rows.column(at)))\n"
    )
    monkeypatch.chdir(tmp_path)
    send(topic, SALE_OF_1)
    stream(topic, 1, "--bigquery_table", str(table), "--transform", "mine_for_streams:shout")

    assert ask(f"SELECT region_de_venta FROM `{table.path}`") == [("NORTE",)]
    with pytest.raises(ConfigError, match="mine_for_streams:shoot"):
        stream(topic, 1, "--bigquery_table", str(table), "--transform", "mine_for_streams:shoot")


def test_nothing_is_acked_when_dead_letters_cannot_be_sent(
    topic: Topic, table: TableName, tmp_path: Path
) -> None:
    letters = Topic.make()
    send(topic, b"no row", SALE_OF_1)
    flags = ["--bigquery_table", str(table), "--max_messages", "2"]
    flags += ["--dead_letter_topic", letters.path]
    script = (
        "import sys\nfrom celes_beam.stores.messages import dead_letter_topic as at\n"
        "from celes_beam.stores.cloud.clients import publisher_client\n"
        "before = at.check_dead_letter_topic\n"
        "def look_and_delete(topic, read):\n"
        "    before(topic, read)\n"
        "    with publisher_client() as client:\n        client.delete_topic(topic=topic)\n"
        "at.check_dead_letter_topic = look_and_delete\n"
        "from pipelines.streaming import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *command_of(topic)[3:], *flags],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env=os.environ,
    )

    assert ended.returncode in {1, 2}, ended.stderr
    assert letters.path in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(topic.pull(2, then_no_more=False)) == 2


def command_of(topic: Topic) -> list[str]:
    return [
        *(sys.executable, "-m", "pipelines.streaming", "--subscription", topic.subscription),
        *("--max_batch_seconds", "0.2"),
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(number: int, runner: list[str], topic: Topic, tmp_path: Path) -> None:
    lake, told = tmp_path / "lake", tmp_path / "told.json"
    command = [*command_of(topic), "--output", str(lake), "--summary_json", str(told), *runner]
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ, start_new_session=True
        )
    try:
        send(topic, *(SALE_OF_1 | {"id_cliente": i} for i in range(1, 51)))
        until(lambda: list(lake.glob("_stream/*/*.entry")), PATIENCE, running=running)
        # As a terminal does, to the whole group; or as a supervisor does, to the process alone.
        if number == signal.SIGINT:
            os.killpg(running.pid, number)
        else:
            running.send_signal(number)
        assert running.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
        assert "Traceback" not in (tmp_path / "log").read_text()
    finally:
        running.kill()
        running.wait()
    summary = json.loads(told.read_text())
    assert summary["ended_by"] == "signal"
    written = Lake.open(str(lake)).snapshot().rows
    assert written == summary["rows_accepted"] > 0
    # What was not written was given back, and what was written does not come again.
    left = topic.pull(50 - written)
    assert len(left) == 50 - written


def test_figures_for_prometheus(topic: Topic, tmp_path: Path) -> None:
    command = [*command_of(topic), "--output", str(tmp_path / "lake"), "--metrics_port", "0"]
    command += ["--lake_flush_seconds", "1"]
    log = tmp_path / "log"
    with log.open("wb") as written:
        running = subprocess.Popen(command, stdout=written, stderr=written, env=os.environ)
    try:
        send(topic, SALE_OF_1, b"no row")
        until(lambda: "/metrics" in log.read_text(), PATIENCE, running=running)
        url = next(w for w in log.read_text().split() if w.startswith("http") and "/metrics" in w)

        def figures() -> str:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return str(answer.read(), "utf-8")

        until(lambda: "celes_beam_rows_read_total 2.0" in figures(), PATIENCE, running=running)
        assert "celes_beam_rows_accepted_total 1.0" in figures()
        assert 'celes_beam_rows_rejected_total{reason="malformed"} 1.0' in figures()
        until(lambda: "celes_beam_lake_commits_total 1.0" in figures(), PATIENCE, running=running)
        running.send_signal(signal.SIGTERM)
        assert running.wait(PATIENCE) == 0, log.read_text()
    finally:
        running.kill()
        running.wait()


def test_a_bundle_that_is_done_again_writes_the_same_table(
    table: TableName, pubsub: str, tmp_path: Path
) -> None:
    destination = Destination(table)
    make_stream(destination)
    spec = DeliverySpec(
        MessageRules("pubsub:test"),
        "repeated",
        destination,
        journal=str(tmp_path / "journal"),
        delivery="exactly_once",
    )
    data = [json.dumps(SALE_OF_1).encode()] * 3
    now = time.time_ns() // 1000
    batches = [Messages(data, [{}] * 3, [f"{b}{i}" for i in range(3)], [now] * 3) for b in "xyz"]
    with beam.Pipeline(FnApiRunner(bundle_repeat=2)) as pipeline:
        _ = pipeline | beam.Create(batches, reshuffle=False) | DeliverMessages(spec)

    assert ask(f"SELECT COUNT(*), COUNT(DISTINCT _message_id) FROM `{table.path}`") == [(9, 9)]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--bigquery_table", "celes-dev:d.t", "--delivery", "exactly_once"], "--journal"),
        (["--output", "x", "--direct_num_workers", "2"], "--direct_num_workers 2"),
        (["--output", "x", "--dead_letter_topic", "TOPIC"], "would come back for ever"),
    ],
)
def test_what_would_lose_rows_is_refused(topic: Topic, flags: Sequence[str], said: str) -> None:
    given = [topic.path if flag == "TOPIC" else flag for flag in flags]
    with pytest.raises(ConfigError) as refused:
        stream(topic, 1, *given)
    assert said in str(refused.value)


def test_a_subscription_that_is_not_there(pubsub: str, tmp_path: Path) -> None:
    gone = Topic("projects/celes-dev/topics/gone", "projects/celes-dev/subscriptions/gone")
    with pytest.raises(UsageError, match="there is no subscription"):
        stream(gone, 1, "--output", str(tmp_path / "lake"))


def test_what_bigquery_streams_into_no_partition(
    topic: Topic, table: TableName, tmp_path: Path
) -> None:
    letters, lake = Topic.make(), tmp_path / "lake"
    send(topic, SALE_OF_1, SALE_OF_1 | {"id_cliente": 2, "fecha_de_transaccion": "2001-01-01"})
    summary = stream(
        *(topic, 2, "--bigquery_table", str(table), "--output", str(lake)),
        *("--dead_letter_topic", letters.path),
    )

    assert summary.rejected_by_reason == {"refused": 1}
    assert ask(f"SELECT id_cliente FROM `{table.path}`") == [(1,)]
    rejected = ask(f"SELECT reasons, value FROM `{table.rejected.path}`")
    assert rejected[0][0] == ["refused"]
    assert "1,825 days" in rejected[0][1]
    assert letters.pull(1).attributes[0]["celes_reasons"] == "refused"
    assert Lake.open(str(lake)).snapshot().rows == 1

    replayed = replay.run(
        ["--from", str(lake), "--output", str(lake), "--bigquery_table", str(table)]
    )

    assert replayed.accepted == 1
    assert ask(f"SELECT id_cliente FROM `{table.path}` ORDER BY 1") == [(1,), (2,)]


def test_what_waits_is_taken_when_the_topic_is_gone(topic: Topic, tmp_path: Path) -> None:
    send(topic, SALE_OF_1, SALE_OF_1 | {"id_cliente": 2})
    topic.delete()
    assert stream(topic, 2, "--output", str(tmp_path / "lake")).rows_accepted == 2


def test_a_subscription_that_is_deleted_is_an_error_after_what_was_pulled(
    topic: Topic, tmp_path: Path
) -> None:
    lake, run_id = tmp_path / "lake", "cortada"
    send(topic, *(SALE_OF_1 | {"id_cliente": n} for n in range(1, 51)))

    argv = ["--subscription", topic.subscription, "--output", str(lake), "--run_id", run_id]
    with (
        deleted_once_pulled(topic.subscription, run_id, 50),
        pytest.raises(StorageError, match=r"cannot pull from .*: not found .*: make it again"),
    ):
        streaming.run([*argv, "--max_batch_seconds", "60", "--progress", "off"])

    opened = Lake.open(str(lake))
    assert verify(opened).problems == ()
    assert opened.snapshot().rows == 50

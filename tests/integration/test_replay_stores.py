"""Replays of a lake in a bucket, a BigQuery table and a dead-letter topic, on real servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from celes_beam.contract import COLUMN_NAMES
from celes_beam.errors import ConfigError, StorageError, UsageError
from celes_beam.stores.cloud.clients import bigquery_client, publisher_client, subscriber_client
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from celes_beam.stores.messages import connection
from celes_beam.stores.replay.topic import TopicRows
from celes_beam.stores.warehouse.table_name import parse_table_name
from pipelines import batch, replay, streaming
from tests.cloud import fresh_name
from tests.grpc_faults import GrpcFaultProxy

QUIET = ["--progress", "off"]
PROJECT = "celes-dev"
HEADER = ",".join(COLUMN_NAMES)


def query(sql: str) -> list[tuple[Any, ...]]:
    rows = bigquery_client(PROJECT).query(sql, job_retry=None).result()
    return sorted(tuple(row.values()) for row in rows)


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    path = tmp_path / "a.csv"
    rows = ["7,2024-05-03,1,Hogar,Norte", "8,2024-05-03,2,Hogar,Marte", "9,2024-05-03,3,Hogar,Sur"]
    path.write_text("\n".join([HEADER, *rows, "1,2", ""]), encoding="utf-8")
    return path


@pytest.mark.parametrize("source", ["lake", "table"])
def test_from_a_bucket_and_a_table(bucket: Any, dataset: str, sales: Path, source: str) -> None:
    lake, table = f"gs://{bucket.name}/lake", parse_table_name(f"{dataset}.ventas")
    into = ["-o", lake, "--bigquery_table", str(table), *QUIET]
    batch.run(["-i", str(sales), "--regions", "Norte", *into])
    flags = ["--from", lake if source == "lake" else str(table.rejected), *into]

    found = replay.run([*flags, "--regions", "Norte,Marte"]).to_dict()

    assert (found["rows_replayed"], found["rows_accepted"]) == (3, 1)
    assert (found["bigquery"]["rows"], found["bigquery"]["rejected_rows"]) == (1, 2)
    assert query(f"SELECT id_cliente FROM `{table.path}`") == [(7,), (8,)]
    attempts = f"SELECT attempt, COUNT(*) FROM `{table.rejected.path}` GROUP BY attempt"
    assert query(attempts) == [(1, 3), (2, 2)]
    # The same rows, wherever they are read.
    for other in (lake, str(table)):
        again = replay.run(["--from", other, *into, "--regions", "Norte,Marte"]).to_dict()
        assert again["status"] == "nothing_to_replay"
        assert again["left_out"]["replayed_before"] == 3
        assert again["left_out"]["rejected_by_the_same_rules"] == 2
    last = replay.run(["--from", str(table), *into, "--reason", "unknown"]).to_dict()
    assert (last["rows_replayed"], last["rows_accepted"]) == (1, 1)
    assert query(f"SELECT id_cliente FROM `{table.path}`") == [(7,), (8,), (9,)]
    assert verify(Lake.open(lake)).problems == ()


def test_a_table_is_chosen_from_by_time(dataset: str, sales: Path, tmp_path: Path) -> None:
    lake, table = str(tmp_path / "lake"), f"{dataset}.ventas"
    batch.run(["-i", str(sales), "--regions", "Norte", "-o", lake, "--bigquery_table", table])
    flags = ["--from", table, "-o", lake, "--dry_run", *QUIET]
    assert replay.run([*flags, "--since", "2020-01-01"]).replayed == 3
    assert replay.run([*flags, "--until", "2020-01-01"]).status == "nothing_to_replay"
    with pytest.raises(UsageError, match=r"cannot read table .*nada_rechazadas: not found"):
        replay.run(["--from", f"{dataset}.nada", "-o", lake, *QUIET])


class DeadTopic:
    """A dead-letter topic with a subscription, and what tests put there."""

    def __init__(self) -> None:
        name = fresh_name("dead")
        self.topic = f"projects/{PROJECT}/topics/{name}"
        self.subscription = f"projects/{PROJECT}/subscriptions/{name}"
        with publisher_client() as publisher, subscriber_client() as subscriber:
            publisher.create_topic(request={"name": self.topic})
            subscriber.create_subscription(
                request={
                    "name": self.subscription,
                    "topic": self.topic,
                    "ack_deadline_seconds": 10,
                }
            )

    def publish(self, number: int, region: str, **attributes: str) -> None:
        values = (number, "2024-05-03", number, "Hogar", region)
        known = {
            "celes_reasons": "unknown",
            "celes_attempt": "1",
            "celes_source": f"pubsub:ventas/{number}",
            "celes_position": "0",
            "celes_rejected_at": "2026-01-01T00:00:00.000001Z",
            "celes_message_id": str(number),
            "caja": "3",
        }
        data = json.dumps(dict(zip(COLUMN_NAMES, values, strict=True)), indent=1).encode()
        with publisher_client() as publisher:
            publisher.publish(self.topic, data, **(known | attributes)).result(timeout=30)

    def waiting(self) -> list[tuple[dict[str, Any], dict[str, str]]]:
        """What waits there, as rejected rows with the attributes of their messages; given back."""
        rows = TopicRows(self.subscription, max_messages=100, idle_timeout=0.5)
        try:
            return [
                (row, attributes)
                for found in rows.found()
                for row, attributes in zip(
                    found.rejected.to_pylist(), found.token.held.messages.attributes, strict=True
                )
            ]
        finally:
            rows.close()


@pytest.fixture
def dead(pubsub: str) -> DeadTopic:
    return DeadTopic()


def from_topic(dead: DeadTopic, lake: Path, *flags: str) -> dict[str, Any]:
    common = ["--from", dead.subscription, "-o", str(lake), "--idle_timeout", "0.5", *QUIET]
    return replay.run([*common, *flags]).to_dict()


def test_from_a_subscription(dead: DeadTopic, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    for number, region in enumerate(["Marte", "Sur", "Luna"], 1):
        dead.publish(number, region)
    # Delivered twice, it is one row; of another reason, or cut, it stays where it is.
    dead.publish(1, "Marte")
    dead.publish(4, "Marte", celes_reasons="refused", celes_source="/no/file.csv")
    dead.publish(5, "Marte", celes_cut="100")

    back = ["--dead_letter_topic", dead.topic]
    found = from_topic(dead, lake, "--regions", "Marte,Sur", "--reason", "unknown", *back)

    assert (found["rows_replayed"], found["rows_accepted"]) == (3, 2)
    assert found["left_out"] == {
        "not_asked_for": 1,
        "replayed_before": 1,
        "rejected_by_the_same_rules": 0,
        "of_replaced_commits": 0,
        "cannot_be_replayed": {"unknown": 1},
    }
    assert (found["sent_to_dead_letter_topic"], found["total"]) == (1, "3.00")
    left = sorted(dead.waiting(), key=lambda row: str(row[0]["source"]))
    assert [(row["source"], row["attempt"], row["reasons"]) for row, _ in left] == [
        ("/no/file.csv", 1, ["refused"]),
        ("pubsub:ventas/3", 2, ["unknown"]),
        ("pubsub:ventas/5", 1, ["unknown"]),
    ]
    # Its own attributes are what they were.
    assert {k: left[1][1][k] for k in ("caja", "celes_message_id")} == {
        "caja": "3",
        "celes_message_id": "3",
    }
    # Taken from the lake, the row of the topic is taken, too.
    assert replay.run(["--from", str(lake), *QUIET]).accepted == 1
    found = from_topic(dead, lake)
    assert (found["rows_accepted"], found["left_out"]["replayed_before"]) == (1, 1)
    assert [row["source"] for row, _ in dead.waiting()] == ["pubsub:ventas/5"]


def test_nothing_is_acked_before_it_is_decided(
    dead: DeadTopic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead.publish(1, "Marte")

    def fail(*args: Any, **more: Any) -> None:
        raise StorageError("the disk is full")

    # The second is committed, and ends before it is acked.
    for owner, name in ((Lake, "commit"), (TopicRows, "settle")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            with pytest.raises(StorageError, match="the disk is full"):
                from_topic(dead, tmp_path / "lake")
    found = from_topic(dead, tmp_path / "lake")
    assert found["status"] == "nothing_to_replay"
    assert found["left_out"]["replayed_before"] == 1
    assert dead.waiting() == []


def test_at_most_so_many_messages(dead: DeadTopic, tmp_path: Path) -> None:
    for number in range(1, 6):
        dead.publish(number, "Marte")
    assert from_topic(dead, tmp_path / "lake", "--max_messages", "3")["rows_accepted"] == 3
    assert from_topic(dead, tmp_path / "lake")["rows_accepted"] == 2


def test_bare_names_are_those_of_the_local_project(
    dead: DeadTopic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = dead.subscription.rpartition("/")[2]
    dead.publish(1, "Marte")
    dead.publish(2, "Luna")
    back = ["--dead_letter_topic", dead.topic.rpartition("/")[2], "--idle_timeout", "0.5"]
    with pytest.raises(ConfigError, match=f"{dead.subscription}: say with --output"):
        replay.run(["--from", name, *QUIET])
    found = replay.run(["--from", name, "-o", str(tmp_path), *back, "--regions", "Marte", *QUIET])
    assert found.to_dict()["sent_to_dead_letter_topic"] == 1
    # A folder that is there comes first.
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match=f"--from {name}: no lake is there"):
        replay.run(["--from", name, *QUIET])


def test_a_service_that_does_not_answer_has_not_said_that_it_is_empty(
    dead: DeadTopic, pubsub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead.publish(1, "Marte")
    monkeypatch.setattr(connection, "_LOOK_SECONDS", 0.3)
    monkeypatch.setattr(connection, "_POLL_SECONDS", 1.0)
    with GrpcFaultProxy(pubsub) as proxy:
        proxy.add("silence", method="Pull")
        proxy.add("silence", lambda n: n > 1, method="GetSubscription")
        with monkeypatch.context() as patch:
            patch.setenv("PUBSUB_EMULATOR_HOST", proxy.address)
            with pytest.raises(StorageError, match=f"cannot ask for .*{dead.subscription}.*again"):
                from_topic(dead, tmp_path / "lake")
    assert from_topic(dead, tmp_path / "lake")["rows_accepted"] == 1


def test_no_such_subscription(pubsub: str, tmp_path: Path) -> None:
    gone = f"projects/{PROJECT}/subscriptions/nada-de-nada"
    with pytest.raises(UsageError, match=r"there is no subscription.*or give --from"):
        replay.run(["--from", gone, "-o", str(tmp_path / "lake"), *QUIET])
    assert not (tmp_path / "lake").exists()


def test_what_a_stream_rejected_is_one_row_in_lake_table_and_topic(
    pubsub: str, dataset: str, tmp_path: Path
) -> None:
    live, dead = DeadTopic(), DeadTopic()
    lake, table = str(tmp_path / "lake"), parse_table_name(f"{dataset}.ventas")
    for number, region in enumerate(["Norte", "Marte", "Sur"], 1):
        live.publish(number, region)
    into = ["--output", lake, "--bigquery_table", str(table), *QUIET]
    stream = ["--subscription", live.subscription, "--dead_letter_topic", dead.topic, *into]
    streaming.run([*stream, "--regions", "Norte", "--max_messages", "3", "--idle_timeout", "20"])

    regions = ["--regions", "Norte,Marte"]
    found = replay.run(["--from", lake, *into, *regions]).to_dict()
    assert (found["rows_replayed"], found["rows_accepted"]) == (2, 1)
    for source, flags in ((str(table), []), (dead.subscription, ["--idle_timeout", "0.5"])):
        again = replay.run(["--from", source, *into, *regions, *flags]).to_dict()
        assert (again["status"], again["left_out"]["replayed_before"]) == ("nothing_to_replay", 2)
    assert query(f"SELECT id_cliente FROM `{table.path}`") == [(1,), (2,)]
    attempts = f"SELECT attempt, COUNT(*) FROM `{table.rejected.path}` GROUP BY attempt"
    # They came as dead letters of a first attempt.
    assert query(attempts) == [(2, 2), (3, 1)]
    assert dead.waiting() == []

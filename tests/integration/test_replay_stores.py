"""Replays of a lake in a bucket, a BigQuery table and a dead-letter topic, on real servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from celes_beam.contract import COLUMN_NAMES
from celes_beam.errors import StorageError, UsageError
from celes_beam.sales.messages import Messages
from celes_beam.stores.cloud.clients import bigquery_client, publisher_client, subscriber_client
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from celes_beam.stores.messages.dead_letter_format import read_dead_letters
from celes_beam.stores.replay.topic import TopicRows
from celes_beam.stores.warehouse.table_name import parse_table_name
from pipelines import batch, replay
from tests.cloud import fresh_name

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


@pytest.mark.parametrize("source", ["lake", "sales table", "rejected table"])
def test_from_a_bucket_and_a_table(bucket: Any, dataset: str, sales: Path, source: str) -> None:
    lake, table = f"gs://{bucket.name}/lake", parse_table_name(f"{dataset}.ventas")
    into = ["-o", lake, "--bigquery_table", str(table), *QUIET]
    batch.run(["-i", str(sales), "--regions", "Norte", *into])
    name = {"lake": lake, "sales table": str(table), "rejected table": str(table.rejected)}[source]
    flags = ["--from", name, *into]

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

    def waiting(self) -> list[dict[str, Any]]:
        """What waits there, as rejected rows, given back at once."""
        rows = TopicRows(self.subscription, max_messages=100, idle_timeout=1.5)
        try:
            return [row for found in rows.found() for row in found.rejected.to_pylist()]
        finally:
            rows.close()


@pytest.fixture
def dead(pubsub: str) -> DeadTopic:
    return DeadTopic()


def from_topic(dead: DeadTopic, lake: Path, *flags: str) -> dict[str, Any]:
    common = ["--from", dead.subscription, "-o", str(lake), "--idle_timeout", "1.5", *QUIET]
    return replay.run([*common, *flags]).to_dict()


def test_from_a_subscription(dead: DeadTopic, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    for number, region in enumerate(["Marte", "Sur", "Luna"], 1):
        dead.publish(number, region)
    # Delivered twice, it is one row; of another reason, it stays where it is.
    dead.publish(1, "Marte")
    dead.publish(4, "Marte", celes_reasons="refused")

    dry = from_topic(dead, lake, "--regions", "Marte,Sur", "--reason", "unknown", "--dry_run")
    assert (dry["rows_replayed"], dry["rows_accepted"]) == (3, 2)
    assert not lake.exists()
    back = ["--dead_letter_topic", dead.topic]
    found = from_topic(dead, lake, "--regions", "Marte,Sur", "--reason", "unknown", *back)

    assert (found["rows_replayed"], found["rows_accepted"]) == (3, 2)
    assert found["left_out"]["replayed_before"] == 1
    assert found["left_out"]["not_asked_for"] == 1
    assert (found["sent_to_dead_letter_topic"], found["total"]) == (1, "3.00")
    left = sorted(dead.waiting(), key=lambda row: row["attempt"])
    assert [(row["source"], row["attempt"], row["reasons"]) for row in left] == [
        ("pubsub:ventas/4", 1, ["refused"]),
        ("pubsub:ventas/3", 2, ["unknown"]),
    ]
    # From the lake it is the same row as from the topic.
    now = from_topic(dead, lake, "--reason", "unknown")
    assert (now["rows_accepted"], now["rows_rejected_again"]) == (1, 0)
    assert replay.run(["--from", str(lake), *QUIET]).status == "nothing_to_replay"
    assert from_topic(dead, lake)["rows_accepted"] == 1
    assert dead.waiting() == []
    assert from_topic(dead, lake)["status"] == "nothing_to_replay"


def test_nothing_is_acked_before_it_is_decided(
    dead: DeadTopic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead.publish(1, "Marte")

    def fail(*args: Any, **more: Any) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "commit", fail)
        with pytest.raises(StorageError, match="the disk is full"):
            from_topic(dead, tmp_path / "lake")
    assert len(dead.waiting()) == 1
    # Committed, and killed before it was acked: the next run acks it.
    with monkeypatch.context() as patch:
        patch.setattr(TopicRows, "settle", fail)
        with pytest.raises(StorageError, match="the disk is full"):
            from_topic(dead, tmp_path / "lake")
    assert len(dead.waiting()) == 1
    found = from_topic(dead, tmp_path / "lake")
    assert found["left_out"]["replayed_before"] == 1
    assert dead.waiting() == []


def test_at_most_so_many_messages(dead: DeadTopic, tmp_path: Path) -> None:
    for number in range(1, 6):
        dead.publish(number, "Marte")
    assert from_topic(dead, tmp_path / "lake", "--max_messages", "3")["rows_accepted"] == 3
    assert from_topic(dead, tmp_path / "lake")["rows_accepted"] == 2


def test_messages_that_were_cut_stay(dead: DeadTopic, tmp_path: Path) -> None:
    dead.publish(1, "Marte", celes_cut="100")
    found = from_topic(dead, tmp_path / "lake")
    assert found["left_out"]["cannot_be_replayed"] == {"unknown": 1}
    assert len(dead.waiting()) == 1


def test_no_such_subscription(pubsub: str, tmp_path: Path) -> None:
    gone = f"projects/{PROJECT}/subscriptions/nada-de-nada"
    with pytest.raises(UsageError, match="there is no subscription"):
        replay.run(["--from", gone, "-o", str(tmp_path / "lake"), *QUIET])
    assert not (tmp_path / "lake").exists()


def test_attributes_are_kept(dead: DeadTopic, tmp_path: Path) -> None:
    dead.publish(1, "Marte")
    flags = ["--regions", "Sur", "--dead_letter_topic", dead.topic]
    assert from_topic(dead, tmp_path / "lake", *flags)["sent_to_dead_letter_topic"] == 1
    rows = TopicRows(dead.subscription, max_messages=10, idle_timeout=1.5)
    (found,) = list(rows.found())
    messages: Messages = found.token.held.messages  # type: ignore[attr-defined]
    rows.close()
    assert messages.attributes[0]["caja"] == "3"
    assert messages.attributes[0]["celes_message_id"] == "1"
    assert read_dead_letters(messages).to_pylist()[0]["attempt"] == 2

"""``celes-beam publish`` against the local Pub/Sub: what is said to be sent is what arrives."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from celes_beam import cli
from celes_beam.config import load_config
from celes_beam.errors import UsageError
from celes_beam.sales.messages import MessageRules, Messages, check_messages
from celes_beam.sales.traffic import Traffic, what_was_published
from celes_beam.stores.cloud.clients import LOCAL_PROJECT
from celes_beam.stores.messages.publish import Pace, publish
from celes_beam.stores.messages.subscription import subscription_for_topic
from tests.cloud import fresh_name
from tests.topics import Topic

CONFIG = load_config()


@pytest.fixture
def topic(pubsub: str) -> Topic:
    return Topic.make()


@pytest.fixture
def summary(tmp_path: Path) -> Path:
    return tmp_path / "summary.json"


def arrived(messages: Messages) -> tuple[dict[str, Any], Counter[str]]:
    """The accepted rows by their ids, each once, and the rejected ones by reason."""
    first = {a["sale"]: i for i, a in reversed(list(enumerate(messages.attributes)))}
    distinct = Messages(
        *(
            [column[i] for i in first.values()]
            for column in (messages.data, messages.attributes, messages.ids, messages.published)
        )
    )
    rules = MessageRules(
        "s", id_attribute="sale", categories=CONFIG.categories, regions=CONFIG.regions
    )
    checked = check_messages(distinct, rules)
    rows = dict(zip(checked.accepted_ids.to_pylist(), checked.accepted.to_pylist(), strict=True))
    return rows, Counter(r for (r,) in checked.rejected.column("reasons").to_pylist())


def check_all_arrived(messages: Messages, told: dict[str, Any], error_rate: float) -> None:
    assert len(messages) == told["messages"]
    expected = what_was_published(told["seed"], told["first_row"], told["rows"], error_rate)
    rows, rejected = arrived(messages)
    numbers = [f"{told['seed']}-{row}" for row in expected.rows.to_pylist()]
    assert rows == dict(zip(numbers, expected.accepted.to_pylist(), strict=True))
    assert rejected == {str(k): n for k, n in expected.rejected.items()}
    assert rejected == told["broken_by_reason"]


def test_all_that_was_published_arrives(topic: Topic, summary: Path) -> None:
    argv = ["publish", "--topic", topic.path, "--rate", "0", "--rows", "6000", "--seed", "3"]
    argv += ["--first_row", "50", "--error_rate", "5%", "--late_share", "0.05", "--gzip"]
    argv += ["--duplicate_share", "0.1", "--wait_for_acks", "--summary_json", str(summary)]
    assert cli.main(argv) == 0
    told = json.loads(summary.read_text())
    messages = topic.pull(told["messages"])
    assert (told["rows"], told["first_row"], told["seed"]) == (6000, 50, 3)
    check_all_arrived(messages, told, 0.05)
    copies = Counter(a["sale"] for a in messages.attributes)
    assert set(copies.values()) == {1, 2}
    assert told["messages_twice"] == sum(n == 2 for n in copies.values())
    late = {a["sale"] for a in messages.attributes if "late" in a}
    assert told["messages_late"] == len(late) > 0
    assert {a["content-encoding"] for a in messages.attributes} == {"gzip"}
    assert told["bytes"] == messages.size


def test_the_rate_is_held(topic: Topic) -> None:
    sent = publish(Traffic(CONFIG), topic.path, Pace(rate=500, seconds=2.0))
    assert sent.messages == sent.rows == 1000
    # A busy machine may be late, which is told.
    assert sent.seconds == pytest.approx(2.0, abs=0.5 + sent.max_lateness)
    assert sent.rate == pytest.approx(500, rel=0.3)
    assert 0 < sent.mean_lateness <= sent.max_lateness < 2
    assert len(topic.pull(1000)) == 1000


def test_a_run_goes_on_where_another_ended(topic: Topic) -> None:
    once = Traffic(CONFIG, duplicate_share=0.2, late_share=0.2, rows_per_message=10)
    first = publish(once, topic.path, Pace(rate=0, rows=2000))
    then = Traffic(CONFIG, first_row=first.rows, rows_per_message=10)
    second = publish(then, topic.path, Pace(rate=0, rows=1000, in_order=True))
    messages = topic.pull(first.messages + second.messages)
    rows, _ = arrived(messages)
    assert len(rows) == 3000
    assert len(messages) == first.messages + second.messages


def test_a_run_that_is_stopped_sends_what_it_held_back_and_tells(
    topic: Topic, summary: Path
) -> None:
    argv = [sys.executable, "-m", "celes_beam.cli", "publish", "--topic", topic.path]
    argv += ["--duration", "60", "--rate", "1000", "--error_rate", "0.1", "--late_share", "0.3"]
    argv += ["--duplicate_share", "0.1", "--summary_json", str(summary)]
    running = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    early = topic.pull(200, then_no_more=False)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert running.returncode == 0, err
    told = json.loads(summary.read_text())
    late = topic.pull(told["messages"] - len(early))
    messages = Messages(
        early.data + late.data,
        early.attributes + late.attributes,
        early.ids + late.ids,
        early.published + late.published,
    )
    assert told["was_stopped"]
    assert 200 <= told["rows"] < 60_000
    assert told["messages_after_the_end"] > 0
    check_all_arrived(messages, told, 0.1)
    assert f"--first_row {told['rows']} goes on from here." in out
    assert "Stopped as asked" in out


def test_a_missing_topic_is_made_here_and_told(
    pubsub: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"nuevo-{time.time_ns()}"
    assert cli.main(["publish", "--topic", name, "--rows", "1"]) == 0
    out, err = capsys.readouterr()
    assert f"note: topic projects/celes-dev/topics/{name} was made; " in err
    assert f"Published to projects/celes-dev/topics/{name}" in out
    assert cli.main(["publish", "--topic", name, "--rows", "1", "--progress", "off"]) == 0
    assert capsys.readouterr().err == ""


def test_a_topic_that_goes_away_is_told(topic: Topic) -> None:
    topic.delete()
    with pytest.raises(UsageError, match=f"there is no topic {topic.path}: make it"):
        publish(Traffic(CONFIG), topic.path, Pace(rate=0, rows=10_000))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            "100000",
            r"a message of 100,000 rows has 1\d,\d+,\d+ bytes, and Pub/Sub takes 10,000,000",
        ),
        ("300000", "--rows_per_message 300000: expected at most 262144"),
    ],
)
def test_messages_that_pubsub_does_not_take(
    topic: Topic, capsys: pytest.CaptureFixture[str], rows: str, said: str
) -> None:
    command = ["publish", "--topic", topic.path, "--rows", rows, "--progress", "off"]
    assert cli.main([*command, "--rows_per_message", rows]) == 2
    assert re.search(said, capsys.readouterr().err)


def test_it_waits_for_who_reads(pubsub: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = fresh_name("t")
    command = ["publish", "--topic", name, "--rows", "1", "--progress", "off"]
    assert cli.main([*command, "--wait_for_subscription", "0.5"]) == 2
    assert "has no subscription yet" in capsys.readouterr().err

    topic = f"projects/{LOCAL_PROJECT}/topics/{name}"
    subscription_for_topic(topic, f"{name}-sub")
    assert cli.main([*command, "--wait_for_subscription", "5"]) == 0

"""Our own Pub/Sub source in whole pipelines: what a sink has written is acked, nothing else is."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from celes_beam.errors import StorageError
from celes_beam.stores.messages.pulling import Pulling, pulling
from celes_beam.transforms.metrics import NAMESPACE
from celes_beam.transforms.options import beam_options, new_pipeline
from celes_beam.transforms.pubsub import PullMessages
from tests.cloud import fresh_name
from tests.numbered import Numbered, deleted_once_pulled, pull_process
from tests.pull_process import AppendNumbers

MESSAGES = 5_000
# On Flink a source stays until its job is stopped: tests/integration/test_flink_streaming.py.
WHERE_IT_ENDS = pytest.mark.parametrize("runner", ["DirectRunner", "PrismRunner"], indirect=True)


@pytest.fixture
def numbered(pubsub: str) -> Numbered:
    return Numbered.make()


def run(
    runner: list[str],
    subscription: str,
    out: Path,
    *,
    fails: bool = False,
    sink_seconds: float = 0.0,
    run_id: str | None = None,
    **settings: Any,
) -> tuple[Any, Pulling]:
    """Run a pipeline to its end: its result, and how the pulling went."""
    run_id = run_id or fresh_name("run")
    pipeline = new_pipeline(beam_options(runner))
    (
        pipeline
        | PullMessages(subscription, run_id, **settings)
        | beam.ParDo(AppendNumbers(str(out), sink_seconds, fails=fails))
    )
    result = pipeline.run()
    result.wait_until_finish()
    return result, pulling(run_id)


def written(out: Path) -> list[int]:
    return [int(line) for line in out.read_text().split()]


@WHERE_IT_ENDS
def test_everything_arrives_once_and_is_acked(
    runner: list[str], numbered: Numbered, tmp_path: Path
) -> None:
    numbered.publish(range(MESSAGES))
    out = tmp_path / "out"

    result, ended = run(runner, numbered.subscription, out, idle_timeout=1.0, max_batch_rows=700)

    assert result.state == "DONE"
    assert ended.ended_by == "idle_timeout"
    assert sorted(written(out)) == list(range(MESSAGES))
    figures = ended.figures()
    assert (figures.pulled, figures.acked, figures.held) == (MESSAGES, MESSAGES, 0)
    assert (figures.failed_acks, figures.given_back) == (0, 0)
    found = result.metrics().query(beam.metrics.MetricsFilter().with_namespace(NAMESPACE))
    counts = {counter.key.metric.name: counter.result for counter in found["counters"]}
    assert counts["messages_pulled"] == MESSAGES


@WHERE_IT_ENDS
def test_a_subscription_that_is_deleted_ends_it_when_what_was_pulled_is_written(
    runner: list[str], numbered: Numbered, tmp_path: Path
) -> None:
    numbered.publish(range(100))
    out, run_id = tmp_path / "out", fresh_name("run")

    with deleted_once_pulled(numbered.subscription, run_id, 100):
        _, ended = run(runner, numbered.subscription, out, run_id=run_id, max_batch_seconds=60.0)

    assert sorted(written(out)) == list(range(100))
    assert ended.ended_by == "gone"
    assert isinstance(ended.failure, StorageError)


@WHERE_IT_ENDS
def test_max_messages_is_exact(runner: list[str], numbered: Numbered, tmp_path: Path) -> None:
    numbered.publish(range(1_500))
    out = tmp_path / "out"

    _, ended = run(
        runner, numbered.subscription, out, max_messages=1_234, max_batch_rows=500, deadline=60.0
    )

    assert ended.ended_by == "max_messages"
    assert len(written(out)) == len(set(written(out))) == 1_234
    # The others are there at once.
    assert sorted(written(out) + numbered.left(expected=266)) == list(range(1_500))


@WHERE_IT_ENDS
def test_a_sink_that_raises_has_nothing_acked(
    runner: list[str], numbered: Numbered, tmp_path: Path
) -> None:
    numbered.publish(range(1_000))

    with pytest.raises(Exception, match="the sink is broken"):
        run(runner, numbered.subscription, tmp_path / "out", fails=True, deadline=60.0)

    # Leased for a minute, but given back as the workers ended.
    assert numbered.left(expected=1_000) == list(range(1_000))


def test_a_deadline_ends_it(numbered: Numbered, tmp_path: Path) -> None:
    _, ended = run([], numbered.subscription, tmp_path / "out", deadline=0.5)

    assert ended.ended_by == "deadline"


@pytest.mark.parametrize(
    "runner",
    ["DirectRunner", pytest.param("PrismRunner", marks=pytest.mark.slow)],
    indirect=True,
)
def test_sigterm_writes_and_acks_what_was_pulled(
    runner: list[str], numbered: Numbered, tmp_path: Path
) -> None:
    numbered.publish(range(30_000))
    settings = json.dumps({"max_batch_rows": 500, "sink_seconds": 0.2, "deadline": 120.0})

    with pull_process(numbered.subscription, tmp_path / "out", settings, *runner) as pulled:
        pulled.until(lambda: len(pulled.numbers) >= 1_000)
        pulled.process.send_signal(signal.SIGTERM)
        assert pulled.process.wait(30) == 0, pulled.said
        ended = json.loads(next(x for x in pulled.said.splitlines() if x.startswith('{"state"')))

    done = pulled.numbers
    assert (ended["state"], ended["ended_by"]) == ("DONE", "stop")
    assert ended["acked"] == len(done) < 30_000
    rest = numbered.left(expected=30_000 - len(done))
    assert sorted(done + rest) == list(range(30_000))


@WHERE_IT_ENDS
@pytest.mark.slow
def test_killed_again_and_again_it_loses_nothing(
    runner: list[str], pubsub: str, tmp_path: Path
) -> None:
    numbered = Numbered.make(ack_seconds=10)
    numbered.publish(range(30_000))
    out = tmp_path / "out"
    settings = json.dumps({"max_batch_rows": 1_000, "sink_seconds": 0.1, "idle_timeout": 35.0})

    for kills in range(3):
        with pull_process(numbered.subscription, out, settings, *runner) as pulled:
            before = len(pulled.numbers)
            pulled.until(lambda: len(pulled.numbers) >= before + 4_000)  # noqa: B023
            pulled.kill()
        assert len(pulled.numbers) < 30_000, kills
    with pull_process(numbered.subscription, out, settings, *runner) as pulled:
        assert pulled.process.wait(120) == 0, pulled.said

    assert set(pulled.numbers) == set(range(30_000))
    assert numbered.left() == []


def test_a_slow_sink_is_not_idleness(numbered: Numbered, tmp_path: Path) -> None:
    numbered.publish(range(300))
    settings = {"max_batch_rows": 100, "max_batch_seconds": 0.1, "idle_timeout": 0.3}

    _, ended = run([], numbered.subscription, tmp_path / "out", sink_seconds=0.6, **settings)

    assert ended.ended_by == "idle_timeout"
    assert sorted(written(tmp_path / "out")) == list(range(300))

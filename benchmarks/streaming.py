"""Messages of Pub/Sub into BigQuery, both on this machine: a backlog, and a steady rate."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.measure import Contestant, Measured, Runs, measure, run_process
from benchmarks.running_stream import RunningStream
from benchmarks.section import Goal, Say, Section
from benchmarks.servers import Renewed, local_servers
from benchmarks.topics import BROKEN, PROJECT, SEED, Stream, publishing

MESSAGES = 200_000
FEW = 8_000
"""Messages for the straightforward way, which takes long."""
GOOD_SHARE = 0.95
"""So much of these is waited for: some are broken."""
RATE = 500
SECONDS = 30
GOAL_SPEED = 10_000.0
SHARE_OF_CEILING = 0.8
TIMES_STRAIGHTFORWARD = 10.0
MAX_MEAN_LATENCY = 1.5
_CEILINGS = 2
_OURS = 3


class Steady(NamedTuple):
    """A stream at a steady rate: latencies and processor time, in seconds; messages a second."""

    mean: float
    p50: float
    p99: float
    processor: float
    rate: float


def streaming(rows: int, rounds: int, say: Say) -> Section:
    """Our own speed, that of the servers alone, and of the straightforward way; then latency."""
    from celes_beam.local.servers import start_bigquery, start_pubsub  # noqa: PLC0415

    messages = min(rows, MESSAGES)
    say(f"load average {os.getloadavg()[0]:.1f}")
    with (
        tempfile.TemporaryDirectory(prefix="celes-bench-") as name,
        local_servers(Path(name), start_bigquery),
        Renewed(Path(name), start_pubsub) as pubsub,
    ):
        runs = measure(contestants(messages, pubsub), rounds, say)
        few = min(messages, FEW)
        wanted = round(few * GOOD_SHARE)
        simple = measure([_straightforward(few, wanted, pubsub)], rounds, say)[0]
        steady = [_steady(number, pubsub, say) for number in range(rounds)]
    say(f"load average {os.getloadavg()[0]:.1f}")
    speeds = [*(messages / r.median(_seconds) for r in runs), wanted / simple.median(_seconds)]
    middle = Steady(*(median(values) for values in zip(*steady, strict=True)))
    return Section(
        f"{messages:,} messages waiting in a local Pub/Sub, {BROKEN:.0%} of them broken, into a "
        f"local BigQuery; and {RATE} a second for {SECONDS} s",
        [*runs, simple, _as_runs(steady)],
        [*_speed_goals(runs, speeds), _latency_goal(middle)],
        table=_table([*runs, simple], speeds, middle),
    )


def contestants(messages: int, pubsub: Renewed) -> list[Contestant]:
    rejected = f"--dead_letter_topic projects/{PROJECT}/topics/bench-rejected".split()

    def ours(*flags: str) -> Callable[[Path], list[str]]:
        def command(folder: Path) -> list[str]:
            stream = _filled(pubsub, folder, messages)
            to = ["--subscription", stream.subscription, "--bigquery_table", stream.table]
            files = [flag.format(folder=folder) for flag in flags]
            ends = ["--max_messages", str(messages), "--progress", "off"]
            said = ["--summary_json", str(folder / "summary.json")]
            return ["-m", "pipelines.streaming", *to, *rejected, *ends, *said, *files]

        return command

    once = ("--delivery", "exactly_once")
    return [
        Contestant(
            "at least once",
            ours(),
            "`pipelines.streaming`: every value checked; rejected rows into their table and the "
            "dead-letter topic; acknowledged once all that is written. From the start of the "
            "pipeline, Python and imports not counted, until the last message is done.",
        ),
        Contestant(
            "exactly once",
            ours(*once, "--journal", "{folder}/journal"),
            "the same, each batch in a journal on the disk first, and appended with offsets.",
        ),
        Contestant(
            "exactly once, and a lake",
            ours(*once, "--output", "{folder}/streamed"),
            "the same, and all rows in a commit of a lake at the end.",
        ),
        Contestant(
            "pull and ack alone",
            lambda folder: _child("pull", _filled(pubsub, folder, messages).subscription, messages),
            "the same receiver, and nothing done with the messages: what the local Pub/Sub gives.",
        ),
        Contestant(
            "append alone",
            lambda folder: _child("append", Stream.make(folder.name).table, messages),
            "as many rows, made before, in batches of 5,000: what the local BigQuery takes.",
        ),
    ]


def _straightforward(messages: int, rows: int, pubsub: Renewed) -> Contestant:
    def command(folder: Path) -> list[str]:
        stream = _filled(pubsub, folder, messages)
        return _child("straightforward", stream.subscription, stream.table, rows)

    return Contestant(
        "the straightforward way",
        command,
        f"`ReadFromPubSub | json.loads | checks | BatchElements | insert_rows_json` on "
        f"DirectRunner; {messages:,} messages, counted in the table until {rows:,} rows are there; "
        "no table of rejected rows, no dead letters, acknowledged before anything is written.",
    )


def _filled(pubsub: Renewed, folder: Path, messages: int) -> Stream:
    pubsub.renew()
    stream = Stream.make(folder.name)
    stream.fill(messages)
    return stream


def _child(way: str, *given: object) -> list[str]:
    return ["-m", "benchmarks.streaming_child", way, *map(str, given)]


def _steady(number: int, pubsub: Renewed, say: Say) -> Steady:
    """Publish at the rate while a stream runs that has delivered a message before."""
    with tempfile.TemporaryDirectory(prefix="celes-bench-") as name:
        folder = Path(name)
        pubsub.renew()
        stream = Stream.make(folder.name)
        to = ["--subscription", stream.subscription, "--bigquery_table", stream.table]
        with RunningStream(folder, to) as running:
            stream.fill(1)
            before = running.wait_for(1)
            said = folder / "published.json"
            flags = ["--duration", str(SECONDS), "--first_row", "1"]
            command = publishing(stream.topic, said, rate=RATE, flags=flags)
            run_process([sys.executable, *command])
            published = json.loads(said.read_text())
            after = running.wait_for(1 + published["messages"])
            summary = running.stop()
    processor = "process_cpu_seconds_total"
    found = Steady(
        summary["latency_mean"],
        summary["latency_p50"],
        summary["latency_p99"],
        after[processor] - before[processor],
        published["rate_reached"],
    )
    say(
        f"round {number + 1}: {found.rate:,.0f} a second, mean latency {found.mean:.3f} s, p99 "
        f"{found.p99:.3f} s, {found.processor:.1f} s of a processor"
    )
    return found


def _as_runs(steady: Sequence[Steady]) -> Runs:
    contestant = Contestant(
        f"{RATE} messages a second",
        lambda _: [],
        "`celes-beam publish` into a running stream, at least once, with the default flags; from "
        "the publication of a message until its row was written; processor time of the stream's "
        "process meanwhile.",
    )
    return Runs(contestant, [Measured(s.mean, s.mean, 0.0, {"seed": SEED}) for s in steady])


def _speed_goals(runs: Sequence[Runs], speeds: Sequence[float]) -> list[Goal]:
    ceiling = min(speeds[_OURS : _OURS + _CEILINGS])
    least = min(GOAL_SPEED, SHARE_OF_CEILING * ceiling)
    goals = [
        Goal(
            f"{runs[i].contestant.name}: {GOAL_SPEED:,.0f} messages a second, or "
            f"{SHARE_OF_CEILING:.0%} of what the slower server does alone",
            f"{speeds[i]:,.0f} ({speeds[i] / ceiling:.0%} of it)",
            speeds[i] >= least,
        )
        for i in range(_OURS)
    ]
    times = min(speeds[:_OURS]) / speeds[-1]
    text = f"each {TIMES_STRAIGHTFORWARD:.0f} times as fast as the straightforward way"
    return [*goals, Goal(text, f"{times:.1f} times", times >= TIMES_STRAIGHTFORWARD)]


def _latency_goal(steady: Steady) -> Goal:
    return Goal(
        f"mean latency below {MAX_MEAN_LATENCY} s at {RATE} messages a second",
        f"{steady.mean:.2f} s",
        steady.mean < MAX_MEAN_LATENCY,
    )


def _table(runs: Sequence[Runs], speeds: Sequence[float], steady: Steady) -> list[list[str]]:
    rows = [
        [
            run.contestant.name,
            f"{speed:,.0f}",
            f"{run.median(lambda one: one.process_seconds):.2f}",
            f"{run.peak_mb:,.0f}",
            "",
        ]
        for run, speed in zip(runs, speeds, strict=True)
    ]
    latency = f"mean {steady.mean:.2f}, p50 {steady.p50:.2f}, p99 {steady.p99:.2f}"
    share = f"{steady.processor / SECONDS:.0%} of a core"
    rows.append([f"at {RATE} a second, {share}", f"{steady.rate:,.0f}", "", "", latency])
    return [["Way", "messages/s", "process s", "peak MB", "latency s"], *rows]


def _seconds(run: Measured) -> float:
    return run.seconds

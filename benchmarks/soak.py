"""``python -m benchmarks.soak``: a stream for many minutes, and whether it stays as it was.

Local servers of its own; sales at a steady rate, some of them broken and some sent twice, exactly
once into BigQuery, a lake (compacted by another process meanwhile) and dead letters. Fails when
anything is missing or double at the end, to the cent, or when memory keeps growing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.running_stream import RunningStream
from benchmarks.servers import local_servers
from benchmarks.soak_samples import Sample, growth, write_csv, write_svg

DUPLICATES = 0.01
MAX_GROWTH = 0.10
SAMPLE_SECONDS = 5.0
_END_SECONDS = 300.0
_BYTES_PER_ID = 60
"""The text of an id, and 24 bytes; see ``celes_beam.stores.stream.seen``."""


def main() -> int:
    """Run as the command line asks; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="default: %(default)s")
    parser.add_argument("--rate", type=float, default=1000.0, help="messages a second")
    parser.add_argument("--compact_minutes", type=float, default=3.0, help="default: %(default)s")
    parser.add_argument("--dedupe_minutes", type=float, default=10.0, help="default: %(default)s")
    parser.add_argument(
        "--output", type=Path, default=Path("soak"), help="folder for figures and curves"
    )
    flags = parser.parse_args()
    output: Path = flags.output
    output.mkdir(parents=True, exist_ok=True)

    from celes_beam.local.servers import start_bigquery, start_pubsub  # noqa: PLC0415

    print(f"load average {os.getloadavg()[0]:.1f}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="celes-soak-") as name,
        local_servers(Path(name), start_pubsub, start_bigquery),
    ):
        samples, problems = _soak(Path(name), flags)
    write_csv(samples, output / "soak.csv")
    write_svg(samples, output / "soak.svg")
    grown = growth(samples)
    ids_mb = flags.rate * 60 * min(flags.minutes, flags.dedupe_minutes) * _BYTES_PER_ID / 1e6
    print(
        f"{samples[-1].messages:,} messages, {median(s.per_second for s in samples):,.0f} a "
        f"second; latency {median(s.latency_mean for s in samples):.2f} s (median of means), "
        f"{max(s.latency_p99 for s in samples):.2f} s (worst p99); "
        f"{median(s.processor for s in samples):.0%} of a core; memory "
        f"{samples[0].memory_mb:,.0f} MB at first, {samples[-1].memory_mb:,.0f} MB at the end, of "
        f"which ids of {flags.dedupe_minutes:g} minutes are about {ids_mb:,.0f} MB"
    )
    print(f"memory of the last third against that of the middle one: {grown:+.1%}")
    print(f"load average {os.getloadavg()[0]:.1f}; figures and curves in {output}")
    if grown > MAX_GROWTH:
        problems.append(f"memory grows: {grown:+.1%}, where {MAX_GROWTH:.0%} are allowed")
    for problem in problems:
        print(f"FAILED  {problem}")
    return 1 if problems else 0


def _soak(folder: Path, flags: argparse.Namespace) -> tuple[list[Sample], list[str]]:
    from benchmarks.soak_checks import checks  # noqa: PLC0415
    from benchmarks.topics import Stream, publishing  # noqa: PLC0415
    from celes_beam.sales.traffic import SALE  # noqa: PLC0415

    stream, letters = Stream.make("soak"), Stream.make("soak-rejected")
    lake, said = folder / "lake", folder / "published.json"
    to = ["--subscription", stream.subscription, "--bigquery_table", stream.table]
    to += ["--output", str(lake), "--lake_flush_seconds", "30", "--delivery", "exactly_once"]
    to += ["--dead_letter_topic", letters.topic, "--id_attribute", SALE]
    to += ["--dedupe_minutes", str(flags.dedupe_minutes)]
    pace = ["--duration", str(flags.minutes * 60), "--duplicate_share", str(DUPLICATES)]
    command = [sys.executable, *publishing(stream.topic, said, rate=flags.rate, flags=pace)]
    with RunningStream(folder, to) as running:
        running.wait_for(0)
        with _process(command, folder / "publish.log") as publisher:
            samples, problems = _watch(running, publisher, lake, flags.compact_minutes * 60)
        published = _read(said)
        running.wait_for(published["messages"], _END_SECONDS)
        summary = running.stop()
    print(f"{published['messages']:,} messages sent, {published['rate_reached']:,.0f} a second")
    for check in checks(stream, letters, str(lake), published, summary):
        print(f"{'ok' if check.holds else 'NOT SO':<7} {check.what}: {check.found}")
        if not check.holds:
            problems.append(f"{check.what}: {check.found}, expected {check.expected}")
    return samples, problems


def _watch(
    running: RunningStream, publisher: subprocess.Popen[bytes], lake: Path, every: float
) -> tuple[list[Sample], list[str]]:
    """Sample while messages are sent, and compact the lake every so many seconds."""
    samples: list[Sample] = []
    problems: list[str] = []
    before = running.wait_for(1)
    began = looked = time.monotonic()
    compacted, compactions = began, 0
    while publisher.poll() is None:
        time.sleep(max(0.0, looked + SAMPLE_SECONDS - time.monotonic()))
        now, at = running.figures(), time.monotonic()
        samples.append(Sample.between(before, now, at - began, at - looked))
        before, looked = now, at
        last = samples[-1]
        print(
            f"{last.seconds:7.1f} s  {last.per_second:7,.0f} msg/s  {last.memory_mb:6,.1f} MB  "
            f"latency {last.latency_mean:.2f} s, p99 {last.latency_p99:.2f} s",
            flush=True,
        )
        if at - compacted >= every:
            compacted, compactions = at, compactions + 1
            compact = [sys.executable, "-m", "celes_beam.cli", "lake", "compact", str(lake)]
            done = subprocess.run(compact, capture_output=True, text=True, check=False)
            if done.returncode:
                problems.append(f"lake compact: {done.stdout}{done.stderr}")
    if publisher.returncode:
        problems.append(f"celes-beam publish ended with {publisher.returncode}")
    print(f"the lake was compacted {compactions} times")
    return samples, problems


@contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as written:
        process = subprocess.Popen(command, stdout=written, stderr=written)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


if __name__ == "__main__":
    sys.exit(main())

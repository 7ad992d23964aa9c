import io
import logging
import sys
import threading
import time

import numpy as np
import pytest

from celes_beam.commands import viewing
from celes_beam.commands.stream_status import StreamFigures, stream_meter, watch_stream
from celes_beam.stores.messages.receiver import Figures
from celes_beam.stores.stream.delivery import Delivered
from tests.unit.commands.test_progress import Terminal

DELIVERED = Delivered(
    messages=10,
    duplicates=2,
    rows=9,
    accepted=6,
    rejected=3,
    refused=1,
    dead_letters=3,
    rows_with_unknown_fields=4,
    by_reason={"missing": 2, "refused": 1},
    latencies=np.full(8, 250_000),
)


def test_batches_add_up() -> None:
    meter = stream_meter("adds")
    assert stream_meter("adds") is meter
    meter.add(DELIVERED)
    meter.add(DELIVERED)
    meter.committed()
    meter.follow(lambda: Figures(pulled=25, acked=20, oldest_unacked_seconds=1.5))

    figures = meter.read()

    assert figures.latency.count == 16
    assert figures == StreamFigures(
        messages=20,
        duplicates=4,
        batches=2,
        rows_read=18,
        rows_accepted=12,
        rows_rejected=6,
        refused=2,
        dead_letters=6,
        rows_with_unknown_fields=8,
        commits=1,
        pulled=25,
        acked=20,
        oldest_unacked=1.5,
        rejected_by_reason={"missing": 4, "refused": 2},
        latency=figures.latency,
    )
    assert figures.rows_read == figures.rows_written + figures.rows_rejected


def test_many_threads_lose_no_count() -> None:
    meter = stream_meter("threads")

    def work() -> None:
        for _ in range(200):
            meter.add(DELIVERED)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    figures = meter.read()
    assert (figures.batches, figures.latency.count) == (1600, 1600 * 8)


def test_a_run_that_is_over_is_forgotten() -> None:
    with watch_stream("over", mode="off") as meter:
        stream_meter("over").add(DELIVERED)
    assert meter.read().batches == 1
    assert stream_meter("over").read().batches == 0


def test_a_terminal_shows_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewing, "_REFRESH_SECONDS", 0.01)
    terminal = Terminal("6 rows written")
    before = sys.stdout, sys.stderr
    with watch_stream("line", mode="auto", stream=terminal) as meter:
        meter.add(DELIVERED)
        assert terminal.written.wait(10)
        assert (sys.stdout, sys.stderr) == before


def test_elsewhere_it_is_log_lines_of_what_came_since_the_last(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(viewing, "_LOG_SECONDS", 0.01)

    def wait_for(text: str) -> None:
        end = time.monotonic() + 10
        while text not in caplog.text:
            assert time.monotonic() < end, caplog.text
            time.sleep(0.01)

    with (
        caplog.at_level(logging.INFO, "celes_beam.commands.stream_status"),
        watch_stream("log", mode="auto", stream=io.StringIO()) as meter,
    ):
        wait_for("0 msg/s, 0 rows written, 0 rejected, oldest unacked 0.0 s, latency p50 –, p99 –")
        meter.follow(lambda: Figures(oldest_unacked_seconds=2.04))
        meter.add(DELIVERED)
        wait_for("6 rows written, 3 rejected, oldest unacked 2.0 s, latency p50 0.2")

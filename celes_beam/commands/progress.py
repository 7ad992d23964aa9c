"""How far the run in this process is: workers count here, the command line shows it."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

_LOGGER = logging.getLogger(__name__)
_REFRESH_SECONDS = 0.2
_LOG_SECONDS = 10.0


@dataclass
class Meter:
    """Rows read and work done so far; work is in the unit of the total, rows or bytes."""

    rows: int = 0
    done: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, *, rows: int = 0, done: int = 0) -> None:
        """Count what a worker thread has just done."""
        with self._lock:
            self.rows += rows
            self.done += done


def _rows(count: float) -> str:
    return f"{count:,.0f} rows"


def _megabytes(count: float) -> str:
    return f"{count / 1_000_000:,.1f} MB"


@dataclass(frozen=True)
class Unit:
    """What a meter is watched for: which count, and how it is written."""

    count: Callable[[Meter], int]
    show: Callable[[float], str]


ROWS = Unit(lambda meter: meter.rows, _rows)
BYTES = Unit(lambda meter: meter.done, _megabytes)

_meters: dict[str, Meter] = {}
_lock = threading.Lock()


def meter(run_id: str) -> Meter:
    """The meter of a run in this process; in the process of a remote worker nobody looks at it."""
    with _lock:
        return _meters.setdefault(run_id, Meter())


@contextmanager
def watch(
    run_id: str, total: int, *, mode: str, unit: Unit = ROWS, stream: IO[str] | None = None
) -> Iterator[None]:
    """Show the meter of a run while the body runs: a bar on a terminal, log lines elsewhere.

    ``total`` is in the unit of ``Meter.done``; ``mode`` is "auto" or "off"; ``unit`` is what is
    counted and whose speed is shown.
    """
    stream = stream or sys.stderr
    show = None if mode == "off" else _show_bar if stream.isatty() else _log_lines
    stop = threading.Event()
    viewer = (
        threading.Thread(target=show, args=(meter(run_id), total, unit, stop, stream), daemon=True)
        if show
        else None
    )
    if viewer:
        viewer.start()
    try:
        yield
    finally:
        stop.set()
        if viewer:
            viewer.join()
        with _lock:
            _meters.pop(run_id, None)


def _show_bar(
    current: Meter, total: int, unit: Unit, stop: threading.Event, stream: IO[str]
) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow to import: not for --help
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    started = time.monotonic()
    with Progress(
        TextColumn("{task.fields[count]}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}/s"),
        TimeRemainingColumn(),
        console=Console(file=stream),
        transient=True,
    ) as progress:
        task = progress.add_task("", total=max(total, 1), count="", speed=unit.show(0))
        while not stop.wait(_REFRESH_SECONDS):
            count = unit.count(current)
            speed = unit.show(count / (time.monotonic() - started))
            progress.update(task, completed=current.done, count=unit.show(count), speed=speed)


def _log_lines(current: Meter, total: int, unit: Unit, stop: threading.Event, _: IO[str]) -> None:
    started = time.monotonic()
    while not stop.wait(_LOG_SECONDS):
        elapsed = time.monotonic() - started
        share = current.done / max(total, 1)
        left = f", {elapsed / share - elapsed:,.0f} s left" if share else ""
        _LOGGER.info(
            "%s, %.0f%%, %s/s%s",
            unit.show(unit.count(current)),
            100 * share,
            unit.show(unit.count(current) / elapsed),
            left,
        )

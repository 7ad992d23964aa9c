"""How far the run in this process is: workers count here, the command line shows it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import IO

from celes_beam.commands.viewing import ByRun, Ticks, viewing

_LOGGER = logging.getLogger(__name__)


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

_meters = ByRun(Meter)


def meter(run_id: str) -> Meter:
    """The meter of a run in this process; in the process of a remote worker nobody looks at it."""
    return _meters.of(run_id)


@contextmanager
def watch(
    run_id: str, total: int, *, mode: str, unit: Unit = ROWS, stream: IO[str] | None = None
) -> Iterator[None]:
    """Show the meter of a run while the body runs: a bar on a terminal, log lines elsewhere.

    ``total`` is in the unit of ``Meter.done``; ``mode`` is "auto" or "off"; ``unit`` is what is
    counted and whose speed is shown.
    """
    current = meter(run_id)
    try:
        with viewing(
            mode,
            stream,
            partial(_show_bar, current, total, unit),
            partial(_log_lines, current, total, unit),
        ):
            yield
    finally:
        _meters.forget(run_id)


def _show_bar(current: Meter, total: int, unit: Unit, ticks: Ticks, stream: IO[str]) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow to import: not for --help
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.fields[count]}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}/s"),
        TimeRemainingColumn(),
        console=Console(file=stream),
        transient=True,
        # Others redirect them meanwhile, and would be undone at the end.
        redirect_stdout=False,
        redirect_stderr=False,
    ) as progress:
        task = progress.add_task("", total=max(total, 1), count="", speed=unit.show(0))
        for elapsed in ticks:
            count = unit.count(current)
            speed = unit.show(count / elapsed)
            progress.update(task, completed=current.done, count=unit.show(count), speed=speed)


def _log_lines(current: Meter, total: int, unit: Unit, ticks: Ticks) -> None:
    for elapsed in ticks:
        share = current.done / max(total, 1)
        left = f", {elapsed / share - elapsed:,.0f} s left" if share else ""
        _LOGGER.info(
            "%s, %.0f%%, %s/s%s",
            unit.show(unit.count(current)),
            100 * share,
            unit.show(unit.count(current) / elapsed),
            left,
        )

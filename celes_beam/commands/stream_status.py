"""How a stream in this process is doing: workers count here, the command line shows it."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import IO, TYPE_CHECKING

from celes_beam.commands.latency import Latency
from celes_beam.commands.viewing import ByRun, Ticks, viewing

if TYPE_CHECKING:
    from celes_beam.stores.messages.receiver import Figures
    from celes_beam.stores.stream.delivery import Delivered

_LOGGER = logging.getLogger(__name__)
_RECENT_SECONDS = 5.0
"""Speed and latency are those of so long; where lines are further apart, those since the last."""


@dataclass(frozen=True)
class StreamFigures:
    """What a stream has done so far: rows read = accepted + rejected, and ``refused`` are rejected.

    ``messages`` were delivered, ``duplicates`` of them had been before. ``pulled`` and ``acked``
    are those of the subscription, and ``oldest_unacked`` seconds how long the oldest message that
    is held has waited. ``commits`` are those to the lake. ``live_rows`` are those of live
    windows; ``live_rows_told`` are in the ``live_sums`` written, ``live_rows_late`` came late.
    ``latency`` is from the publication of a message until it was written.
    """

    messages: int = 0
    duplicates: int = 0
    batches: int = 0
    rows_read: int = 0
    rows_accepted: int = 0
    rows_rejected: int = 0
    refused: int = 0
    dead_letters: int = 0
    rows_with_unknown_fields: int = 0
    commits: int = 0
    live_rows: int = 0
    live_rows_told: int = 0
    live_rows_late: int = 0
    live_sums: int = 0
    pulled: int = 0
    acked: int = 0
    oldest_unacked: float = 0.0
    rejected_by_reason: Mapping[str, int] = field(default_factory=dict)
    latency: Latency = field(default_factory=Latency.none)

    @property
    def rows_written(self) -> int:
        """Rows that are where they were to go: those accepted, and refused by none."""
        return self.rows_accepted


class StreamMeter:
    """Counts what became of batches; for any thread, in memory that does not grow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._by_reason: Counter[str] = Counter()
        self._latency = Latency.none()
        self._receiver: Callable[[], Figures] | None = None

    def add(self, delivered: Delivered) -> None:
        """Count a batch that was delivered."""
        counts = {
            "batches": 1,
            "messages": delivered.messages,
            "duplicates": delivered.duplicates,
            "rows_read": delivered.rows,
            "rows_accepted": delivered.accepted,
            "rows_rejected": delivered.rejected,
            "refused": delivered.refused,
            "dead_letters": delivered.dead_letters,
            "rows_with_unknown_fields": delivered.rows_with_unknown_fields,
        }
        with self._lock:
            self._counts.update(counts)
            self._by_reason.update(delivered.by_reason)
            self._latency = self._latency.and_also(delivered.latencies)

    def committed(self, commits: int = 1) -> None:
        """Count commits to the lake."""
        with self._lock:
            self._counts["commits"] += commits

    def counted_live(self, rows: int) -> None:
        """Count rows that live windows are to tell of."""
        with self._lock:
            self._counts["live_rows"] += rows

    def told_live(self, *, sums: int, rows: int, late: int) -> None:
        """Count sums of live windows that were written, and the rows that are new in them."""
        with self._lock:
            self._counts.update(live_sums=sums, live_rows_told=rows, live_rows_late=late)

    def follow(self, receiver: Callable[[], Figures]) -> None:
        """Ask ``receiver`` for what was pulled and acked, such as ``pulling(run_id).figures``."""
        self._receiver = receiver

    def read(self) -> StreamFigures:
        """The figures of this moment."""
        receiver = self._receiver
        of_pulling = {}
        oldest = 0.0
        if receiver is not None:
            figures = receiver()
            of_pulling = {"pulled": figures.pulled, "acked": figures.acked}
            oldest = figures.oldest_unacked_seconds
        with self._lock:
            return StreamFigures(
                **self._counts,
                **of_pulling,
                oldest_unacked=oldest,
                rejected_by_reason=dict(self._by_reason),
                latency=self._latency,
            )


_meters = ByRun(StreamMeter)


def stream_meter(run_id: str) -> StreamMeter:
    """The meter of a run in this process; in the process of a remote worker nobody looks at it."""
    return _meters.of(run_id)


@contextmanager
def watch_stream(run_id: str, *, mode: str, stream: IO[str] | None = None) -> Iterator[StreamMeter]:
    """Show how a stream is doing while the body runs: a line that changes, or log lines elsewhere.

    ``mode`` is "auto" or "off". Gives the meter, which is forgotten by its run at the end.
    """
    meter = stream_meter(run_id)
    try:
        with viewing(mode, stream, partial(_show_line, meter), partial(_log_lines, meter)):
            yield meter
    finally:
        _meters.forget(run_id)


class _Recent:
    """Speed and latency of the last seconds."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, StreamFigures]] = deque([(0.0, StreamFigures())])

    def line(self, now: StreamFigures, elapsed: float) -> str:
        """What to show ``elapsed`` seconds after the beginning."""
        looks = self._looks
        while len(looks) > 1 and looks[1][0] <= elapsed - _RECENT_SECONDS:
            looks.popleft()
        at, before = looks[0]
        looks.append((elapsed, now))
        speed = (now.messages - before.messages) / max(elapsed - at, 1e-9)
        latency = now.latency - before.latency
        return (
            f"{speed:,.0f} msg/s, {now.rows_written:,} rows written, {now.rows_rejected:,} "
            f"rejected, oldest unacked {now.oldest_unacked:,.1f} s, "
            f"latency p50 {told(latency.quantile(0.5))}, p99 {told(latency.quantile(0.99))}"
        )


def told(seconds: float | None) -> str:
    """A duration for people, such as 0.25 s; a dash for none."""
    return "–" if seconds is None else f"{seconds:,.2f} s"


def _show_line(meter: StreamMeter, ticks: Ticks, stream: IO[str]) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow to import: not for --help
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    recent = _Recent()
    with Live(
        console=Console(file=stream),
        auto_refresh=False,
        transient=True,
        # Others redirect them meanwhile, and would be undone at the end.
        redirect_stdout=False,
        redirect_stderr=False,
    ) as live:
        for elapsed in ticks:
            live.update(Text(recent.line(meter.read(), elapsed)), refresh=True)


def _log_lines(meter: StreamMeter, ticks: Ticks) -> None:
    recent = _Recent()
    for elapsed in ticks:
        _LOGGER.info("%s", recent.line(meter.read(), elapsed))

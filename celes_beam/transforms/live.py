"""Live windows: sums of each window of event time, told when it is over and when more came.

    Deliver ─ Count ─┬─ Add up (a state for each window, category and region) ─ Write
                     └─ Write corrections, of windows that are long over

It hangs behind the sinks: what is counted here is written there already. Only partial sums cross
the shuffle. What is told is a running total, so that it may be written any number of times (see
``stores/warehouse/live_table.py``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam import coders
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.typehints import KV
from apache_beam.utils.shared import Shared
from apache_beam.utils.timestamp import Timestamp

from celes_beam.commands.stream_status import stream_meter
from celes_beam.errors import ConfigError, StorageError
from celes_beam.sales.live import SECOND_US, WindowSum, split_by_end, window_sums
from celes_beam.stores.stream.delivery import Delivered
from celes_beam.stores.warehouse.append_batch import Refused
from celes_beam.stores.warehouse.live_table import (
    CORRECTION,
    ON_TIME,
    PARTIAL,
    LiveRow,
    LiveSpec,
    live_batch,
)
from celes_beam.stores.warehouse.write_streams import WriteStreams
from celes_beam.transforms import metrics

__all__ = ["LiveWindows", "check_live_windows", "window_sums"]

_GRACE_SECONDS = 3600.0
"""What is sent to a window is younger than the lateness by the clock, which no watermark is ahead
of; on its way it may be for so long before the window is forgotten."""
_RUNNERS = {
    "prismrunner",
    "portablerunner",
    "flinkrunner",
    "dataflowrunner",
    "testdataflowrunner",
}
_OLD = "old"

Key = tuple[int, str, str]
"""Beginning of the window, in µs since 1970, category, region."""
Sums = tuple[int, int]
"""Rows, cents."""
_NOTHING = (0, 0, 0, 0, 0)
"""Rows, cents, late rows, rows that were told, how often: what is kept of a window."""
_OVER = TimerSpec("over", TimeDomain.WATERMARK)
_STATE = beam.DoFn.StateParam(ReadModifyWriteStateSpec("sums", coders.PickleCoder()))
_OVER_TIMER = beam.DoFn.TimerParam(_OVER)


def check_live_windows(options: PipelineOptions) -> None:
    """Raise ``ConfigError`` for a runner whose windows come out only when the stream ends."""
    name = options.view_as(StandardOptions).runner or "DirectRunner"
    if name.lower() not in _RUNNERS:
        raise ConfigError(
            f"--live_windows: --runner {name} has no live windows, it gives all of them when the "
            "stream ends: use PrismRunner (make prism), Flink by PortableRunner, or "
            "DataflowRunner, or leave --live_windows out and ask the table by SQL"
        )


@dataclass(eq=False)
class LiveWindows(beam.PTransform):
    """PCollection of ``Delivered`` with sums -> nothing: the rows are in the table of ``spec``.

    ``meter`` names the run whose figures they count in. Raises what the table raises.
    """

    spec: LiveSpec
    meter: str

    def expand(self, delivered: beam.PCollection[Delivered]) -> None:
        spec = self.spec
        counted = delivered | "Count" >> beam.ParDo(_CountFn(spec, self.meter)).with_outputs(
            _OLD, main="young"
        )
        shared = Shared()
        _ = (
            counted.young
            # Whole numbers without a bound: a window may hold any sum.
            | "Type" >> beam.Map(_same).with_output_types(KV[tuple[int, str, str], Any])
            | "Add up" >> beam.ParDo(AddUpFn(spec))
            | "Write" >> beam.ParDo(_WriteFn(spec, self.meter, shared))
        )
        _ = counted[_OLD] | "Write corrections" >> beam.ParDo(_WriteFn(spec, self.meter, shared))


def _same(element: tuple[Key, Sums]) -> tuple[Key, Sums]:
    return element


class _CountFn(beam.DoFn):
    """Partial sums of a batch; and rows of windows that are long over."""

    def __init__(self, spec: LiveSpec, meter: str) -> None:
        self._spec = spec
        self._run_id = meter

    def process(self, delivered: Delivered) -> Iterator[Any]:
        # By the clock, for a DoFn knows no watermark.
        closed = time.time() - self._spec.lateness_seconds
        young, old = split_by_end(delivered.live, self._spec.seconds, round(closed * SECOND_US))
        rows = sum(one.share.rows for one in delivered.live)
        metrics.LIVE_ROWS.inc(rows)
        stream_meter(self._run_id).counted_live(rows)
        for one in young:
            key = one.start, one.category, one.region
            yield key, (one.share.rows, one.share.cents)
        for one in old:
            yield beam.pvalue.TaggedOutput(_OLD, self._told(one, delivered.batch))

    def _told(self, one: WindowSum, batch: str) -> LiveRow:
        return LiveRow(
            start=one.start,
            end=one.start + self._spec.seconds * SECOND_US,
            category=one.category,
            region=one.region,
            rows=one.share.rows,
            cents=one.share.cents,
            late=one.share.rows,
            kind=CORRECTION,
            number=0,
            series=f"{self._spec.series}/{batch}",
            added=one.share.rows,
        )


class AddUpFn(beam.DoFn):
    """Adds up the sums of a window and key, and tells them: once it is over, then at each change.

    The window is a part of the key, and its end a timer. Windows of Beam would not do: Prism
    forgets the state of one as soon as it is over, whatever lateness is allowed. ``now`` is the
    clock, in seconds since 1970.
    """

    def __init__(self, spec: LiveSpec, now: Callable[[], float] = time.time) -> None:
        self._series = spec.series
        self._width = spec.seconds * SECOND_US
        self._kept = round((spec.lateness_seconds + _GRACE_SECONDS) * SECOND_US)
        self._now = now

    def process(
        self,
        element: tuple[Key, Sums],
        state: Any = _STATE,
        over: Any = _OVER_TIMER,
    ) -> Iterator[LiveRow]:
        key, (more_rows, more_cents) = element
        held = state.read()
        rows, cents, late, told, number = held or _NOTHING
        if held is None:
            over.set(Timestamp(micros=key[0] + self._width))
        rows, cents = rows + more_rows, cents + more_cents
        if not number:
            state.write((rows, cents, late, told, number))
            return
        late += more_rows
        state.write((rows, cents, late, rows, number + 1))
        yield self._row(key, (rows, cents, late, told, number), CORRECTION)

    @on_timer(_OVER)
    def over(
        self, key: Any = beam.DoFn.KeyParam, state: Any = _STATE, over: Any = _OVER_TIMER
    ) -> Iterator[LiveRow]:
        rows, cents, late, told, number = state.read() or _NOTHING
        if number or not rows:
            # It was told, and has been kept for as long as it was to be.
            state.clear()
            return
        state.write((rows, cents, late, rows, number + 1))
        end = key[0] + self._width
        # The same timer again: of two that are due Flink may fire the later one first.
        over.set(Timestamp(micros=end + self._kept))
        # No watermark passes the clock, but for the end of all.
        is_over = self._now() * SECOND_US >= end
        yield self._row(key, (rows, cents, late, told, number), ON_TIME if is_over else PARTIAL)

    def _row(self, key: Key, held: tuple[int, int, int, int, int], kind: str) -> LiveRow:
        rows, cents, late, told, number = held
        return LiveRow(
            start=key[0],
            end=key[0] + self._width,
            category=key[1],
            region=key[2],
            rows=rows,
            cents=cents,
            late=late,
            kind=kind,
            number=number,
            series=self._series,
            added=rows - told,
        )


class _WriteFn(beam.DoFn):
    """Appends the rows of a bundle at once, at least once."""

    def __init__(self, spec: LiveSpec, meter: str, shared: Shared) -> None:
        self._table = spec.table
        self._run_id = meter
        self._shared = shared

    def setup(self) -> None:
        # One connection a process: a runner may make a worker for each bundle.
        self._writer: WriteStreams = self._shared.acquire(lambda: WriteStreams(self._table))

    def start_bundle(self) -> None:
        self._rows: list[LiveRow] = []

    def process(self, row: LiveRow) -> None:
        self._rows.append(row)

    def finish_bundle(self) -> None:
        rows = self._rows
        if not rows:
            return
        self._writer.append(live_batch(rows, time.time_ns() // 1000), on_refused=self._refused)
        late = sum(row.added for row in rows if row.kind == CORRECTION)
        added = sum(row.added for row in rows)
        metrics.LIVE_ROWS_TOLD.inc(added)
        metrics.LIVE_ROWS_LATE.inc(late)
        metrics.LIVE_SUMS.inc(len(rows))
        stream_meter(self._run_id).told_live(sums=len(rows), rows=added, late=late)

    def teardown(self) -> None:
        self._writer.close()

    def _refused(self, found: Any) -> None:
        refused: list[Refused] = list(found)
        raise StorageError(
            f"BigQuery does not take sums of live windows ({refused[0].why}): compare the columns "
            f"of {self._table} with docs/live-windows.md, or name another --live_table"
        )

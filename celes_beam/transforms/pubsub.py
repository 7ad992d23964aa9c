"""Messages of Pub/Sub, in batches: pulled by ourselves, or read by Dataflow.

Off Dataflow a runner keeps what crosses a shuffle in memory, and Beam's own source acks before
anything is done. So there ``PullMessages`` acks when the bundle is over: whatever writes its
batches has to be fused to it, with no shuffle between, and a writer that raises has nothing acked.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from celes_beam.errors import ConfigError, StorageError
from celes_beam.sales.messages import MAX_BATCH_BYTES, Messages
from celes_beam.stores.messages.holding import Batching, Held
from celes_beam.stores.messages.paths import check_path
from celes_beam.stores.messages.pulling import Ended, pulling
from celes_beam.stores.messages.receiver import Receiver
from celes_beam.transforms import metrics
from celes_beam.transforms.message_coder import register_messages_coder
from celes_beam.transforms.options import is_local
from celes_beam.transforms.portable import is_elsewhere, is_portable
from celes_beam.transforms.pubsub_native import ReadNativeBatches
from celes_beam.transforms.pull_restriction import PullProvider

__all__ = ["PullMessages", "ReadNativeBatches"]

register_messages_coder()

_BATCHES_HELD = 4
_LEAST_HELD = 20_000
_BYTES_HELD = 64 * 2**20
_PATIENCE_SECONDS = 30.0
"""Where a bundle may wait for messages, it does so long: each costs the runner some memory."""
_SLICE_SECONDS = 0.1
_GLANCE_SECONDS = 0.05
_SHORTEST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0
"""Elsewhere bundles are cheap, but Prism spins while one is open: it waits between them."""
_WATERMARK_SLACK = 2.0
_RESTRICTION = beam.DoFn.RestrictionParam(PullProvider())
_WATERMARK = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider())


@dataclass(eq=False)
class PullMessages(beam.PTransform):
    """The beginning of a pipeline -> PCollection of ``Messages``, until it ends or is stopped.

    A batch is of ``max_batch_rows`` messages or ``max_batch_bytes`` at most, and complete
    ``max_batch_seconds`` after its first message came. It ends after ``max_messages`` exactly, when
    none came for ``idle_timeout`` seconds, ``deadline`` seconds after it began, or when
    ``pulling(run_id).stop()`` is called in this process; ``pulling(run_id)`` tells which.
    ``ack_deadline`` is that of the subscription, in seconds. When the subscription is gone it ends
    as well, and ``pulling(run_id).failure`` says so; workers of another process raise it.
    Raises ``ConfigError`` for arguments out of bounds.
    """

    subscription: str
    run_id: str
    max_batch_rows: int = 5_000
    max_batch_seconds: float = 1.0
    max_batch_bytes: int = MAX_BATCH_BYTES
    max_messages: int | None = None
    idle_timeout: float | None = None
    deadline: float | None = None
    ack_deadline: int = 10

    def __post_init__(self) -> None:
        check_path(self.subscription, "subscription")
        for name in (
            *("max_batch_rows", "max_batch_seconds", "max_batch_bytes"),
            *("max_messages", "idle_timeout", "deadline", "ack_deadline"),
        ):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name}={value}: expected more than 0")

    def expand(self, start: beam.pvalue.PBegin) -> beam.PCollection[Messages]:
        # FnApiRunner begins the next bundle at once, whatever pause it is asked for.
        options = start.pipeline.options
        waits = is_local(options)
        in_turn, is_watched = is_portable(options), not is_elsewhere(options)
        return (
            start
            | beam.Impulse()
            | "Begin" >> beam.ParDo(_BeginFn())
            | beam.ParDo(
                _PullFn(self, waits=waits, in_turn=in_turn, is_watched=is_watched)
            ).with_output_types(Messages)
        )


class _BeginFn(beam.DoFn):
    """Passes on what it gets.

    Prism tells the bundle in which the pull begins, too, that it is over, for a part of ``_PullFn``
    is in it; that part cannot ask for it, and Beam would show a traceback.
    """

    def process(
        self, element: bytes, finalizer: Any = beam.DoFn.BundleFinalizerParam
    ) -> Iterator[bytes]:
        finalizer.register(_nothing)
        yield element


class _PullFn(beam.DoFn):
    """Emits a batch in each bundle, and acks it when the runner says that the bundle is over.

    ``in_turn`` is for Flink, which starts a job again from its last checkpoint, hangs up on the
    worker then, and does not say what became of the bundles since. ``is_watched`` tells that the
    launcher looks at ``pulling``: an error of Beam's would lose open windows.
    """

    def __init__(self, pull: PullMessages, *, waits: bool, in_turn: bool, is_watched: bool) -> None:
        self._in_turn = in_turn
        self._is_watched = is_watched
        self._subscription = pull.subscription
        self._run_id = pull.run_id
        self._batching = Batching(pull.max_batch_rows, pull.max_batch_bytes, pull.max_batch_seconds)
        self._max_messages = pull.max_messages
        self._idle_timeout = pull.idle_timeout
        self._deadline = pull.deadline
        self._ack_deadline = pull.ack_deadline
        self._patience = _PATIENCE_SECONDS if waits else _GLANCE_SECONDS
        self._pause = min(max(pull.max_batch_seconds, _SHORTEST_PAUSE), _LONGEST_PAUSE)

    def setup(self) -> None:
        self._pulling = pulling(self._run_id)
        self._receiver: Receiver | None = None
        self._unacked: dict[int, Held] = {}
        # Acks are answered while the next batch is written; none is asked for before its own is.
        self._acking = ThreadPoolExecutor(1, thread_name_prefix="ack")

    def teardown(self) -> None:
        """Runs also when a bundle failed: what it had taken will never be acked."""
        self._acking.shutdown()
        if self._receiver is None:
            return
        for held in self._unacked.values():
            self._receiver.give_back(held)
        self._receiver = None
        self._pulling.leave()

    # The finalizer has to stand before the restriction: Beam goes by the order.
    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: bytes,
        finalizer: Any = beam.DoFn.BundleFinalizerParam,
        tracker: Any = _RESTRICTION,
        watermark: Any = _WATERMARK,
    ) -> Iterator[TimestampedValue]:
        # Prism tells every bundle of this stage that it is over; Beam fails when none asked for it.
        finalizer.register(_nothing)
        restriction = tracker.current_restriction()
        receiver = self._open(restriction[0])
        messages, began, bundle = restriction
        if self._in_turn:
            self._pulling.begin(bundle)
        ended, held = self._wait(receiver, messages, began)
        if held is not None:
            if self._in_turn and not self._pulling.is_current(bundle):
                receiver.give_back(held)
                return
            if not tracker.try_claim(len(held)):
                receiver.give_back(held)
                return
            self._unacked[id(held)] = held
            finalizer.register(functools.partial(self._ack, receiver, held))
            metrics.count_pulled(held.messages)
            yield TimestampedValue(held.messages, Timestamp(micros=min(held.messages.published)))
            ended = self._enough(messages + len(held))
        if ended is not None:
            self._pulling.ended_by = ended
            receiver.give_back()
            return
        self._move(watermark, receiver, held)
        due = receiver.due_in(self._batching)
        tracker.defer_remainder(Duration.of(self._pause if due is None else min(due, self._pause)))

    def _open(self, pulled: int) -> Receiver:
        if self._receiver is None:
            self._receiver = self._pulling.open(functools.partial(self._make, pulled))
        return self._receiver

    def _make(self, pulled: int) -> Receiver:
        return Receiver(
            self._subscription,
            ack_deadline=self._ack_deadline,
            max_messages=max(_BATCHES_HELD * self._batching.max_rows, _LEAST_HELD),
            max_bytes=max(_BATCHES_HELD * self._batching.max_bytes, _BYTES_HELD),
            limit=None if self._max_messages is None else self._max_messages - pulled,
        )

    def _wait(
        self, receiver: Receiver, messages: int, began: float
    ) -> tuple[Ended | None, Held | None]:
        """Wait for a batch or an end, as long as a bundle may."""
        until = time.monotonic() + self._patience
        while True:
            if ended := self._enough(messages) or self._ended(receiver, began):
                return ended, None
            left = until - time.monotonic()
            # In slices: a signal handler may notify nobody.
            try:
                held = receiver.take(
                    max_rows=self._batching.max_rows,
                    max_bytes=self._batching.max_bytes,
                    max_seconds=self._batching.max_seconds,
                    wait_seconds=max(0.0, min(left, _SLICE_SECONDS)),
                )
            except StorageError as error:
                if not self._is_watched:
                    raise
                self._pulling.failure = error
                return Ended.GONE, None
            if held is not None or left <= 0:
                return None, held

    def _enough(self, messages: int) -> Ended | None:
        enough = self._max_messages is not None and messages >= self._max_messages
        return Ended.MAX_MESSAGES if enough else None

    def _ended(self, receiver: Receiver, began: float) -> Ended | None:
        now = time.time()
        is_over = self._deadline is not None and now - began >= self._deadline
        if self._pulling.stop_asked or is_over:
            receiver.stop_pulling()
            if receiver.due_in(self._batching) is not None:
                # What was pulled is written first.
                return None
            return Ended.STOP if self._pulling.stop_asked else Ended.DEADLINE
        if self._idle_timeout is not None and receiver.is_quiet(self._idle_timeout):
            return Ended.IDLE_TIMEOUT
        return None

    def _ack(self, receiver: Receiver, held: Held) -> None:
        self._unacked.pop(id(held), None)
        self._acking.submit(receiver.ack, held)

    def _move(self, watermark: Any, receiver: Receiver, held: Held | None) -> None:
        """Let the watermark follow what is published, or the clock when nothing more is there."""
        if held is not None:
            reached = Timestamp(micros=min(held.messages.published))
        elif receiver.empty_at is not None and receiver.due_in(self._batching) is None:
            reached = Timestamp.of(receiver.empty_at)
        else:
            return
        reached -= Duration.of(_WATERMARK_SLACK)
        current = watermark.current_watermark()
        if current is None or reached > current:
            watermark.set_watermark(reached)


def _nothing() -> None:
    pass

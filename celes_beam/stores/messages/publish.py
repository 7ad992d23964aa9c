"""Sends traffic to a topic at a steady rate, and says how well it kept it.

Message n is due n/rate seconds after the start, whatever became of those before: a sender that was
held up catches up, and tells how late it was.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from celes_beam.errors import ConfigError
from celes_beam.sales.traffic import LATE, Message, Schedule, Traffic
from celes_beam.stores.messages.topic_writer import (
    MOST_BYTES,
    MOST_MESSAGES,
    TopicWriter,
    message_size,
    most_message_bytes,
)

_TICK_SECONDS = 0.02
_GRACE_SECONDS = 1.0
_MOST_ROWS = 10**12
_REQUESTS_AT_ONCE = 4


@dataclass(frozen=True)
class Pace:
    """How fast and how long: ``rate`` messages a second, 0 for as many as can be.

    It ends after ``rows`` rows or ``seconds``, whichever is first; one of them is given.
    With ``in_order`` a request is answered before the next one goes out.
    """

    rate: float
    rows: int | None = None
    seconds: float | None = None
    in_order: bool = False


@dataclass
class Sent:
    """What Pub/Sub has taken: rows ``first_row`` to ``first_row + rows - 1``, each at least once.

    ``messages`` counts copies too. ``held_back`` of them were late or double ones whose place came
    after the end, sent at once when it was there. Lateness, in seconds, is how long after its time
    a message was sent; ``seconds`` end with the last one that had a time.
    """

    first_row: int
    rows: int = 0
    messages: int = 0
    copies: int = 0
    late: int = 0
    held_back: int = 0
    bytes: int = 0
    seconds: float = 0.0
    mean_lateness: float = 0.0
    max_lateness: float = 0.0
    was_stopped: bool = False

    @property
    def rate(self) -> float:
        """Messages a second, without those that were held back beyond the end."""
        return (self.messages - self.held_back) / max(self.seconds, 1e-9)


def publish(
    traffic: Traffic,
    topic: str,
    pace: Pace,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    wait: Callable[[float], None] = time.sleep,
    on_sent: Callable[[int], None] = lambda rows: None,
) -> Sent:
    """Send traffic to a topic, until its end or until ``should_stop``; tell what was sent.

    In either case messages that are held back are sent at the end, so that no row of those told is
    left out. ``wait`` is given seconds; ``on_sent`` the rows of a request that was answered.
    Raises ``ConfigError`` for messages that are too large, ``UsageError`` when the topic is missing
    or closed to us, ``StorageError`` when
    Pub/Sub takes nothing for a minute: what was sent until then is there.
    """
    schedule = Schedule(traffic, _MOST_ROWS if pace.rows is None else pace.rows)
    sent = Sent(traffic.first_row)
    with TopicWriter(topic) as writer, _Requests(writer, pace, on_sent) as requests:
        messages = iter(schedule)
        started = time.monotonic()
        for due in _ticks(pace, sent, started, should_stop, wait):
            batch = list(islice(messages, due))
            if not batch:
                break
            _note(sent, batch)
            requests.send(batch)
        requests.wait()
        sent.seconds = time.monotonic() - started
        rest = schedule.rest()
        for at in range(0, len(rest), MOST_MESSAGES):
            _note(sent, rest[at : at + MOST_MESSAGES])
            requests.send(rest[at : at + MOST_MESSAGES])
        requests.wait()
    sent.held_back = len(rest)
    sent.rows = schedule.rows_passed
    return sent


def _ticks(
    pace: Pace,
    sent: Sent,
    started: float,
    should_stop: Callable[[], bool],
    wait: Callable[[float], None],
) -> Iterator[int]:
    """How many messages to send now, again and again until the end; at most a request's."""
    lateness = 0.0
    while True:
        elapsed = time.monotonic() - started
        if should_stop():
            sent.was_stopped = True
            return
        before = sent.messages
        end = math.inf if pace.seconds is None else pace.seconds
        if not pace.rate:
            if elapsed >= end:
                return
            yield MOST_MESSAGES
            continue
        most = end if math.isinf(end) else max(1, round(end * pace.rate))
        # A sender that is late may catch up beyond the end, but not for long.
        if elapsed >= end + (_GRACE_SECONDS if before < most else 0.0):
            return
        due = math.floor(min(elapsed * pace.rate + 1, most)) - before
        due = min(due, MOST_MESSAGES)
        if due <= 0:
            wait(max(_TICK_SECONDS, min(before / pace.rate, end) - elapsed))
            continue
        first = elapsed - before / pace.rate
        last = elapsed - (before + due - 1) / pace.rate
        lateness += due * (first + last) / 2
        sent.mean_lateness = lateness / (before + due)
        sent.max_lateness = max(sent.max_lateness, first)
        yield due


def _note(sent: Sent, batch: list[Message]) -> None:
    sent.messages += len(batch)
    for message in batch:
        sent.bytes += len(message.data)
        sent.copies += message.is_copy
        sent.late += LATE in message.attributes and not message.is_copy


class _Requests:
    """Requests under way: a few at a time, none forgotten. A context manager."""

    def __init__(self, writer: TopicWriter, pace: Pace, on_sent: Callable[[int], None]) -> None:
        self._writer = writer
        self._most_bytes = most_message_bytes(writer.topic)
        self._at_once = 1 if pace.in_order else _REQUESTS_AT_ONCE
        self._pool = ThreadPoolExecutor(self._at_once)
        self._going: deque[tuple[Future[int], int]] = deque()
        self._on_sent = on_sent

    def __enter__(self) -> _Requests:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(wait=error[0] is None, cancel_futures=True)

    def send(self, batch: list[Message]) -> None:
        """Send messages; waits while too many are under way. Raises what any request raised.

        Raises ``ConfigError`` for a message that Pub/Sub would not take.
        """
        for message in batch:
            if message_size(message.data, message.attributes) > self._most_bytes:
                raise ConfigError(
                    f"a message of {message.rows:,} rows has {len(message.data):,} bytes, and "
                    f"Pub/Sub takes {MOST_BYTES:,}: give fewer --rows_per_message"
                )
        while self._going and (len(self._going) >= self._at_once or self._going[0][0].done()):
            self._answered()
        future = self._pool.submit(self._writer.write, [(m.data, m.attributes) for m in batch])
        self._going.append((future, sum(m.rows for m in batch)))

    def wait(self) -> None:
        """Wait for all answers. Raises what any request raised."""
        while self._going:
            self._answered()

    def _answered(self) -> None:
        future, rows = self._going.popleft()
        future.result()
        self._on_sent(rows)

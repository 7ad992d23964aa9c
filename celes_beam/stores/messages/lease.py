"""Leases of messages that are held: extended well before they end, until they are let go.

Pub/Sub delivers a message again once its lease, the ack deadline, is over.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

_LOGGER = logging.getLogger(__name__)
MOST_IDS = 2_500
_MOST_ID_BYTES = 400_000
"""A request holds at most 512 KiB, and an ack id is about 200 characters long."""
_EXTENSION_SECONDS = 30
_LONGEST_SECONDS = 600
_WARN_SECONDS = 60.0


@dataclass(frozen=True)
class _Term:
    due: float
    end: float


class Leases:
    """The leases of one receiver, extended in a thread of their own.

    ``extend`` asks Pub/Sub to lease messages for so many seconds from now, and raises what the
    client raises; an extension that fails is counted, and tried again while the lease lasts.
    ``ack_deadline`` is how long the subscription leases a message at first, in seconds.
    """

    def __init__(self, extend: Callable[[Sequence[str], int], None], ack_deadline: int) -> None:
        self._extend = extend
        self._first = ack_deadline
        self._further = min(max(ack_deadline, _EXTENSION_SECONDS), _LONGEST_SECONDS)
        self._tick = min(max(ack_deadline / 10, 0.2), 5.0)
        self._terms: dict[str, _Term] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="pubsub-leases", daemon=True)
        self._warned = 0.0
        self.extended = 0
        self.failed = 0
        self.expired = 0

    def start(self) -> None:
        """Begin to extend."""
        self._thread.start()

    def add(self, ids: Iterable[str]) -> None:
        """Take over messages that have just come."""
        term = _term(self._first)
        with self._lock:
            self._terms.update(dict.fromkeys(ids, term))

    def drop(self, ids: Iterable[str]) -> None:
        """Let messages go; those that are not there are none."""
        with self._lock:
            for ack_id in ids:
                self._terms.pop(ack_id, None)

    def close(self) -> None:
        """End the thread; leases that are left run out."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _keep(self) -> None:
        while not self._stop.wait(self._tick):
            self._extend_due()

    def _extend_due(self) -> None:
        now = time.monotonic()
        with self._lock:
            due = [ack_id for ack_id, term in self._terms.items() if term.due <= now]
            late = [ack_id for ack_id in due if self._terms[ack_id].end <= now]
            self.expired += len(late)
            # Each is counted once; an extension may still come before it is delivered again.
            self._terms.update(dict.fromkeys(late, _Term(now, math.inf)))
        for piece in pieces(due):
            if self._stop.is_set():
                return
            try:
                self._extend(piece, self._further)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next tick tries again
                self.failed += len(piece)
                self._warn(error)
                continue
            self.extended += len(piece)
            term = _term(self._further)
            with self._lock:
                # What was let go meanwhile stays so.
                self._terms.update((i, term) for i in piece if i in self._terms)

    def _warn(self, error: Exception) -> None:
        now = time.monotonic()
        if now - self._warned >= _WARN_SECONDS or not self._warned:
            self._warned = now
            _LOGGER.warning(
                "leases could not be extended, and messages may come twice: %s",
                " ".join(str(error).split())[:300],
            )


def pieces(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut ack ids into requests that Pub/Sub takes: of at most 2,500 ids and 400 kB."""
    start = size = 0
    for at, ack_id in enumerate(ids):
        if at > start and (at - start == MOST_IDS or size + len(ack_id) > _MOST_ID_BYTES):
            yield ids[start:at]
            start, size = at, 0
        size += len(ack_id)
    if start < len(ids):
        yield ids[start:]


def _term(seconds: float) -> _Term:
    # At two fifths there is time for tries that fail, and for a process that was held up.
    now = time.monotonic()
    return _Term(now + 0.4 * seconds, now + seconds)

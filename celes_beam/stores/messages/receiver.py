"""Pull messages in the background, hold a bounded number of them, and ack what was written.

Plain pulls, one request after another: the callbacks of StreamingPull cost more than the rest.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from celes_beam.errors import CelesError, StorageError
from celes_beam.stores.cloud.failures import cloud_errors
from celes_beam.stores.messages.connection import Connection, lasting_error
from celes_beam.stores.messages.holding import Batching, Held, Holding, Pulled
from celes_beam.stores.messages.lease import Leases, pieces
from celes_beam.stores.messages.patience import Patience

_LOGGER = logging.getLogger(__name__)
_GRACE_SECONDS = 2.0
_LONGEST_HOLD = 900.0
_TELL_EVERY = 60.0
_LOOK_EVERY = 10.0


@dataclass(frozen=True)
class Figures:
    """What a receiver has done, in messages but for ``failed_pulls``, and what it holds now.

    ``expired`` leases ran out while their messages were held, ``abandoned`` messages were neither
    acked nor given back; both come again, as do those of ``failed_acks``.
    """

    pulled: int = 0
    pulled_bytes: int = 0
    acked: int = 0
    given_back: int = 0
    failed_acks: int = 0
    failed_pulls: int = 0
    extended: int = 0
    failed_extensions: int = 0
    expired: int = 0
    abandoned: int = 0
    waiting: int = 0
    held: int = 0
    held_bytes: int = 0
    oldest_unacked_seconds: float = 0.0


class Receiver:
    """Pulls from a subscription as long as it may hold more; for one process, any thread.

    ``ack_deadline`` is that of the subscription, in seconds. Until they are acked or given back,
    at most ``max_messages`` are held, and about ``max_bytes``: it is exceeded by one answer of
    each puller at most (10 MB). ``limit`` is how many may come in all, but for those given back.
    """

    def __init__(
        self,
        subscription: str,
        *,
        ack_deadline: int = 10,
        max_messages: int = 20_000,
        max_bytes: int = 64 * 2**20,
        limit: int | None = None,
        pullers: int = 2,
    ) -> None:
        """Raises ``ConfigError`` for bounds below 1, ``UsageError`` without credentials."""
        self.subscription = subscription
        self._holding = Holding(max_messages, max_bytes, limit)
        self._connection = Connection(subscription)
        self._leases = Leases(self._connection.modify, ack_deadline)
        self._ack_deadline = ack_deadline
        self._changed = threading.Condition()
        self._stopped = False
        self._closed = False
        self._failed: CelesError | None = None
        self._acked = self._given_back = 0
        self._failed_acks = self._failed_pulls = self._abandoned = 0
        self._quiet_since = time.monotonic()
        self._silence_told: float | None = None
        self._empty_at: float | None = None
        self._looked = time.monotonic()
        self._cut_off_told = False
        self._pullers = [
            threading.Thread(target=self._pull_on, name=f"pubsub-pull-{n}", daemon=True)
            for n in range(pullers)
        ]

    def start(self) -> None:
        """Begin to pull."""
        self._leases.start()
        for thread in self._pullers:
            thread.start()

    def is_quiet(self, seconds: float) -> bool:
        """Whether nothing came for so long, nothing is held, and Pub/Sub answers when it is asked.

        That it does not answer is told, once a minute at most, and the time begins anew.
        """
        if not self._has_nothing_since(seconds):
            return False
        try:
            self._connection.check_answers()
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing is known of messages
            self._tell_silence(error)
            with self._changed:
                self._quiet_since = time.monotonic()
            return False
        # Some may have come meanwhile.
        return self._has_nothing_since(seconds)

    def check_answers(self) -> None:
        """Raise ``StorageError`` when Pub/Sub does not answer: there may be messages then."""
        with cloud_errors("ask for messages of", self.subscription):
            self._connection.check_answers()

    @property
    def empty_at(self) -> float | None:
        """The last moment when Pub/Sub had no more, None once it had: seconds since 1970."""
        return self._empty_at

    def take(
        self,
        *,
        max_rows: int,
        max_bytes: int,
        max_seconds: float,
        wait_seconds: float | None = None,
    ) -> Held | None:
        """Take a batch once it is due: full, the last, or ``max_seconds`` after its first message.

        None when none is due within ``wait_seconds`` (``max_seconds`` without it). A message
        larger than ``max_bytes`` is a batch of its own. Once pulling has stopped, whatever waits is
        due. Raises ``StorageError`` when the subscription or its topic is gone, after all that
        waits was taken, and ``UsageError`` at once when it is closed to us.
        """
        until = time.monotonic() + (max_seconds if wait_seconds is None else wait_seconds)
        batching = Batching(max_rows, max_bytes, max_seconds)
        self._abandon_forgotten()
        with self._changed:
            while True:
                is_gone = isinstance(self._failed, StorageError)
                if self._failed is not None and not (is_gone and self._holding.waiting):
                    raise self._failed
                due = self._holding.due_in(batching)
                if due is not None and (due <= 0 or self._stopped or is_gone):
                    held = self._holding.take(batching)
                    self._changed.notify_all()
                    return held
                left = until - time.monotonic()
                if left <= 0 or self._stopped:
                    return None
                self._changed.wait(left if due is None else min(left, due))

    def due_in(self, batching: Batching) -> float | None:
        """Seconds until ``take`` would give a batch if nothing came; None when nothing waits."""
        with self._changed:
            return self._holding.due_in(batching)

    def ack(self, held: Held) -> None:
        """Tell Pub/Sub that a batch was written; what it does not hear of comes again.

        Raises nothing: failures are counted, and one that stays is raised by ``take``.
        """
        if not self._let_go(held):
            return
        failed = 0
        for piece in pieces(held.ack_ids):
            try:
                self._connection.acknowledge(piece)
            except Exception as error:  # noqa: BLE001 - whatever it is, they come again
                failed += len(piece)
                self._note(error, "ack messages of", of_ids=True)
                if isinstance(self._failed, StorageError):
                    # None of them comes again, and ``take`` says why.
                    continue
                said = " ".join(str(error).split())[:300]
                _LOGGER.warning(
                    "%d messages could not be acked, and come again: %s", len(piece), said
                )
        with self._changed:
            self._acked += len(held) - failed
            self._failed_acks += failed

    def give_back(self, held: Held | None = None) -> None:
        """Make a batch, or without one all that was not taken, available to others at once.

        The latter also ends pulling.
        """
        if held is not None:
            if self._let_go(held, returned=True):
                self._return(held.ack_ids)
            return
        with self._changed:
            self._stopped = True
            ids = self._holding.drop_waiting()
            self._changed.notify_all()
        self._return(ids)

    def give_back_taken(self) -> None:
        """Make all batches that were taken, and not acked, available to others at once."""
        with self._changed:
            taken = self._holding.taken_before(math.inf)
        for held in taken:
            self.give_back(held)

    def stop_pulling(self) -> None:
        """Ask for no more messages; those that wait can be taken."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """Give back what was not taken, and end; may be called again."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
        self.give_back()
        until = time.monotonic() + _GRACE_SECONDS
        for thread in self._pullers:
            if thread.is_alive():
                thread.join(max(0.0, until - time.monotonic()))
        self._connection.cancel_pulls()
        for thread in self._pullers:
            if thread.is_alive():
                thread.join()
        self._leases.close()
        self._connection.close()

    def figures(self) -> Figures:
        """What it has done so far, and holds."""
        with self._changed:
            oldest = self._holding.oldest
            return Figures(
                pulled=self._holding.pulled,
                pulled_bytes=self._holding.pulled_bytes,
                acked=self._acked,
                given_back=self._given_back,
                failed_acks=self._failed_acks,
                failed_pulls=self._failed_pulls,
                extended=self._leases.extended,
                failed_extensions=self._leases.failed,
                expired=self._leases.expired,
                abandoned=self._abandoned,
                waiting=self._holding.waiting,
                held=self._holding.messages,
                held_bytes=self._holding.bytes,
                oldest_unacked_seconds=(
                    0.0 if oldest is None else max(0.0, time.time() - oldest / 1e6)
                ),
            )

    def _has_nothing_since(self, seconds: float) -> bool:
        with self._changed:
            return not self._holding.messages and time.monotonic() - self._quiet_since >= seconds

    def _tell_silence(self, error: Exception) -> None:
        now = time.monotonic()
        if self._silence_told is None or now - self._silence_told >= _TELL_EVERY:
            self._silence_told = now
            _LOGGER.warning(
                "Pub/Sub does not answer, and whether %s has messages is not known; it is asked "
                "again and again: %s",
                self.subscription,
                " ".join(str(error).split())[:300],
            )

    def _let_go(self, held: Held, *, returned: bool = False) -> bool:
        with self._changed:
            if not self._holding.let_go(held, returned=returned):
                return False
            self._quiet_since = time.monotonic()
            self._changed.notify_all()
        self._leases.drop(held.ack_ids)
        return True

    def _abandon_forgotten(self) -> None:
        """Let batches go that nobody will ack, for their bundle failed without a word to us."""
        with self._changed:
            forgotten = self._holding.taken_before(time.monotonic() - _LONGEST_HOLD)
        for held in forgotten:
            if self._let_go(held):
                self._abandoned += len(held)
                _LOGGER.warning("%d messages were never acked, and come again", len(held))

    def _pull_on(self) -> None:
        patience = Patience(f"messages cannot be pulled from {self.subscription}")
        while room := self._wait_for_room():
            asked = time.time()
            pulled: list[Pulled] | None = None
            try:
                pulled = self._connection.pull(room)
                patience.succeeded()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                if not self._note(error, "pull from"):
                    self._pause(patience.failed(error))
            finally:
                self._came(room, pulled or [], None if pulled is None else asked)
            if pulled is not None and not pulled:
                self._look_whether_cut_off()

    def _wait_for_room(self) -> int:
        """How many to ask for; 0 when no more are to be pulled."""
        with self._changed:
            while not self._stopped and self._failed is None:
                room = self._holding.ask()
                if room:
                    return room
                self._changed.wait()
        return 0

    def _came(self, room: int, pulled: list[Pulled], asked: float | None) -> None:
        """Take what a pull brought that was answered; ``asked`` is None for one that failed."""
        self._leases.add(message.ack_id for message in pulled)
        with self._changed:
            is_late = self._stopped
            self._holding.came(room, [] if is_late else pulled)
            if asked is not None:
                self._empty_at = None if pulled else asked
            if pulled:
                self._quiet_since = time.monotonic()
            self._changed.notify_all()
        if is_late and pulled:
            self._return([message.ack_id for message in pulled])

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._failed_pulls += 1
            self._changed.wait_for(lambda: self._stopped, seconds)
            self._quiet_since = time.monotonic()

    def _look_whether_cut_off(self) -> None:
        """Fail once nothing can come any more: pulls of a subscription without a topic go well.

        What others had leased may come as long as the ack deadline lasts.
        """
        with self._changed:
            now = time.monotonic()
            if now - self._looked < _LOOK_EVERY or self._holding.messages:
                return
            self._looked = now
        try:
            why = self._connection.check_answers()
        except Exception:  # noqa: BLE001 - the next pull tells
            return
        if why is None:
            return
        if not self._cut_off_told:
            self._cut_off_told = True
            _LOGGER.warning(
                "%s: %s; the end comes once no message was there for %d s",
                *(self.subscription, why, self._ack_deadline),
            )
        if self._has_nothing_since(self._ack_deadline):
            with self._changed:
                self._failed = self._failed or StorageError(
                    f"nothing comes to {self.subscription} any more, for {why}: gcloud pubsub "
                    f"subscriptions delete {self.subscription}, and make it again"
                )
                self._changed.notify_all()

    def _note(self, error: Exception, verb: str, *, of_ids: bool = False) -> bool:
        """Whether a failure stays; ``take`` raises it then."""
        known = lasting_error(error, verb, self.subscription, of_ids=of_ids)
        if known is None:
            return False
        with self._changed:
            self._failed = self._failed or known
            self._changed.notify_all()
        return True

    def _return(self, ids: Sequence[str]) -> None:
        self._leases.drop(ids)
        returned = 0
        for piece in pieces(ids):
            try:
                self._connection.modify(piece, 0)
                returned += len(piece)
            except Exception as error:  # noqa: BLE001 - they come when their leases end
                said = " ".join(str(error).split())[:300]
                _LOGGER.info("%d messages come again later: %s", len(piece), said)
        with self._changed:
            self._given_back += returned

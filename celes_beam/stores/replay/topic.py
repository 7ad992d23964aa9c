"""Rejected rows that wait in a dead-letter topic: held until it is decided what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from celes_beam.contract import REJECTED_SCHEMA, SCHEMA
from celes_beam.errors import CelesError
from celes_beam.sales.messages import CheckedMessages, Messages
from celes_beam.sales.records import Mask
from celes_beam.stores.cloud.failures import cloud_errors
from celes_beam.stores.messages.connection import Connection
from celes_beam.stores.messages.dead_letter_format import CUT, MESSAGE_ID
from celes_beam.stores.messages.dead_letters import DeadLetters, read_dead_letters
from celes_beam.stores.messages.holding import Held
from celes_beam.stores.messages.lease import pieces
from celes_beam.stores.messages.receiver import Receiver
from celes_beam.stores.messages.subscription import SHORTEST_ACK_SECONDS, check_subscription
from celes_beam.stores.replay.selection import Fates
from celes_beam.stores.replay.sources import Found, RejectedNow

_BATCH_MESSAGES = 1_000
_BATCH_BYTES = 8 << 20
_WAIT_SECONDS = 0.25
_POLL_SECONDS = 30.0
"""A pull that finds nothing is over by then."""
_MOST_BYTES = 512 << 20
"""Of messages that are held in memory until the commit is decided."""


@dataclass(eq=False)
class _Pulled:
    """Messages that are held; ``fates`` is None as long as nobody has said what becomes of them."""

    held: Held
    rejected: pa.RecordBatch
    fates: Fates | None = None


class TopicRows:
    """The messages of a dead-letter subscription, at most ``max_messages``.

    It is empty when Pub/Sub says so, and none came for ``idle_timeout`` seconds. All are held, and
    their leases extended, until ``settle``: those that were replayed, now or before, are acked
    then, and the others given back. Without it all are.
    """

    def __init__(self, subscription: str, *, max_messages: int, idle_timeout: float) -> None:
        self.name = subscription
        self._max_messages = max_messages
        self._idle_timeout = idle_timeout
        self._deadline = SHORTEST_ACK_SECONDS
        self._receiver: Receiver | None = None
        self._pulled: list[_Pulled] = []

    def check(self) -> None:
        """Look at the subscription; raises what ``check_subscription`` does."""
        facts = check_subscription(
            self.name, otherwise="give --from the folder of a lake, a table or another subscription"
        )
        self._deadline = facts.ack_deadline_seconds

    def passed_over(self) -> int:
        """None."""
        return 0

    def found(self) -> Iterator[Found]:
        """The messages as rejected rows, some at a time. Raises what pulling raises."""
        receiver = self._receiver = Receiver(
            self.name,
            ack_deadline=self._deadline,
            max_messages=self._max_messages,
            max_bytes=_MOST_BYTES,
            limit=self._max_messages,
        )
        receiver.start()
        came, count = time.monotonic(), 0
        while count < self._max_messages:
            held = receiver.take(
                max_rows=_BATCH_MESSAGES, max_bytes=_BATCH_BYTES, max_seconds=_WAIT_SECONDS
            )
            if held is not None:
                count += len(held)
                yield self._as_found(held)
                came = time.monotonic()
                continue
            idle = time.monotonic() - came
            # Pub/Sub may be slow to answer; but it is not asked while as much is held as may be.
            said_so = receiver.empty_at is not None or idle >= self._idle_timeout + _POLL_SECONDS
            if idle >= self._idle_timeout:
                receiver.check_answers()
                if said_so:
                    break
        # What is given back below is for the next to pull, not for us.
        receiver.give_back()

    def tell(self, found: Found, fates: Fates) -> None:
        """Note what is to become of some messages."""
        next(p for p in reversed(self._pulled) if p is found.token).fates = fates

    def send_again(self, topic: str, rejected: RejectedNow) -> int:
        """Write messages that were rejected again to a dead-letter topic; returns how many.

        ``rejected`` has the row that was rejected now by source and position. Data and attributes
        stay as they are, but for those that tell why. Raises what ``DeadLetters`` raises.
        """
        sent = 0
        with DeadLetters(topic) as letters:
            for pulled in self._pulled:
                places, rows = [], []
                chosen = (
                    [] if pulled.fates is None else np.flatnonzero(pulled.fates.chosen).tolist()
                )
                for place in chosen:
                    key = (
                        pulled.rejected.column("source")[place].as_py(),
                        pulled.rejected.column("position")[place].as_py(),
                    )
                    if key in rejected:
                        places.append(place)
                        rows.append(rejected[key])
                if rows:
                    sent += letters.send(*_to_send(pulled.held.messages, places, rows))
        return sent

    def settle(self) -> None:
        """Ack what was replayed, now that it is decided, and give the rest back."""
        self._let_go(_over)

    def close(self) -> None:
        """Give back what was not acked."""
        self._let_go(lambda pulled: np.zeros(len(pulled.held), np.bool_))

    def _let_go(self, is_over: Callable[[_Pulled], Mask]) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is None:
            return
        back: list[str] = []
        connection = Connection(self.name)
        try:
            for pulled in self._pulled:
                over = is_over(pulled)
                if over.all():
                    receiver.ack(pulled.held)
                    continue
                with cloud_errors("ack messages of", self.name):
                    for piece in pieces(_ids(pulled.held, over)):
                        connection.acknowledge(piece)
                back += _ids(pulled.held, ~over)
            # Its leases end first, or it would extend what is given back.
            receiver.close()
            # What it does not hear of comes again later.
            with suppress(CelesError), cloud_errors("give back messages of", self.name):
                for piece in pieces(back):
                    connection.modify(piece, 0)
        finally:
            self._pulled = []
            receiver.close()
            connection.close()

    def _as_found(self, held: Held) -> Found:
        pulled = _Pulled(held, read_dead_letters(held.messages))
        self._pulled.append(pulled)
        whole: Mask = np.array([CUT not in a for a in held.messages.attributes], np.bool_)
        return Found(pulled.rejected, whole, pulled)


def _over(pulled: _Pulled) -> Mask:
    fates = pulled.fates
    if fates is None:
        return np.zeros(len(pulled.held), np.bool_)
    over: Mask = fates.chosen | fates.over
    return over


def _ids(held: Held, which: Mask) -> list[str]:
    return [held.ack_ids[place] for place in np.flatnonzero(which).tolist()]


def _to_send(
    messages: Messages, places: list[int], rows: list[Mapping[str, Any]]
) -> tuple[Messages, CheckedMessages]:
    """Messages that were rejected again, each of one row, as ``DeadLetters.send`` takes them."""
    attributes = [messages.attributes[place] for place in places]
    chosen = Messages(
        [messages.data[place] for place in places],
        attributes,
        # The id of the message that the row first came in.
        [
            a.get(MESSAGE_ID) or messages.ids[place]
            for place, a in zip(places, attributes, strict=True)
        ],
        [messages.published[place] for place in places],
    )
    return chosen, CheckedMessages(
        messages=len(rows),
        rows=len(rows),
        accepted=pa.RecordBatch.from_pylist([], schema=SCHEMA),
        accepted_ids=pa.array([], pa.string()),
        other_fields=None,
        rejected=pa.RecordBatch.from_pylist([dict(row) for row in rows], schema=REJECTED_SCHEMA),
        rejected_messages=np.arange(len(rows), dtype=np.int64),
        rejected_whole=np.ones(len(rows), np.bool_),
        rows_with_unknown_fields=0,
    )

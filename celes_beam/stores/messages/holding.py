"""What a receiver holds: messages that wait, and batches that were taken; within bounds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from celes_beam.errors import ConfigError
from celes_beam.sales.messages import Messages

_MOST_OF_A_PULL = 1_000


class Pulled(NamedTuple):
    """One message. ``published``: microseconds since 1970; ``size``: bytes, with attributes;
    ``received``: on the monotonic clock."""

    data: bytes
    attributes: dict[str, str]
    id: str
    published: int
    ack_id: str
    size: int
    received: float


@dataclass(frozen=True, eq=False)
class Held:
    """Messages that were taken, to be acked or given back. ``size``: bytes, with attributes."""

    messages: Messages
    ack_ids: list[str]
    size: int
    since: float = field(default_factory=time.monotonic)

    def __len__(self) -> int:
        return len(self.ack_ids)


@dataclass(frozen=True)
class Batching:
    """When waiting messages are a batch: so many rows, bytes, or seconds after the first came."""

    max_rows: int
    max_bytes: int
    max_seconds: float


class Holding:
    """Messages that wait and batches that were taken: at most ``max_messages``, and ``max_bytes``.

    The bytes are exceeded by the last answer. ``limit`` is how many may come in all, but for those
    given back. Not for several threads at once.
    """

    def __init__(self, max_messages: int, max_bytes: int, limit: int | None = None) -> None:
        for name, value in (("max_messages", max_messages), ("max_bytes", max_bytes)):
            if value < 1:
                raise ConfigError(f"{name}={value}: expected 1 or more")
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._limit = limit
        self._waiting: deque[Pulled] = deque()
        self._waiting_bytes = 0
        self._taken: dict[int, Held] = {}
        self._asked_for = 0
        self._returned = 0
        self.pulled = 0
        self.pulled_bytes = 0

    @property
    def waiting(self) -> int:
        """Messages that wait."""
        return len(self._waiting)

    @property
    def messages(self) -> int:
        """Messages that are held."""
        return len(self._waiting) + sum(map(len, self._taken.values()))

    @property
    def bytes(self) -> int:
        """Bytes that are held."""
        return self._waiting_bytes + sum(held.size for held in self._taken.values())

    @property
    def oldest(self) -> int | None:
        """When the oldest message that is held was published: microseconds since 1970."""
        published = [message.published for message in self._waiting]
        published += [min(held.messages.published) for held in self._taken.values()]
        return min(published, default=None)

    def ask(self) -> int:
        """How many messages may be pulled now, which are then expected; 0 for none."""
        room = self._room()
        self._asked_for += room
        return room

    def came(self, asked_for: int, pulled: Sequence[Pulled]) -> None:
        """The answer to what ``ask`` allowed."""
        self._asked_for -= asked_for
        self._waiting.extend(pulled)
        size = sum(message.size for message in pulled)
        self._waiting_bytes += size
        self.pulled += len(pulled)
        self.pulled_bytes += size

    def due_in(self, batching: Batching) -> float | None:
        """Seconds until there is a batch if nothing came; None when nothing waits."""
        if not self._waiting:
            return None
        is_full = (
            len(self._waiting) >= batching.max_rows or self._waiting_bytes >= batching.max_bytes
        )
        if is_full or (self._asked_for == 0 and self._room() == 0):
            return 0.0
        return max(0.0, self._waiting[0].received + batching.max_seconds - time.monotonic())

    def take(self, batching: Batching) -> Held:
        """The next batch of those that wait, who must be one at least.

        A message larger than a batch may be is one of its own.
        """
        taken = [self._waiting.popleft()]
        size = taken[0].size
        while (
            self._waiting
            and len(taken) < batching.max_rows
            and size + self._waiting[0].size <= batching.max_bytes
        ):
            taken.append(self._waiting.popleft())
            size += taken[-1].size
        self._waiting_bytes -= size
        messages = Messages(
            [message.data for message in taken],
            [message.attributes for message in taken],
            [message.id for message in taken],
            [message.published for message in taken],
        )
        held = Held(messages, [message.ack_id for message in taken], size)
        self._taken[id(held)] = held
        return held

    def let_go(self, held: Held, *, returned: bool = False) -> bool:
        """Stop holding a batch; False when it is not held any more."""
        if self._taken.pop(id(held), None) is None:
            return False
        if returned:
            self._returned += len(held)
        return True

    def drop_waiting(self) -> list[str]:
        """Stop holding what waits: the ack ids."""
        ids = [message.ack_id for message in self._waiting]
        self._returned += len(ids)
        self._waiting.clear()
        self._waiting_bytes = 0
        return ids

    def taken_before(self, moment: float) -> list[Held]:
        """Batches that were taken before a moment of the monotonic clock."""
        return [held for held in self._taken.values() if held.since < moment]

    def _room(self) -> int:
        room = min(self._max_messages - self.messages - self._asked_for, _MOST_OF_A_PULL)
        if self._limit is not None:
            room = min(room, self._limit - self.pulled + self._returned - self._asked_for)
        if self.pulled:
            # As far as messages to come are like those that came.
            mean = max(1.0, self.pulled_bytes / self.pulled)
            left = self._max_bytes - self.bytes - self._asked_for * mean
            room = min(room, 0 if left <= 0 else max(1, int(left / mean)))
        return max(0, room)

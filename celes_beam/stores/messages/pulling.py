"""How the pulling of a run in this process is doing: workers tell it here, the command line looks.

In the process of a remote worker nobody looks.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from enum import StrEnum

from celes_beam.errors import CelesError
from celes_beam.stores.messages.receiver import Figures, Receiver


class Ended(StrEnum):
    """Why a run pulls no more."""

    MAX_MESSAGES = "max_messages"
    IDLE_TIMEOUT = "idle_timeout"
    DEADLINE = "deadline"
    STOP = "stop"
    GONE = "gone"


class Pulling:
    """One run's: a receiver that its workers share, the wish to stop, and why it ended.

    ``failure`` is to be raised when all that was pulled is written.

    They share it for a runner may give each bundle to another worker of this process, and what one
    of them had pulled ahead would wait for its next turn.
    """

    def __init__(self) -> None:
        self.stop_asked = False
        self.ended_by: Ended | None = None
        self.failure: CelesError | None = None
        self._bundle: int | None = None
        self._lock = threading.Lock()
        self._receiver: Receiver | None = None
        self._users = 0
        self._before = Figures()

    def stop(self) -> None:
        """Ask for an end: what was pulled is written and acked, and nothing more is pulled.

        Safe in a signal handler, whatever was interrupted.
        """
        self.stop_asked = True

    def open(self, make: Callable[[], Receiver]) -> Receiver:
        """The receiver, made by the first who asks; each who does must ``leave`` once."""
        with self._lock:
            if self._receiver is None:
                receiver = make()
                receiver.start()
                self._receiver = receiver
            self._users += 1
            return self._receiver

    def leave(self) -> None:
        """Use it no more; the last who does closes it."""
        with self._lock:
            self._users -= 1
            if self._users or self._receiver is None:
                return
            receiver, self._receiver = self._receiver, None
            receiver.close()
            done = receiver.figures()
            self._before = _sum(self._before, done)

    def begin(self, bundle: int) -> None:
        """Note that a bundle begins, by its number; those of a run follow each other.

        One that does not comes from a runner that has started the job again from its last
        checkpoint, and says no word of what it had under way: what was taken, and not acked, is
        given back.
        """
        with self._lock:
            before, self._bundle = self._bundle, bundle
            if before in {None, bundle - 1} or self._receiver is None:
                return
            receiver = self._receiver
        receiver.give_back_taken()

    def is_current(self, bundle: int) -> bool:
        """Whether no other bundle began since."""
        return self._bundle == bundle

    def is_over(self) -> bool:
        """Whether it pulls no more."""
        return self.ended_by is not None

    def figures(self) -> Figures:
        """What its receivers have done so far, and what is held now."""
        with self._lock:
            now = Figures() if self._receiver is None else self._receiver.figures()
            return _sum(self._before, now)


_pullings: dict[str, Pulling] = {}
_lock = threading.Lock()


def pulling(run_id: str) -> Pulling:
    """That of a run, made when it is first asked for."""
    with _lock:
        return _pullings.setdefault(run_id, Pulling())


def forget_pulling(run_id: str) -> None:
    """Let go of it: the run is over, and another may have its id."""
    with _lock:
        _pullings.pop(run_id, None)


def _sum(before: Figures, now: Figures) -> Figures:
    """Counts of both, and what ``now`` says of the moment."""
    of_the_moment = {"waiting", "held", "held_bytes", "oldest_unacked_seconds"}
    names = [f.name for f in dataclasses.fields(Figures) if f.name not in of_the_moment]
    return dataclasses.replace(
        now, **{name: getattr(before, name) + getattr(now, name) for name in names}
    )

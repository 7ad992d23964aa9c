"""What a check says, and how long it may take to say it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from celes_beam.errors import CelesError

DEADLINE_SECONDS = 10.0
"""After this long a service counts as one that does not answer."""
REQUEST_SECONDS = 8.0
"""How long a client waits for one answer: less, so that it says itself what it waited for."""


class State(StrEnum):
    """How a check came out; ``NOT_CHECKED`` where there is nobody who could tell."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it came out, what was seen, and what to do about it."""

    name: str
    state: State
    said: str
    remedy: str = ""


def within_deadline(
    name: str,
    look: Callable[[], Iterable[Check]],
    seconds: float = DEADLINE_SECONDS,
    *,
    remedy: str = "check the network, its proxy and its firewall, then run it again",
) -> list[Check]:
    """The checks that ``look`` makes; those it made in time and a failed one when time is over.

    An error of ours becomes a failed check; any other is raised. ``look`` goes on in the
    background, since a client that waits for the network cannot be stopped.
    """
    made: queue.SimpleQueue[Check | BaseException | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            for check in look():
                made.put(check)
        except CelesError as error:
            # The name of the check says which flag it is about.
            made.put(Check(name, State.FAILED, str(error).removeprefix(f"--{name}: ")))
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            made.put(error)
        made.put(None)

    # A daemon, so that the command ends although it waits.
    threading.Thread(target=work, daemon=True, name=f"doctor: {name}").start()
    checks: list[Check] = []
    end = time.monotonic() + seconds
    while True:
        try:
            one = made.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            silence = f"nobody answered within {seconds:g} s"
            return [*checks, Check(name, State.FAILED, silence, remedy)]
        if one is None:
            return checks
        if isinstance(one, BaseException):
            raise one
        checks.append(one)

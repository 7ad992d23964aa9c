"""What is counted in this process, by run, and a view of it beside the work."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, Generic, TypeVar

T = TypeVar("T")

Ticks = Iterator[float]
"""The moments to look at what is counted: seconds since the beginning."""

_REFRESH_SECONDS = 0.2
_LOG_SECONDS = 10.0


class ByRun(Generic[T]):
    """One of something for each run in this process, made when it is first asked for.

    In the process of a remote worker nobody looks at it.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[str, T] = {}
        self._lock = threading.Lock()

    def of(self, run_id: str) -> T:
        """That of a run."""
        with self._lock:
            made = self._made.get(run_id)
            if made is None:
                made = self._made[run_id] = self._make()
            return made

    def forget(self, run_id: str) -> None:
        """Let go of it: the run is over."""
        with self._lock:
            self._made.pop(run_id, None)


@contextmanager
def viewing(
    mode: str,
    stream: IO[str] | None,
    on_terminal: Callable[[Ticks, IO[str]], None],
    in_log: Callable[[Ticks], None],
) -> Iterator[None]:
    """Show something in a thread of its own while the body runs, unless ``mode`` is "off".

    ``on_terminal`` does where ``stream`` (default: stderr) is one, ``in_log`` elsewhere, at each
    tick (five a second, or one in ten seconds) until there are no more.
    """
    if mode == "off":
        yield
        return
    stream = stream or sys.stderr
    stop = threading.Event()
    if stream.isatty():
        show = partial(on_terminal, _ticks(stop, _REFRESH_SECONDS), stream)
    else:
        show = partial(in_log, _ticks(stop, _LOG_SECONDS))
    viewer = threading.Thread(target=show, daemon=True)
    viewer.start()
    try:
        yield
    finally:
        stop.set()
        viewer.join()


def _ticks(stop: threading.Event, every: float) -> Ticks:
    started = time.monotonic()
    while not stop.wait(every):
        yield time.monotonic() - started

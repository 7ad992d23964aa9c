"""How a command that goes on and on is asked to stop: by a signal, heeded when it suits it."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Self

_STDERR = 2
_TEXT = "stopping when the round under way is done; once more stops at once"


class StopRequest:
    """Notes the first SIGTERM or Ctrl-C as a request; the second interrupts, as usual.

    A context manager; outside the main thread, which signals never reach, it notes none. ``then``
    is called for a request, within the signal handler; ``text`` tells the user what happens now.
    """

    def __init__(self, then: Callable[[], object] | None = None, text: str = _TEXT) -> None:
        self.asked = False
        self._then = then
        self._text = f"{text}\n".encode()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        # Unlike a lock, a pipe can be used in a signal handler whatever was interrupted.
        self._read_end, self._write_end = os.pipe()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._heed)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read_end)
        os.close(self._write_end)

    def wait(self, seconds: float) -> None:
        """Wait; a request ends it at once."""
        if not self.asked:
            select.select([self._read_end], [], [], seconds)

    def _heed(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt(
                "terminated" if number == signal.SIGTERM else "interrupted", 128 + number
            )
        self.asked = True
        if self._then is not None:
            self._then()
        os.write(self._write_end, b".")
        with suppress(OSError):
            os.write(_STDERR, self._text)

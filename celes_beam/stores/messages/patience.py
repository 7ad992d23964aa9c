"""How long to wait before a request that failed is tried again, and when to tell of it."""

from __future__ import annotations

import logging
import random
import time

_LOGGER = logging.getLogger(__name__)
_SHORTEST = 0.1
_LONGEST = 30.0
_TELL_AFTER = 5.0
_TELL_EVERY = 60.0


class Patience:
    """Growing pauses up to half a minute, for ever; a warning after 5 seconds, then each minute.

    ``what`` begins the warning, such as "messages cannot be pulled from …".
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._pause = _SHORTEST
        self._since: float | None = None
        self._told: float | None = None

    def failed(self, error: Exception) -> float:
        """Seconds to pause after a failure."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        tell_at = self._since + _TELL_AFTER if self._told is None else self._told + _TELL_EVERY
        if now >= tell_at:
            self._told = now
            _LOGGER.warning(
                "%s for %.0f s; it is tried again and again: %s",
                self._what,
                now - self._since,
                " ".join(str(error).split())[:300],
            )
        pause = self._pause
        self._pause = min(2 * pause, _LONGEST)
        return pause * random.uniform(0.5, 1.0)

    def succeeded(self) -> None:
        """The request was answered."""
        if self._told is not None and self._since is not None:
            _LOGGER.warning("it works again after %.0f s", time.monotonic() - self._since)
        self._pause = _SHORTEST
        self._since = self._told = None

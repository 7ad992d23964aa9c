"""Requests are given up when no answer comes. Google's client of BigQuery would wait for ever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Imported only where a client is made, which has these already.
import requests

CONNECT_SECONDS = 15.0
ANSWER_SECONDS = 120.0
"""Google answers within seconds: jobs are begun by one request, and asked for by others."""
STAND_IN_SECONDS = 900.0
"""A stand-in does a job before it answers the request that begins it."""


def give_up(session: requests.Session, answer_seconds: float) -> None:
    """Let each request of a session that has no timeout of its own have one.

    ``answer_seconds`` may pass without a byte of the answer; ``requests.Timeout`` is raised then.
    """
    for prefix, adapter in session.adapters.items():
        session.adapters[prefix] = _Patient(adapter, (CONNECT_SECONDS, answer_seconds))


class _Patient:
    """Sends by another adapter, which may be one with certificates of its own."""

    def __init__(self, adapter: Any, timeout: tuple[float, float]) -> None:
        self._adapter = adapter
        self._timeout = timeout

    def send(  # noqa: PLR0917 - as requests has it
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send a request, and wait for its answer."""
        return self._adapter.send(
            request,
            stream=stream,
            timeout=self._timeout if timeout is None else timeout,
            verify=verify,
            cert=cert,
            proxies=proxies,
        )

    def close(self) -> None:
        """Close the connections."""
        self._adapter.close()

"""The connections of an upload: as many as it has workers, counted by the byte, and stoppable."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from celes_beam.stores.cloud.clients import new_storage_client

_TAKEN = (requests.codes.ok, requests.codes.created, 308)


class Stopped(Exception):  # noqa: N818 - it is no error
    """The upload was told to stop."""


class MeteredAdapter(HTTPAdapter):
    """Sends requests; ``on_bytes`` hears of each piece of a file that the service took."""

    def __init__(self, connections: int, on_bytes: Callable[[int], None]) -> None:
        super().__init__(pool_maxsize=connections)
        self._on_bytes = on_bytes
        self._stop = threading.Event()

    def stop(self) -> None:
        """Let no further request out: whoever sends one gets ``Stopped``."""
        self._stop.set()

    def send(self, request: Any, **how: Any) -> Any:
        """Send a request, as ``HTTPAdapter`` does."""
        if self._stop.is_set():
            raise Stopped
        response = super().send(request, **how)
        if response.status_code in _TAKEN and _carries_data(request):
            self._on_bytes(len(request.body or b""))
        return response


def _carries_data(request: Any) -> bool:
    return request.method == "PUT" or "uploadType=multipart" in request.url


def metered_client(adapter: MeteredAdapter, project: str | None) -> Any:
    """A ``google.cloud.storage.Client`` of its own, which sends everything by ``adapter``."""
    client = new_storage_client(project)
    for scheme in ("http://", "https://"):
        client._http.mount(scheme, adapter)
    return client

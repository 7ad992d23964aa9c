"""A fake-gcs-server of a test's own."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.tools import need_tool

_START_SECONDS = 30


@dataclass(frozen=True)
class StorageServer:
    """Where a server listens, and the variables its clients need."""

    address: str

    @property
    def environment(self) -> dict[str, str]:
        return {"STORAGE_EMULATOR_HOST": f"http://{self.address}"}


@contextmanager
def start_gcs_server(folder: Path) -> Iterator[StorageServer]:
    """Run a server that keeps its objects in ``folder``."""
    binary = os.environ.get("CELES_FAKE_GCS") or need_tool("fake-gcs-server", "run `make tools`")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = f"127.0.0.1:{port}"
    arguments = [binary, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    arguments += ["-public-host", place, "-external-url", f"http://{place}"]
    arguments += ["-backend", "filesystem", "-filesystem-root", str(folder), "-log-level", "error"]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as process:
        try:
            _wait(f"http://{place}/storage/v1/b", process)
            yield StorageServer(place)
        finally:
            process.terminate()
            process.wait(10)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return

"""A BigQuery of this machine for tests: bqemulator on a free port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.tools import need_module

_START_SECONDS = 60


@dataclass(frozen=True)
class Server:
    """Where it listens, and the folder whose subfolders it takes for buckets."""

    url: str
    buckets: Path


@contextmanager
def start_bigquery(folder: Path) -> Iterator[Server]:
    """Run the server until the block is left."""
    need_module("bqemulator", "run make .venv/.dev")
    buckets = folder / "buckets"
    buckets.mkdir()
    rest, grpc = _free_port(), _free_port()
    program = Path(sys.executable).with_name("bqemulator")
    arguments = [str(program), "start", "--ephemeral", "--data-dir", str(folder / "data")]
    arguments += ["--rest-port", str(rest), "--grpc-port", str(grpc), "--log-level", "error"]
    environment = os.environ | {"BQEMU_GCS_LOCAL_ROOT": str(buckets)}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(arguments, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            _wait_until_up(f"http://127.0.0.1:{rest}", process)
            yield Server(f"http://127.0.0.1:{rest}", buckets)
        finally:
            process.terminate()
            process.wait(20)


def _wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{url}/bigquery/v2/projects/x/datasets", timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise
        else:
            return
        # The server says nowhere else that it is ready.
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""``pipelines.streaming`` in a process of its own while others publish, and what it says meanwhile.

It serves its figures for Prometheus; they are asked for over HTTP.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import URLError

_PREFIX = "celes_beam_"
_START_SECONDS = 120.0
_END_SECONDS = 180.0
_ASK_SECONDS = 10.0


class RunningStream:
    """A stream with these flags; a context manager, at whose end it runs no more.

    Its output is in ``stream.log`` of ``folder``, its summary there as well.
    """

    def __init__(self, folder: Path, flags: Sequence[str]) -> None:
        self._summary = folder / "stream.json"
        self._log_path = folder / "stream.log"
        self._port = _free_port()
        own = ["--metrics_port", str(self._port), "--summary_json", str(self._summary)]
        command = [sys.executable, "-m", "pipelines.streaming", "--progress", "off", *own, *flags]
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def figures(self) -> dict[str, float]:
        """Its metrics by their names, labels added up; see ``docs/metrics.md``.

        Buckets of the latency are ``bucket <upper bound>``. Raises ``OSError`` when it
        is not there.
        """
        from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415

        with urllib.request.urlopen(
            f"http://127.0.0.1:{self._port}/metrics", timeout=_ASK_SECONDS
        ) as answer:
            text = answer.read().decode()
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                name = sample.name.removeprefix(_PREFIX)
                if name == "latency_seconds_bucket":
                    name = f"bucket {sample.labels['le']}"
                found[name] = found.get(name, 0.0) + sample.value
        return found

    def wait_for(self, messages: int, seconds: float = _START_SECONDS) -> dict[str, float]:
        """Wait until so many messages are delivered; returns the figures then.

        Raises ``TimeoutError``, or ``ChildProcessError`` with the output when it ends before.
        """
        until = time.monotonic() + seconds
        figures: dict[str, float] = {}
        while figures.get("messages_total", -1) < messages:
            if self._process.poll() is not None:
                raise ChildProcessError(f"the stream has ended: {self._log_path.read_text()}")
            if time.monotonic() > until:
                there = figures.get("messages_total", 0)
                raise TimeoutError(f"{there:,.0f} of {messages:,} messages were delivered")
            time.sleep(0.1)
            try:
                figures = self.figures()
            except (URLError, ConnectionError):
                continue
        return figures

    def stop(self) -> dict[str, Any]:
        """Let it end as an operator would; returns its summary. Raises as ``wait_for``."""
        self._process.send_signal(signal.SIGTERM)
        if self._process.wait(_END_SECONDS):
            raise ChildProcessError(f"the stream failed: {self._log_path.read_text()}")
        summary: dict[str, Any] = json.loads(self._summary.read_text())
        return summary


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])

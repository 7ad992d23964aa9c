"""A Flink cluster for tests, run as ``celes-beam local`` does: its workers can be killed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from celes_beam.errors import MissingProgramError
from celes_beam.local import cloud, flink
from celes_beam.local.processes import HOST
from celes_beam.local.state import Record, load, process_of
from celes_beam.transforms.flink_cluster import FlinkCluster as FlinkApi
from tests.tools import missing

ON_FLINK = [
    # A task manager hangs up on its workers when it is done with them; they run in threads of ours.
    pytest.mark.filterwarnings(
        "ignore:Exception in thread run_worker:pytest.PytestUnhandledThreadExceptionWarning"
    ),
]
"""Marks of the tests that use the cluster."""
_WORKER_SECONDS = 20
_END_SECONDS = 20


@dataclass
class FlinkCluster:
    """A running cluster with Beam's job server; ``flags`` send a pipeline there."""

    folder: Path

    @property
    def flags(self) -> list[str]:
        return self.record(flink.JOBS).environment[flink.FLAGS].split()

    def record(self, name: str) -> Record:
        """What is known of a process of the cluster."""
        return load(self.folder)[name]

    def kill(self, name: str) -> None:
        """End a process of the cluster without a word."""
        record = self.record(name)
        os.kill(record.pid, signal.SIGKILL)
        end = time.monotonic() + _END_SECONDS
        while process_of(record) is not None:
            assert time.monotonic() < end
            time.sleep(0.01)

    def mend(self) -> None:
        """Start again what was killed."""
        cloud.up(self.folder, list(flink.FLINK_PORTS))

    def ask(self, path: str) -> Any:
        """What the manager answers to a GET, such as ``jobs/overview``."""
        url = f"http://{HOST}:{self.record(flink.MANAGER).ports['http']}/{path}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)

    def job(self, name: str) -> Any:
        """What the manager tells of the one job of this name."""
        (job,) = (j for j in self.ask("jobs/overview")["jobs"] if j["name"] == name)
        return job

    def busy_worker(self, name: str) -> str:
        """The task manager that does most of a job."""
        job = self.job(name)["jid"]
        vertices = self.ask(f"jobs/{job}")["vertices"]
        hosts = [
            task["taskmanager-id"]
            for vertex in vertices
            for task in self.ask(f"jobs/{job}/vertices/{vertex['id']}")["subtasks"]
        ]
        return max(set(hosts), key=hosts.count)

    def cancel(self, name: str) -> None:
        """End the job of this name, if there is one."""
        found = [j["jid"] for j in self.ask("jobs/overview")["jobs"] if j["name"] == name]
        for job in found:
            FlinkApi(f"http://{HOST}:{self.record(flink.MANAGER).ports['http']}").cancel(job)


def wait_for_workers() -> None:
    """Wait until the threads that worked for a job are gone, so that no other test hears of it."""
    for thread in threading.enumerate():
        if thread.name.startswith("run_worker"):
            thread.join(_WORKER_SECONDS)


@contextmanager
def flink_cluster(folder: Path) -> Iterator[FlinkCluster]:
    """Run a cluster; without Java or the jars CI fails, and others skip."""
    try:
        cluster = FlinkCluster(folder)
        cluster.mend()
    except MissingProgramError as error:
        missing(str(error))
    try:
        yield cluster
    finally:
        cloud.down(folder)

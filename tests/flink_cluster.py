"""A Flink cluster on this machine for tests: workers can be killed, and started again."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celes_beam.errors import MissingProgramError
from celes_beam.local import flink
from celes_beam.local.processes import HOST, Server
from celes_beam.local.services import start_service
from tests.tools import missing

_WORKER_SECONDS = 20


@dataclass
class FlinkCluster:
    """A running cluster with Beam's job server; ``flags`` send a pipeline there."""

    folder: Path
    servers: dict[str, Server] = field(default_factory=dict)

    @property
    def flags(self) -> list[str]:
        return self.servers[flink.JOBS].environment[flink.FLAGS].split()

    def kill(self, name: str) -> None:
        """End a process of the cluster without a word."""
        self.servers[name].process.kill()
        self.servers[name].process.wait()

    def start(self, name: str) -> None:
        """Start a process of the cluster, with new ports, and wait until it is well."""
        others = {server.service: server.ports for server in self.servers.values()}
        ports = dict.fromkeys(flink.FLINK_PORTS[name], 0)
        self.servers[name] = start_service(name, self.folder, ports, others, lambda _: None)

    def ask(self, path: str) -> Any:
        """What the manager answers to a GET, such as ``jobs/overview``."""
        url = f"http://{HOST}:{self.servers[flink.MANAGER].ports['http']}/{path}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)

    def stop(self) -> None:
        for server in self.servers.values():
            server.process.terminate()
        for server in self.servers.values():
            server.stop()


def wait_for_workers() -> None:
    """Wait until the threads that worked for a job are gone, so that no other test hears of it."""
    for thread in threading.enumerate():
        if thread.name.startswith("run_worker"):
            thread.join(_WORKER_SECONDS)


@contextmanager
def flink_cluster(folder: Path) -> Iterator[FlinkCluster]:
    """Run a cluster; without Java or the jars CI fails, and others skip."""
    cluster = FlinkCluster(folder)
    with ExitStack() as running:
        running.callback(cluster.stop)
        try:
            for name in flink.FLINK_PORTS:
                cluster.start(name)
        except MissingProgramError as error:
            missing(str(error))
        yield cluster

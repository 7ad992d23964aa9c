"""What the local cloud can run: each service's ports, its program, its start and its health."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from celes_beam.local import flink, servers
from celes_beam.local.flink import FLINK_PORTS, MANAGER, WORKERS
from celes_beam.local.processes import Server, Tell
from celes_beam.local.programs import (
    check_bigquery_server,
    find_flink,
    find_pubsub_server,
    find_storage_server,
)

PORTS: Mapping[str, tuple[str, ...]] = {
    "storage": ("http",),
    "bigquery": ("http", "grpc"),
    "pubsub": ("http",),
    **FLINK_PORTS,
}
"""The services, in the order in which they start, and the names of their ports."""
SERVICES = tuple(name for name in PORTS if name not in FLINK_PORTS)
"""Those that stand in for Google's, which are started unless others are named."""


def check_program(name: str) -> None:
    """Raise ``MissingProgramError`` when the program of a service is not on this machine."""
    if name == "storage":
        find_storage_server()
    elif name == "bigquery":
        check_bigquery_server()
    elif name == "pubsub":
        find_pubsub_server()
    else:
        find_flink()


def start_service(
    name: str,
    folder: Path,
    ports: Mapping[str, int],
    others: Mapping[str, Mapping[str, int]],
    tell: Tell,
) -> Server:
    """Start a service and wait for it; ``others`` are the ports of those that run already.

    Raises as ``processes.start`` and ``check_program``.
    """
    if name == "storage":
        return servers.start_storage(folder, ports["http"], tell)
    if name == "bigquery":
        return servers.start_bigquery(folder, ports["http"], ports["grpc"], tell)
    if name == "pubsub":
        return servers.start_pubsub(folder, ports["http"], tell)
    if name == MANAGER:
        return flink.start_manager(folder, ports, tell)
    if name in WORKERS:
        return flink.start_worker(folder, name, others[MANAGER], ports, tell)
    return flink.start_jobs(folder, others[MANAGER], ports, tell)


def ready_path_of(name: str, ports: Mapping[str, Mapping[str, int]]) -> str:
    """Where a service is asked whether it is well; ``ports`` are those of all that run.

    As ``processes.Plan`` has it.
    """
    if name in servers.READY_PATHS:
        return servers.READY_PATHS[name]
    return flink.ready_path(name, ports.get(MANAGER, {}))

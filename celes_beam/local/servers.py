"""Local servers of Cloud Storage, BigQuery and Pub/Sub, with their data in one folder.

    FOLDER
    ├── storage/<bucket>/<object>   what Cloud Storage holds, and BigQuery reads as gs://
    ├── bigquery/                   BigQuery's data
    └── logs/<service>.log

Pub/Sub keeps its topics and messages in memory. All listen on 127.0.0.1 alone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from celes_beam.local.processes import HOST, Plan, Server, Tell, start
from celes_beam.local.programs import (
    check_bigquery_server,
    find_pubsub_server,
    find_storage_server,
)

__all__ = ["Server", "start_bigquery", "start_pubsub", "start_storage"]

BIGQUERY_GRPC = "BIGQUERY_GRPC_EMULATOR_HOST"
"""Where BigQuery's Storage APIs are: host:port, plain gRPC. Google's libraries know no such name.
"""
READY_PATHS = {"storage": "/_internal/healthcheck", "bigquery": "/readyz", "pubsub": "/"}


def storage_folder(folder: Path) -> Path:
    """Where the objects of buckets are: ``<bucket>/<object>``."""
    return folder.resolve() / "storage"


def start_storage(folder: Path, port: int = 0, tell: Tell = lambda _: None) -> Server:
    """Start Cloud Storage (fake-gcs-server); raises as ``start`` and ``find_storage_server``."""
    program = find_storage_server()
    data = storage_folder(folder)
    data.mkdir(parents=True, exist_ok=True)

    def command(ports: Mapping[str, int]) -> list[str]:
        place = f"{HOST}:{ports['http']}"
        return [
            *(str(program), "-scheme", "http", "-host", HOST, "-port", str(ports["http"])),
            *("-public-host", place, "-external-url", f"http://{place}"),
            *("-backend", "filesystem", "-filesystem-root", str(data), "-log-level", "error"),
        ]

    def clients(ports: Mapping[str, int]) -> dict[str, str]:
        return {"STORAGE_EMULATOR_HOST": f"http://{HOST}:{ports['http']}"}

    return start(
        Plan("storage", command, READY_PATHS["storage"], _log(folder, "storage"), clients),
        {"http": port},
        tell,
    )


def start_bigquery(
    folder: Path, port: int = 0, grpc_port: int = 0, tell: Tell = lambda _: None
) -> Server:
    """Start BigQuery (bqemulator), which reads ``gs://`` from the files of ``start_storage``.

    Raises as ``start`` and ``check_bigquery_server``.
    """
    check_bigquery_server()
    data = folder.resolve() / "bigquery"
    uploads = data / "uploads"
    for made in (uploads, storage_folder(folder)):
        made.mkdir(parents=True, exist_ok=True)

    def command(ports: Mapping[str, int]) -> list[str]:
        return [
            *(sys.executable, "-m", "celes_beam.local.run_bigquery", "start"),
            *("--rest-host", HOST, "--rest-port", str(ports["http"])),
            *("--grpc-host", HOST, "--grpc-port", str(ports["grpc"])),
            *("--persistent", "--data-dir", str(data), "--no-admin"),
            *("--log-format", "console", "--log-level", "warning"),
        ]

    def clients(ports: Mapping[str, int]) -> dict[str, str]:
        return {
            "BIGQUERY_EMULATOR_HOST": f"http://{HOST}:{ports['http']}",
            BIGQUERY_GRPC: f"{HOST}:{ports['grpc']}",
        }

    environment = {
        "BQEMU_GCS_LOCAL_ROOT": str(storage_folder(folder)),
        "BQEMU_UPLOAD_STAGING_DIR": str(uploads),
        "BQEMU_TRACING_ENABLED": "false",
        "BQEMU_METRICS_ENABLED": "false",
        "OTEL_SDK_DISABLED": "true",
        "PYTHONWARNINGS": "ignore",
    }
    plan = Plan(
        "bigquery",
        command,
        READY_PATHS["bigquery"],
        _log(folder, "bigquery"),
        clients,
        environment,
    )
    return start(plan, {"http": port, "grpc": grpc_port}, tell)


def start_pubsub(folder: Path, port: int = 0, tell: Tell = lambda _: None) -> Server:
    """Start Google's Pub/Sub emulator; raises as ``start`` and ``find_pubsub_server``."""
    java, jar = find_pubsub_server()

    def command(ports: Mapping[str, int]) -> list[str]:
        # Straight from the jar: gcloud's command starts it through two more processes.
        return [
            *(str(java), "-XX:+UseSerialGC", "-jar", str(jar)),
            *(f"--host={HOST}", f"--port={ports['http']}"),
        ]

    def clients(ports: Mapping[str, int]) -> dict[str, str]:
        return {"PUBSUB_EMULATOR_HOST": f"{HOST}:{ports['http']}"}

    return start(
        Plan("pubsub", command, READY_PATHS["pubsub"], _log(folder, "pubsub"), clients),
        {"http": port},
        tell,
    )


def _log(folder: Path, service: str) -> Path:
    return folder.resolve() / "logs" / f"{service}.log"

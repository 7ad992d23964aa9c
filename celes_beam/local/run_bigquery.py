"""``python -m celes_beam.local.run_bigquery``: bqemulator, made fit for a stream.

The packages carry DuckDB's extensions, so that nothing is downloaded when the server starts.
bqemulator 1.4.0 has no settings for what is changed here.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_CONNECTIONS = 64
"""It serves a connection of the Storage Write API by a thread, of which asyncio would give it six
on two cores; the seventh connection would get no answer until another ends."""


def main() -> None:
    """Install the extensions where they are missing, then become bqemulator."""
    from bqemulator.cli import main as bqemulator  # noqa: PLC0415 - slow: the work of this process
    from duckdb_extensions import import_extension  # noqa: PLC0415

    for name in ("spatial", "avro"):
        import_extension(name)
    _serve_many_connections()
    _keep_no_versions()
    bqemulator()


def _serve_many_connections() -> None:
    from bqemulator import server  # noqa: PLC0415

    build = server.build_grpc_server

    def build_with_threads(*args: Any) -> Any:
        pool = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="grpc")
        asyncio.get_running_loop().set_default_executor(pool)
        return build(*args)

    server.build_grpc_server = build_with_threads


def _keep_no_versions() -> None:
    """Keep no copy of a table for ``FOR SYSTEM_TIME AS OF`` before each change.

    Each append would copy the whole table: ten times slower when it has a million rows, with a disk
    that is full soon.
    """
    from bqemulator.versioning.snapshots import SnapshotManager  # noqa: PLC0415

    capture = SnapshotManager.capture

    def capture_when_asked(self: Any, *names: str, kind: str = "AUTO") -> Any:
        return None if kind == "AUTO" else capture(self, *names, kind=kind)

    SnapshotManager.capture = capture_when_asked


if __name__ == "__main__":
    main()

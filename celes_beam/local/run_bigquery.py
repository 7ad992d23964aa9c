"""``python -m celes_beam.local.run_bigquery``: bqemulator, made fit for a stream.

The packages carry DuckDB's extensions, so that nothing is downloaded when the server starts.
bqemulator 1.4.0 has no settings for what is changed here.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
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
    _count_rows_that_are_there()
    bqemulator()


def _serve_many_connections() -> None:
    from bqemulator import server  # noqa: PLC0415

    build = server.build_grpc_server

    def build_with_threads(*args: Any) -> Any:
        pool = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="grpc")
        loop = asyncio.get_running_loop()
        loop.set_default_executor(pool)
        _ask_the_database_in_one_thread(loop)
        return build(*args)

    server.build_grpc_server = build_with_threads


def _ask_the_database_in_one_thread(loop: asyncio.AbstractEventLoop) -> None:
    """Let the threads of connections do in the thread of ``loop`` what they do to the database.

    All share one connection to it. An append beside a table that is made would end in a deadlock of
    its lock and Python's, for good; and one beside a query may be what that takes for its answer.
    """
    from bqemulator.grpc_api.write_servicer import BigQueryWriteHandler  # noqa: PLC0415
    from bqemulator.storage.engine import DuckDBEngine  # noqa: PLC0415

    thread = threading.get_ident()

    def there(method: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any) -> Any:
            return method(*args)

        @functools.wraps(method)
        def call_there(*args: Any) -> Any:
            if threading.get_ident() == thread:
                return method(*args)
            return asyncio.run_coroutine_threadsafe(call(*args), loop).result()

        return call_there

    BigQueryWriteHandler._flush_to_target = there(BigQueryWriteHandler._flush_to_target)
    DuckDBEngine.fetch_arrow = there(DuckDBEngine.fetch_arrow)


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


def _count_rows_that_are_there() -> None:
    """Take the rows of an append that failed off a committed stream's offset again.

    It counts them before it inserts them. When that fails, as into a table that was deleted, the
    next try would hear that they are there already.
    """
    from bqemulator.grpc_api.write_servicer import BigQueryWriteHandler  # noqa: PLC0415
    from bqemulator.streaming.write_stream import WriteStreamType  # noqa: PLC0415

    insert = BigQueryWriteHandler._flush_to_target

    @functools.wraps(insert)
    def insert_or_take_back(self: Any, stream: Any, rows: Any) -> None:
        try:
            insert(self, stream, rows)
        except Exception:
            if stream.stream_type is WriteStreamType.COMMITTED:
                stream.next_offset -= rows.num_rows
                stream.row_count -= rows.num_rows
            raise

    BigQueryWriteHandler._flush_to_target = insert_or_take_back


if __name__ == "__main__":
    main()

"""A server of Cloud Storage's protocol that keeps the settings of buckets, and little else.

It ignores every precondition, so it judges nothing but buckets.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.tools import need_module


@contextmanager
def start_settings_server() -> Iterator[str]:
    """Run the server in this process; gives its URL."""
    emulator = need_module("gcp_storage_emulator.server", "pip install gcp-storage-emulator")
    server = emulator.create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    try:
        host, port = server._api._httpd.server_address
        yield f"http://{host}:{port}"
    finally:
        server.stop()

"""A relay in front of a local server: answers take as long as from a data centre.

Without it a server on this machine answers at once, and nothing is gained by asking side by side.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_BLOCK = 2**18


@contextmanager
def delayed(upstream: str, seconds: float) -> Iterator[str]:
    """Relay to ``upstream`` ("host:port"), each piece of an answer later; gives the address."""
    host, _, port = upstream.partition(":")
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((host, int(port)))
                for one in (client, server):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _start(client, server, 0.0)
                _start(server, client, seconds)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _start(source: socket.socket, target: socket.socket, seconds: float) -> None:
    def relay() -> None:
        with suppress(OSError):
            while data := source.recv(_BLOCK):
                if seconds:
                    time.sleep(seconds)
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    threading.Thread(target=relay, daemon=True).start()

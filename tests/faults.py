"""A proxy that does what networks and services do: it drops, resets, delays, refuses and damages.

It stands between our clients and a local server: give its ``url`` to them in place of the server's.
What the server says of its own address is rewritten, so that sessions of resumable uploads and
downloads pass here as well.
"""

from __future__ import annotations

import http.client
import random
import re
import socket
import struct
import threading
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import pytest

from celes_beam.errors import CelesError

How = Literal["drop", "reset", "cut", "half", "lose_answer", "delay", "damage", "answer"]
When = Callable[[int], bool]
"""Whether a fault happens to the n-th request it is for, beginning with 1."""

_PER_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})
_UPSTREAM_SECONDS = 60
_NO_BODY = (204, 304)


def always(_: int) -> bool:
    """Every time."""
    return True


def nth(*numbers: int) -> When:
    """The given times, such as the first and the third."""
    chosen: Container[int] = frozenset(numbers)
    return lambda n: n in chosen


def every(step: int) -> When:
    """Each ``step``-th time."""
    return lambda n: n % step == 0


def at_random(share: float, seed: int) -> When:
    """A share of the times, the same ones for the same seed."""
    return lambda n: random.Random(seed * 1_000_003 + n).random() < share


@dataclass
class Fault:
    """Something that happens to requests of a method and path (regular expressions).

    ``drop`` closes the connection before the server hears of the request, ``reset`` likewise with a
    TCP reset, ``half`` resets once half of the request has come, ``lose_answer`` closes it after
    the server did the work, ``cut`` after half of the answer. ``delay`` waits ``seconds`` before
    all goes on as usual, ``damage`` flips a bit in the middle of the request, and ``answer`` says
    ``status`` in the server's place, with ``body`` and Retry-After if given.
    """

    how: How
    when: When = always
    method: str = ".*"
    path: str = ""
    status: int = 503
    retry_after: int | None = None
    seconds: float = 0.0
    body: bytes = b'{"error": {"message": "the proxy says so"}}'
    happened: int = 0
    _seen: int = field(default=0, repr=False)

    def strikes(self, method: str, path: str) -> bool:
        """Count a request, and say whether the fault happens to it."""
        if not re.fullmatch(self.method, method) or not re.search(self.path, path):
            return False
        self._seen += 1
        strikes = self.when(self._seen)
        self.happened += strikes
        return strikes


@dataclass(frozen=True)
class Seen:
    """A request that came by, and what happened to it."""

    method: str
    path: str
    fault: How | None


class FaultProxy:
    """Passes HTTP requests on to ``upstream`` ("127.0.0.1:P") unless one of its faults strikes."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.requests: list[Seen] = []
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """What clients take for the server."""
        return f"http://{self.address}"

    def add(self, how: How, when: When = always, **about: Any) -> Fault:
        """Add a fault; of several that strike, the first one added does."""
        fault = Fault(how, when, **about)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Let everything pass from now on."""
        with self._lock:
            self._faults.clear()

    def count(self, method: str = ".*", path: str = "") -> int:
        """How many requests of a method and path (regular expressions) came by."""
        with self._lock:
            seen = list(self.requests)
        return sum(bool(re.fullmatch(method, s.method) and re.search(path, s.path)) for s in seen)

    def fate_of(self, method: str, path: str) -> Fault | None:
        """The fault that strikes a request, which is remembered."""
        with self._lock:
            struck = [fault for fault in self._faults if fault.strikes(method, path)]
            self.requests.append(Seen(method, path, struck[0].how if struck else None))
        return struck[0] if struck else None

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Those of idle connections wait for requests that never come.
    block_on_close = False
    request_queue_size = 128
    proxy: FaultProxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news: tests make them do so."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A small answer is not to wait for more to send with it.
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Tests look at ``FaultProxy.requests``."""

    def _pass(self) -> None:
        proxy = self.server.proxy
        fault = proxy.fate_of(self.command, self.path)
        how = fault.how if fault else None
        if how == "half":
            self.rfile.read(int(self.headers.get("Content-Length", 0)) // 2)
            return self._hang_up(reset=True)
        body = self._body()
        if how in ("drop", "reset"):
            return self._hang_up(reset=how == "reset")
        if fault and how == "answer":
            return self._refuse(fault)
        if fault and how == "delay":
            proxy.closing.wait(fault.seconds)
        if how == "damage" and body:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        status, headers, answer = self._ask(body)
        if how == "lose_answer":
            return self._hang_up(reset=False)
        return self._answer(status, headers, answer, cut=how == "cut")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _pass  # noqa: N815

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        proxy = self.server.proxy
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _PER_CONNECTION}
        headers["Host"] = proxy.upstream
        # What is compressed could not be rewritten.
        headers["Accept-Encoding"] = "identity"
        headers["Content-Length"] = str(len(body))
        asked = http.client.HTTPConnection(proxy.upstream, timeout=_UPSTREAM_SECONDS)
        try:
            asked.request(self.command, self.path, body, headers)
            answer = asked.getresponse()
            content = answer.read()
            kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in _PER_CONNECTION]
            length = answer.getheader("Content-Length")
        finally:
            asked.close()
        if self.command == "HEAD" and length is not None:
            kept.append(("Content-Length", length))
        kept = [(k, v.replace(proxy.upstream, proxy.address)) for k, v in kept]
        if "json" in (answer.getheader("Content-Type") or ""):
            content = content.replace(proxy.upstream.encode(), proxy.address.encode())
        return answer.status, kept, content

    def _answer(
        self, status: int, headers: list[tuple[str, str]], content: bytes, *, cut: bool
    ) -> None:
        self.send_response_only(status)
        for key, value in headers:
            self.send_header(key, value)
        if self.command != "HEAD" and status not in _NO_BODY:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if cut:
            self.wfile.write(content[: len(content) // 2])
            return self._hang_up(reset=False)
        if self.command != "HEAD":
            self.wfile.write(content)
        return None

    def _refuse(self, fault: Fault) -> None:
        headers = [("Content-Type", "application/json")]
        if fault.retry_after is not None:
            headers.append(("Retry-After", str(fault.retry_after)))
        self._answer(fault.status, headers, fault.body, cut=False)

    def _hang_up(self, *, reset: bool) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
            if reset:
                # To linger for no time is to close by a reset.
                now = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
                self.connection.close()
            else:
                self.connection.shutdown(socket.SHUT_RDWR)


def until_done(work: Callable[[], object], most: int) -> int:
    """Do ``work`` as a scheduler would, again after each error of ours; returns how often."""
    said = ""
    for tries in range(1, most + 1):
        try:
            work()
        except CelesError as error:
            said = str(error)
        else:
            return tries
        assert "\n" not in said
    pytest.fail(f"{most} tries ended with errors, at last: {said}")

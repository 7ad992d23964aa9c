"""A server's process: started on ports of 127.0.0.1, waited for, ended for sure.

A server counts as up when its own process listens on its ports and it answers there; another
server that happens to have the port is not taken for it.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from celes_beam.errors import LocalServerError, MissingProgramError, UsageError

HOST = "127.0.0.1"
START_SECONDS = 60
_STOP_SECONDS = 10
_POLL_SECONDS = 0.05
_TRIES = 5
_LOG_LINES = 3
_LOG_TAIL_BYTES = 8192
_PORT_TAKEN = ("address already in use", "bindexception")


@dataclass
class Server:
    """A server that answers. ``environment`` holds the variables that clients need to find it."""

    service: str
    address: str
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes]
    ports: dict[str, int] = field(default_factory=dict)

    def stop(self) -> None:
        """End the process, politely first; it is gone when this returns. May be called again."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


Tell = Callable[[Server], None]


@dataclass(frozen=True)
class Plan:
    """How a server is started: the command line for its ports, and where it answers once ready.

    ``ready_path`` is asked on its port ``http``; a whole URL where another server tells of it; an
    empty one when it counts as ready as soon as it listens.
    """

    service: str
    command: Callable[[Mapping[str, int]], Sequence[str]]
    ready_path: str
    log: Path
    clients: Callable[[Mapping[str, int]], dict[str, str]]
    environment: Mapping[str, str] = field(default_factory=dict)


def start(plan: Plan, ports: Mapping[str, int], tell: Tell = lambda _: None) -> Server:
    """Start a server and wait until it answers on its ports; 0 is any free port.

    ``ports`` are named; the first is its address. ``tell`` hears of each process as soon as there
    is one: a later one means that the one before has ended. Raises ``UsageError`` when a given port
    is taken, ``LocalServerError`` when the server does not start.
    """
    for name, port in ports.items():
        if port and not is_free(port):
            raise UsageError(
                f"{plan.service}: port {port} ({name}) is taken: give another, or none for a free "
                "one"
            )
    plan.log.parent.mkdir(parents=True, exist_ok=True)
    any_port = not all(ports.values())
    for _ in range(_TRIES):
        chosen = _choose(ports)
        try:
            return _start_once(plan, chosen, tell)
        except LocalServerError as error:
            # Somebody else took the free port between our look and the server's start.
            if not (any_port and is_port_taken(str(error))):
                raise
    raise LocalServerError(f"{plan.service}: no free port was found in {_TRIES} tries")


def is_free(port: int) -> bool:
    """Whether a server could listen on a port of this machine right now."""
    with socket.socket() as probe:
        # As servers do: connections that have just been closed are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def is_port_taken(message: str) -> bool:
    """Whether a server's last words say that another program has its port."""
    return any(words in message.lower() for words in _PORT_TAKEN)


def last_lines(log: Path, lines: int = _LOG_LINES) -> str:
    """The last lines of a server's log that say something, as one line."""
    return " | ".join(end_of_log(log, lines))


def end_of_log(log: Path, lines: int) -> list[str]:
    """The last lines of a server's log that say something; one that says if there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ["it wrote no log"]
    said = [" ".join(line.split())[:300] for line in text.splitlines() if line.strip()]
    # A stack of calls tells nothing here; what went wrong stands above or below it.
    telling = [line for line in said if not line.startswith(("at ", "File ", "^", "..."))] or said
    return telling[-lines:] or ["its log is empty"]


def answers(port: int, path: str, seconds: float = 2) -> bool:
    """Whether a server answers a GET of a path with 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=seconds)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def is_ready(pid: int, ports: Mapping[str, int], ready_path: str, seconds: float = 2) -> bool:
    """Whether a server listens on its ports and is well; ``ready_path`` as in ``Plan``."""
    if not listens(pid, list(ports.values())):
        return False
    asked = urlsplit(ready_path)
    return not ready_path or answers(asked.port or ports["http"], asked.path, seconds)


def listens(pid: int, ports: Sequence[int]) -> bool:
    """Whether this very process listens on all of these ports."""
    psutil = process_library()
    with contextlib.suppress(psutil.Error):
        found = psutil.Process(pid).net_connections("tcp")
        return set(ports) <= {c.laddr.port for c in found if c.status == psutil.CONN_LISTEN}
    return False


def process_library() -> Any:
    """psutil, which the extra ``local`` brings. Raises ``MissingProgramError`` without it."""
    try:
        import psutil  # noqa: PLC0415 - only the local servers need it
    except ImportError as error:
        raise MissingProgramError(
            "the package psutil is missing: pip install 'celes-beam[local]'"
        ) from error
    return psutil


def _start_once(plan: Plan, ports: Mapping[str, int], tell: Tell) -> Server:
    process_library()
    with plan.log.open("wb") as log:
        try:
            process = subprocess.Popen(
                list(plan.command(ports)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **plan.environment},
                # Ctrl-C in the terminal is for the command, not for the servers it leaves behind.
                start_new_session=True,
            )
        except OSError as error:
            raise LocalServerError(f"{plan.service}: cannot be started: {error}") from error
    address = f"{HOST}:{next(iter(ports.values()))}"
    server = Server(plan.service, address, plan.clients(ports), plan.log, process, dict(ports))
    try:
        tell(server)
        _wait_until_ready(plan, server)
    except BaseException:
        server.stop()
        raise
    return server


def _wait_until_ready(plan: Plan, server: Server) -> None:
    end = time.monotonic() + START_SECONDS
    while not is_ready(server.process.pid, server.ports, plan.ready_path):
        code = server.process.poll()
        said = last_lines(plan.log)
        if code is not None:
            raise LocalServerError(
                f"{plan.service} ended at its start with code {code}: {said} (log: {plan.log})"
            )
        # Google's Pub/Sub emulator stays alive without its port.
        if is_port_taken(said):
            raise LocalServerError(f"{plan.service}: {said} (log: {plan.log})")
        if time.monotonic() > end:
            raise LocalServerError(
                f"{plan.service} did not answer at {server.address} in {START_SECONDS} s: {said} "
                f"(log: {plan.log})"
            )
        time.sleep(_POLL_SECONDS)


def _choose(ports: Mapping[str, int]) -> dict[str, int]:
    """Put a free port for each 0; all are held open together so that no two are the same."""
    with contextlib.ExitStack() as held:
        chosen = {}
        for name, port in ports.items():
            if port:
                chosen[name] = port
                continue
            probe = held.enter_context(socket.socket())
            probe.bind((HOST, 0))
            chosen[name] = int(probe.getsockname()[1])
    return chosen

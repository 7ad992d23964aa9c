"""The local cloud of a folder: brought up, looked at, and taken down; it outlives the command.

A server that is there is left alone, one that crashed is started again where it was. Processes are
known by id and start, so a recycled id is never taken for a server of ours.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from celes_beam.errors import LocalServerError, MissingProgramError, UsageError
from celes_beam.local.flink import FLINK_PORTS, MANAGER, WORKERS
from celes_beam.local.processes import HOST, Server, is_free, is_ready, process_library
from celes_beam.local.services import PORTS, SERVICES, check_program, ready_path_of, start_service
from celes_beam.local.state import (
    IGNORE,
    LOCK,
    Record,
    is_ours,
    load,
    locked,
    process_of,
    save,
    started_after_boot,
    writing_in,
)

DATA = ("storage", "bigquery", "logs", "gcloud", "flink")
_ANSWER_SECONDS = 5
_STOP_SECONDS = 10
_KILL_SECONDS = 5
_POLL_SECONDS = 0.05
# They miss it after ten seconds at the latest, and look for it every few.
_RETURN_SECONDS = 30
_RETURN_POLL_SECONDS = 0.2


class State(StrEnum):
    """How a service is."""

    RUNNING = "running"
    SILENT = "not answering"
    CRASHED = "crashed"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Service:
    """A service of a folder; ``record`` is there unless it is stopped."""

    name: str
    state: State
    record: Record | None = None

    @property
    def failed(self) -> bool:
        """Whether it should be running and is not."""
        return self.state in {State.CRASHED, State.SILENT}


@dataclass(frozen=True)
class Ended:
    """A server that ``down`` ended, or found ended: ``how`` says which."""

    service: str
    pid: int
    how: str


def status(folder: Path) -> list[Service]:
    """How each service is, in the order of ``PORTS``, Flink only where it was started."""
    records = load(folder.resolve())
    shown = [name for name in PORTS if name in records or name not in FLINK_PORTS]
    return [_look(name, records) for name in shown]


def up(
    folder: Path,
    only: Sequence[str] = SERVICES,
    ports: Mapping[str, Mapping[str, int]] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[list[str], list[Service]]:
    """Start what is not running; returns the names of what was started, and how all services are.

    ``ports`` gives ports by service and name, 0 for any free one; a crashed server comes back on
    its old ports if they are free. When one does not start, or the command is interrupted, those
    that it started are ended. ``tell`` hears the name of each service that is being started.

    Raises ``UsageError`` when a port is taken, or another than a running server's;
    ``MissingProgramError`` naming all that is missing; ``LocalServerError`` when one fails.
    """
    given = ports or {}
    folder = folder.resolve()
    with writing_in(folder), locked(folder):
        records = load(folder)
        before = dict(records)
        states = {name: _look(name, records).state for name in PORTS}
        wanted = [n for n in PORTS if n in only and states[n] in {State.CRASHED, State.STOPPED}]
        _check_ports_of_running(records, states, given)
        _check_programs(wanted)
        started: dict[str, Server] = {}

        def keep(server: Server) -> None:
            # As soon as there is a process: killed half-way, this command leaves none unknown.
            started[server.service] = server
            records[server.service] = _record(server)
            save(folder, records)

        try:
            for name in wanted:
                tell(name)
                chosen = _ports(name, records.get(name), given.get(name, {}))
                _keep_last_words(folder, name)
                start_service(name, folder, chosen, _ports_of(records), keep)
        except BaseException:
            for server in started.values():
                server.stop()
            save(folder, before)
            raise
        for server in started.values():
            # It is meant to outlive us; subprocess would warn that it still runs.
            server.process.returncode = 0
        if MANAGER in started:
            _wait_for_workers(records)
    return wanted, status(folder)


def down(folder: Path, delete_data: bool = False) -> list[Ended]:
    """End every server of the folder, politely first; ``delete_data`` deletes what they hold.

    Raises ``LocalServerError`` when a process outlives SIGKILL, ``UsageError`` when data is to be
    deleted in a folder that is not ours.
    """
    folder = folder.resolve()
    if not is_ours(folder):
        if delete_data and _holds_anything(folder):
            raise UsageError(f"--folder {folder} is not of celes-beam local: nothing was deleted")
        return []
    with writing_in(folder), locked(folder):
        records = load(folder)
        found = {name: process_of(record) for name, record in records.items()}
        left = {name: process for name, process in found.items() if process is not None}
        killed = _end(left, records)
        alive = {name: records[name] for name in killed if process_of(records[name])}
        save(folder, alive)
        if alive:
            told = ", ".join(f"{r.service} (pid {r.pid})" for r in alive.values())
            raise LocalServerError(f"{told} did not end in {_KILL_SECONDS} s after SIGKILL")
        if delete_data:
            _delete(folder)
    how = dict.fromkeys(records, "had ended by itself")
    how |= dict.fromkeys(left, "stopped") | dict.fromkeys(killed, "killed")
    return [Ended(name, records[name].pid, how[name]) for name in PORTS if name in records]


def _look(name: str, records: Mapping[str, Record]) -> Service:
    record = records.get(name)
    if record is None:
        return Service(name, State.STOPPED)
    if process_of(record) is None:
        return Service(name, State.CRASHED, record)
    path = ready_path_of(name, _ports_of(records))
    healthy = is_ready(record.pid, record.ports, path, _ANSWER_SECONDS)
    return Service(name, State.RUNNING if healthy else State.SILENT, record)


def _ports_of(records: Mapping[str, Record]) -> dict[str, dict[str, int]]:
    return {name: record.ports for name, record in records.items()}


def _check_ports_of_running(
    records: Mapping[str, Record],
    states: Mapping[str, State],
    given: Mapping[str, Mapping[str, int]],
) -> None:
    for name, record in records.items():
        for port_name, port in given.get(name, {}).items():
            has = record.ports[port_name]
            if states[name] in {State.RUNNING, State.SILENT} and port not in {0, has}:
                raise UsageError(
                    f"{name} runs on port {has} ({port_name}) already, not {port}: leave the port "
                    "out, or run celes-beam local down first"
                )


def _check_programs(wanted: Sequence[str]) -> None:
    """Tell everything that is missing at once, before anything is started."""
    missing: dict[str, None] = {}
    for name in wanted:
        try:
            check_program(name)
        except MissingProgramError as error:
            missing[str(error)] = None
    if missing:
        raise MissingProgramError("; ".join(missing))


def _ports(name: str, old: Record | None, given: Mapping[str, int]) -> dict[str, int]:
    chosen = {}
    for port_name in PORTS[name]:
        port = given.get(port_name, 0)
        if not port and old and is_free(old.ports[port_name]):
            port = old.ports[port_name]
        chosen[port_name] = port
    return chosen


def _wait_for_workers(records: Mapping[str, Record]) -> None:
    """Wait until workers that outlived Flink's manager have found the new one."""
    end = time.monotonic() + _RETURN_SECONDS
    while any(_look(name, records).state is State.SILENT for name in WORKERS):
        if time.monotonic() > end:
            return
        time.sleep(_RETURN_POLL_SECONDS)


def _keep_last_words(folder: Path, name: str) -> None:
    log = folder / "logs" / f"{name}.log"
    if log.exists():
        # What a crashed server said last is worth keeping when it is started again.
        log.replace(log.with_suffix(".previous.log"))


def _record(server: Server) -> Record:
    return Record(
        server.service,
        server.process.pid,
        started_after_boot(server.process.pid),
        server.ports,
        str(server.log),
        server.environment,
    )


def address(record: Record) -> str:
    """Where a server listens, for people."""
    first, *others = record.ports.items()
    return f"{HOST}:{first[1]}" + "".join(f", {name} {port}" for name, port in others)


def _end(processes: Mapping[str, Any], records: Mapping[str, Record]) -> list[str]:
    """Ask processes to end, all at once, and kill those that do not; returns their names."""
    for process in processes.values():
        _signal(process.terminate)
    late = _wait(records, [*processes], _STOP_SECONDS)
    for name in late:
        _signal(processes[name].kill)
    _wait(records, late, _KILL_SECONDS)
    return late


def _signal(send: Callable[[], None]) -> None:
    try:
        send()
    except process_library().NoSuchProcess:
        return


def _wait(records: Mapping[str, Record], names: Sequence[str], seconds: float) -> list[str]:
    """Wait for processes to be gone; returns those that are not."""
    end = time.monotonic() + seconds
    while left := [name for name in names if process_of(records[name]) is not None]:
        if time.monotonic() > end:
            return left
        time.sleep(_POLL_SECONDS)
    return []


def _holds_anything(folder: Path) -> bool:
    # Another command may be deleting it.
    with contextlib.suppress(FileNotFoundError):
        return any(folder.iterdir())
    return False


def _delete(folder: Path) -> None:
    """Delete what is ours, the folder as well when nothing else is in it."""
    for name in DATA:
        if (folder / name).exists():
            shutil.rmtree(folder / name)
    for name in (IGNORE, LOCK):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        # Another command may be about to use it.
        folder.rmdir()

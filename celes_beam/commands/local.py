"""``celes-beam local``: Cloud Storage, BigQuery, Pub/Sub and Flink on this machine.

The servers and rich are imported where they are used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celes_beam.errors import LocalServerError, UsageError

if TYPE_CHECKING:
    from celes_beam.local.cloud import Service

_FOLDER = ".local"
_SERVICES = ("storage", "bigquery", "pubsub")
_FLINK = "flink"
_PORT_FLAGS = {
    "storage_port": ("storage", "http"),
    "bigquery_port": ("bigquery", "http"),
    "bigquery_grpc_port": ("bigquery", "grpc"),
    "pubsub_port": ("pubsub", "http"),
    "flink_port": (_FLINK, "http"),
    "flink_job_port": ("flink-jobs", "jobs"),
}
_PORT_USES = {
    "bigquery_grpc_port": " for gRPC",
    "flink_port": "'s web page and REST",
    "flink_job_port": ", to which pipelines go",
}
_MOST_PORT = 65535
_LOG_LINES = 8


def add_local_commands(groups: argparse._SubParsersAction[Any]) -> None:
    """Add ``local`` and its subcommands to the command line."""
    local = groups.add_parser(
        "local", help="run Cloud Storage, BigQuery and Pub/Sub on this machine"
    )
    commands = local.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], int], help_: str) -> Any:
        command = commands.add_parser(name, help=help_, description=f"{help_}.", allow_abbrev=False)
        command.add_argument(
            "--folder",
            type=Path,
            default=Path(_FOLDER),
            help="where data, logs and state are (default: %(default)s)",
        )
        command.set_defaults(run=run)
        return command

    up = add("up", _up, "start the servers that are not running, and tell where they are")
    up.add_argument(
        "--only",
        type=_services,
        default=_SERVICES,
        metavar="NAMES",
        help=f"comma list of what to start, of these and {_FLINK} (default: {','.join(_SERVICES)})",
    )
    up.add_argument(
        "--with",
        dest="more",
        type=_services,
        default=(),
        metavar="NAMES",
        help=f"comma list of what to start as well: {_FLINK}, a cluster with Beam's job server",
    )
    for flag, (service, _) in _PORT_FLAGS.items():
        up.add_argument(
            f"--{flag}",
            type=_port,
            default=0,
            metavar="N",
            help=f"port of {service}{_PORT_USES.get(flag, '')} (default: a free one)",
        )
    down = add("down", _down, "end the servers; their data stays")
    down.add_argument(
        "--delete_data", action="store_true", help="delete buckets, tables, logs and all as well"
    )
    add("status", _status, "tell what runs where; exit code 1 when a server crashed")
    env = add("env", _env, 'print what eval "$(celes-beam local env)" needs')
    env.add_argument(
        "--gcloud",
        action="store_true",
        help="turn this shell's gcloud and bq to the local cloud as well",
    )


def _up(flags: argparse.Namespace) -> int:
    from rich.console import Console  # noqa: PLC0415

    from celes_beam.local import cloud  # noqa: PLC0415

    wanted = _wanted(flags)
    ports = _given_ports(flags, wanted)
    with Console(stderr=True).status("looking …") as spinner:
        started, services = cloud.up(
            flags.folder, wanted, ports, lambda name: spinner.update(f"starting {name} …")
        )
    if started:
        told = f"started {', '.join(started)}"
    elif any(service.failed for service in services):
        told = "nothing was started"
    else:
        told = "already up, nothing was started"
    print(f"Local cloud in {flags.folder}: {told}")
    code = _show(services, flags.folder)
    print(f'For clients, by hand or by eval "$({_command("env", flags.folder)})":')
    print(*_exports(services), sep="\n")
    if _FLINK in {*flags.only, *flags.more}:
        print(
            "Beam's job server, and Flink's workers during a job, listen on every interface of "
            "this machine and ask nobody who he is: let a firewall stand before it"
        )
    return code


def _status(flags: argparse.Namespace) -> int:
    from celes_beam.local import cloud  # noqa: PLC0415

    services = cloud.status(flags.folder)
    if not any(service.record for service in services):
        print(f"Nothing runs in {flags.folder}: {_command('up', flags.folder)} starts it")
        return 0
    print(f"Local cloud in {flags.folder}")
    return _show(services, flags.folder)


def _env(flags: argparse.Namespace) -> int:
    from celes_beam.local import cloud  # noqa: PLC0415
    from celes_beam.local.gcloud import gcloud_lines  # noqa: PLC0415
    from celes_beam.stores.cloud.clients import LOCAL_PROJECT  # noqa: PLC0415

    services = cloud.status(flags.folder)
    if not any(service.record for service in services):
        raise UsageError(
            f"nothing runs in {flags.folder}: run {_command('up', flags.folder)} first, or name "
            "its --folder"
        )
    for service in services:
        if service.failed:
            # Without its variable a client would go to Google.
            raise LocalServerError(_failure(service, flags.folder))
    lines = _exports(services)
    if flags.gcloud:
        records = [service.record for service in services if service.record]
        lines += gcloud_lines(flags.folder, records, LOCAL_PROJECT)
    print(*lines, sep="\n")
    return 0


def _down(flags: argparse.Namespace) -> int:
    from celes_beam.local import cloud  # noqa: PLC0415

    there = flags.folder.exists()
    ended = cloud.down(flags.folder, flags.delete_data)
    for server in ended:
        print(f"{server.service} {server.how} (pid {server.pid})")
    if not ended:
        print(f"Nothing runs in {flags.folder}")
    if flags.delete_data and there:
        print(f"The data in {flags.folder} is deleted")
    elif ended:
        print(f"The data stays in {flags.folder}; --delete_data deletes it")
    return 0


def _show(services: Sequence[Service], folder: Path) -> int:
    """Print the table and what went wrong; returns 1 when something did."""
    from celes_beam.local.processes import end_of_log  # noqa: PLC0415

    _print_table(services)
    for service in services:
        if service.failed and service.record:
            log = Path(service.record.log)
            print(f"{_failure(service, folder)}. The end of {_short(str(log))}:")
            print(*(f"  {line}" for line in end_of_log(log, _LOG_LINES)), sep="\n")
    return 1 if any(service.failed for service in services) else 0


def _print_table(services: Sequence[Service]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from celes_beam.local.cloud import address  # noqa: PLC0415

    table = Table("service", "address", "pid", "log", "state")
    for column in table.columns:
        column.overflow = "fold"
    for service in services:
        record = service.record
        cells = (address(record), str(record.pid), _short(record.log)) if record else ("", "", "")
        style = "red" if service.failed else ("green" if record else "dim")
        table.add_row(service.name, *map(Text, cells), Text(service.state, style))
    # A pipe has no width, and nothing of a table may be cut off there.
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _failure(service: Service, folder: Path) -> str:
    from celes_beam.local.cloud import State  # noqa: PLC0415

    if service.state is State.CRASHED:
        return f"{service.name} crashed: {_command('up', folder)} starts it again"
    return f"{service.name} does not answer: wait, or {_command('down', folder)} and up again"


def _command(name: str, folder: Path) -> str:
    """A command as one would type it, for this folder."""
    where = "" if folder == Path(_FOLDER) else f" --folder {shlex.quote(str(folder))}"
    return f"celes-beam local {name}{where}"


def _exports(services: Sequence[Service]) -> list[str]:
    from celes_beam.local.gcloud import export_lines  # noqa: PLC0415

    records = [service.record for service in services if service.record and not service.failed]
    return [line for record in records for line in export_lines(record.environment)]


def _wanted(flags: argparse.Namespace) -> tuple[str, ...]:
    """The services that are asked for; Flink is several."""
    names = {*flags.only, *flags.more}
    if _FLINK not in names:
        return tuple(names)

    from celes_beam.local.flink import FLINK_PORTS  # noqa: PLC0415

    return (*names, *FLINK_PORTS)


def _given_ports(flags: argparse.Namespace, wanted: Sequence[str]) -> dict[str, dict[str, int]]:
    ports: dict[str, dict[str, int]] = {}
    owners: dict[int, str] = {}
    for flag, (service, name) in _PORT_FLAGS.items():
        port = getattr(flags, flag)
        if not port:
            continue
        if service not in wanted:
            why = "not --with flink" if flag.startswith(_FLINK) else f"--only leaves {service} out"
            raise UsageError(f"--{flag} is given, but {why}")
        if port in owners:
            raise UsageError(f"--{owners[port]} and --{flag} are both {port}: give two ports")
        owners[port] = flag
        ports.setdefault(service, {})[name] = port
    return ports


def _services(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    known = (*_SERVICES, _FLINK)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise argparse.ArgumentTypeError(
            f"{unknown[0] if unknown else text!r} is not one of {', '.join(known)}"
        )
    return names


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _MOST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is not a port (1 to {_MOST_PORT}, 0 for any)")
    return int(text)


def _short(path: str) -> str:
    """A path as one would type it here."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative

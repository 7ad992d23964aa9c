"""``celes-beam doctor``: whether a run would find what it needs.

What checks is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from celes_beam.commands.flags import FlagParser

if TYPE_CHECKING:
    from celes_beam.doctor.check import Check

_DESCRIPTION = """\
Check the set-up before a run: Python, packages, credentials and local services, and whatever of
the flags below is given. Nothing is made or changed. Each check is a line (ok, warning, failed, or
not checked where a local service cannot tell), with what to do about it. Ends with 1 when any
check failed. A service that does not answer within 10 s has failed.
"""


def add_doctor_command(groups: argparse._SubParsersAction[Any]) -> None:
    """Add ``doctor`` to the command line."""
    command: FlagParser = groups.add_parser(
        "doctor",
        help="check the set-up before a run: machine, account, buckets, tables, topics",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument(
        "--input",
        action="extend",
        nargs="+",
        default=[],
        metavar="PATH",
        help="files, folders, globs or a lake to read, here or in gs://BUCKET; may be repeated",
    )
    command.add_argument("--output", metavar="PATH", help="folder or gs://BUCKET/FOLDER to write")
    command.add_argument(
        "--bigquery_table", metavar="P:D.T", help="table to load, PROJECT:DATASET.TABLE"
    )
    command.add_argument(
        "--topic", metavar="T", help="topic to write to or read from: projects/P/topics/T"
    )
    command.add_argument(
        "--subscription", metavar="S", help="subscription to read: projects/P/subscriptions/S"
    )
    command.add_argument("--project", metavar="P", help="project in use (default: gcloud's)")
    command.add_argument("--json", action="store_true", help="print the checks as JSON")
    command.set_defaults(run=_doctor)


def _doctor(flags: argparse.Namespace) -> int:
    from celes_beam.doctor.check import State  # noqa: PLC0415
    from celes_beam.doctor.examine import Setup, examine  # noqa: PLC0415

    setup = Setup(
        inputs=tuple(flags.input),
        output=flags.output,
        table=flags.bigquery_table,
        topic=flags.topic,
        subscription=flags.subscription,
        project=flags.project,
    )
    checks = []
    for check in examine(setup):
        checks.append(check)
        if not flags.json:
            _print(check)
    counts = Counter(check.state for check in checks)
    failed = counts[State.FAILED]
    if flags.json:
        print(json.dumps(to_dict(checks), ensure_ascii=False, indent=2))
    else:
        said = [f"{counts[state]} {state.value}" for state in State if counts[state]]
        print(f"{len(checks)} checks: {', '.join(said)}")
    return 1 if failed else 0


def to_dict(checks: Sequence[Check]) -> dict[str, Any]:
    """Checks as JSON holds them."""
    counts = Counter(check.state.value for check in checks)
    return {
        "ok": not counts["failed"],
        "counts": dict(counts),
        "checks": [asdict(check) for check in checks],
    }


def _print(check: Check) -> None:
    from rich.text import Text  # noqa: PLC0415 - slow to import: not for --help

    from celes_beam.commands.console import console_for  # noqa: PLC0415

    colours = {"ok": "green", "warning": "yellow", "failed": "bold red"}
    line = Text(f"{check.state.value:<11}", style=colours.get(check.state.value, "dim"))
    line.append(f"  {check.name}: {' '.join(check.said.split())}", style="default")
    console = console_for(sys.stdout)
    console.print(line, soft_wrap=True)
    if check.remedy:
        console.print(Text(f"{'':<13}-> {check.remedy}"), soft_wrap=True)
    # Whoever watches sees which check takes long.
    sys.stdout.flush()

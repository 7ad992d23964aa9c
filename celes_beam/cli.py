"""The ``celes-beam`` command. Each group of subcommands lives in ``celes_beam.commands``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from celes_beam import __version__
from celes_beam.commands.command_line import run_command
from celes_beam.commands.compare import add_compare_command
from celes_beam.commands.deploy import add_deploy_command
from celes_beam.commands.doctor import add_doctor_command
from celes_beam.commands.flags import FlagParser
from celes_beam.commands.lake import add_lake_commands
from celes_beam.commands.local import add_local_commands
from celes_beam.commands.looker import add_looker_command
from celes_beam.commands.plan import add_plan_command
from celes_beam.commands.publish import add_publish_command
from celes_beam.commands.report import add_report_command
from celes_beam.commands.upload import add_upload_command

PROGRAM = "celes-beam"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns its exit code, with errors as one line on stderr."""
    return run_command(PROGRAM, _run, argv)


def _run(argv: Sequence[str]) -> int:
    parser = FlagParser(prog=PROGRAM, description="Look after lakes of sales.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    groups = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_compare_command(groups)
    add_deploy_command(groups)
    add_doctor_command(groups)
    add_lake_commands(groups)
    add_local_commands(groups)
    add_looker_command(groups)
    add_plan_command(groups)
    add_publish_command(groups)
    add_report_command(groups)
    add_upload_command(groups)
    flags = parser.parse_args(argv)
    code: int = flags.run(flags)
    return code


if __name__ == "__main__":
    sys.exit(main())

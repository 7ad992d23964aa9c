"""What ``pipelines.replay`` is asked to do, resolved from its flags and checked."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from celes_beam.commands.flag_values import positive_int
from celes_beam.commands.flags import (
    add_rules_flags,
    add_table_flags,
    add_target_file_flag,
    add_written_flags,
)
from celes_beam.errors import ConfigError

if TYPE_CHECKING:
    from celes_beam.contract import Rules
    from celes_beam.stores.inputs.read_options import ReadOptions
    from celes_beam.stores.replay.selection import Selection
    from celes_beam.stores.warehouse.tables import Destination

_REASONS = (
    "malformed",
    "missing",
    "unparseable",
    "out_of_range",
    "inexact",
    "unknown",
    "transform_failed",
    "refused",
)
"""Those of the contract, which imports pyarrow: not for --help."""
_MAX_MESSAGES = 100_000
_IDLE_SECONDS = 10.0
_DAY = 86_400.0


@dataclass(frozen=True)
class ReplayOptions:
    """Everything a replay needs to know; made once, on the command line.

    ``partition_by`` is None for that of the lake. ``how`` says how the files were written that the
    rows came from, and its ``transform`` is the fix. The last three are for a subscription.
    """

    run_id: str
    source: str
    output: str
    runs: tuple[str, ...]
    selection: Selection
    again: bool
    partition_by: tuple[str, ...] | None
    target_file_bytes: int
    rules: Rules
    how: ReadOptions
    csv_header: str | None
    warehouse: Destination | None
    dry_run: bool
    max_messages: int
    idle_timeout: float
    dead_letter_topic: str | None


def add_replay_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of ``pipelines.replay`` beyond those of every run."""
    group = parser.add_argument_group("what is replayed")
    group.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="SOURCE",
        help="where rejected rows rest: a lake, a table PROJECT:DATASET.TABLE of BigQuery or its "
        "<table>_rechazadas, or a subscription projects/P/subscriptions/S of a dead-letter topic "
        "(of the local Pub/Sub its name will do, where no folder has it)",
    )
    group.add_argument(
        "--reason",
        action="append",
        choices=_REASONS,
        help="only rows rejected for this reason among others; repeatable",
    )
    group.add_argument("--since", type=_moment("--since"), metavar="TIME", help=_TIME_HELP)
    group.add_argument(
        "--until",
        type=_moment("--until"),
        metavar="TIME",
        help="only rows rejected before: 2026-11-30 or 2026-11-30T12:00, UTC",
    )
    group.add_argument(
        "--run",
        action="append",
        metavar="RUN_ID",
        help="only rows that this commit of the lake rejected; repeatable. Without it, rows that "
        "an overwrite has replaced are left out",
    )
    group.add_argument(
        "--again",
        action="store_true",
        help="also rows that a replay with the very same rules has rejected",
    )
    group.add_argument(
        "--max_messages",
        type=positive_int("--max_messages"),
        metavar="N",
        help=f"of a subscription: take at most so many (default: {_MAX_MESSAGES})",
    )
    group.add_argument(
        "--idle_timeout",
        type=_seconds,
        metavar="SECONDS",
        help=f"of a subscription: it is empty when none came for so long (default: "
        f"{_IDLE_SECONDS:g})",
    )
    _add_rules(parser)
    _add_sinks(parser)


_TIME_HELP = "only rows rejected at this time or later: 2026-11-01 or 2026-11-01T12:00, UTC"


def _add_rules(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how rows are judged now")
    group.add_argument(
        "--fix",
        metavar="MODULE:FUNCTION",
        help="your function that gets the rows before they are judged, a RecordBatch in and one "
        "out, such as hooks:clean for hooks.py here (docs/transform.md)",
    )
    group.add_argument(
        "--csv_header",
        metavar="LINE",
        help="header line of the CSV files that rows came from, for those that are gone",
    )
    add_written_flags(group)
    add_rules_flags(group, "any", "any")


def _add_sinks(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where rows go")
    group.add_argument(
        "--output",
        "-o",
        metavar="LAKE",
        help="folder of the lake, local or gs://, that the replay is a commit of (default: the "
        "lake that is replayed)",
    )
    group.add_argument(
        "--partition_by",
        "-p",
        metavar="COLUMNS",
        help="as for pipelines.batch (default: as the lake is)",
    )
    add_target_file_flag(group)
    group.add_argument(
        "--dead_letter_topic",
        metavar="PATH",
        help="of a subscription: topic that gets messages that are rejected again",
    )
    add_table_flags(group, "load what is committed into this table too")
    group.add_argument(
        "--dry_run",
        action="store_true",
        help="tell what would become of the rows, and change nothing",
    )


def replay_options(flags: argparse.Namespace) -> ReplayOptions:
    """Resolve the flags of ``pipelines.replay``. Raises ``ConfigError``, naming the flag."""
    from celes_beam.commands.batch_options import new_run_id, read_options  # noqa: PLC0415
    from celes_beam.commands.warehouse_options import destination  # noqa: PLC0415
    from celes_beam.config import config_from_flags  # noqa: PLC0415
    from celes_beam.sales.partition import parse_partition_by  # noqa: PLC0415
    from celes_beam.sales.transform import Transform  # noqa: PLC0415
    from celes_beam.stores.replay.selection import Selection  # noqa: PLC0415

    started = datetime.now(UTC)
    flags = _with_full_names(flags)
    output = _check_flags_fit(flags)
    fix = None if flags.fix is None else Transform(flags.fix, "--fix")
    if fix is not None:
        fix.check()
    plain = argparse.Namespace(**vars(flags), transform=None)
    # A dry run does without a table, which the one of batch is all about.
    no_dry_run = argparse.Namespace(**(vars(flags) | {"dry_run": False}))
    return ReplayOptions(
        run_id=new_run_id(started) if flags.run_id is None else flags.run_id,
        source=flags.source,
        output=output,
        runs=tuple(flags.run or ()),
        selection=Selection(tuple(flags.reason or ()), flags.since, flags.until),
        again=flags.again,
        partition_by=None if flags.partition_by is None else parse_partition_by(flags.partition_by),
        target_file_bytes=flags.target_file_mb * 2**20,
        rules=config_from_flags(flags).rules(started, generated=False),
        how=dataclasses.replace(read_options(plain), transform=fix),
        csv_header=flags.csv_header,
        warehouse=destination(no_dry_run),
        dry_run=flags.dry_run,
        max_messages=flags.max_messages or _MAX_MESSAGES,
        idle_timeout=flags.idle_timeout or _IDLE_SECONDS,
        dead_letter_topic=flags.dead_letter_topic,
    )


def _with_full_names(flags: argparse.Namespace) -> argparse.Namespace:
    """Complete bare names of the local Pub/Sub. Raises ``ConfigError`` for names of no form."""
    from celes_beam.stores.messages.paths import full_path  # noqa: PLC0415
    from celes_beam.stores.replay.sources import is_bare_subscription, is_subscription  # noqa: PLC0415

    source, letters = flags.source, flags.dead_letter_topic
    if is_subscription(source) or is_bare_subscription(source):
        source = full_path(source, "subscription", "--from")
        if letters is not None:
            letters = full_path(letters, "topic", "--dead_letter_topic")
    return argparse.Namespace(**(vars(flags) | {"source": source, "dead_letter_topic": letters}))


def _check_flags_fit(flags: argparse.Namespace) -> str:
    """Return the lake to write to. Raises ``ConfigError`` for what is missing or does nothing."""
    from celes_beam.stores.replay.sources import is_subscription, is_table  # noqa: PLC0415

    of_messages = is_subscription(flags.source)
    if not of_messages:
        for name in ("max_messages", "idle_timeout", "dead_letter_topic"):
            if getattr(flags, name) is not None:
                raise ConfigError(f"--{name} is for a subscription: leave it out")
    if of_messages and flags.run:
        raise ConfigError(
            f"--run {flags.run[0]}: a message does not tell which run rejected it; replay from the "
            "lake, or choose by time with --since and --until"
        )
    if None not in (flags.since, flags.until) and flags.since >= flags.until:
        raise ConfigError(
            f"--since {flags.since:%Y-%m-%dT%H:%M:%S} is not before --until "
            f"{flags.until:%Y-%m-%dT%H:%M:%S}: no row can be of then"
        )
    if flags.output is not None:
        return str(flags.output)
    if of_messages or is_table(flags.source):
        raise ConfigError(
            f"--from {flags.source}: say with --output which lake the replay is to be a commit of, "
            "such as ./lake"
        )
    return str(flags.source)


def _moment(flag: str) -> Callable[[str], datetime]:
    """Read a time; UTC unless it says otherwise."""

    def parse(text: str) -> datetime:
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            raise ConfigError(
                f"{flag} {text}: expected a time such as 2026-11-30 or 2026-11-30T12:00Z"
            ) from None
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)

    return parse


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _DAY:
        raise ConfigError(f"--idle_timeout {text}: expected seconds, more than 0 and at most a day")
    return seconds

"""The flags of ``pipelines.batch --watch``, and what they ask for."""

from __future__ import annotations

import argparse
import math
import secrets
from dataclasses import dataclass
from datetime import datetime

from celes_beam.commands.flag_values import positive_int
from celes_beam.errors import ConfigError

_LONGEST_BASE = 76
"""A run id has at most 100 characters, and the time of a round takes 24 of them."""


@dataclass(frozen=True)
class WatchOptions:
    """How to look for new files: every ``seconds``, until told to stop or one of the limits.

    ``rounds`` is the most looks, ``idle_rounds`` how many looks in a row that found nothing new.
    ``base`` is what the run ids of all rounds have in common.
    """

    seconds: float
    rounds: int | None
    idle_rounds: int | None
    base: str
    base_first: bool

    def run_id(self, at: datetime) -> str:
        """Name the run of the round that begins at a time."""
        time = f"{at:%Y%m%dT%H%M%S%fZ}"
        return f"{self.base}-{time}" if self.base_first else f"{time}-{self.base}"


def add_watch_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that say how to look for new files."""
    group = parser.add_argument_group("new files")
    group.add_argument(
        "--watch",
        type=_seconds,
        metavar="SECONDS",
        help="go on looking for new files, every so many seconds, and append them to the lake, one "
        "commit for all that a look finds; --if_exists is append then. A local file is taken in "
        "when two looks have seen it alike. SIGTERM or Ctrl-C ends it "
        "after the round under way, a second one at once",
    )
    group.add_argument(
        "--watch_rounds",
        type=positive_int("--watch_rounds"),
        metavar="N",
        help="end after N looks",
    )
    group.add_argument(
        "--idle_rounds",
        type=positive_int("--idle_rounds"),
        metavar="N",
        help="end after N looks in a row with nothing new",
    )


def watch_options(flags: argparse.Namespace) -> WatchOptions | None:
    """Resolve the flags; ``None`` when there is nothing to watch.

    Raises ``ConfigError`` for flags that do not go together.
    """
    if flags.watch is None:
        for name in ("watch_rounds", "idle_rounds"):
            if getattr(flags, name) is not None:
                raise ConfigError(f"--{name} is for --watch: leave it out, or add --watch SECONDS")
        return None
    if flags.if_exists == "overwrite":
        raise ConfigError(
            "--watch adds to a lake, and --if_exists overwrite (-f) replaces it: leave one out"
        )
    if flags.reprocess:
        raise ConfigError(
            "--watch with --reprocess would read every file again at each look: leave one out"
        )
    if flags.run_id is not None and len(flags.run_id) > _LONGEST_BASE:
        raise ConfigError(
            f"--run_id {flags.run_id}: with --watch the time of each round is added to it: give at "
            f"most {_LONGEST_BASE} characters"
        )
    return WatchOptions(
        seconds=flags.watch,
        rounds=flags.watch_rounds,
        idle_rounds=flags.idle_rounds,
        base=flags.run_id or secrets.token_hex(3),
        base_first=flags.run_id is not None,
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    # A week: whoever looks more rarely wants a scheduler. Not so of nan, either.
    if not 0 < seconds <= 604_800:
        raise ConfigError(
            f"--watch {text}: expected seconds, more than 0 and at most a week (604800)"
        )
    return seconds

"""``--live_windows`` and what goes with it, resolved and checked."""

from __future__ import annotations

import argparse
import math
import re
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celes_beam.errors import ConfigError

if TYPE_CHECKING:
    from celes_beam.stores.warehouse.live_table import LiveSpec
    from celes_beam.stores.warehouse.tables import Destination

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
_DAY = _UNITS["d"]
_TABLE = re.compile(r"[\w-]{1,900}")
_DEFAULT_LATENESS = "1h"


def add_live_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of live windows."""
    group: Any = parser.add_argument_group(
        "live windows (Prism, Flink and Dataflow; docs/live-windows.md)"
    )
    group.add_argument(
        "--live_windows",
        type=duration("--live_windows", 1.0, _DAY),
        metavar="DURATION",
        help="while the stream runs, sum sales by windows of so long (such as 1m or 30s), category "
        "and region, by the date of each sale",
    )
    group.add_argument(
        "--live_lateness",
        type=duration("--live_lateness", 0.0, 30 * _DAY),
        metavar="DURATION",
        help="how long after its end a window is kept for sales that come late; later ones are "
        f"written by themselves (default: {_DEFAULT_LATENESS})",
    )
    group.add_argument(
        "--live_table",
        metavar="TABLE",
        help="table of the sums, in the dataset of --bigquery_table (default: <table>_en_vivo)",
    )


def duration(flag: str, least: float, most: float) -> Callable[[str], float]:
    """Read a duration, such as 30s, 1m, 1.5h or 2d, in seconds; a bare number is seconds."""

    def parse(text: str) -> float:
        found = _DURATION.fullmatch(text.strip().lower())
        value = math.nan if found is None else float(found[1]) * _UNITS[found[2]]
        if not least <= value <= most:
            raise ConfigError(
                f"{flag} {text}: expected a duration from {least:g}s to {most / _DAY:g}d, such as "
                "30s, 1m or 1h"
            )
        return value

    return parse


def live_spec(
    flags: argparse.Namespace, destination: Destination | None, run_id: str
) -> LiveSpec | None:
    """What live windows are asked for; None without. Raises ``ConfigError``, naming the flag."""
    from celes_beam.stores.warehouse.live_table import (  # noqa: PLC0415
        LIVE_VIEW,
        LiveSpec,
        live_table_name,
    )
    from celes_beam.stores.warehouse.views import VIEW_NAMES  # noqa: PLC0415

    if flags.live_windows is None:
        for name in ("live_lateness", "live_table"):
            if getattr(flags, name) is not None:
                raise ConfigError(f"--{name} is for --live_windows: leave it out, or add that")
        return None
    if destination is None:
        raise ConfigError(
            "--live_windows writes its sums to a table of BigQuery, beside that of the sales: give "
            "--bigquery_table PROJECT:DATASET.TABLE too"
        )
    if flags.live_windows % 1:
        raise ConfigError(
            f"--live_windows of {flags.live_windows:g} s: expected whole seconds, such as 30s or 1m"
        )
    if flags.live_table is not None and not _TABLE.fullmatch(flags.live_table):
        raise ConfigError(
            f"--live_table {flags.live_table}: expected a name in the dataset of --bigquery_table, "
            "of letters, digits, '_' and '-'"
        )
    table = live_table_name(destination.table, flags.live_table)
    if table in (destination.table, destination.table.rejected):
        raise ConfigError(f"--live_table {flags.live_table} is there for rows: name another one")
    if table.table in {LIVE_VIEW, *VIEW_NAMES}:
        raise ConfigError(f"--live_table {flags.live_table} is what a view is called: name another")
    lateness = flags.live_lateness
    if lateness is None:
        lateness = duration("--live_lateness", 0.0, _DAY)(_DEFAULT_LATENESS)
    # A run that has the same name again counts from 0, and must not be taken for this one.
    return LiveSpec(table, int(flags.live_windows), lateness, f"{run_id}-{secrets.token_hex(4)}")

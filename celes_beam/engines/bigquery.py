"""Sums of a table by BigQuery itself: SQL over what was loaded there, for a comparison."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celes_beam.commands.command_line import run_and_show
from celes_beam.commands.flag_values import positive_int
from celes_beam.commands.flags import add_report_flags, flag_parser
from celes_beam.errors import ConfigError

# Arrow takes half a second to import: only once the flags are right.
if TYPE_CHECKING:
    from rich.console import Console

    from celes_beam.stores.results.results import Result

NAME = "bigquery"
PROGRAM = "celes_beam.engines.bigquery"
DESCRIPTION = (
    "Sum the sales of a table of BigQuery: total by category and mean by region, exact to the "
    "cent; and give its first rows in order."
)


@dataclass(frozen=True)
class TableSummary:
    """What a table holds; ``seconds`` are those of the queries."""

    result: Result
    table: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON holds it: the result, and how it came about."""
        told = {"table": self.table, "seconds": round(self.seconds, 3)}
        return {**self.result.to_dict(), **told}

    def print(self, console: Console) -> None:
        """Print the summary for people."""
        from celes_beam.commands.summary import print_aggregates  # noqa: PLC0415 - slow to import

        result = self.result
        print_aggregates(console, result.by_category, result.by_region, result.rows, result.total)


def add_table_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of a query."""
    group = parser.add_argument_group("table")
    group.add_argument("--bigquery_table", required=True, metavar="PROJECT:DATASET.TABLE")
    group.add_argument("--sort_by", help="column that --top goes by (default: cantidad_de_venta)")
    group.add_argument("--descending", action="store_true", help="from the highest to the lowest")
    group.add_argument("--top", type=positive_int("--top"), metavar="N", help="also N first rows")
    add_report_flags(parser.add_argument_group("the run"))


def run(argv: Sequence[str] | None = None) -> TableSummary:
    """Ask the table that a command line names, and say what came of it.

    Raises the errors of ``celes_beam.errors``; see ``main`` for their exit codes.
    """
    parser = flag_parser(PROGRAM, DESCRIPTION, add_table_flags, epilog="")
    flags, unknown = parser.parse_known_args(argv)
    if unknown:
        raise ConfigError(f"{unknown[0]} is not a flag of {PROGRAM}; see --help")

    from celes_beam.commands.console import check_json_target, write_json  # noqa: PLC0415
    from celes_beam.engines.bigquery_answer import ask_table  # noqa: PLC0415
    from celes_beam.sales.order import Order  # noqa: PLC0415
    from celes_beam.stores.results.results import make_result  # noqa: PLC0415
    from celes_beam.stores.warehouse.table_name import parse_table_name  # noqa: PLC0415

    check_json_target(flags.summary_json)
    order = Order(flags.sort_by or Order().column, flags.descending)
    sums, top, seconds = ask_table(parse_table_name(flags.bigquery_table), order, flags.top or 0)
    summary = TableSummary(make_result(NAME, sums, top), flags.bigquery_table, seconds)
    if flags.summary_json:
        write_json(flags.summary_json, summary.to_dict())
    return summary


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the summary, and return the exit code."""
    return run_and_show(PROGRAM, run, argv)


if __name__ == "__main__":
    sys.exit(main())

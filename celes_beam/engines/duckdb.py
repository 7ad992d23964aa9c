"""Sums of a lake by DuckDB: one query over its files, with exact decimals of 38 digits."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from celes_beam.commands.command_line import run_and_show
from celes_beam.commands.engine_flags import Engine

# Arrow and DuckDB take half a second to import: only once the flags are right.
if TYPE_CHECKING:
    from celes_beam.commands.aggregate_options import AggregateSummary

ENGINE = Engine(
    name="duckdb",
    title="DuckDB",
    program="celes_beam.engines.duckdb",
    description="Sum the sales of a lake with DuckDB: total by category and mean by region, exact "
    "to the cent; and give its first rows in order.",
    extra="engines",
    modules=("duckdb",),
)


def run(argv: Sequence[str] | None = None) -> AggregateSummary:
    """Run the aggregation that a command line asks for, and say what came of it.

    Raises the errors of ``celes_beam.errors``; see ``main`` for their exit codes.
    """
    flags = ENGINE.parse(argv)

    from celes_beam.commands.engine_job import no_session, run_engine  # noqa: PLC0415
    from celes_beam.engines.duckdb_answer import aggregate  # noqa: PLC0415

    return run_engine(ENGINE, flags, no_session, aggregate)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the summary, and return the exit code."""
    return run_and_show(ENGINE.program, run, argv)


if __name__ == "__main__":
    sys.exit(main())

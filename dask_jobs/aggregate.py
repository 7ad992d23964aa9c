"""Sums of a lake by Dask: a data frame spread over worker processes, here or on a cluster."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from celes_beam.commands.command_line import run_and_show
from celes_beam.commands.engine_flags import Engine
from celes_beam.commands.flag_values import positive_int

# Dask and Arrow take a second to import: only once the flags are right.
if TYPE_CHECKING:
    from celes_beam.commands.aggregate_options import AggregateSummary


def add_dask_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that say where the workers are."""
    group = parser.add_argument_group("Dask")
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="scheduler of a cluster that runs already, such as tcp://10.0.0.5:8786; its workers "
        "need this package and must see the input (default: workers are started here)",
    )
    group.add_argument(
        "--workers",
        type=positive_int("--workers"),
        metavar="N",
        help="worker processes to start here (default: one a core)",
    )
    group.add_argument(
        "--memory_limit",
        metavar="SIZE",
        help="memory of each of them, beyond which it is restarted (default: 2GiB)",
    )


ENGINE = Engine(
    name="dask",
    title="Dask",
    program="dask_jobs.aggregate",
    description="Sum the sales of a lake with Dask: total by category and mean by region, exact to "
    "the cent; and give its rows in order, the first few or all.",
    extra="dask",
    modules=("dask", "pandas", "distributed"),
    gcs_modules=("gcsfs",),
    add_flags=add_dask_flags,
    passes_when_sorted=2,
)


def run(argv: Sequence[str] | None = None) -> AggregateSummary:
    """Run the aggregation that a command line asks for, and say what came of it.

    Raises the errors of ``celes_beam.errors``; see ``main`` for their exit codes.
    """
    flags = ENGINE.parse(argv)

    from celes_beam.commands.engine_job import run_engine  # noqa: PLC0415
    from dask_jobs.answer import aggregate  # noqa: PLC0415
    from dask_jobs.workers import session  # noqa: PLC0415

    return run_engine(ENGINE, flags, session, aggregate)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the summary, and return the exit code."""
    return run_and_show(ENGINE.program, run, argv)


if __name__ == "__main__":
    sys.exit(main())

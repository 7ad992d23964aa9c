"""Sums of a lake by Spark, on this machine or on a cluster.

By itself it starts Spark here, or goes to the cluster of ``--master``; it can also be handed to
``spark-submit``, which then says where (docs/engines.md).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from celes_beam.commands.command_line import run_and_show
from celes_beam.commands.engine_flags import Engine

# pyspark and Arrow take most of a second to import: only once the flags are right.
if TYPE_CHECKING:
    from celes_beam.commands.aggregate_options import AggregateSummary


def add_spark_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that only Spark has; what spark-submit was told stands where they are left out."""
    group = parser.add_argument_group("Spark")
    group.add_argument(
        "--master",
        metavar="URL",
        help="where Spark runs: local[N] for N threads of this machine, spark://HOST:PORT, yarn or "
        "k8s://… (default: local[*], or what spark-submit says)",
    )
    group.add_argument(
        "--memory",
        metavar="SIZE",
        help="heap of Spark on this machine, or of each executor of a cluster, such as 512m or 4g "
        "(default: 2g here, and what a cluster is set to)",
    )
    group.add_argument(
        "--jars",
        metavar="JAR,…",
        help="files or URLs of Java libraries; for gs:// Google's connector is needed, by default "
        "that of `make spark-jars`",
    )


ENGINE = Engine(
    name="spark",
    title="Spark",
    program="spark_jobs.aggregate",
    description="Sum the sales of a lake with Spark: total by category and mean by region, exact "
    "to the cent; and give its rows in order, the first few or all.",
    extra="spark",
    modules=("pyspark",),
    add_flags=add_spark_flags,
    passes_when_sorted=3,
    epilog="Needs Java 17 or newer. See docs/engines.md for spark-submit and Dataproc.",
)


def run(argv: Sequence[str] | None = None) -> AggregateSummary:
    """Run the aggregation that a command line asks for, and say what came of it.

    Raises the errors of ``celes_beam.errors``; see ``main`` for their exit codes.
    """
    flags = ENGINE.parse(argv)

    from celes_beam.commands.engine_job import run_engine  # noqa: PLC0415
    from spark_jobs.answer import aggregate  # noqa: PLC0415
    from spark_jobs.session import spark_session  # noqa: PLC0415

    return run_engine(ENGINE, flags, spark_session, aggregate)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the summary, and return the exit code."""
    return run_and_show(ENGINE.program, run, argv)


if __name__ == "__main__":
    sys.exit(main())

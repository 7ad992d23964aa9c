"""What is found out about sales by Spark: sums, the first rows, all rows in order."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - as every user of Spark calls it

from celes_beam.commands.command_line import our_error
from celes_beam.commands.engine_job import EngineJob
from celes_beam.contract import AMOUNT, CATEGORY, COLUMN_NAMES, REGION
from celes_beam.errors import InputError
from celes_beam.sales.aggregate import Share
from celes_beam.sales.order import Order
from celes_beam.stores.results.engine_answer import EngineAnswer, share
from spark_jobs.frames import sales_frame
from spark_jobs.sorted_parts import write_sorted_parts


def aggregate(job: EngineJob, spark: SparkSession) -> EngineAnswer:
    """Answer a job: a pass for the sums, one for the first rows, two to sort all of them.

    Only the sums and the first rows come to this process.
    """
    if not job.files:
        return EngineAnswer()
    order, most = job.options.order, job.options.top
    sales = sales_frame(spark, job)
    try:
        groups = _sums(sales).collect()
    except Exception as error:
        if isinstance(our_error(error), InputError):
            # A task met a value that the contract does not accept: the first one is looked for.
            return EngineAnswer(unacceptable=1)
        raise
    by_category, by_region = _shares(groups, CATEGORY), _shares(groups, REGION)
    rows = sum(one.rows for one in by_category.values())
    job.advance(rows=rows, done=job.found.bytes)
    top = _first(sales, order, most) if most else None
    if job.options.write_sorted and rows:
        parts = -(-rows // job.options.part_rows)
        ordered = sales.repartitionByRange(parts, *_keys(order))
        write_sorted_parts(ordered.sortWithinPartitions(*_keys(order)), job)
        job.advance(done=2 * job.found.bytes)
    return EngineAnswer(by_category, by_region, top)


def _sums(sales: DataFrame) -> DataFrame:
    """Rows and amounts by category, and by region: a column that is not grouped by is null."""
    # Rows are gone through once, for pairs of category and region; those are few.
    pairs = sales.groupBy(CATEGORY, REGION).agg(
        F.count("*").alias("rows"), F.sum(AMOUNT).alias("total")
    )
    # Spark's own mean of decimals is cut at 6 digits: contract.mean divides.
    return pairs.groupingSets([[CATEGORY], [REGION]], CATEGORY, REGION).agg(
        F.grouping(CATEGORY).alias("all_categories"),
        F.sum("rows").alias("rows"),
        F.sum("total").alias("total"),
    )


def _shares(groups: Sequence[Row], column: str) -> dict[str | None, Share]:
    wanted = 0 if column == CATEGORY else 1
    return {
        row[column]: share(row["rows"], row["total"] or Decimal(0))
        for row in groups
        if row["all_categories"] == wanted
    }


def _first(sales: DataFrame, order: Order, most: int) -> pa.Table:
    return sales.orderBy(*_keys(order)).limit(most).toArrow()


def _keys(order: Order) -> list[Column]:
    """The total order of ``sales/order.py``; Spark, too, compares texts by code points."""
    first = F.col(order.column)
    others = [F.col(name) for name in COLUMN_NAMES if name != order.column]
    return [first.desc() if order.descending else first, *others]

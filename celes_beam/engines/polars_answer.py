"""What Polars answers: amounts add up as whole cents of 128 bits, exact whatever they are."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from celes_beam.commands.engine_job import EngineJob
from celes_beam.contract import AMOUNT, AMOUNT_SCALE, CATEGORY, REGION
from celes_beam.engines.pieces import answer_by_pieces, reads_files
from celes_beam.engines.sources import check_only_summing, no_rows, order_of, sources
from celes_beam.errors import StorageError
from celes_beam.sales.aggregate import Share
from celes_beam.stores.results.engine_answer import EngineAnswer

_WIDEST = 38


def aggregate(job: EngineJob, _: None) -> EngineAnswer:
    """The sums of a job, and its first rows when they were asked for.

    Raises ``StorageError`` when a file cannot be read.
    """
    check_only_summing(job)

    def of_table(table: pa.Table) -> EngineAnswer:
        return _answer(job, pl.DataFrame(table).lazy())

    if not reads_files(job):
        return answer_by_pieces(job, of_table)
    scans = [
        pl.scan_parquet(source.paths, hive_partitioning=False, glob=False).select(
            pl.col(source.held[c]).alias(c)
            if c in source.held
            else pl.lit(source.fixed[c]).alias(c)
            for c in job.columns
        )
        for source in sources(job)
    ]
    if not scans:
        return of_table(no_rows(job))
    try:
        return _answer(job, pl.concat(scans))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StorageError(f"Polars cannot read {job.found.root}: {error}") from error


def _answer(job: EngineJob, sales: pl.LazyFrame) -> EngineAnswer:
    cents = pl.col(AMOUNT).cast(pl.Decimal(_WIDEST, AMOUNT_SCALE)).to_physical()
    # Both sums come out of these groups, so the rows are gone through once.
    groups = sales.group_by(CATEGORY, REGION).agg(
        pl.len().cast(pl.Int64).alias("rows"), cents.sum().alias("cents")
    )
    wanted = [groups]
    if job.options.top:
        order = order_of(job)
        columns, falling = [column for column, _ in order], [falls for _, falls in order]
        first = sales.top_k(job.options.top, by=columns, reverse=[not f for f in falling])
        wanted.append(first.sort(columns, descending=falling))
    found = pl.collect_all(wanted, engine="streaming")
    return EngineAnswer(
        _shares(found[0], CATEGORY),
        _shares(found[0], REGION),
        found[1].to_arrow() if job.options.top else None,
    )


def _shares(groups: pl.DataFrame, column: str) -> Mapping[str | None, Share]:
    summed = groups.group_by(column).agg(pl.col("rows").sum(), pl.col("cents").sum())
    return {name: Share(rows, cents) for name, rows, cents in summed.iter_rows()}

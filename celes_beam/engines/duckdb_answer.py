"""What DuckDB answers: one query gives both sums, in decimals of 38 digits."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from celes_beam.commands.engine_job import EngineJob
from celes_beam.contract import AMOUNT, CATEGORY, REGION
from celes_beam.engines.pieces import answer_by_pieces, reads_files
from celes_beam.engines.sources import Source, check_only_summing, no_rows, order_of, sources
from celes_beam.errors import StorageError
from celes_beam.stores.results.engine_answer import EngineAnswer, share


def aggregate(job: EngineJob, _: None) -> EngineAnswer:
    """The sums of a job, and its first rows when they were asked for.

    Raises ``StorageError`` when a file cannot be read.
    """
    check_only_summing(job)
    connection = duckdb.connect()

    def of_table(table: pa.Table) -> EngineAnswer:
        connection.register("sales", table)
        return _answer(job, connection, "sales")

    if not reads_files(job):
        return answer_by_pieces(job, of_table)
    scans = [_scan(source, job.columns) for source in sources(job)]
    if not scans:
        return of_table(no_rows(job))
    try:
        return _answer(job, connection, f"({' UNION ALL '.join(scans)})")
    except duckdb.Error as error:
        raise StorageError(f"DuckDB cannot read {job.found.root}: {error}") from error


def _scan(source: Source, columns: Sequence[str]) -> str:
    selected = [
        f'"{source.held[c]}" AS {c}' if c in source.held else f"{_text(source.fixed[c])} AS {c}"
        for c in columns
    ]
    paths = ", ".join(_text(_pattern_of(path)) for path in source.paths)
    return f"SELECT {', '.join(selected)} FROM read_parquet([{paths}], hive_partitioning = false)"


def _answer(job: EngineJob, connection: duckdb.DuckDBPyConnection, sales: str) -> EngineAnswer:
    groups = connection.execute(
        f"SELECT {CATEGORY}, {REGION}, GROUPING({CATEGORY}), COUNT(*), SUM({AMOUNT}) FROM {sales} "
        f"GROUP BY GROUPING SETS (({CATEGORY}), ({REGION}))"
    ).fetchall()
    top = None
    if job.options.top:
        order = ", ".join(f"{c} {'DESC' if falls else 'ASC'}" for c, falls in order_of(job))
        query = f"SELECT * FROM {sales} ORDER BY {order} LIMIT {job.options.top}"
        top = connection.execute(query).to_arrow_table()
    return EngineAnswer(
        {row[0]: share(row[3], row[4]) for row in groups if not row[2]},
        {row[1]: share(row[3], row[4]) for row in groups if row[2]},
        top,
    )


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _pattern_of(path: str) -> str:
    """The pattern that stands for this path alone, for DuckDB takes any for one."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in path)

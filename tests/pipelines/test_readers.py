"""The lake is read without our help by what a data team has at hand."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pytest

from celes_beam.config import Config
from celes_beam.contract import AMOUNT, COLUMN_NAMES, REGION
from celes_beam.sales.aggregate import amount, sum_batch
from celes_beam.sales.generate import Generator
from celes_beam.sales.outcomes import all_accepted
from celes_beam.stores.lake.parquet_writer import Layout
from celes_beam.stores.lake.staging import StagingWriter
from celes_beam.stores.lake.staging_area import LocalStagingArea
from pipelines.batch import run
from tests.sales import sales_batch

ROWS = 5_000
QUIET = ["--progress", "off"]
Result = dict[str, tuple[int, Decimal]]


def by_pandas(lake: Path) -> Result:
    frame = pd.read_parquet(lake)
    groups = frame.groupby(REGION, observed=True)[AMOUNT]
    return {str(name): (len(part), sum(part, Decimal(0))) for name, part in groups}


def by_pyarrow(lake: Path) -> Result:
    table = ds.dataset(lake, partitioning="hive").to_table()
    sums = table.group_by(REGION).aggregate([([], "count_all"), (AMOUNT, "sum")]).to_pylist()
    return {row[REGION]: (row["count_all"], row[f"{AMOUNT}_sum"]) for row in sums}


def by_polars(lake: Path) -> Result:
    frame = pl.scan_parquet(lake / "**/*.parquet", hive_partitioning=True)
    sums = frame.group_by(REGION).agg(pl.len(), pl.col(AMOUNT).sum()).collect()
    return {region: (rows, total) for region, rows, total in sums.iter_rows()}


def by_duckdb(lake: Path) -> Result:
    query = (
        f"SELECT {REGION}, count(*), sum({AMOUNT}) "
        f"FROM read_parquet('{lake}/**/*.parquet', hive_partitioning = true) GROUP BY 1"
    )
    with duckdb.connect() as connection:
        return {r: (n, total) for r, n, total in connection.execute(query).fetchall()}


@pytest.mark.parametrize("read", [by_pandas, by_pyarrow, by_polars, by_duckdb])
def test_readers_find_every_row_and_cent(tmp_path: Path, read: Callable[[Path], Result]) -> None:
    lake = tmp_path / "lake"
    source = tmp_path / "bad.csv"
    source.write_text(",".join(COLUMN_NAMES) + "\nx\n")
    # There are retired files, rejected rows, commits and another's staging to stay clear of.
    run(["-o", str(lake), "--rows", "100", *QUIET])
    run(["-o", str(lake), "--rows", str(ROWS), "-f", *QUIET])
    run(["-i", str(source), "-o", str(lake), "--if_exists", "append", *QUIET])
    writer = StagingWriter(LocalStagingArea(str(lake / "_staging" / "night" / "x")), Layout())
    writer.write(all_accepted(sales_batch([("Hogar", "Norte", 1)])))
    writer.close()

    expected = sum_batch(Generator(Config()).batch(0, ROWS)).by_region
    assert read(lake) == {name: (s.rows, amount(s.cents)) for name, s in expected.items()}

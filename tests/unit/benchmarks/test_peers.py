"""Every contestant writes the same rows as the pipeline: otherwise their seconds mean nothing."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

from benchmarks.child import CSV, ROWS, run
from benchmarks.lake_content import lake_content
from celes_beam.config import load_config
from celes_beam.contract import AMOUNT, COLUMN_NAMES, SCHEMA
from celes_beam.sales.encode_csv import HEADER, encode_csv
from celes_beam.sales.generate import Generator
from pipelines import batch

ROWS_MADE = 300_000
"""More than two row groups' worth, so that contestants write some early and some at the end."""


def expected() -> pa.RecordBatch:
    return Generator(load_config(flags={"rows": ROWS_MADE})).batch(0, ROWS_MADE)


def sorted_rows(folder: Path) -> pa.Table:
    """All rows of a lake in the contract's types, in an order of their own."""
    table = ds.dataset(folder, format="parquet", partitioning="hive").to_table(list(COLUMN_NAMES))
    amounts = pc.round(table[AMOUNT].cast(pa.float64()), 2)
    at = COLUMN_NAMES.index(AMOUNT)
    table = table.set_column(at, AMOUNT, amounts.cast(SCHEMA.field(AMOUNT).type, safe=False))
    return table.cast(SCHEMA).sort_by([(name, "ascending") for name in COLUMN_NAMES])


def in_order(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch]).sort_by([(name, "ascending") for name in COLUMN_NAMES])


@pytest.mark.parametrize("name", ROWS)
def test_rows_made(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "lake"
    folder.mkdir()
    assert run(name, str(ROWS_MADE), folder) > 0
    assert sorted_rows(folder).equals(in_order(expected()))


@pytest.mark.parametrize("name", CSV)
def test_rows_read(name: str, tmp_path: Path) -> None:
    source, folder = tmp_path / "ventas.csv", tmp_path / "lake"
    source.write_bytes(HEADER + encode_csv(expected()).to_pybytes())
    folder.mkdir()
    run(name, str(source), folder)
    assert sorted_rows(folder).equals(in_order(expected()))


def test_the_pipeline_and_the_limit_have_the_same_content(tmp_path: Path) -> None:
    ours, limit = tmp_path / "ours", tmp_path / "limit"
    batch.run(["--rows", str(ROWS_MADE), "--output", str(ours)])
    limit.mkdir()
    run("limit", str(ROWS_MADE), limit)
    one, other = lake_content(ours), lake_content(limit)
    assert one["groups"] == other["groups"]
    assert one["rows"] == ROWS_MADE
    assert sum(row[3] for row in one["groups"]) == int(pc.sum(expected()[AMOUNT]).as_py() * 100)

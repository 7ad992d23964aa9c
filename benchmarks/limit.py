"""The limit: generate, check, split, write and sum by hand; no engine and no commit protocol.

What ``pipelines.batch`` does to the rows, in the fewest steps we know: it makes the same rows with
the same generator and writes them with the same Parquet settings, on two threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from celes_beam.config import load_config
from celes_beam.contract import AMOUNT, CATEGORY, DATE, ID, MAX_CENTS, REGION, Rules
from celes_beam.sales.columns import cents_view, int64_view, small_decimal_array, timestamp_array
from celes_beam.sales.generate import Generator
from celes_beam.stores.lake.parquet_writer import parquet_settings

THREADS = 2
BATCH_ROWS = 131_072
ROW_GROUP_ROWS = 131_072

Columns = dict[str, np.ndarray]


def write_lake(rows: int, folder: Path) -> None:
    """Write ``rows`` generated rows under ``folder``, a folder for each region."""
    generator = Generator(load_config(flags={"rows": rows}))
    firsts = iter(range(0, rows, BATCH_ROWS))
    with ThreadPoolExecutor(THREADS) as pool:
        threads = [
            pool.submit(_write_batches, generator, firsts, folder, n) for n in range(THREADS)
        ]
    sums = np.sum([thread.result() for thread in threads], axis=0)
    if sums[0].sum() != rows:
        raise ValueError(f"{sums[0].sum():,} rows were written of {rows:,}")


def _write_batches(
    generator: Generator, firsts: Iterator[int], folder: Path, thread: int
) -> np.ndarray:
    """Write the batches that this thread gets; returns rows and cents by category and region."""
    config = generator.config
    rules = config.rules(datetime.now(UTC), generated=True)
    names = pa.array(config.categories, pa.string())
    files = [
        _RegionFile(folder / f"{REGION}={region}" / f"part-{thread}.parquet", names)
        for region in config.regions
    ]
    sums = np.zeros((2, len(config.categories), len(config.regions)), np.int64)
    for first in firsts:
        columns = _numpy(generator.columns(first, min(BATCH_ROWS, config.rows - first)))
        _check(columns, rules)
        sums += _sums(columns, *sums.shape[1:])
        for file, part in zip(files, _split(columns, len(files)), strict=True):
            file.write(part)
    for file in files:
        file.close()
    return sums


def _numpy(arrays: dict[str, pa.Array]) -> Columns:
    return {
        ID: int64_view(arrays[ID]),
        DATE: int64_view(arrays[DATE]),
        AMOUNT: cents_view(arrays[AMOUNT]),
        CATEGORY: arrays[CATEGORY].indices.to_numpy(),
        REGION: arrays[REGION].indices.to_numpy(),
    }


def _check(columns: Columns, rules: Rules) -> None:
    bounds = {
        ID: (1, np.iinfo(np.int64).max),
        DATE: (rules.min_us, rules.max_us),
        AMOUNT: (1, MAX_CENTS),
        CATEGORY: (0, len(rules.categories or ()) - 1),
        REGION: (0, len(rules.regions or ()) - 1),
    }
    for name, (low, high) in bounds.items():
        if columns[name].min() < low or columns[name].max() > high:
            raise ValueError(f"{name}: a value is outside {low} to {high}")


def _sums(columns: Columns, categories: int, regions: int) -> np.ndarray:
    cells = columns[CATEGORY].astype(np.intp) * regions + columns[REGION]
    rows = np.bincount(cells, minlength=categories * regions)
    # Floats are exact here: a batch sums to far less than 2**53 cents.
    cents = np.bincount(cells, weights=columns[AMOUNT], minlength=categories * regions)
    return np.stack([rows, cents.astype(np.int64)]).reshape(2, categories, regions)


def _split(columns: Columns, regions: int) -> Iterator[Columns]:
    order = np.argsort(columns[REGION], kind="stable")
    ends = np.cumsum(np.bincount(columns[REGION], minlength=regions))
    for indexes in np.split(order, ends[:-1]):
        # Other than "clip", take holds the GIL.
        yield {name: np.take(column, indexes, mode="clip") for name, column in columns.items()}


class _RegionFile:
    """One thread's file of a region; rows wait until they are a row group."""

    def __init__(self, path: Path, names: pa.Array) -> None:
        self.path, self.names = path, names
        self.waiting: list[Columns] = []
        self.writer: pq.ParquetWriter | None = None

    def write(self, part: Columns) -> None:
        self.waiting.append(part)
        if sum(len(p[ID]) for p in self.waiting) >= ROW_GROUP_ROWS:
            self._write_row_group()

    def close(self) -> None:
        self._write_row_group()
        if self.writer:
            self.writer.close()

    def _write_row_group(self) -> None:
        parts, self.waiting = [p for p in self.waiting if len(p[ID])], []
        if not parts:
            return
        table = pa.table(
            {
                ID: pa.chunked_array([pa.array(p[ID]) for p in parts]),
                DATE: pa.chunked_array([timestamp_array(p[DATE]) for p in parts]),
                AMOUNT: pa.chunked_array([small_decimal_array(p[AMOUNT]) for p in parts]),
                CATEGORY: pa.chunked_array(
                    [pa.DictionaryArray.from_arrays(p[CATEGORY], self.names) for p in parts]
                ),
            }
        )
        if not self.writer:
            self.path.parent.mkdir(exist_ok=True)
            settings = parquet_settings(table.column_names, days_only=True)
            self.writer = pq.ParquetWriter(self.path, table.schema, **settings)
        self.writer.write_table(table, row_group_size=table.num_rows)

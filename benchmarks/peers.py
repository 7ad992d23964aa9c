"""The same work done by others: each a function from rows, or from a CSV file, to a folder.

Engines are imported by the functions, before their work is timed. Each is used as its manual says,
in the way that we found to be the fastest for it; ``benchmarks.subjects`` says what each does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa

from celes_beam.config import load_config
from celes_beam.contract import AMOUNT, CATEGORY, COLUMN_NAMES, DATE, ID, REGION
from celes_beam.sales.generate import Generator
from celes_beam.stores.lake.parquet_writer import parquet_settings

BATCH_ROWS = 131_072
LARGE_BATCH_ROWS = 1_000_000
TEXTS = pa.dictionary(pa.int32(), pa.string())

Work = Callable[[], None]
"""What is timed."""


def limit(rows: int, folder: Path) -> Work:
    """The script written by hand."""
    import pandas  # noqa: F401, PLC0415 - pyarrow does, when it first sees a numpy array

    from benchmarks.limit import write_lake  # noqa: PLC0415

    return lambda: write_lake(rows, folder)


def polars_rows(rows: int, folder: Path) -> Work:
    """Polars: two threads make all rows, then ``sink_parquet`` (faster than a Python source)."""
    import polars as pl  # noqa: PLC0415

    def work() -> None:
        generator = _generator(rows)
        with ThreadPoolExecutor(2) as pool:
            parts = pool.map(lambda first: _batch(generator, first), _firsts(rows))
        # LazyFrame(table) would first copy all rows into one chunk.
        frame: Any = pl.from_arrow(pa.Table.from_batches(parts))
        _sink(frame.lazy(), folder)

    return work


def duckdb_rows(rows: int, folder: Path) -> Work:
    """DuckDB: ``COPY … PARTITION_BY`` from a stream of batches."""
    import duckdb  # noqa: PLC0415

    def work() -> None:
        connection = duckdb.connect()
        connection.register("sales", _reader(rows))
        _copy(connection, "sales", folder)

    return work


def pyarrow_rows(rows: int, folder: Path) -> Work:
    """pyarrow: ``write_dataset`` from a stream of batches, with its own defaults and zstd."""
    _import_dataset()
    return lambda: _write_dataset(_reader(rows), folder)


def pyarrow_rows_tuned(rows: int, folder: Path) -> Work:
    """pyarrow: ``write_dataset`` with the Parquet settings and row groups of this project."""
    _import_dataset()
    return lambda: _write_dataset(_reader(rows), folder, **_tuned())


def pandas_rows(rows: int, folder: Path) -> Work:
    """The straightforward way: frames, one frame, a CSV file, a table, a dataset."""
    import pandas as pd  # noqa: PLC0415
    from pyarrow import csv  # noqa: PLC0415

    _import_dataset()

    def work() -> None:
        generator = _generator(rows)
        frames = []
        for first in _firsts(rows):
            batch = generator.batch(first, min(LARGE_BATCH_ROWS, rows - first))
            floats = batch.column(AMOUNT).cast(pa.float64())
            frames.append(batch.set_column(2, AMOUNT, floats).to_pandas())
        path = folder.with_suffix(".csv")
        pd.concat(frames).to_csv(path, index=False)
        _write_dataset(csv.read_csv(path), folder)

    return work


def polars_csv(source: Path, folder: Path) -> Work:
    """Polars: ``scan_csv`` to ``sink_parquet``."""
    import polars as pl  # noqa: PLC0415

    types = (pl.Int64(), pl.Date(), pl.Decimal(12, 2), pl.String(), pl.String())
    schema: dict[str, pl.DataType] = dict(zip(COLUMN_NAMES, types, strict=True))

    def work() -> None:
        instants = pl.col(DATE).cast(pl.Datetime("us", "UTC"))
        _sink(pl.scan_csv(source, schema=schema).with_columns(instants), folder)

    return work


def duckdb_csv(source: Path, folder: Path) -> Work:
    """DuckDB: ``read_csv`` to ``COPY … PARTITION_BY``."""
    import duckdb  # noqa: PLC0415

    types = ("BIGINT", "TIMESTAMP", "DECIMAL(12,2)", "VARCHAR", "VARCHAR")
    columns = dict(zip(COLUMN_NAMES, types, strict=True))

    def work() -> None:
        _copy(duckdb.connect(), f"read_csv('{source}', header=true, columns={columns})", folder)

    return work


def pyarrow_csv(source: Path, folder: Path) -> Work:
    """pyarrow: the streaming CSV reader to ``write_dataset``, with its own defaults and zstd."""
    _import_dataset()
    return lambda: _write_dataset(_open_csv(source), folder)


def pyarrow_csv_tuned(source: Path, folder: Path) -> Work:
    """pyarrow: the same with the Parquet settings and row groups of this project."""
    _import_dataset()
    return lambda: _write_dataset(_open_csv(source), folder, **_tuned())


def _generator(rows: int) -> Generator:
    return Generator(load_config(flags={"rows": rows}))


def _firsts(rows: int, size: int = LARGE_BATCH_ROWS) -> range:
    return range(0, rows, size)


def _batch(generator: Generator, first: int, size: int = LARGE_BATCH_ROWS) -> pa.RecordBatch:
    """Generated rows; the texts dictionary-encoded, which every engine takes faster than plain."""
    return pa.RecordBatch.from_pydict(
        generator.columns(first, min(size, generator.config.rows - first))
    )


def _reader(rows: int) -> pa.RecordBatchReader:
    generator = _generator(rows)

    def batches() -> Iterator[pa.RecordBatch]:
        for first in _firsts(rows, BATCH_ROWS):
            yield _batch(generator, first, BATCH_ROWS)

    return pa.RecordBatchReader.from_batches(_batch(generator, 0, 0).schema, batches())


def _sink(frame: Any, folder: Path) -> None:
    import polars as pl  # noqa: PLC0415

    frame.sink_parquet(
        pl.PartitionBy(folder, key=REGION, include_key=False),
        compression="zstd",
        compression_level=1,
        maintain_order=False,
        mkdir=True,
    )


def _copy(connection: Any, source: str, folder: Path) -> None:
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(
        f"COPY (FROM {source}) TO '{folder}' (FORMAT parquet, PARTITION_BY ({REGION}), "
        "COMPRESSION zstd, COMPRESSION_LEVEL 1, OVERWRITE_OR_IGNORE)"
    )


def _open_csv(source: Path) -> pa.RecordBatchReader:
    from pyarrow import csv  # noqa: PLC0415

    types = (pa.int64(), pa.timestamp("us"), pa.decimal128(12, 2), TEXTS, TEXTS)
    column_types = dict(zip(COLUMN_NAMES, types, strict=True))
    return csv.open_csv(source, convert_options=csv.ConvertOptions(column_types=column_types))


def _import_dataset() -> None:
    import pyarrow.dataset  # noqa: F401, PLC0415


def _tuned() -> dict[str, Any]:
    columns = [ID, DATE, AMOUNT, CATEGORY]
    settings = parquet_settings(columns, days_only=True)
    # Of the writer of a file, not of a dataset.
    del settings["store_schema"]
    return {
        "settings": settings,
        "min_rows_per_group": BATCH_ROWS,
        "max_rows_per_group": 8 * BATCH_ROWS,
    }


def _write_dataset(
    data: Any, folder: Path, settings: dict[str, Any] | None = None, **groups: int
) -> None:
    import pyarrow.dataset as ds  # noqa: PLC0415

    parquet = ds.ParquetFileFormat()
    settings = settings or {"compression": "zstd", "compression_level": 1}
    ds.write_dataset(
        data,
        folder,
        format=parquet,
        file_options=parquet.make_write_options(**settings),
        partitioning=ds.partitioning(pa.schema([data.schema.field(REGION)]), flavor="hive"),
        **groups,
    )

"""Sort more sales than fit in memory: spill them by range of their key, then sort each range.

A spill file holds runs, one after another, each the rows of one range as an Arrow stream. Only the
descriptions of runs travel; whoever sorts a range reads its runs from everybody's spill files.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from celes_beam.contract import COLUMN_NAMES
from celes_beam.errors import IntegrityError, StorageError
from celes_beam.sales.columns import Ints, micros, text_codes
from celes_beam.sales.order import Order, in_order, range_codes
from celes_beam.stores.datasets.dataset import appearing
from celes_beam.stores.lake.lake_reader import TEXTS
from celes_beam.stores.lake.parquet_writer import parquet_settings

SPILL_ROWS = 524_288
"""Rows (some 40 bytes each) that one thread gathers before it spills them."""
ROW_GROUP_ROWS = 131_072

_MICROS_PER_DAY = 86_400_000_000


@dataclass(frozen=True)
class Run:
    """Where the rows of one range stand in a spill file, in bytes."""

    path: str
    offset: int
    length: int
    rows: int


@dataclass(frozen=True)
class SortedPart:
    """A finished file of sorted sales: its number in the order, its rows and its bytes."""

    number: int
    rows: int
    bytes: int


class SpillWriter:
    """Splits batches of sales among the ranges between ``bounds``, in a file of its own.

    Not thread-safe: each thread has its own. The file counts only once ``close`` has described its
    runs. Raises ``StorageError`` when the disk refuses.
    """

    def __init__(
        self, folder: str, order: Order, bounds: Ints, *, spill_rows: int = SPILL_ROWS
    ) -> None:
        self._path = Path(folder) / f"spill-{uuid.uuid4().hex}"
        self._order = order
        self._bounds = bounds
        self._spill_rows = spill_rows
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        self._file: pa.NativeFile | None = None
        self._runs: list[tuple[int, Run]] = []

    def write(self, sales: pa.RecordBatch) -> None:
        """Take a batch with all columns of the contract."""
        self._waiting.append(sales)
        self._waiting_rows += sales.num_rows
        if self._waiting_rows >= self._spill_rows:
            self._spill()

    def close(self) -> list[tuple[int, Run]]:
        """Spill what waits, finish the file, and return its runs, each after its range."""
        if self._waiting_rows:
            self._spill()
        if self._file is not None:
            with _spill_errors(self._path):
                self._file.close()
        return self._runs

    def abandon(self) -> None:
        """Let go of an unfinished file."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def _spill(self) -> None:
        sales = _one_batch(self._waiting)
        self._waiting, self._waiting_rows = [], 0
        codes = range_codes(self._order.keys(sales), self._bounds)
        rows_of = np.bincount(codes, minlength=len(self._bounds) + 1).tolist()
        # A stable sort of few distinct small integers is a fast one.
        small = codes.astype(np.min_scalar_type(len(self._bounds)))
        sales = sales.take(pa.array(np.argsort(small, kind="stable")))
        first = 0
        with _spill_errors(self._path):
            file = self._file = self._file or self._create()
            for code, rows in enumerate(rows_of):
                if rows:
                    run = _write_run(file, self._path, sales.slice(first, rows))
                    self._runs.append((code, run))
                    first += rows

    def _create(self) -> pa.NativeFile:
        # No parents: a late worker is not to bring back a work folder that was removed.
        self._path.parent.mkdir(exist_ok=True)
        return pa.OSFile(str(self._path), "wb")


def sort_part(folder: str, number: int, runs: Iterable[Run], order: Order) -> SortedPart:
    """Sort the rows of one range and write them as ``part-<number>.parquet`` of a folder.

    The rows must fit in memory. Raises ``IntegrityError`` for a run that is not as it was
    described, and ``StorageError`` when the disk refuses.
    """
    sales = in_order(_one_batch([batch for run in runs for batch in _read_run(run)]), order)
    return write_part(folder, number, sales)


def write_part(folder: str, number: int, sales: pa.RecordBatch) -> SortedPart:
    """Write sorted sales as a part; it appears whole, under its name, or not at all.

    The same rows make the same bytes.
    """
    path = Path(folder) / f"part-{number:05}.parquet"
    days_only = not np.any(micros(sales) % _MICROS_PER_DAY)
    columns = [
        _sorted_dictionary(column) if name in TEXTS else column
        for name, column in zip(sales.schema.names, sales.columns, strict=True)
    ]
    schema = pa.schema(
        [pa.field(n, c.type, nullable=False) for n, c in zip(COLUMN_NAMES, columns, strict=True)]
    )
    sales = pa.RecordBatch.from_arrays(columns, schema=schema)
    settings = parquet_settings(COLUMN_NAMES, days_only=days_only)
    with appearing(path) as file:
        with pq.ParquetWriter(pa.PythonFile(file, "w"), schema, **settings) as writer:
            writer.write_batch(sales, ROW_GROUP_ROWS)
        size = file.tell()
    return SortedPart(number, sales.num_rows, size)


def _sorted_dictionary(column: pa.Array) -> pa.Array:
    """Texts as a sorted dictionary of those that are there, whatever order they came in."""
    codes, texts = text_codes(column)
    used = np.flatnonzero(np.bincount(codes, minlength=len(texts))).tolist()
    names = sorted({texts[i] for i in used})
    place = {name: i for i, name in enumerate(names)}
    recode = np.array([place.get(text, 0) for text in texts], np.int32)
    new = np.take(recode, codes, mode="clip") if used else np.empty(0, np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(new), pa.array(names, pa.string()))


def _write_run(file: pa.NativeFile, path: Path, sales: pa.RecordBatch) -> Run:
    offset = file.tell()
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with pa.ipc.new_stream(file, sales.schema, options=options) as stream:
        stream.write_batch(sales)
    return Run(str(path), offset, file.tell() - offset, sales.num_rows)


def _read_run(run: Run) -> list[pa.RecordBatch]:
    try:
        with pa.OSFile(run.path, "rb") as file:
            file.seek(run.offset)
            data = file.read_buffer(run.length)
        options = pa.ipc.IpcReadOptions(use_threads=False)
        batches = pa.ipc.open_stream(data, options=options).read_all().to_batches()
    except (OSError, pa.ArrowInvalid) as error:
        raise StorageError(f"{run.path} cannot be read back: {error}; run again") from error
    if sum(batch.num_rows for batch in batches) != run.rows:
        raise IntegrityError(f"{run.path} does not hold what was spilled to it: run again")
    return list(batches)


def _one_batch(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    table = pa.Table.from_batches(batches).unify_dictionaries()
    return table.combine_chunks().to_batches()[0]


@contextmanager
def _spill_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path} could not be written: {error.strerror or error}; sorting needs about as much "
            "room beside --output (for gs://, in TMPDIR) as the lake takes, twice: free some, or "
            "choose another"
        ) from error

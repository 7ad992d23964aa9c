"""Split accepted sales by partition, and write full row groups of each, in bounded memory."""

from __future__ import annotations

import resource
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from celes_beam.contract import CATEGORY, REGION
from celes_beam.errors import ConfigError
from celes_beam.sales.columns import Codes, Ints, cents, ids, micros, text_codes
from celes_beam.sales.partition import MAX_PARTITIONS, partition_keys
from celes_beam.stores.lake.manifest import DataFile
from celes_beam.stores.lake.parquet_writer import Layout, Rows, SalesFile
from celes_beam.stores.lake.staging_area import Deliveries, StagingArea

ROW_GROUP_ROWS = 131_072
"""A partition with this many rows waiting is written as a row group at once."""
WAITING_ROWS = 1_572_864
"""Most rows (about 32 bytes each) that wait over all partitions of one writer."""
_MOST_CHUNKS = 256
_RESERVED_FILES = 128
_MOST_OPEN_FILES = 256


@dataclass
class _Waiting:
    """Rows of one partition that are in no row group yet."""

    partition: dict[str, str]
    chunks: list[Rows] = field(default_factory=list)
    rows: int = 0


class _TextCodes:
    """Codes of texts that mean the same in every batch one writer sees."""

    def __init__(self) -> None:
        self._code_of: dict[str, int] = {}
        self._array: pa.Array = pa.array([], pa.string())

    def recode(self, column: pa.Array) -> Codes:
        codes, texts = text_codes(column)
        mine = [self._code_of.setdefault(text, len(self._code_of)) for text in texts]
        if mine == list(range(len(texts))):
            return codes
        return np.take(np.array(mine, dtype=np.int32), codes, mode="clip")

    @property
    def texts(self) -> list[str]:
        return list(self._code_of)

    @property
    def array(self) -> pa.Array:
        if len(self._array) < len(self._code_of):
            self._array = pa.array(self.texts, pa.string())
        return self._array


class PartitionedWriter:
    """Writes batches of accepted sales to an area, one row group of one partition at a time.

    Not thread-safe: each thread has its own. A file counts only once ``close`` has described it.
    Raises ``StorageError`` when the disk refuses, and ``ConfigError`` for too many partitions.
    """

    def __init__(
        self, area: StagingArea, layout: Layout, *, max_open_files: int | None = None
    ) -> None:
        self._area = area
        self._deliveries = Deliveries(area)
        self._layout = layout
        self._max_open_files = max_open_files or _affordable_open_files()
        self._categories = _TextCodes()
        self._regions = _TextCodes()
        self._waiting: dict[tuple[str, ...], _Waiting] = {}
        self._waiting_rows = 0
        self._open: OrderedDict[tuple[str, ...], SalesFile] = OrderedDict()
        self._finished: list[DataFile] = []

    def write(self, batch: pa.RecordBatch) -> None:
        """Take a batch of accepted sales; texts may be plain or dictionary-encoded."""
        if not batch.num_rows:
            return
        rows = Rows(
            ids(batch),
            micros(batch),
            cents(batch),
            self._categories.recode(batch.column(CATEGORY)),
            self._regions.recode(batch.column(REGION)),
        )
        keys = partition_keys(
            self._layout.partition_by,
            {
                CATEGORY: (rows.categories, self._categories.texts),
                REGION: (rows.regions, self._regions.texts),
            },
            rows.micros,
        )
        for code, indexes in _group(keys.codes):
            self._wait(keys.partition(code), rows.take(indexes))
        while self._waiting_rows > WAITING_ROWS:
            self._write_row_group(max(self._waiting, key=lambda key: self._waiting[key].rows))

    def close(self) -> list[DataFile]:
        """Write what waits, finish and deliver every file, and describe them all."""
        for key, waiting in self._waiting.items():
            if waiting.rows:
                self._write_row_group(key)
        while self._open:
            self._finish(next(iter(self._open)))
        self._deliveries.finish()
        return self._finished

    def abandon(self) -> None:
        """Let go of unfinished files; staging is swept later."""
        for file in self._open.values():
            file.abandon()
        self._open.clear()
        self._waiting.clear()
        self._deliveries.abandon()

    def _wait(self, partition: dict[str, str], rows: Rows) -> None:
        key = tuple(partition.values())
        waiting = self._waiting.get(key)
        if waiting is None:
            if len(self._waiting) >= MAX_PARTITIONS:
                raise ConfigError(
                    f"--partition_by {','.join(self._layout.partition_by)} gives more than "
                    f"{MAX_PARTITIONS:,} partitions: choose columns with fewer distinct values"
                )
            waiting = self._waiting[key] = _Waiting(partition)
        if len(waiting.chunks) >= _MOST_CHUNKS:
            # A chunk of three rows out of a tiny file takes a hundred times what they do.
            waiting.chunks = [Rows.joined(waiting.chunks)]
        waiting.chunks.append(rows)
        waiting.rows += len(rows)
        self._waiting_rows += len(rows)
        if waiting.rows >= ROW_GROUP_ROWS:
            self._write_row_group(key)

    def _write_row_group(self, key: tuple[str, ...]) -> None:
        waiting = self._waiting[key]
        file = self._open.get(key)
        if file is None:
            if len(self._open) >= self._max_open_files:
                self._finish(next(iter(self._open)))
            file = SalesFile(self._area, self._layout, waiting.partition, waiting.chunks[0])
            self._open[key] = file
        self._open.move_to_end(key)
        file.write_row_group(waiting.chunks, self._categories.array, self._regions.array)
        self._waiting_rows -= waiting.rows
        waiting.chunks, waiting.rows = [], 0
        if file.bytes_written >= self._layout.target_file_bytes:
            self._finish(key)

    def _finish(self, key: tuple[str, ...]) -> None:
        file = self._open[key].finish()
        del self._open[key]
        self._deliveries.add(file.staged, size=file.bytes, crc32c=file.crc32c)
        self._finished.append(file)


def _group(codes: npt.NDArray[np.unsignedinteger]) -> Iterator[tuple[int, Ints]]:
    """Each code that is there, with the indexes of its rows in ascending order."""
    order = np.argsort(codes, kind="stable")
    in_order = np.take(codes, order, mode="clip")
    starts = np.flatnonzero(np.diff(in_order)) + 1
    for indexes in np.split(order, starts):
        yield int(codes[indexes[0]]), indexes


def _affordable_open_files() -> int:
    """Open files a writer may hold, with room for the writers of other threads."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST_OPEN_FILES
    return max(8, min(_MOST_OPEN_FILES, (soft - _RESERVED_FILES) // 4))

"""One Parquet file of accepted sales: its settings, its row groups, and its description."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from celes_beam.contract import AMOUNT, CATEGORY, COLUMN_NAMES, DATE, EPOCH, ID, REGION
from celes_beam.sales.aggregate import amount
from celes_beam.sales.columns import Codes, Ints, small_decimal_array, timestamp_array
from celes_beam.sales.partition import hive_path
from celes_beam.stores.lake.manifest import STAGED, DataFile
from celes_beam.stores.lake.measure import measure_file
from celes_beam.stores.lake.staging_area import StagingArea, write_failed

_MICROS_PER_DAY = 86_400_000_000


@dataclass(frozen=True)
class Layout:
    """How the lake is laid out: partition columns in order, and the target size of a file."""

    partition_by: tuple[str, ...] = (REGION,)
    target_file_bytes: int = 128 * 2**20

    @property
    def file_columns(self) -> tuple[str, ...]:
        """The contract's columns that stand in the files, not in the path."""
        return tuple(name for name in COLUMN_NAMES if name not in self.partition_by)


@dataclass(frozen=True)
class Rows:
    """Accepted rows as numpy columns: ids, dates (microseconds), amounts (cents), text codes."""

    ids: Ints
    micros: Ints
    cents: Ints
    categories: Codes
    regions: Codes

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indexes: Ints) -> Rows:
        """Copy the rows at ``indexes``."""
        # "clip" (never needed: indexes are right) lets numpy release the GIL; "raise" holds it.
        return Rows(
            np.take(self.ids, indexes, mode="clip"),
            np.take(self.micros, indexes, mode="clip"),
            np.take(self.cents, indexes, mode="clip"),
            np.take(self.categories, indexes, mode="clip"),
            np.take(self.regions, indexes, mode="clip"),
        )

    @classmethod
    def joined(cls, chunks: Sequence[Rows]) -> Rows:
        """The rows of some chunks, one after another."""
        return cls(
            np.concatenate([c.ids for c in chunks]),
            np.concatenate([c.micros for c in chunks]),
            np.concatenate([c.cents for c in chunks]),
            np.concatenate([c.categories for c in chunks]),
            np.concatenate([c.regions for c in chunks]),
        )


def parquet_settings(columns: Sequence[str], *, days_only: bool) -> dict[str, Any]:
    """Arguments of ``pq.ParquetWriter`` for sales: small, fast, and read by every engine.

    Ids and amounts are delta-packed integers, in which compression finds no more to save; only
    texts, and dates that are whole days, repeat enough for a dictionary.
    """
    packed = {ID, AMOUNT} | (set() if days_only else {DATE})
    return {
        "compression": {c: "none" if c in packed else "zstd" for c in columns},
        "compression_level": {c: 1 for c in columns if c not in packed},
        "store_decimal_as_integer": True,
        # An Arrow schema would hand our dictionaries and small decimals to every reader.
        "store_schema": False,
        "use_dictionary": [c for c in columns if c not in packed],
        "column_encoding": {c: "DELTA_BINARY_PACKED" for c in columns if c in packed},
    }


class SalesFile:
    """A Parquet file being written under ``<partition path>/`` of a staging area.

    Raises ``StorageError`` naming the file when the disk refuses.
    """

    def __init__(
        self, area: StagingArea, layout: Layout, partition: dict[str, str], first: Rows
    ) -> None:
        self._area = area
        self._partition = partition
        self._columns = layout.file_columns
        name = f"part-{uuid.uuid4().hex}.parquet"
        where = hive_path(partition)
        self._name = f"{where}/{name}" if where else name
        self._path = Path(self._name + STAGED)
        self._days_only = not np.any(first.micros % _MICROS_PER_DAY)
        self._writer: Any = None
        self._rows = 0
        self._cents = 0
        self._first = int(np.iinfo(np.int64).max)
        self._last = int(np.iinfo(np.int64).min)

    @property
    def bytes_written(self) -> int:
        """Bytes on disk so far."""
        return int(self._sink.tell()) if self._writer else 0

    def write_row_group(
        self, chunks: Sequence[Rows], categories: pa.Array, regions: pa.Array
    ) -> None:
        """Append rows as one row group; the string arrays say what the codes stand for."""
        columns = {
            ID: [pa.array(c.ids) for c in chunks],
            DATE: [timestamp_array(c.micros) for c in chunks],
            AMOUNT: [small_decimal_array(c.cents) for c in chunks],
            CATEGORY: [pa.DictionaryArray.from_arrays(c.categories, categories) for c in chunks],
            REGION: [pa.DictionaryArray.from_arrays(c.regions, regions) for c in chunks],
        }
        arrays = [pa.chunked_array(columns[name]) for name in self._columns]
        schema = pa.schema(
            [
                pa.field(n, a.type, nullable=False)
                for n, a in zip(self._columns, arrays, strict=True)
            ]
        )
        table = pa.Table.from_arrays(arrays, schema=schema)
        try:
            if self._writer is None:
                self._open(schema)
            self._writer.write_table(table, row_group_size=table.num_rows)
        except OSError as error:
            raise write_failed(self._path, error, self._area.remedy) from error
        self._rows += table.num_rows
        for chunk in chunks:
            self._cents += int(chunk.cents.sum())
            self._first = min(self._first, int(chunk.micros.min()))
            self._last = max(self._last, int(chunk.micros.max()))

    def finish(self) -> DataFile:
        """Close the file and describe it; it is still to be delivered."""
        try:
            self._writer.close()
            self._sink.close()
            size, checksum = measure_file(self._path)
        except OSError as error:
            self.abandon()
            raise write_failed(self._path, error, self._area.remedy) from error
        return DataFile(
            path=self._name,
            staged=self._name + STAGED,
            partition=self._partition,
            rows=self._rows,
            bytes=size,
            crc32c=checksum,
            total=str(amount(self._cents)),
            min_date=_iso(self._first),
            max_date=_iso(self._last),
        )

    def abandon(self) -> None:
        """Let go of an unfinished file; staging is swept later."""
        if self._writer is not None:
            # A footer on a disk that just refused cannot be written either.
            with suppress(OSError, ValueError):
                self._writer.close()
            self._writer.is_open = False
            self._sink.close()
        self._area.abandon(self._name + STAGED)

    def _open(self, schema: pa.Schema) -> None:
        self._path = self._area.path(self._name + STAGED)
        self._sink = pa.OSFile(str(self._path), "wb")
        settings = parquet_settings(self._columns, days_only=self._days_only)
        self._writer = pq.ParquetWriter(self._sink, schema, **settings)


def _iso(micros: int) -> str:
    return (EPOCH + timedelta(microseconds=micros)).isoformat()

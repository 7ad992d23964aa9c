"""What one partition of the data frame is: row groups of a few files, read by a worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from distributed import get_worker

from celes_beam.contract import SCHEMA
from celes_beam.stores.cloud.clients import GCS_SCHEME
from celes_beam.stores.cloud.engine_access import open_for_engine
from celes_beam.stores.cloud.read_failures import READ_ERRORS
from celes_beam.stores.lake.engine_files import EngineFile, contract_sales
from celes_beam.stores.lake.lake_input import LakeInput
from celes_beam.stores.lake.lake_reader import LakeReader
from celes_beam.stores.lake.storage import open_storage

PARTITION_ROWS = 524_288
"""Small files share a partition up to about so many rows."""


@dataclass(frozen=True)
class FilePart:
    """Row groups of a file, and the number of their first row."""

    file: EngineFile
    groups: tuple[int, ...]
    first_row: int
    rows: int
    bytes: int


@dataclass(frozen=True)
class SalesReader:
    """Reads partitions; small and picklable, for workers. ``topic`` is told of what was read."""

    reader: LakeReader
    columns: tuple[str, ...]
    emulator: str | None
    topic: str

    def __call__(self, parts: Sequence[FilePart]) -> pd.DataFrame:
        """Read the columns of the contract, in types of Arrow: decimals for amounts.

        Raises ``StorageError`` or ``IntegrityError`` for a file that cannot be read, and
        ``InputError`` for one of a plain folder, or its first value that is not acceptable.
        """
        table = pa.Table.from_batches(
            [batch for part in parts for batch in self._read(part)], self._schema
        )
        _tell(self.topic, table.num_rows, sum(part.bytes for part in parts))
        return frame_of(table)

    @property
    def empty(self) -> pd.DataFrame:
        """A frame without rows, of the same types."""
        return frame_of(self._schema.empty_table())

    @property
    def _schema(self) -> pa.Schema:
        return pa.schema([pa.field(c, SCHEMA.field(c).type) for c in self.columns])

    def _read(self, part: FilePart) -> Iterator[pa.RecordBatch]:
        file, first = part.file, part.first_row
        try:
            with open_for_engine(file.path, self.emulator) as opened:
                parquet = pq.ParquetFile(
                    opened,
                    # Nanoseconds, which are the default, wrap around before 1677 and after 2262.
                    coerce_int96_timestamp_unit="us",
                    pre_buffer=file.path.startswith(GCS_SCHEME),
                )
                batches = parquet.iter_batches(
                    part.rows or 1, list(part.groups), file.names(self.columns), use_threads=False
                )
                held = list(batches)
        except (pa.ArrowException, *READ_ERRORS) as error:
            raise self.reader.failure(file.file, error) from error
        for batch in held:
            sales = contract_sales(self.reader, file, self.columns, batch, first)
            first += sales.num_rows
            yield sales.cast(self._schema)


def frame_of(table: pa.Table) -> pd.DataFrame:
    """A frame with the very types of a table."""
    return table.to_pandas(types_mapper=pd.ArrowDtype)


def batch_of(frame: pd.DataFrame) -> pa.RecordBatch:
    """The rows of a frame with all columns of the contract."""
    table = pa.Table.from_pandas(frame[SCHEMA.names], SCHEMA, preserve_index=False)
    batches: list[pa.RecordBatch] = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], SCHEMA)


def plan_partitions(found: LakeInput, files: Sequence[EngineFile]) -> list[list[FilePart]]:
    """Share the row groups of files among partitions, by their footers."""
    with ThreadPoolExecutor(open_storage(found.root).at_once) as pool:
        planned = pool.map(found.reader.plan, [file.file for file in files])
        parts = [
            FilePart(file, piece.groups, piece.first_row, piece.rows, piece.bytes)
            for file, pieces in zip(files, planned, strict=True)
            for piece in pieces
        ]
    partitions: list[list[FilePart]] = []
    rows = PARTITION_ROWS
    for part in parts:
        if rows + part.rows > PARTITION_ROWS:
            partitions.append([])
            rows = 0
        partitions[-1].append(part)
        rows += part.rows
    return partitions


def _tell(topic: str, rows: int, done: int) -> None:
    get_worker().log_event(topic, {"read": {"rows": rows, "done": done}})

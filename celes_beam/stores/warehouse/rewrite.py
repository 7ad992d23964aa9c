"""Files of a lake as a load job can take them: copies with all columns, or as they are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from celes_beam.contract import SCHEMA
from celes_beam.errors import IntegrityError
from celes_beam.stores.lake.local_files import storage_errors
from celes_beam.stores.lake.manifest import DataFile, RejectedFile
from celes_beam.stores.lake.measure import batches, check_bytes, open_parquet
from celes_beam.stores.lake.storage import Storage
from celes_beam.stores.warehouse.shape import TableShape

_BLOCK = 4 * 2**20
_ARROW_TYPES = {
    "STRING": pa.string(),
    "BYTES": pa.binary(),
    "INTEGER": pa.int64(),
    "FLOAT": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    "NUMERIC": pa.decimal128(38, 9),
}


@contextmanager
def rewritten(
    storage: Storage, files: Sequence[DataFile], shape: TableShape, *, by_position: bool
) -> Iterator[IO[bytes]]:
    """Rows of some files as one Parquet file with the columns of the table, open at its start.

    With ``by_position`` no column is left out, also of a type that no file has, such as JSON.
    Memory does not grow with the rows; the file is gone afterwards. Raises ``IntegrityError`` for
    a file that is not the one committed.
    """
    schema = _schema(shape, by_position)
    with _temporary() as sink:
        with pq.ParquetWriter(sink, schema, compression="zstd", compression_level=1) as writer:
            for file in files:
                rows = 0
                for batch in _read(storage, file, schema):
                    writer.write_batch(batch)
                    rows += batch.num_rows
                if rows != file.rows:
                    raise IntegrityError(
                        f"{file.path}: {rows:,} rows, but {file.rows:,} were committed"
                    )
        sink.seek(0)
        yield sink


@contextmanager
def copied(storage: Storage, file: RejectedFile) -> Iterator[IO[bytes]]:
    """A file of rejected rows as it is, open at its start, and checked."""
    with storage.open(file.path) as source:
        check_bytes(source, file.path, size=file.bytes, crc32c=file.crc32c)
        with _temporary() as sink:
            while block := source.read(_BLOCK):
                sink.write(block)
            sink.seek(0)
            yield sink


@contextmanager
def _temporary() -> Iterator[IO[bytes]]:
    with (
        storage_errors("write", tempfile.gettempdir()),
        tempfile.TemporaryFile(prefix="celes-load-") as sink,
    ):
        yield sink


def _read(storage: Storage, file: DataFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    with storage.open(file.path) as source:
        check_bytes(source, file.path, size=file.bytes, crc32c=file.crc32c)
        for batch in batches(open_parquet(source, file.path), file.path):
            yield pa.RecordBatch.from_arrays(
                [_column(batch, file, field) for field in schema], schema=schema
            )


def _column(batch: pa.RecordBatch, file: DataFile, field: pa.Field) -> pa.Array:
    if field.name in SCHEMA.names and field.name in file.partition:
        return pa.repeat(pa.scalar(file.partition[field.name], pa.string()), batch.num_rows)
    if field.name in batch.schema.names:
        return batch.column(field.name).cast(field.type)
    return pa.nulls(batch.num_rows, field.type)


def _schema(shape: TableShape, by_position: bool) -> pa.Schema:
    fields = []
    for name, (kind, mode) in shape.columns.items():
        if name in SCHEMA.names:
            fields.append(pa.field(name, SCHEMA.field(name).type, nullable=mode == "NULLABLE"))
        elif mode == "NULLABLE" and (by_position or kind in _ARROW_TYPES):
            fields.append(pa.field(name, _ARROW_TYPES.get(kind, pa.string())))
    return pa.schema(fields)

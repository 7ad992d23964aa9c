"""What a lake's Parquet file holds, read back from the file itself."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from celes_beam.contract import AMOUNT, DATE
from celes_beam.errors import CelesError, IntegrityError, StorageError
from celes_beam.stores.cloud.read_failures import READ_ERRORS, read_failure

BATCH_ROWS = 131_072
_CHECKSUM_BLOCK = 4 * 2**20


@dataclass(frozen=True)
class Content:
    """Rows, exact sum of amounts, and first and last date (None without rows) of some files."""

    rows: int
    total: Decimal
    min_date: datetime | None
    max_date: datetime | None


def open_parquet(file: BinaryIO, name: str, **settings: object) -> pq.ParquetFile:
    """Open a Parquet file.

    Raises ``IntegrityError`` naming it when it is not one, ``StorageError`` when reading fails.
    """
    try:
        return pq.ParquetFile(file, **settings)
    except (pa.ArrowException, *READ_ERRORS, KeyError) as error:
        raise _unreadable(name, error) from error


def batches(
    parquet: pq.ParquetFile, name: str, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Read a file in batches.

    Raises ``IntegrityError`` naming it when it cannot be decoded, ``StorageError`` when reading
    fails.
    """
    try:
        yield from parquet.iter_batches(BATCH_ROWS, columns=columns, use_threads=False)
    except (pa.ArrowException, *READ_ERRORS) as error:
        raise _unreadable(name, error) from error


def content(file: BinaryIO, name: str) -> Content:
    """Measure a file by reading its dates and amounts, in bounded memory.

    Raises ``IntegrityError`` naming the file when it cannot be decoded.
    """
    rows, total = 0, Decimal("0.00")
    first: datetime | None = None
    last: datetime | None = None
    for batch in batches(open_parquet(file, name), name, [DATE, AMOUNT]):
        rows += batch.num_rows
        total += pc.sum(batch.column(AMOUNT), min_count=0).as_py()
        dates = pc.min_max(batch.column(DATE)).as_py()
        first = dates["min"] if first is None else min(first, dates["min"])
        last = dates["max"] if last is None else max(last, dates["max"])
    return Content(rows, total, first, last)


def checksum(file: BinaryIO) -> tuple[int, str]:
    """Bytes of a file, and its CRC32C in base64 as Cloud Storage shows it."""
    crc = google_crc32c.Checksum()
    size = 0
    while block := file.read(_CHECKSUM_BLOCK):
        crc.update(block)
        size += len(block)
    return size, base64.b64encode(crc.digest()).decode("ascii")


def measure_file(path: Path) -> tuple[int, str]:
    """Bytes and CRC32C of a file of this machine."""
    with path.open("rb") as file:
        return checksum(file)


def check_bytes(file: BinaryIO, name: str, *, size: int, crc32c: str) -> None:
    """Raise ``IntegrityError`` unless a file, open at its beginning, is the one committed.

    ``StorageError`` when reading fails.
    """
    try:
        found_size, found_crc32c = checksum(file)
        # In a bucket this asks for the object again, which may be gone by now.
        file.seek(0)
    except READ_ERRORS as error:
        raise _unreadable(name, error) from error
    if found_size != size:
        raise IntegrityError(f"{name}: {found_size:,} bytes, but {size:,} were committed")
    if found_crc32c != crc32c:
        raise IntegrityError(f"{name}: its checksum is {found_crc32c}, but {crc32c} was committed")


def _unreadable(name: str, error: Exception) -> CelesError:
    failure = read_failure(error)
    if failure is not None:
        return StorageError(f"{name}: reading failed: {failure.why}; run it again")
    return IntegrityError(f"{name} cannot be read as Parquet: {' '.join(str(error).split())}")

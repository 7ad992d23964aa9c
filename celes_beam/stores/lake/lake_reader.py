"""Read columns of a lake's files, a piece of a file at a time, in batches of bounded size.

What is read is taken on trust, having been checked on its way into the lake.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from celes_beam.contract import CATEGORY, REGION, SCHEMA
from celes_beam.errors import CelesError, IntegrityError, StorageError
from celes_beam.stores.cloud.clients import GCS_SCHEME
from celes_beam.stores.cloud.read_failures import READ_ERRORS, read_failure
from celes_beam.stores.lake.storage import open_storage

BATCH_ROWS = 131_072
PIECE_ROWS = 524_288
"""A file is split, between row groups, into pieces of at least this many rows."""

TEXTS = (CATEGORY, REGION)


@dataclass(frozen=True)
class LakeFile:
    """A file to read: its name relative to the root, its bytes, and the values of its path.

    ``partition`` pairs names as the path has them with unescaped values.
    """

    name: str
    bytes: int
    partition: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Piece:
    """Consecutive row groups of a file, their share of its bytes, the number of their first row.

    A description of a few bytes, which crosses shuffles.
    """

    file: LakeFile
    groups: tuple[int, ...]
    first_row: int
    rows: int
    bytes: int


@dataclass(frozen=True)
class Held:
    """A column that stands in the file, under this name."""

    name: str


@dataclass(frozen=True)
class Fixed:
    """A column whose one value stands in the path."""

    value: str


Place = Held | Fixed


@dataclass(frozen=True)
class LakeReader:
    """Splits committed files into pieces and reads them; small and picklable, for workers.

    Raises ``StorageError`` for a file that is gone or cannot be read, ``IntegrityError`` for one
    that is not as it was committed.
    """

    root: str

    def plan(self, file: LakeFile) -> list[Piece]:
        """Split a file between its row groups; no piece for a file without rows."""
        with self._open(file) as opened:
            metadata = self._parquet(opened, file).metadata
        pieces: list[Piece] = []
        groups: list[int] = []
        first = rows = 0
        for group in range(metadata.num_row_groups):
            groups.append(group)
            rows += metadata.row_group(group).num_rows
            if rows >= PIECE_ROWS or (rows and group == metadata.num_row_groups - 1):
                size = file.bytes * rows // metadata.num_rows
                pieces.append(Piece(file, tuple(groups), first, rows, size))
                first, rows, groups = first + rows, 0, []
        return pieces

    def read(self, piece: Piece, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a piece in batches of at most ``BATCH_ROWS``, in order.

        ``columns`` are names of the contract; each batch holds these, in their contract types, but
        that texts are dictionaries.
        """
        file = piece.file
        with self._open(file) as opened:
            parquet = self._parquet(opened, file)
            places = self.places(parquet.schema_arrow, file)
            texts = [c for c in columns if c in self._encoded and isinstance(places[c], Held)]
            if texts:
                parquet = self._parquet(opened, file, texts)
            held = [place.name for c in columns if isinstance(place := places[c], Held)]
            first = piece.first_row
            for batch in self._batches(parquet, piece, held):
                arrays = [self.values(c, places[c], batch, file, first) for c in columns]
                yield pa.RecordBatch.from_arrays(arrays, names=list(columns))
                first += batch.num_rows

    def schema(self, file: LakeFile) -> pa.Schema:
        """The columns that stand in a file, by its footer."""
        with self._open(file) as opened:
            return self._parquet(opened, file).schema_arrow

    def places(self, schema: pa.Schema, file: LakeFile) -> Mapping[str, Place]:
        """Where each contract column of a file with these columns is found."""
        in_path = dict(file.partition)
        for column in SCHEMA:
            found = schema.field(column.name).type if column.name in schema.names else None
            if column.name not in in_path and _plain(found) != column.type:
                raise IntegrityError(
                    f"{self.path(file)} is not as it was committed: column {column.name} is "
                    f"{found or 'not there'}, expected {column.type}; see what else is with "
                    f"celes-beam lake verify {self.root}"
                )
        return {c: Fixed(in_path[c]) if c in in_path else Held(c) for c in SCHEMA.names}

    def values(
        self, column: str, place: Place, batch: pa.RecordBatch, file: LakeFile, first_row: int
    ) -> pa.Array:
        """The values of a column in a batch that begins at ``first_row`` of its file."""
        if isinstance(place, Held):
            return batch.column(place.name)
        return repeat(pa.array([place.value], pa.string()), batch.num_rows)

    @property
    def _encoded(self) -> tuple[str, ...]:
        """Columns to be read as dictionaries when they stand in a file."""
        return TEXTS

    def _unreadable(self, what: str) -> CelesError:
        return IntegrityError(what)

    def path(self, file: LakeFile) -> str:
        """The whole path of a file, for messages."""
        return open_storage(self.root).uri(file.name)

    def failure(self, file: LakeFile, error: Exception) -> CelesError:
        """The error of ours for one that Arrow, or a file system, raised in reading a file."""
        failure = read_failure(error)
        if failure is not None and failure.kind == "gone":
            return self._gone(file)
        if failure is not None:
            return StorageError(f"{self.path(file)}: reading failed: {failure.why}; run it again")
        why = " ".join(str(error).split())
        return self._unreadable(f"{self.path(file)} cannot be read as Parquet: {why}")

    def _open(self, file: LakeFile) -> BinaryIO:
        storage = open_storage(self.root)
        try:
            return storage.open(file.name)
        except StorageError as error:
            if storage.exists(file.name):
                raise
            raise self._gone(file) from error

    def _parquet(
        self, opened: BinaryIO, file: LakeFile, as_dictionary: Sequence[str] = ()
    ) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(
                opened,
                read_dictionary=list(as_dictionary),
                # Nanoseconds, which are the default, wrap around before 1677 and after 2262.
                coerce_int96_timestamp_unit="us",
                # From a bucket one large request is faster than many small ones.
                pre_buffer=self.root.startswith(GCS_SCHEME),
            )
        except (pa.ArrowException, *READ_ERRORS) as error:
            raise self.failure(file, error) from error

    def _batches(
        self, parquet: pq.ParquetFile, piece: Piece, columns: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        try:
            yield from parquet.iter_batches(
                BATCH_ROWS, row_groups=list(piece.groups), columns=list(columns), use_threads=False
            )
        except (pa.ArrowException, *READ_ERRORS) as error:
            raise self.failure(piece.file, error) from error

    def _gone(self, file: LakeFile) -> StorageError:
        return StorageError(
            f"{self.path(file)} is gone: it was replaced since this run began to read; run again"
        )


def repeat(value: pa.Array, rows: int) -> pa.Array:
    """The value of an array of one, ``rows`` times; a text as a dictionary."""
    if not pa.types.is_string(value.type):
        return pa.repeat(value[0], rows)
    return pa.DictionaryArray.from_arrays(_zeros(rows), value, safe=False)


@lru_cache(4)
def _zeros(rows: int) -> pa.Array:
    # Most batches of a file are as long as each other.
    return pa.array(np.zeros(rows, np.int32))


def _plain(kind: pa.DataType | None) -> pa.DataType | None:
    return kind.value_type if kind is not None and pa.types.is_dictionary(kind) else kind

"""Files of a generated data set on a local disk: CSV or Parquet shards, or parts of a CSV file."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from celes_beam.contract import COLUMN_NAMES, REASONS
from celes_beam.errors import StorageError
from celes_beam.sales.breakage import (
    TYPED_KINDS,
    Kinds,
    break_csv,
    break_texts,
    count_by_reason,
    plan_breakage,
)
from celes_beam.sales.encode_csv import HEADER
from celes_beam.sales.generate import Generator
from celes_beam.stores.lake.parquet_writer import parquet_settings
from celes_beam.stores.work_folder import hidden_beside

Format = Literal["csv", "parquet"]
FORMATS: tuple[Format, ...] = ("csv", "parquet")

_CSV_ROWS = 131_072
_PARQUET_ROWS = 262_144
_COPY_BYTES = 262_144


@dataclass(frozen=True)
class Shard:
    """Rows ``first_row`` to ``first_row + rows - 1`` and the file they go to."""

    path: str
    first_row: int
    rows: int
    header: bool = True


@dataclass(frozen=True)
class ShardWritten:
    """A finished file: its path, rows and bytes, and how many rows of it are broken, by reason."""

    path: str
    rows: int
    bytes: int
    planted: dict[str, int]


def plan_shards(folder: str, rows: int, shards: int, format: Format) -> list[Shard]:
    """Divide rows evenly among files ``ventas-00000-of-00010.csv`` of a folder; at least one."""
    return [
        Shard(str(Path(folder) / f"ventas-{i:05}-of-{shards:05}.{format}"), first, last - first)
        for i, (first, last) in enumerate(_even_ranges(rows, shards))
    ]


def plan_parts(folder: str, rows: int, parts: int) -> list[Shard]:
    """Divide rows evenly among the parts of one CSV file; only the first has a header."""
    return [
        Shard(str(Path(folder) / f"part-{i:05}.csv"), first, last - first, header=i == 0)
        for i, (first, last) in enumerate(_even_ranges(rows, parts))
    ]


def write_shard(
    generator: Generator,
    shard: Shard,
    format: Format,
    error_rate: float = 0.0,
    *,
    on_rows: Callable[[int], object] = lambda rows: None,
) -> ShardWritten:
    """Write one file in bounded memory; it appears whole, under its name, or not at all.

    A Parquet file with broken rows has text columns only. ``on_rows`` is told of rows as they are
    written. Raises ``StorageError`` naming the file when the disk refuses.
    """
    write = _write_csv if format == "csv" else _write_parquet
    with appearing(Path(shard.path)) as file:
        planted: Counter[str] = Counter()
        for rows, kinds in write(file, generator, shard, error_rate):
            planted.update(count_by_reason(kinds))
            on_rows(rows)
        size = file.tell()
    return ShardWritten(shard.path, shard.rows, size, _in_order(planted))


def concatenate(parts: Sequence[str], target: str) -> int:
    """Make one file of parts, in their order, deleting each once it is copied; return its bytes.

    Raises ``StorageError`` naming the file when the disk refuses.
    """
    with appearing(Path(target)) as whole:
        for part in parts:
            with Path(part).open("rb") as file:
                shutil.copyfileobj(file, whole, _COPY_BYTES)
            # One by one, so that the disk never has to hold all of it twice.
            Path(part).unlink()
        return whole.tell()


def total_planted(written: Iterable[ShardWritten]) -> dict[str, int]:
    """How many rows of all the files are broken, by reason."""
    total: Counter[str] = Counter()
    for shard in written:
        total.update(shard.planted)
    return _in_order(total)


def _in_order(planted: Counter[str]) -> dict[str, int]:
    return {str(reason): planted[reason] for reason in REASONS if planted[reason]}


def _even_ranges(rows: int, count: int) -> Iterator[tuple[int, int]]:
    for i in range(count):
        yield rows * i // count, rows * (i + 1) // count


def _chunks(shard: Shard, chunk_rows: int) -> Iterator[tuple[int, int]]:
    for start in range(0, shard.rows, chunk_rows):
        yield shard.first_row + start, min(chunk_rows, shard.rows - start)


def _write_csv(
    file: IO[bytes], generator: Generator, shard: Shard, error_rate: float
) -> Iterator[tuple[int, Kinds]]:
    if shard.header:
        file.write(HEADER)
    for first_row, rows in _chunks(shard, _CSV_ROWS):
        columns = generator.columns(first_row, rows)
        indexes, kinds = plan_breakage(generator.config.seed, first_row, rows, error_rate)
        file.write(break_csv(columns, indexes, kinds))
        yield rows, kinds


def _write_parquet(
    file: IO[bytes], generator: Generator, shard: Shard, error_rate: float
) -> Iterator[tuple[int, Kinds]]:
    # No texts to break still make text columns, so that all files of a data set are alike.
    as_texts = error_rate > 0
    schema = pa.schema(
        [
            pa.field(name, pa.string()) if as_texts else pa.field(name, array.type, nullable=False)
            for name, array in generator.columns(0, 0).items()
        ]
    )
    settings = (
        {"compression": "zstd", "compression_level": 1}
        if as_texts
        else parquet_settings(COLUMN_NAMES, days_only=True)
    )
    with pq.ParquetWriter(pa.PythonFile(file, "w"), schema, **settings) as writer:
        for first_row, rows in _chunks(shard, _PARQUET_ROWS):
            columns = generator.columns(first_row, rows)
            seed = generator.config.seed
            indexes, kinds = plan_breakage(seed, first_row, rows, error_rate, TYPED_KINDS)
            if as_texts:
                columns = break_texts(columns, indexes, kinds)
            writer.write_batch(pa.record_batch(list(columns.values()), schema=schema), rows)
            yield rows, kinds


@contextmanager
def appearing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes its name once it is whole; nothing is left of one that failed."""
    hidden = hidden_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with hidden.open("xb") as file:
            yield file
        hidden.replace(path)
    except OSError as error:
        raise StorageError(
            f"{path} could not be written: {error.strerror or error}; "
            "free some room, or choose another --output (for gs://, another TMPDIR)"
        ) from error
    finally:
        # Gone already, unless something failed; and that failure is the one to tell of.
        with suppress(OSError):
            hidden.unlink()

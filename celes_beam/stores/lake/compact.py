"""Compaction: merge the small files of each partition, by the same commit protocol."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from itertools import chain
from pathlib import PurePosixPath
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from celes_beam.contract import CATEGORY, DATE, REGION
from celes_beam.errors import IntegrityError, LakeConflictError, StorageError, UsageError
from celes_beam.stores.lake.attempt import give_up
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.loads import LOADS, unloaded_paths
from celes_beam.stores.lake.local_files import storage_errors
from celes_beam.stores.lake.manifest import STAGED, DataFile, Manifest
from celes_beam.stores.lake.measure import (
    Content,
    batches,
    check_bytes,
    checksum,
    content,
    open_parquet,
)
from celes_beam.stores.lake.parquet_writer import parquet_settings
from celes_beam.stores.lake.snapshot import Snapshot
from celes_beam.stores.lake.storage import Storage

_LOGGER = logging.getLogger(__name__)
ROW_GROUP_ROWS = 1_048_576
"""Small row groups are merged up to about this many rows (32 bytes each in memory)."""
_MOST_THREADS = 4
_DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Merge:
    """Files of one partition that become one file."""

    sources: tuple[DataFile, ...]


def plan_merges(files: Sequence[DataFile], target_bytes: int) -> list[Merge]:
    """Decide what to merge: small files of a partition, in order, up to about ``target_bytes``.

    A file is small when it has at most half of the target, so nothing is merged twice in vain and
    a merged file has at most one and a half times the target.
    """
    by_folder: dict[str, list[DataFile]] = {}
    for file in files:
        if file.bytes <= target_bytes / 2:
            by_folder.setdefault(str(PurePosixPath(file.path).parent), []).append(file)
    merges = []
    for small in by_folder.values():
        group: list[DataFile] = []
        size = 0
        for file in small:
            group.append(file)
            size += file.bytes
            if size >= target_bytes:
                merges.append(Merge(tuple(group)))
                group, size = [], 0
        merges.append(Merge(tuple(group)))
    return [m for m in merges if len(m.sources) > 1]


def compact(lake: Lake, *, target_bytes: int, run_id: str | None = None) -> Manifest | None:
    """Merge small files and commit; None when there is nothing to merge.

    Raises ``IntegrityError`` when a file to merge is not the one committed, or rows, sums or dates
    differ between the files merged and the merged file (nothing is committed), and
    ``LakeConflictError`` when another commit that retires files goes ahead meanwhile, or files come
    to wait to be loaded into a table.
    """
    if target_bytes <= 0:
        raise UsageError(f"target of {target_bytes} bytes: expected more than 0")
    started, clock = datetime.now(UTC), time.monotonic()
    run_id = run_id or f"compact-{started:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
    done = lake.prepare(run_id=run_id, if_exists="append")
    if done is not None or not plan_merges(lake.snapshot().files, target_bytes):
        return done
    staging = lake.staging(run_id)
    try:
        epoch, snapshot = lake.claim(run_id)
        merges = _plan(lake, snapshot, target_bytes)
        if not merges:
            lake.discard(staging)
            return None
        files = _merge_all(lake, merges, staging, run_id)
        _check_none_waits(lake, merges, run_id)
        newest = _newest_with_files(snapshot)
        return lake.commit(
            Manifest(
                run_id=run_id,
                kind="compact",
                started_at=started.isoformat(),
                staging=staging,
                partition_by=newest.partition_by,
                files=files,
                schema_hash=newest.schema_hash,
                rules_version=newest.rules_version,
                seconds=round(time.monotonic() - clock, 3),
                epoch=epoch,
                retired=tuple(f.path for m in merges for f in m.sources),
            )
        )
    except BaseException as error:
        give_up(lake, run_id, staging, error)
        raise


def _plan(lake: Lake, snapshot: Snapshot, target_bytes: int) -> list[Merge]:
    """What to merge, but for files that a table is still to be loaded from."""
    waiting = unloaded_paths(lake)
    kept = [f for f in snapshot.files if f.path in waiting]
    if kept:
        _LOGGER.info(
            "%s files are left as they are, for they wait to be loaded into BigQuery: 'celes-beam "
            "lake load %s --bigquery_table …' loads them; the folders in %s/%s name the tables",
            f"{len(kept):,}",
            lake.storage.root,
            lake.storage.root,
            LOADS,
        )
    return plan_merges([f for f in snapshot.files if f.path not in waiting], target_bytes)


def _check_none_waits(lake: Lake, merges: Sequence[Merge], run_id: str) -> None:
    """Merging takes long, and a table may have been registered meanwhile.

    Were files merged of which it has some and lacks others, it could never be told what it has.
    """
    waiting = unloaded_paths(lake).intersection(f.path for m in merges for f in m.sources)
    if waiting:
        raise LakeConflictError(
            f"while {run_id} merged files a table was given to {lake.storage.root}, into which "
            f"{len(waiting)} of them wait to be loaded: nothing was merged, run again"
        )


def _merge_all(
    lake: Lake, merges: Sequence[Merge], staging: str, run_id: str
) -> tuple[DataFile, ...]:
    one = partial(merge, lake.storage, staging=staging)
    try:
        with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
            return tuple(pool.map(one, merges))
    except (StorageError, IntegrityError) as error:
        # A commit that superseded us may have deleted the files we were reading.
        lake.check_not_superseded(run_id)
        if isinstance(error, IntegrityError):
            raise IntegrityError(
                f"{error}; nothing was merged: 'celes-beam lake verify {lake.storage.root}' names "
                "all files that are damaged"
            ) from error
        raise


def merge(storage: Storage, merge: Merge, *, staging: str) -> DataFile:
    """Stream the row groups of some files into one staged file, and compare rows, sum and dates.

    Raises ``IntegrityError`` when they differ, or the files do not have one schema.
    """
    first = merge.sources[0]
    path = str(PurePosixPath(first.path).with_name(f"part-{uuid.uuid4().hex}.parquet"))
    staged_name = path + STAGED
    area = storage.staging_area(staging)
    written = area.path(staged_name)
    try:
        with storage_errors("write", written), written.open("wb") as sink:
            _write(sink, _read(storage, merge.sources))
        with storage_errors("read", written), written.open("rb") as file:
            after = content(file, staged_name)
            file.seek(0)
            size, crc32c = checksum(file)
    except BaseException:
        area.abandon(staged_name)
        raise
    before = _described(merge.sources)
    if before != after:
        area.abandon(staged_name)
        raise IntegrityError(
            f"the {len(merge.sources)} files merged into {path} were committed with {before}, but "
            f"hold {after}"
        )
    area.deliver(staged_name, size=size, crc32c=crc32c)
    return DataFile(
        path=path,
        staged=staged_name,
        partition=first.partition,
        rows=after.rows,
        bytes=size,
        crc32c=crc32c,
        total=str(after.total),
        min_date=after.min_date.isoformat() if after.min_date else None,
        max_date=after.max_date.isoformat() if after.max_date else None,
    )


def _read(storage: Storage, sources: Sequence[DataFile]) -> Iterator[pa.Table]:
    """Row groups to be: tables of about ``ROW_GROUP_ROWS`` rows, all of one schema."""
    schema: pa.Schema | None = None
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for source in sources:
        with storage.open(source.path) as file:
            # What is damaged must not get a new checksum that says it is right.
            check_bytes(file, source.path, size=source.bytes, crc32c=source.crc32c)
            texts = [name for name in (CATEGORY, REGION) if name not in source.partition]
            parquet = open_parquet(file, source.path, read_dictionary=texts)
            schema = schema or parquet.schema_arrow
            if not parquet.schema_arrow.equals(schema):
                raise IntegrityError(
                    f"{source.path} has not the schema of {sources[0].path}: they cannot be merged"
                )
            for batch in batches(parquet, source.path):
                waiting.append(batch)
                rows += batch.num_rows
                if rows >= ROW_GROUP_ROWS:
                    yield _row_group(waiting, schema)
                    waiting, rows = [], 0
    if waiting:
        yield _row_group(waiting, schema)


def _row_group(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    # Where dictionaries differ within a row group, the writer gives up on dictionaries.
    return pa.Table.from_batches(batches, schema).unify_dictionaries()


def _write(sink: BinaryIO, tables: Iterator[pa.Table]) -> None:
    first = next(tables)
    settings = parquet_settings(first.column_names, days_only=_days_only(first))
    with pq.ParquetWriter(sink, first.schema, **settings) as writer:
        for table in chain([first], tables):
            writer.write_table(table, row_group_size=table.num_rows)


def _days_only(table: pa.Table) -> bool:
    micros = pc.cast(table.column(DATE), pa.int64())
    whole = pc.multiply(pc.divide(micros, _DAY_US), _DAY_US)
    return bool(pc.all(pc.equal(whole, micros), min_count=0).as_py())


def _described(files: Sequence[DataFile]) -> Content:
    dates = [datetime.fromisoformat(d) for f in files for d in (f.min_date, f.max_date) if d]
    return Content(
        rows=sum(f.rows for f in files),
        total=sum((Decimal(f.total) for f in files), Decimal("0.00")),
        min_date=min(dates, default=None),
        max_date=max(dates, default=None),
    )


def _newest_with_files(snapshot: Snapshot) -> Manifest:
    return next(m for m in reversed(snapshot.runs) if m.files)

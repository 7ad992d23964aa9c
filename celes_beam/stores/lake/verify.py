"""Verification: read every file of a lake again and compare it with the commit that made it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial

import pyarrow as pa

from celes_beam.contract import REJECTED_SCHEMA, SCHEMA
from celes_beam.errors import IntegrityError, StorageError
from celes_beam.sales.partition import DAY, MONTH, YEAR, parse_hive_path
from celes_beam.stores.lake.commit import STAGING
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import (
    DataFile,
    RejectedFile,
    ReplayedFile,
    count_problems,
    retired_paths,
)
from celes_beam.stores.lake.measure import check_bytes, content, open_parquet
from celes_beam.stores.lake.replayed import LIST_SCHEMA
from celes_beam.stores.lake.storage import Storage

AnyFile = DataFile | RejectedFile | ReplayedFile

_MOST_STRANGERS = 20
_MOST_THREADS = 4


@dataclass(frozen=True)
class Verification:
    """What was checked, what is wrong, and what is worth knowing (one line each).

    ``unread`` are the files of which nothing is known, because a disk or a bucket failed.
    """

    files: int
    rows: int
    bytes: int
    rejected_rows: int
    problems: tuple[str, ...]
    unread: tuple[str, ...]
    notes: tuple[str, ...]


def verify(lake: Lake) -> Verification:
    """Check that the lake holds what its commits say, and nothing else that readers would see.

    Of each live file: that it is there, its bytes, checksum, schema, rows, sum of amounts, dates,
    and partition. Of each file of rejected rows, and of the list of replayed ones: bytes, checksum,
    schema, rows. Of each commit: that rows read = accepted + rejected. Commits that were cut short
    are finished first.
    """
    unread: dict[str, str] = {}

    def look(problems_of: Callable[..., list[str]], file: AnyFile, *more: object) -> list[str]:
        try:
            return problems_of(lake.storage, file, *more)
        except StorageError as error:
            unread[file.path] = str(error)
            return []

    snapshot = lake.snapshot()
    partition_by = {f.path: m.partition_by for m in snapshot.runs for f in m.files}
    rejected = [f for m in snapshot.runs for f in m.rejected_files]
    replayed = [f for m in snapshot.runs if m.replayed for f in m.replayed.files]
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        columns = [partition_by[f.path] for f in snapshot.files]
        found = list(pool.map(partial(look, _data_problems), snapshot.files, columns))
        of_rejected = list(pool.map(partial(look, _rejected_problems), rejected))
    # A commit may have retired files while we were reading them.
    live = {f.path for f in lake.snapshot().files}
    retired = {f.path for f in snapshot.files} - live
    problems = [
        problem
        for file, lines in zip(snapshot.files, found, strict=True)
        if file.path not in retired
        for problem in lines
    ]
    problems += [p for lines in of_rejected for p in lines]
    for file in replayed:
        problems += look(_file_problems, file, LIST_SCHEMA)
    problems += [f"commit {m.run_id}: {p}" for m in snapshot.runs for p in count_problems(m)]
    problems += [
        f"commit {m.run_id} retires {path}, but the commit that added it is gone"
        for m in snapshot.runs
        for path in m.retired
        if path not in partition_by
    ]
    added = Counter(f.path for m in snapshot.runs for f in m.files)
    added.update(f.path for f in rejected)
    added.update(f.path for f in replayed)
    problems += [f"{path} is in {n} commits" for path, n in added.items() if n > 1]
    problems += _stray_problems(lake)
    problems += lake.index_problems()
    return Verification(
        files=len(snapshot.files),
        rows=snapshot.rows,
        bytes=snapshot.bytes,
        rejected_rows=sum(f.rows for f in rejected),
        problems=tuple(problems),
        unread=tuple(why for path, why in unread.items() if path not in retired),
        notes=tuple(_staging_notes(lake.storage)),
    )


def _data_problems(storage: Storage, file: DataFile, partition_by: tuple[str, ...]) -> list[str]:
    names = set(partition_by)
    schema = pa.schema([field for field in SCHEMA if field.name not in names])
    problems = _file_problems(storage, file, schema) or _content_problems(storage, file)
    return problems + [f"{file.path}: {p}" for p in _partition_problems(file, partition_by)]


def _rejected_problems(storage: Storage, file: RejectedFile) -> list[str]:
    return _file_problems(storage, file, REJECTED_SCHEMA)


def _file_problems(storage: Storage, file: AnyFile, schema: pa.Schema) -> list[str]:
    """What is wrong with a file as a file; when nothing is, its content can be looked at."""
    if not storage.exists(file.path):
        return [f"{file.path}: the file is gone"]
    try:
        with storage.open(file.path) as opened:
            check_bytes(opened, file.path, size=file.bytes, crc32c=file.crc32c)
            parquet = open_parquet(opened, file.path)
            rows, found = parquet.metadata.num_rows, parquet.schema_arrow
    except IntegrityError as error:
        return [str(error)]
    problems = []
    if rows != file.rows:
        problems.append(f"{file.path}: {rows:,} rows, but {file.rows:,} were committed")
    if not found.equals(schema):
        problems.append(f"{file.path}: columns {_describe(found)}; expected {_describe(schema)}")
    return problems


def _content_problems(storage: Storage, file: DataFile) -> list[str]:
    try:
        with storage.open(file.path) as opened:
            found = content(opened, file.path)
    except IntegrityError as error:
        return [str(error)]
    pairs = {
        "rows": (found.rows, file.rows),
        "the sum of amounts": (found.total, Decimal(file.total)),
        "the first date": (found.min_date, _date(file.min_date)),
        "the last date": (found.max_date, _date(file.max_date)),
    }
    return [
        f"{file.path}: {what} is {is_}, but {was} was committed"
        for what, (is_, was) in pairs.items()
        if is_ != was
    ]


def _partition_problems(file: DataFile, partition_by: tuple[str, ...]) -> Iterator[str]:
    in_path = parse_hive_path(file.path)
    if in_path != file.partition or tuple(file.partition) != partition_by:
        yield (
            f"its path says {in_path}, its commit {file.partition}, "
            f"partitioned by {','.join(partition_by) or 'none'}"
        )
    for name in {DAY, MONTH, YEAR} & set(file.partition):
        value = file.partition[name]
        for moment in (file.min_date, file.max_date):
            # 2024-05-03T…, 2024-05 and 2024 are beginnings of the same date.
            if moment and not moment.startswith(value):
                yield f"{name}={value} holds a sale of {moment}"


def _stray_problems(lake: Lake) -> Iterator[str]:
    for stranger in lake.strangers(_MOST_STRANGERS):
        yield f"{stranger.name}: no commit made this file, but readers see it: move it away"
    runs = lake.snapshot().runs
    retired = retired_paths(runs)
    for file in lake.storage.list(hidden=False):
        if file.name in retired:
            yield f"{file.name}: a commit retired this file, but it is there: delete it"


def _staging_notes(storage: Storage) -> Iterator[str]:
    sizes: dict[str, list[int]] = {}
    for file in storage.list(STAGING):
        sizes.setdefault(file.name.split("/")[1], []).append(file.size)
    for run_id, staged in sizes.items():
        yield (
            f"run {run_id} is going on, or was cut off: {len(staged)} files of {sum(staged):,} "
            "bytes are staged, invisible to readers, and swept a day after their last change"
        )


def _date(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _describe(schema: pa.Schema) -> str:
    return ", ".join(
        f"{field.name}: {field.type}{'' if field.nullable else ' not null'}" for field in schema
    )

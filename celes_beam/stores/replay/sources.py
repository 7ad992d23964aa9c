"""Where rejected rows rest: in a lake, or in a table of BigQuery."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from celes_beam.contract import REJECTED_SCHEMA
from celes_beam.errors import ConfigError, InputError, IntegrityError
from celes_beam.sales.records import Mask
from celes_beam.stores.cloud.clients import (
    GCS_SCHEME,
    bigquery_client,
    bigquery_retry,
    pubsub_is_emulated,
)
from celes_beam.stores.cloud.failures import cloud_errors
from celes_beam.stores.lake.commit import CommitLog
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import Manifest, RejectedFile
from celes_beam.stores.lake.measure import open_parquet
from celes_beam.stores.replay.headers import Headers
from celes_beam.stores.replay.selection import Chooser, Fates, Selection
from celes_beam.stores.warehouse.table_name import REJECTED_SUFFIX, TableName, parse_table_name

_BATCH_ROWS = 4096
"""A raw may have 64 KiB, so that a batch has at most 256 MiB, and mostly less than one."""
_NEEDS = "roles/bigquery.dataViewer and roles/bigquery.jobUser"
_READ_AHEAD = 1 << 20
_SUBSCRIPTION = "/subscriptions/"


RejectedNow = Mapping[tuple[str, int], Mapping[str, Any]]
"""Rows that were rejected again, by source and position."""


@dataclass(frozen=True, eq=False)
class Found:
    """Some rejected rows (``contract.REJECTED_SCHEMA``).

    ``whole`` says of which the raw bytes are whole, where their source knows; ``token`` is by what
    it knows them again.
    """

    rejected: pa.RecordBatch
    whole: Mask | None = None
    token: Any = None


class RejectedRows(Protocol):
    """Rejected rows that can be looked through."""

    @property
    def name(self) -> str:
        """What it is called in messages and manifests."""
        ...

    def check(self) -> None:
        """Raise ``UsageError`` when it is not there."""
        ...

    def passed_over(self) -> int:
        """How many rows it holds that it does not give, unless they are asked for by run."""
        ...

    def found(self) -> Iterator[Found]:
        """Its rows, some at a time, in bounded memory.

        Raises ``StorageError`` or ``UsageError`` when it cannot be read.
        """
        ...

    def tell(self, found: Found, fates: Fates) -> None:
        """Hear what is to become of the rows that it gave last."""
        ...

    def send_again(self, topic: str, rejected: RejectedNow) -> int:
        """Write rows that were rejected again to a dead-letter topic; returns how many."""
        ...

    def settle(self) -> None:
        """Let go of the rows, now that it is decided what became of them."""
        ...

    def close(self) -> None:
        """Let go of the rows as they were, but for those that are settled."""
        ...


class _AtRest:
    """Rows that stay where they are, whatever becomes of them."""

    def passed_over(self) -> int:
        """None."""
        return 0

    def tell(self, found: Found, fates: Fates) -> None:
        """Nothing."""

    def send_again(self, topic: str, rejected: RejectedNow) -> int:
        """Nothing: they came from no topic."""
        return 0

    def settle(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def is_subscription(source: str) -> bool:
    """Whether a source is a subscription of Pub/Sub."""
    return source.startswith("projects/") and _SUBSCRIPTION in source


def is_bare_subscription(source: str) -> bool:
    """Whether a source is the name of a subscription of the local Pub/Sub, and no file's."""
    is_bare = not any(mark in source for mark in "/:.")
    return is_bare and pubsub_is_emulated() and not Path(source).exists()


def is_table(source: str) -> bool:
    """Whether a source is a table of BigQuery; a folder that is there is none."""
    if source.startswith(GCS_SCHEME) or Path(source).exists():
        return False
    try:
        parse_table_name(source)
    except ConfigError:
        return False
    return True


def open_rows(source: str, runs: Sequence[str], selection: Selection) -> RejectedRows:
    """The rejected rows that a lake or a table holds.

    Raises ``ConfigError`` for one that is neither, or that cannot tell runs when ``runs`` are asked
    for, and ``InputError`` for a lake that is not there or lacks one of them.
    """
    if is_table(source):
        if runs:
            raise ConfigError(
                f"--run {runs[0]}: a table does not tell which run rejected a row; replay from the "
                "lake, or choose by time with --since and --until"
            )
        return TableRows(parse_table_name(source), selection)
    return LakeRows(source, tuple(runs))


@dataclass(frozen=True)
class LakeRows(_AtRest):
    """The files of rejected rows of a lake's decided commits.

    ``runs`` are those to read; without, all but those whose rows an overwrite has replaced: it has
    read their inputs again, or done without them.
    """

    root: str
    runs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The folder of the lake."""
        return self.root

    def check(self) -> None:
        """Raise ``InputError`` when there is no such lake, or it lacks a run."""
        self._manifests(Lake.open(self.root))

    def found(self) -> Iterator[Found]:
        """The rows of each file, in the order of the commits."""
        lake = Lake.open(self.root)
        for manifest in self._manifests(lake)[0]:
            for file in manifest.rejected_files:
                for batch in _read(lake, manifest, file):
                    yield Found(batch)

    def passed_over(self) -> int:
        """Those of commits that an overwrite has replaced."""
        read, there = self._manifests(Lake.open(self.root))
        return (
            0
            if self.runs
            else sum(m.rows_rejected for m in there) - sum(m.rows_rejected for m in read)
        )

    def _manifests(self, lake: Lake) -> tuple[Sequence[Manifest], Sequence[Manifest]]:
        """The commits that are to be read, and all."""
        manifests = CommitLog(lake.storage).load().manifests
        if not manifests:
            raise InputError(
                f"--from {self.root}: no lake is there: give the folder of one, a table as "
                "PROJECT:DATASET.TABLE, or projects/PROJECT/subscriptions/NAME"
            )
        there = {m.run_id for m in manifests}
        for run_id in self.runs:
            if run_id not in there:
                raise InputError(
                    f"--run {run_id}: {self.root} has no such commit; its commits are shown by "
                    f"celes-beam lake ls {self.root}"
                )
        if self.runs:
            return [m for m in manifests if m.run_id in self.runs], manifests
        replaced = {run_id for m in manifests for run_id in m.replaces}
        return [m for m in manifests if m.run_id not in replaced], manifests


def _read(lake: Lake, manifest: Manifest, file: RejectedFile) -> Iterator[pa.RecordBatch]:
    """Read a file of rejected rows; it may not be in its place yet."""
    storage = lake.storage
    staged = f"{manifest.staging}/{file.staged}"
    name = file.path if storage.exists(file.path) or not storage.exists(staged) else staged
    with storage.open(name) as opened:
        parquet = open_parquet(opened, file.path, pre_buffer=False, buffer_size=_READ_AHEAD)
        try:
            yield from parquet.iter_batches(_BATCH_ROWS, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise IntegrityError(
                f"{file.path} cannot be read as Parquet: {' '.join(str(error).split())}; see what "
                f"else is wrong with celes-beam lake verify {lake.storage.root}"
            ) from error


@dataclass(frozen=True)
class TableRows(_AtRest):
    """The table of rejected rows that ``table`` is, or that stands beside it."""

    table: TableName
    selection: Selection

    @property
    def name(self) -> str:
        """The name of the table of rejected rows."""
        return str(self._rejected)

    @property
    def _rejected(self) -> TableName:
        is_it = self.table.table.endswith(REJECTED_SUFFIX)
        return self.table if is_it else self.table.rejected

    def check(self) -> None:
        """Raise ``UsageError`` when there is no such table, or it is closed to us."""
        table = self._rejected
        client = bigquery_client(table.project)
        with cloud_errors("read", f"table {table}", needs=_NEEDS):
            client.get_table(table.path, retry=bigquery_retry())

    def found(self) -> Iterator[Found]:
        """Its rows, a page of a query's result at a time."""
        table = self._rejected
        client = bigquery_client(table.project)
        with cloud_errors("read", f"table {table}", needs=_NEEDS):
            # By a query, of which partitions are pruned; of the rest we are the judge.
            job = client.query(self._query(), retry=bigquery_retry(), job_retry=None)
            rows = job.result(page_size=_BATCH_ROWS, retry=bigquery_retry())
            for batch in rows.to_arrow_iterable():
                yield Found(_as_rejected(batch, table))

    def _query(self) -> str:
        columns = ", ".join(f"`{name}`" for name in REJECTED_SCHEMA.names)
        bounds = [
            f"rejected_at {sign} TIMESTAMP '{_timestamp(at)}'"
            for sign, at in ((">=", self.selection.since), ("<", self.selection.until))
            if at is not None
        ]
        where = f" WHERE {' AND '.join(bounds)}" if bounds else ""
        return f"SELECT {columns} FROM `{self._rejected.path}`{where}"


def _timestamp(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00:00"


def _as_rejected(batch: pa.RecordBatch, table: TableName) -> pa.RecordBatch:
    arrays = [batch.column(field.name).cast(field.type) for field in REJECTED_SCHEMA]
    for field, array in zip(REJECTED_SCHEMA, arrays, strict=True):
        if array.null_count and not field.nullable:
            raise IntegrityError(
                f"{table}: column {field.name} holds nulls, which no row of ours has: something "
                "else wrote there; delete those rows, or replay from the lake"
            )
    return pa.RecordBatch.from_arrays(arrays, schema=REJECTED_SCHEMA)


def take(rows: RejectedRows, chooser: Chooser, headers: Headers) -> Iterator[pa.RecordBatch]:
    """Look through rejected rows, and yield those that are to be replayed; finds their headers."""
    chooser.tally.replaced += rows.passed_over()
    for found in rows.found():
        fates = chooser.choose(found.rejected, found.whole)
        rows.tell(found, fates)
        if fates.chosen.any():
            chosen = found.rejected.filter(pa.array(fates.chosen))
            headers.look_at(chosen)
            yield chosen


def rejected_of(lake: Lake, manifest: Manifest) -> RejectedNow:
    """The rows that a commit rejected, all in memory."""
    return {
        (row["source"], row["position"]): row
        for file in manifest.rejected_files
        for batch in _read(lake, manifest, file)
        for row in batch.to_pylist()
    }

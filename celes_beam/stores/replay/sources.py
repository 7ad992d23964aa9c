"""Where rejected rows rest: in a lake, or in a table of BigQuery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Protocol

import pyarrow as pa

from celes_beam.contract import REJECTED_SCHEMA
from celes_beam.errors import ConfigError, IntegrityError, InputError
from celes_beam.stores.cloud.clients import GCS_SCHEME, bigquery_client, bigquery_retry
from celes_beam.stores.cloud.failures import cloud_errors
from celes_beam.stores.lake.commit import CommitLog
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import Manifest, RejectedFile
from celes_beam.stores.lake.measure import open_parquet
from celes_beam.stores.replay.selection import Selection
from celes_beam.stores.warehouse.table_name import REJECTED_SUFFIX, TableName, parse_table_name

_BATCH_ROWS = 4096
"""A raw may have 64 KiB, so that a batch has at most 256 MiB, and mostly less than one."""
_NEEDS = "roles/bigquery.dataViewer and roles/bigquery.jobUser"
_READ_AHEAD = 1 << 20
_SUBSCRIPTION = "/subscriptions/"


class RejectedRows(Protocol):
    """Rejected rows that can be looked through."""

    @property
    def name(self) -> str:
        """What it is called in messages and manifests."""
        ...

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Its rows, in batches of ``contract.REJECTED_SCHEMA`` and bounded memory.

        Raises ``StorageError`` or ``UsageError`` when it cannot be read.
        """
        ...


def is_subscription(source: str) -> bool:
    """Whether a source is a subscription of Pub/Sub."""
    return source.startswith("projects/") and _SUBSCRIPTION in source


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
class LakeRows:
    """The files of rejected rows of a lake's decided commits.

    ``runs`` are those to read; without, all but those whose rows an overwrite has replaced: it has
    read their inputs again, or done without them.
    """

    root: str
    runs: tuple[str, ...] = ()
    raws_are_whole: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The folder of the lake."""
        return self.root

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows of each file, in the order of the commits."""
        lake = Lake.open(self.root)
        for manifest in self._manifests(lake):
            for file in manifest.rejected_files:
                yield from _read(lake, manifest, file)

    def _manifests(self, lake: Lake) -> list[Manifest]:
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
        replaced = {run_id for m in manifests for run_id in m.replaces}
        return [
            m
            for m in manifests
            if (m.run_id in self.runs if self.runs else m.run_id not in replaced)
        ]


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
class TableRows:
    """The table of rejected rows that ``table`` is, or that stands beside it."""

    table: TableName
    selection: Selection
    raws_are_whole: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The name of the table of rejected rows."""
        return str(self._rejected)

    @property
    def _rejected(self) -> TableName:
        is_it = self.table.table.endswith(REJECTED_SUFFIX)
        return self.table if is_it else self.table.rejected

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Its rows, a page of a query's result at a time."""
        table = self._rejected
        client = bigquery_client(table.project)
        with cloud_errors("read", f"table {table}", needs=_NEEDS):
            # By a query, of which partitions are pruned; of the rest we are the judge.
            job = client.query(self._query(), retry=bigquery_retry(), job_retry=None)
            rows = job.result(page_size=_BATCH_ROWS, retry=bigquery_retry())
            for batch in rows.to_arrow_iterable():
                yield _as_rejected(batch, table)

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

"""Rejected rows at rest: Parquet files under ``_rejected/<run_id>/``, counted by first reason."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from celes_beam.contract import REASONS, REJECTED_SCHEMA
from celes_beam.stores.lake.manifest import REJECTED_FILE, STAGED, RejectedExample, RejectedFile
from celes_beam.stores.lake.measure import measure_file
from celes_beam.stores.lake.staging_area import StagingArea, write_failed

EXAMPLES_PER_REASON = 3
STAGED_FOLDER = "_rejected"
_ROW_GROUP_BYTES = 8 * 1024 * 1024
_MOST_BATCHES = 256
"""A batch takes some kilobytes, however few its rows are."""
ROWS_PER_FILE = 2_000_000
_EXAMPLE_CHARACTERS = 200


@dataclass(frozen=True)
class Rejections:
    """How many rows were rejected for each reason, and up to three examples of each.

    A row is counted under its first reason alone, so that the counts add up to the rows.
    """

    by_reason: dict[str, int] = field(default_factory=dict)
    examples: tuple[RejectedExample, ...] = ()

    @property
    def rows(self) -> int:
        """All rejected rows."""
        return sum(self.by_reason.values())

    def __add__(self, other: Rejections) -> Rejections:
        return merge_rejections((self, other))


def count_rejections(batch: pa.RecordBatch) -> Rejections:
    """Count a batch of rejected rows (``contract.REJECTED_SCHEMA``) by their first reason."""
    if not batch.num_rows:
        return Rejections()
    first = pc.list_element(batch.column("reasons"), 0)
    counts = {c["values"]: c["counts"] for c in pc.value_counts(first).to_pylist()}
    examples: list[RejectedExample] = []
    for reason in counts:
        where = pc.indices_nonzero(pc.equal(first, reason)).slice(0, EXAMPLES_PER_REASON)
        examples.extend(_example(reason, row) for row in batch.take(where).to_pylist())
    return Rejections(counts, tuple(examples))


def merge_rejections(parts: Iterable[Rejections]) -> Rejections:
    """Add counts, and keep the examples that stand first by source and position."""
    counts: Counter[str] = Counter()
    examples: list[RejectedExample] = []
    for part in parts:
        counts.update(part.by_reason)
        examples.extend(part.examples)
    examples.sort(key=lambda e: (e.source, e.position))
    kept = [
        example
        for reason in REASONS
        for example in [e for e in examples if e.reason == reason][:EXAMPLES_PER_REASON]
    ]
    return Rejections({r: counts[r] for r in REASONS if counts[r]}, tuple(kept))


def _example(reason: str, row: dict[str, object]) -> RejectedExample:
    raw = row["raw"]
    shown = row["value"]
    text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else ""
    return RejectedExample(
        reason=reason,
        source=str(row["source"]),
        position=int(str(row["position"])),
        column=None if row["column"] is None else str(row["column"]),
        value=None if shown is None else str(shown)[:_EXAMPLE_CHARACTERS],
        raw=text[:_EXAMPLE_CHARACTERS],
    )


class RejectsWriter:
    """Writes batches of rejected rows under ``_rejected`` of an area; no file without need.

    Raises ``StorageError`` naming the file when the disk refuses.
    """

    def __init__(self, area: StagingArea) -> None:
        self._area = area
        self._name = ""
        self._path = Path()
        self._writer: Any = None
        self._rows = 0
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        self._finished: list[RejectedFile] = []

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch of ``contract.REJECTED_SCHEMA``."""
        if not batch.num_rows:
            return
        try:
            if self._writer is None:
                name = f"part-{uuid.uuid4().hex}{REJECTED_FILE}"
                self._name = f"{STAGED_FOLDER}/{name}{STAGED}"
                self._path = self._area.path(self._name)
                self._writer = pq.ParquetWriter(
                    str(self._path), REJECTED_SCHEMA, compression="zstd", compression_level=1
                )
        except OSError as error:
            raise write_failed(self._path, error, self._area.remedy) from error
        # Of many small inputs each has few: a row group of each would be a file of metadata.
        self._waiting.append(batch)
        self._waiting_bytes += batch.nbytes
        self._rows += batch.num_rows
        if self._waiting_bytes >= _ROW_GROUP_BYTES or len(self._waiting) >= _MOST_BATCHES:
            self._write_waiting()
        if self._rows >= ROWS_PER_FILE:
            self._finish()

    def close(self) -> list[RejectedFile]:
        """Finish the last file and describe all."""
        if self._writer is not None:
            self._finish()
        return self._finished

    def abandon(self) -> None:
        """Let go of an unfinished file; staging is swept later."""
        if self._writer is not None:
            # A footer on a disk that just refused cannot be written either.
            with suppress(OSError, ValueError):
                self._writer.close()
            self._writer, self._waiting, self._waiting_bytes = None, [], 0
            self._area.abandon(self._name)

    def _write_waiting(self) -> None:
        try:
            self._writer.write_table(pa.Table.from_batches(self._waiting))
        except OSError as error:
            raise write_failed(self._path, error, self._area.remedy) from error
        self._waiting, self._waiting_bytes = [], 0

    def _finish(self) -> None:
        if self._waiting:
            self._write_waiting()
        try:
            self._writer.close()
            size, checksum = measure_file(self._path)
        except OSError as error:
            raise write_failed(self._path, error, self._area.remedy) from error
        self._area.deliver(self._name, size=size, crc32c=checksum)
        self._finished.append(
            RejectedFile(
                path=self._name.removeprefix(f"{STAGED_FOLDER}/").removesuffix(STAGED),
                staged=self._name,
                rows=self._rows,
                bytes=size,
                crc32c=checksum,
            )
        )
        self._writer, self._rows = None, 0

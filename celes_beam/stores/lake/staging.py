"""What a worker makes of its shards: staged files, rejected rows, and partial sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from celes_beam.errors import IntegrityError
from celes_beam.sales.aggregate import Sums, merge_sums, sum_batch
from celes_beam.sales.rejected import Checked
from celes_beam.stores.lake.manifest import DataFile, RejectedFile
from celes_beam.stores.lake.parquet_writer import Layout
from celes_beam.stores.lake.partitioned_writer import PartitionedWriter
from celes_beam.stores.lake.rejects import (
    Rejections,
    RejectsWriter,
    count_rejections,
    merge_rejections,
)
from celes_beam.stores.lake.staging_area import StagingArea


@dataclass(frozen=True)
class Trouble:
    """Why a file could not be read to its end; ``changed`` when it is not what it was any more."""

    path: str
    why: str
    changed: bool = False


@dataclass(frozen=True)
class Staged:
    """Files that stand in staging, and the counts and sums of the rows in them.

    A description that crosses shuffles; adding two describes both. Paths are relative to the
    run's staging folder. ``by_source`` has rows read and rows accepted of each input.
    ``troubles`` are of files that are not to be taken in, though rows of them may be staged.
    """

    rows_read: int = 0
    files: tuple[DataFile, ...] = ()
    rejected_files: tuple[RejectedFile, ...] = ()
    rejections: Rejections = field(default_factory=Rejections)
    sums: Sums = field(default_factory=Sums)
    by_source: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    troubles: tuple[Trouble, ...] = ()

    @property
    def rows_accepted(self) -> int:
        """Rows that were accepted, by the aggregates."""
        return self.sums.whole.rows

    def reconcile(self) -> None:
        """Raise ``IntegrityError`` unless rows read, accepted, rejected and written agree."""
        accepted, rejected = self.rows_accepted, self.rejections.rows
        written = sum(f.rows for f in self.files)
        kept = sum(f.rows for f in self.rejected_files)
        if self.rows_read != accepted + rejected or accepted != written or rejected != kept:
            raise IntegrityError(
                f"rows do not reconcile: {self.rows_read:,} read, {accepted:,} accepted "
                f"({written:,} written), {rejected:,} rejected ({kept:,} written); nothing was "
                "committed: report this as a bug, with the input"
            )


def merge_staged(parts: Iterable[Staged]) -> Staged:
    """Add descriptions of staged files."""
    all_parts = list(parts)
    return Staged(
        rows_read=sum(p.rows_read for p in all_parts),
        files=tuple(f for p in all_parts for f in p.files),
        rejected_files=tuple(f for p in all_parts for f in p.rejected_files),
        rejections=merge_rejections(p.rejections for p in all_parts),
        sums=merge_sums(p.sums for p in all_parts),
        by_source=_merge_sources(p.by_source for p in all_parts),
        troubles=tuple(t for p in all_parts for t in p.troubles),
    )


def _merge_sources(parts: Iterable[Mapping[str, tuple[int, int]]]) -> dict[str, tuple[int, int]]:
    merged: dict[str, tuple[int, int]] = {}
    for part in parts:
        for source, (read, accepted) in part.items():
            before = merged.get(source, (0, 0))
            merged[source] = before[0] + read, before[1] + accepted
    return merged


class StagingWriter:
    """Stages checked rows: accepted ones by partition, rejected ones beside them, sums in passing.

    Not thread-safe: each thread has its own.
    """

    def __init__(self, area: StagingArea, layout: Layout) -> None:
        self._accepted = PartitionedWriter(area, layout)
        self._rejected = RejectsWriter(area)
        self._rows_read = 0
        self._rejections = Rejections()
        self._sums = Sums()
        self._by_source: dict[str, tuple[int, int]] = {}
        self._troubles: list[Trouble] = []

    def write(self, checked: Checked, source: str | None = None) -> None:
        """Take what a decoder yielded of an input (``None``: of no input)."""
        self._rows_read += checked.rows
        if source is not None:
            read, accepted = self._by_source.get(source, (0, 0))
            self._by_source[source] = read + checked.rows, accepted + checked.accepted.num_rows
        if checked.accepted.num_rows:
            self._accepted.write(checked.accepted)
            self._sums = self._sums + sum_batch(checked.accepted)
        if checked.rejected.num_rows:
            self._rejected.write(checked.rejected)
            self._rejections = self._rejections + count_rejections(checked.rejected)

    def note(self, trouble: Trouble) -> None:
        """Note that a file is not to be taken in."""
        self._troubles.append(trouble)

    def close(self) -> Staged:
        """Finish and deliver all files, and describe what was staged."""
        return Staged(
            rows_read=self._rows_read,
            files=tuple(self._accepted.close()),
            rejected_files=tuple(self._rejected.close()),
            rejections=self._rejections,
            sums=self._sums,
            by_source=self._by_source,
            troubles=tuple(self._troubles),
        )

    def abandon(self) -> None:
        """Let go of open files after a failure; nothing of them counts."""
        self._accepted.abandon()
        self._rejected.abandon()

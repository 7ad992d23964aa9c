"""Rejected rows that were chosen, gathered in files beside the attempt, for workers to judge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from celes_beam.errors import IntegrityError
from celes_beam.sales.rejected import Checked
from celes_beam.sales.replay import ReplayRules, replay
from celes_beam.stores.lake.measure import open_parquet
from celes_beam.stores.lake.rejects import RejectsWriter
from celes_beam.stores.lake.staging_area import StagingArea
from celes_beam.stores.lake.storage import open_storage

GATHERED = "_gathered"
_ROWS_PER_SHARD = 100_000
_BATCH_ROWS = 4096


@dataclass(frozen=True)
class GatheredShard:
    """One file of gathered rows; its name is relative to the lake."""

    name: str
    rows: int


@dataclass(frozen=True, eq=False)
class GatheredRows:
    """Reads gathered rows of the lake in ``root``, and judges them; a ``Source`` of ``Stage``."""

    root: str
    how: ReplayRules
    sets_aside: ClassVar[bool] = False

    def read(self, shard: GatheredShard) -> Iterator[Checked]:
        """What became of the rows of a shard."""
        left = shard.rows
        with open_storage(self.root).open(shard.name) as opened:
            for batch in open_parquet(opened, shard.name).iter_batches(
                _BATCH_ROWS, use_threads=False
            ):
                left -= batch.num_rows
                yield from replay(batch, self.how)
        if left:
            raise IntegrityError(
                f"{shard.name} holds {shard.rows - left:,} rows, but {shard.rows:,} were gathered; "
                "nothing was committed: run it again"
            )

    def pieces(self, shard: GatheredShard) -> list[GatheredShard]:
        """The shard itself: it is small enough."""
        return [shard]

    def progress_of(self, shard: GatheredShard) -> int:
        """Rows."""
        return shard.rows

    def source_of(self, shard: GatheredShard) -> None:
        """None: a shard has rows of many sources."""


class Gatherer:
    """Writes chosen rows (``contract.REJECTED_SCHEMA``) to files of an attempt's own."""

    def __init__(self, area: StagingArea, folder: str) -> None:
        """``area`` takes files for ``folder``, which is relative to the lake."""
        self._area = area
        self._folder = folder
        self._writer: RejectsWriter | None = None
        self._rows = 0
        self._shards: list[GatheredShard] = []

    def write(self, rejected: pa.RecordBatch) -> None:
        """Take some rows. Raises ``StorageError`` when they cannot be written."""
        if self._writer is None:
            self._writer, self._rows = RejectsWriter(self._area), 0
        self._writer.write(rejected)
        self._rows += rejected.num_rows
        if self._rows >= _ROWS_PER_SHARD:
            self._finish()

    def close(self) -> list[GatheredShard]:
        """Finish the last file, and tell of all."""
        self._finish()
        return self._shards

    def abandon(self) -> None:
        """Let go of an unfinished file."""
        if self._writer is not None:
            self._writer.abandon()

    def _finish(self) -> None:
        if self._writer is not None:
            self._shards += [
                GatheredShard(f"{self._folder}/{file.staged}", file.rows)
                for file in self._writer.close()
            ]
            self._writer = None

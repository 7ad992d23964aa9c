"""From the journal into the lake: entries that no commit names become one commit.

The entries are the inputs of the commit, so that each is taken in once, whoever flushes, and
however often. The argument is in ``docs/streaming-journal.md``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import google_crc32c

from celes_beam.contract import RULES_VERSION
from celes_beam.errors import LakeConflictError, StorageError
from celes_beam.stores.lake.commits import Commits
from celes_beam.stores.lake.ingest import RejectedLimit, commit_staged, schema_hash
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import STREAM_INPUT, InputRecord, Manifest
from celes_beam.stores.lake.parquet_writer import Layout
from celes_beam.stores.lake.staging import StagingWriter
from celes_beam.stores.stream.apply import settle
from celes_beam.stores.stream.journal import Journal, Listing

_MOST_TRIES = 50
_NO_LIMIT = RejectedLimit()


@dataclass
class Flusher:
    """Flushes one journal into one lake; not thread-safe, and as many at once as one likes.

    ``run_id`` begins the run ids of its commits, ``source`` the sources of refused rows.
    """

    lake: Lake
    journal: Journal
    run_id: str
    layout: Layout
    source: str

    def prepare(self) -> None:
        """Make the lake ready, once before the first flush; see ``Lake.prepare``."""
        self.lake.prepare(
            run_id=self.run_id, if_exists="append", partition_by=self.layout.partition_by
        )

    def named(self, names: Collection[str]) -> frozenset[str]:
        """Those of the entries that commits name, also commits that were replaced since."""
        return _named(self.lake.commits(), names)

    def flush(self, listing: Listing, names: Iterable[str]) -> list[Manifest]:
        """Commit those of the entries that no commit names: one commit for each table.

        All must have been applied. Raises what ``commit_staged`` raises; nothing of the entries of
        that commit is visible then.
        """
        wanted = sorted(set(names))
        commits: list[Manifest] = []
        for _ in range(_MOST_TRIES):
            decided = self.lake.commits()
            there = _named(decided, wanted)
            left = [name for name in wanted if name not in there]
            if not left:
                return commits
            run_id = self._next_run_id(decided)
            try:
                commits.append(self._commit(listing, left, run_id))
            except LakeConflictError:
                # Another flush took some of them, or had the run id, or was impatient: look again.
                time.sleep(0.01)
            except StorageError:
                # Another process may have flushed entries, and deleted them when they were old; or
                # it had the run id, and has swept our staging.
                decided = self.lake.commits()
                if not _named(decided, left) and run_id not in decided.run_ids:
                    raise
        raise LakeConflictError(
            f"{self.lake.storage.root}: other runs took turns {_MOST_TRIES} times while "
            f"{len(left)} batches of {self.journal.root} waited: run again, they are kept there"
        )

    def _next_run_id(self, decided: Commits) -> str:
        numbered = re.compile(rf"{re.escape(self.run_id)}-(\d+)")
        found = map(numbered.fullmatch, decided.run_ids)
        numbers = [int(match[1]) for match in found if match]
        return f"{self.run_id}-{max(numbers, default=0) + 1:05d}"

    def _commit(self, listing: Listing, names: list[str], run_id: str) -> Manifest:
        started = datetime.now(UTC)
        staging = self.lake.staging(run_id)
        writer = StagingWriter(self.lake.storage.staging_area(staging), self.layout)
        try:
            table, inputs = self._stage(listing, names, writer)
            staged = writer.close()
        except BaseException:
            writer.abandon()
            self.lake.discard(staging)
            raise
        draft = Manifest(
            run_id=run_id,
            kind="append",
            started_at=started.isoformat(),
            staging=staging,
            partition_by=self.layout.partition_by,
            inputs=tuple(inputs),
            schema_hash=schema_hash(),
            rules_version=RULES_VERSION,
            streamed_to=(table,) if table else (),
        )
        return commit_staged(self.lake, draft, staged, limit=_NO_LIMIT)

    def _stage(
        self, listing: Listing, names: list[str], writer: StagingWriter
    ) -> tuple[str, list[InputRecord]]:
        """Stage entries of one table, that of the first; one entry is in memory at a time."""
        table: str | None = None
        inputs = []
        for name in names:
            entry, data = self.journal.read(name)
            table = entry.table if table is None else table
            if entry.table != table:
                continue
            refused: dict[int, str] = {}
            for note in self.journal.refused(name, listing.notes.get(name, ())):
                refused.update(note)
            path = STREAM_INPUT + name
            writer.write(settle(entry, refused, self.source)[0], path)
            version = f"{google_crc32c.value(data):08x}"
            inputs.append(InputRecord(path=path, size=len(data), version=version))
        return table or "", inputs


def _named(commits: Commits, names: Collection[str]) -> frozenset[str]:
    # An overwrite replaces what was streamed until then: it does not come back out of the journal.
    found = commits.named([STREAM_INPUT + name for name in names])
    return frozenset(path.removeprefix(STREAM_INPUT) for path in found)

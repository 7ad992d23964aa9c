"""Lists of the rejected rows that a commit replayed: written before its decision, read after it.

A list counts when its commit is decided. Of the rows themselves it holds the identities alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from celes_beam.errors import LakeConflictError, StorageError
from celes_beam.sales.identities import (
    IDENTITY_TYPE,
    Identities,
    IdentitySet,
    from_arrow,
    to_arrow,
)
from celes_beam.stores.lake.commit import REPLAYED
from celes_beam.stores.lake.commits import Commits
from celes_beam.stores.lake.manifest import REJECTED_FILE, STAGED, Manifest, ReplayedFile
from celes_beam.stores.lake.measure import batches, measure_file, open_parquet
from celes_beam.stores.lake.staging_area import StagingArea, write_failed
from celes_beam.stores.lake.storage import Storage

LIST_SCHEMA: pa.Schema = pa.schema([pa.field("identity", IDENTITY_TYPE, nullable=False)])
_ROWS_PER_GROUP = 1_000_000


def stage_list(area: StagingArea, run_id: str, lists: Iterable[Identities]) -> ReplayedFile:
    """Stage the list of what run ``run_id`` replays. Raises ``StorageError``."""
    name = f"{REPLAYED}/part-{uuid.uuid4().hex}{REJECTED_FILE}"
    staged = f"{name}{STAGED}"
    path = area.path(staged)
    rows = 0
    try:
        with pq.ParquetWriter(str(path), LIST_SCHEMA, compression="none") as writer:
            for identities in lists:
                table = pa.Table.from_arrays([to_arrow(identities)], schema=LIST_SCHEMA)
                writer.write_table(table, _ROWS_PER_GROUP)
                rows += len(identities)
        size, crc32c = measure_file(path)
    except OSError as error:
        area.abandon(staged)
        raise write_failed(path, error, area.remedy) from error
    area.deliver(staged, size=size, crc32c=crc32c)
    final = name.replace(f"{REPLAYED}/", f"{REPLAYED}/{run_id}/", 1)
    return ReplayedFile(path=final, staged=staged, rows=rows, bytes=size, crc32c=crc32c)


def read_lists(storage: Storage, manifest: Manifest) -> Iterator[Identities]:
    """Read what a run replays, before its decision or after it, some at a time.

    Raises ``StorageError`` when a list is gone, ``IntegrityError`` when it cannot be read.
    """
    for file in manifest.replayed.files if manifest.replayed else ():
        with _open(storage, manifest, file) as opened:
            for batch in batches(open_parquet(opened, file.path), file.path):
                yield from_arrow(batch.column(0))


def replayed_before(storage: Storage, manifests: Iterable[Manifest]) -> IdentitySet:
    """All rejected rows that any of some commits replayed."""
    seen = IdentitySet()
    for manifest in manifests:
        for identities in read_lists(storage, manifest):
            seen.add(identities)
    return seen


def newest_overwrite(manifests: Iterable[Manifest]) -> int:
    """The epoch of the newest overwrite among some commits; 0 without any."""
    return max((m.epoch for m in manifests if m.kind == "overwrite"), default=0)


def check_not_replayed(storage: Storage, draft: Manifest, commits: Commits) -> None:
    """Raise ``LakeConflictError`` when another commit has what the draft replays.

    That is a replay with a row of it, or an overwrite since they were chosen: it may have read the
    same input again.
    """
    if draft.replayed is None:
        return
    if commits.overwritten > draft.replayed.epoch:
        raise LakeConflictError(
            f"the lake was overwritten while run {draft.run_id} replayed rejected rows, of which "
            "it may have taken in the same again: nothing of this run was kept; run again"
        )
    replays = [m for m in commits.replays if m.run_id != draft.run_id]
    if not replays:
        return
    ours = replayed_before(storage, [draft])
    for other in replays:
        again = sum(int(ours.holds(identities).sum()) for identities in read_lists(storage, other))
        if again:
            raise LakeConflictError(
                f"{again:,} of the {len(ours):,} rows that run {draft.run_id} replays were "
                f"replayed by run {other.run_id} meanwhile: nothing of this run was kept; run "
                "again, what was replayed is not taken twice"
            )


def _open(storage: Storage, manifest: Manifest, file: ReplayedFile) -> BinaryIO:
    # A commit may be between its decision and its publication, by any process. What is not in its
    # place yet is staged; what has left its staging is in its place, and stays there.
    for name in (file.path, f"{manifest.staging}/{file.staged}"):
        with suppress(StorageError):
            return storage.open(name)
    return storage.open(file.path)

"""Publication makes a decided commit visible; see ``commit.py`` for why it may be repeated.

One process does it (``publish``), or many share it out: ``move`` of some files each, then, when all
of them are moved, ``retire`` of some each, then ``finish`` by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from celes_beam.errors import IntegrityError, StorageError
from celes_beam.stores.lake.commit import REJECTED, STAGING, CommitLog, mark_name, now
from celes_beam.stores.lake.manifest import Manifest
from celes_beam.stores.lake.staging_area import each
from celes_beam.stores.lake.storage import Storage

Move = tuple[str, str]
"""Where a file was staged, and where it belongs; both relative to the lake."""


def publish(storage: Storage, manifest: Manifest) -> None:
    """Make a decided commit visible. Repeatable, and by several processes at once.

    Raises ``IntegrityError`` when a staged file is gone and no one has moved it.
    """
    if move(storage, manifest.run_id, moves_of(manifest)):
        retire(storage, manifest.retired)
        finish(storage, manifest)


def moves_of(manifest: Manifest) -> list[Move]:
    """All moves that make up the first step of publishing a commit."""
    return [(f"{manifest.staging}/{f.staged}", f.path) for f in manifest.all_files]


def move(storage: Storage, run_id: str, moves: Sequence[Move]) -> bool:
    """Move files of a decided commit into place; False when another has published all of it.

    Raises as ``publish``.
    """
    mark = mark_name(run_id)

    def move_one(one: Move) -> bool:
        staged, path = one
        try:
            storage.move(staged, path)
        except StorageError as error:
            if storage.exists(mark):
                # Someone else published it all, and a later commit has retired this file since.
                return False
            if storage.exists(staged):
                raise
            raise IntegrityError(
                f"commit {run_id}: {path} is gone, and so is {staged}: neither is deleted "
                "by this program before the commit is published; restore one of them"
            ) from error
        return True

    moved = each(move_one, moves, at_once=storage.at_once)
    if storage.moves_by_copy and storage.exists(mark):
        _delete_brought_back(storage, moves)
    return all(moved)


def retire(storage: Storage, paths: Iterable[str]) -> None:
    """Delete files that a decided commit retires, once all its own are in place."""
    each(storage.delete, paths, at_once=storage.at_once)


def finish(storage: Storage, manifest: Manifest) -> None:
    """Mark a commit as published, once its files are in place and those it retires are gone."""
    published = frozenset(f.path for f in manifest.all_files)
    storage.sync(published)
    for file in list(storage.list(f"{REJECTED}/{manifest.run_id}")):
        if file.name not in published:
            storage.delete(file.name)
    storage.delete_folder(f"{STAGING}/{manifest.run_id}")
    storage.put_if_absent(mark_name(manifest.run_id), f'{{"done_at": "{now()}"}}\n'.encode())


def _delete_brought_back(storage: Storage, moves: Iterable[Move]) -> None:
    """Delete what a copy of ours, slower than another process, made of a file retired meanwhile.

    A commit that decides to retire one later than this looks deletes it later than this, too.
    """
    retired = CommitLog(storage).load().retired
    paths = [path for _, path in moves if path in retired]
    each(storage.delete, paths, at_once=storage.at_once)

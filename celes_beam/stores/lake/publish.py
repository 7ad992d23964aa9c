"""Publication makes a decided commit visible; see ``commit.py`` for why it may be repeated."""

from __future__ import annotations

from celes_beam.errors import IntegrityError, StorageError
from celes_beam.stores.lake.commit import REJECTED, STAGING, CommitLog, mark_name, now
from celes_beam.stores.lake.manifest import Manifest
from celes_beam.stores.lake.staging_area import each
from celes_beam.stores.lake.storage import Storage


def publish(storage: Storage, manifest: Manifest) -> None:
    """Make a decided commit visible. Repeatable, and by several processes at once.

    Raises ``IntegrityError`` when a staged file is gone and no one has moved it.
    """
    moves = {f"{manifest.staging}/{f.staged}": f.path for f in manifest.all_files}
    mark = mark_name(manifest.run_id)

    def move(names: tuple[str, str]) -> bool:
        staged, path = names
        try:
            storage.move(staged, path)
        except StorageError as error:
            if storage.exists(mark):
                # Someone else published it all, and a later commit has retired this file since.
                return False
            if storage.exists(staged):
                raise
            raise IntegrityError(
                f"commit {manifest.run_id}: {path} is gone, and so is {staged}: neither is deleted "
                "by this program before the commit is published; restore one of them"
            ) from error
        return True

    moved = each(move, moves.items(), at_once=storage.at_once)
    if storage.moves_by_copy and storage.exists(mark):
        _delete_brought_back(storage, manifest)
    if not all(moved):
        return
    published = frozenset(moves.values())
    storage.sync(published)
    each(storage.delete, manifest.retired, at_once=storage.at_once)
    for file in list(storage.list(f"{REJECTED}/{manifest.run_id}")):
        if file.name not in published:
            storage.delete(file.name)
    storage.delete_folder(f"{STAGING}/{manifest.run_id}")
    storage.put_if_absent(mark, f'{{"done_at": "{now()}"}}\n'.encode())


def _delete_brought_back(storage: Storage, manifest: Manifest) -> None:
    """Delete what a copy of ours, slower than another process, made of a file retired meanwhile.

    A commit that decides to retire one later than this looks deletes it later than this, too.
    """
    retired = CommitLog(storage).load().retired
    paths = [f.path for f in manifest.files if f.path in retired]
    each(storage.delete, paths, at_once=storage.at_once)

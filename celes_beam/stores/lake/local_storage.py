"""A lake in a folder of this machine."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from celes_beam.errors import IntegrityError
from celes_beam.stores.lake.local_files import (
    ATTEMPTS,
    copy_over,
    make_folder,
    names_in,
    put_whole,
    remove_if_empty,
    storage_errors,
    sync_folder,
    walk,
)
from celes_beam.stores.lake.staging_area import LocalStagingArea
from celes_beam.stores.lake.stored import StoredFile

_PARTIAL_SECONDS = 86_400.0


class LocalStorage:
    """A folder of this machine; its file system must know hard links, as all common ones do."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._root = Path(root).absolute()
        self._root_text = str(self._root)
        self._missing: list[Path] = []
        self._has_copied = False

    def note_missing_root(self) -> None:
        """Remember the folders down to the lake's own that are not there yet."""
        with storage_errors("read", self._root):
            self._missing += [p for p in (self._root, *self._root.parents) if not p.exists()]

    def remove_new_root(self) -> None:
        """Remove such folders, as far as they are empty."""
        with storage_errors("delete", self._root):
            for folder in self._missing:
                if not remove_if_empty(folder):
                    return

    def staging_area(self, folder: str) -> LocalStagingArea:
        """The folder itself: files are written where they rest."""
        return LocalStagingArea(str(self._path(folder)))

    def uri(self, name: str) -> str:
        """The path of a name, as the root was given."""
        return str(Path(self.root) / name)

    @property
    def at_once(self) -> int:
        """One: a disk does not get faster by being asked twice."""
        return 1

    @property
    def moves_by_copy(self) -> bool:
        """Once a move went from one file system to another; within one a file is renamed."""
        return self._has_copied

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Create ``name`` whole and durable; False when it is already there."""
        if self.exists(name):
            return False
        path = self._path(name)
        with storage_errors("write", path):
            created = put_whole(path, data)
            self._sync_folders([name])
        return created

    def read(self, name: str) -> bytes:
        """The content of a file."""
        path = self._path(name)
        with storage_errors("read", path):
            return path.read_bytes()

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading at any position."""
        path = self._path(name)
        with storage_errors("read", path):
            return path.open("rb")

    def exists(self, name: str) -> bool:
        """Whether a file is there."""
        path = self._path(name)
        with storage_errors("read", path):
            return path.exists()

    def move(self, source: str, target: str) -> None:
        """Move a file; done already when ``target`` is there and ``source`` is gone."""
        old, new = self._text(source), self._text(target)
        with storage_errors("write", new):
            for attempt in range(ATTEMPTS):
                try:
                    self._rename(old, new)
                except FileNotFoundError:
                    # The source first: another process may move it just now, and once it is gone
                    # the target is there.
                    if not self.exists(source):
                        if self.exists(target):
                            return
                        raise
                    if attempt == ATTEMPTS - 1:
                        raise
                    # More often than not the folder is there, so it is made only when it is not.
                    make_folder(self._path(target).parent)
                else:
                    return

    def _rename(self, old: str, new: str) -> None:
        try:
            # A path object of each of a hundred thousand names takes half a minute.
            os.rename(old, new)  # noqa: PTH104
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # A partition, or _staging, may be a link or a mount: it has to be possible to finish
            # what was decided.
            self._has_copied = True
            copy_over(Path(old), Path(new))

    def delete(self, name: str) -> None:
        """Delete a file, and the folders it leaves empty; done already when it is gone."""
        path = self._path(name)
        with storage_errors("delete", path):
            path.unlink(missing_ok=True)
            self._prune(path.parent)

    def delete_folder(self, name: str) -> None:
        """Delete a folder and all in it, and the folders that leaves empty."""
        path = self._path(name)
        with storage_errors("delete", path):
            for folder, _, files in os.walk(path, topdown=False):
                for file in files:
                    (Path(folder) / file).unlink(missing_ok=True)
                remove_if_empty(Path(folder))
            self._prune(path.parent)

    def list(
        self, folder: str = "", *, recursive: bool = True, hidden: bool = True
    ) -> Iterator[StoredFile]:
        """The files in a folder, in order of their names; none when the folder is not there.

        ``hidden`` False leaves out names that begin with "_" or ".", and all that is under them.
        """
        path = self._path(folder)
        with storage_errors("list", path):
            yield from walk(path, f"{folder}/" if folder else "", recursive, hidden)

    def sync(self, names: Iterable[str]) -> None:
        """Make the names of files in their folders survive a power failure.

        What is in the files survives since they were put or delivered.
        """
        self._sync_folders(names)

    def tidy(self, folder: str) -> None:
        """Remove what killed ``put_if_absent`` calls left in a folder.

        Such a file is dead for certain once its target is there; otherwise when it is a day old.
        """
        root = self._path(folder)
        with storage_errors("list", root):
            # The folder may hold very many names: no more is asked of the others.
            hidden = [name for name in names_in(root) if name.startswith(".")]
        for name in hidden:
            path = root / name
            target, _, suffix = name[1:].rpartition(".")
            if len(suffix) != 32:
                continue
            with storage_errors("delete", path), suppress(FileNotFoundError):
                old = path.stat().st_mtime < time.time() - _PARTIAL_SECONDS
                if old or path.with_name(target).exists():
                    path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        self._check(name)
        return self._root / name

    def _check(self, name: str) -> None:
        # Names come out of files, which anybody may have written.
        if name.startswith("/") or ".." in name.split("/"):
            raise IntegrityError(f"{name!r} is not a name within the lake {self.root}")

    def _prune(self, folder: Path) -> None:
        while folder != self._root and remove_if_empty(folder):
            folder = folder.parent

    def _sync_folders(self, names: Iterable[str]) -> None:
        waiting = {name.rpartition("/")[0] for name in names}
        folders: set[str] = set()
        while waiting:
            folder = waiting.pop()
            if folder not in folders:
                folders.add(folder)
                waiting.add(folder.rpartition("/")[0])
        for folder in folders:
            path = self._path(folder)
            with storage_errors("write", path):
                sync_folder(path)

    def _text(self, name: str) -> str:
        self._check(name)
        return f"{self._root_text}/{name}"

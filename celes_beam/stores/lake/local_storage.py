"""A lake in a folder of this machine."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from celes_beam.errors import IntegrityError, StorageError
from celes_beam.stores.lake.staging_area import LocalStagingArea
from celes_beam.stores.lake.stored import StoredFile

_ATTEMPTS = 100
"""Another process may delete an empty folder just when we want to use it: it is made again."""
_COPY_BYTES = 2**20
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
                if not _remove_if_empty(folder):
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
            created = _put(path, data)
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
            for attempt in range(_ATTEMPTS):
                try:
                    self._rename(old, new)
                except FileNotFoundError:
                    # The source first: another process may move it just now, and once it is gone
                    # the target is there.
                    if not self.exists(source):
                        if self.exists(target):
                            return
                        raise
                    if attempt == _ATTEMPTS - 1:
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
            _copy_over(Path(old), Path(new))

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
                _remove_if_empty(Path(folder))
            self._prune(path.parent)

    def list(
        self, folder: str = "", *, recursive: bool = True, hidden: bool = True
    ) -> Iterator[StoredFile]:
        """The files in a folder, in order of their names; none when the folder is not there.

        ``hidden`` False leaves out names that begin with "_" or ".", and all that is under them.
        """
        path = self._path(folder)
        with storage_errors("list", path):
            yield from _walk(path, f"{folder}/" if folder else "", recursive, hidden)

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
            hidden = [name for name in _names(root) if name.startswith(".")]
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
        while folder != self._root and _remove_if_empty(folder):
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
                _sync(path)

    def _text(self, name: str) -> str:
        self._check(name)
        return f"{self._root_text}/{name}"


@contextmanager
def storage_errors(verb: str, path: Path | str) -> Iterator[None]:
    """Turn an ``OSError`` into a ``StorageError`` of one line that names the path and a remedy."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "")
        raise StorageError(f"cannot {verb} {path}: {error.strerror or error}{remedy}") from error


_REMEDIES = {
    errno.ENOSPC: "; make room and run it again",
    errno.EDQUOT: "; make room and run it again",
    errno.EACCES: "; check who may write there",
    errno.EPERM: "; check who may write there, and that the file system knows hard links",
    errno.ENOTSUP: "; a lake needs a file system that knows hard links",
    errno.EROFS: "; choose a folder that can be written",
}


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, also while other processes remove the empty ones."""
    for _ in range(_ATTEMPTS - 1):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:
            continue
        except FileExistsError:
            # Either a file stands there, or it was a folder, which is gone since.
            if is_file(folder):
                raise
            continue
        return
    folder.mkdir(parents=True, exist_ok=True)


def is_file(path: Path) -> bool:
    """Whether something stands there that is no folder."""
    # One look: between two of them another process may remove a folder that stayed empty.
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _put(path: Path, data: bytes) -> bool:
    for _ in range(_ATTEMPTS - 1):
        # Others delete our partial file with its folder, or when it looks dead.
        with suppress(FileNotFoundError):
            return _put_once(path, data)
    return _put_once(path, data)


def _put_once(path: Path, data: bytes) -> bool:
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with _create(partial) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return _link(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _create(path: Path) -> BinaryIO:
    for _ in range(_ATTEMPTS - 1):
        make_folder(path.parent)
        with suppress(FileNotFoundError):
            return path.open("xb")
    return path.open("xb")


def _copy_over(old: Path, new: Path) -> None:
    partial = new.with_name(f".{new.name}.{uuid.uuid4().hex}")
    try:
        with old.open("rb") as source, partial.open("xb") as target:
            shutil.copyfileobj(source, target, _COPY_BYTES)
            target.flush()
            os.fsync(target.fileno())
        partial.replace(new)
    finally:
        partial.unlink(missing_ok=True)
    old.unlink(missing_ok=True)
    # The target is there, so what killed copies of it left is dead.
    for name in [name for name in _names(new.parent) if name.startswith(f".{new.name}.")]:
        new.with_name(name).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    # What is gone again, because a later commit retired it, has nothing left to survive.
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _link(partial: Path, path: Path) -> bool:
    try:
        path.hardlink_to(partial)
    except FileExistsError:
        return False
    except FileNotFoundError:
        # Another process tidied our partial file away, as it does once the target is there.
        if path.exists():
            return False
        raise
    return True


def _remove_if_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        # Not a folder is a link to one.
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY, errno.ENOTDIR):
            return False
        raise
    return True


def _names(folder: Path) -> Iterator[str]:
    with suppress(FileNotFoundError), os.scandir(folder) as found:
        yield from (entry.name for entry in found)


def _walk(
    folder: Path, prefix: str, recursive: bool, hidden: bool, followed: tuple[Path, ...] = ()
) -> Iterator[StoredFile]:
    # Other processes come and go: what vanishes between being listed and being looked at is gone.
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        if not hidden and entry.name.startswith(("_", ".")):
            continue
        name = prefix + entry.name
        way = _way_into(entry, followed)
        if way is not None:
            if recursive:
                yield from _walk(Path(entry.path), f"{name}/", recursive, hidden, way)
            continue
        with suppress(FileNotFoundError):
            status = entry.stat(follow_symlinks=False)
            yield StoredFile(name, status.st_size, status.st_mtime)


def _way_into(entry: os.DirEntry[str], followed: tuple[Path, ...]) -> tuple[Path, ...] | None:
    """What links lead to after a folder, or a link to one; None for anything else."""
    if entry.is_dir(follow_symlinks=False):
        return followed
    # A partition may be a link to another disk: readers see what is in it.
    if not (entry.is_symlink() and entry.is_dir()):
        return None
    folder = Path(entry.path)
    target = folder.resolve()
    # One that leads back has no end.
    if target in followed or folder.parent.resolve().is_relative_to(target):
        return None
    return (*followed, target)

"""Files and folders of this machine, which other processes make, move and remove meanwhile."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from celes_beam.errors import StorageError
from celes_beam.stores.lake.stored import StoredFile

ATTEMPTS = 100
"""Another process may delete an empty folder just when we want to use it: it is made again."""
_COPY_BYTES = 2**20


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
    for _ in range(ATTEMPTS - 1):
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


def put_whole(path: Path, data: bytes) -> bool:
    """Create a file whole and durable; False when it is already there."""
    for _ in range(ATTEMPTS - 1):
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
    for _ in range(ATTEMPTS - 1):
        make_folder(path.parent)
        with suppress(FileNotFoundError):
            return path.open("xb")
    return path.open("xb")


def copy_over(old: Path, new: Path) -> None:
    """Move a file to another file system; ``new`` is there whole or not at all."""
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
    for name in [name for name in names_in(new.parent) if name.startswith(f".{new.name}.")]:
        new.with_name(name).unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power failure."""
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


def remove_if_empty(folder: Path) -> bool:
    """Remove a folder unless something is in it; whether it is gone."""
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


def names_in(folder: Path) -> Iterator[str]:
    """The names in a folder, none when it is not there."""
    with suppress(FileNotFoundError), os.scandir(folder) as found:
        yield from (entry.name for entry in found)


def walk(
    folder: Path, prefix: str, recursive: bool, hidden: bool, followed: tuple[Path, ...] = ()
) -> Iterator[StoredFile]:
    """The files below a folder, in order of their names, with ``prefix`` before these.

    ``hidden`` False leaves out names that begin with "_" or "."; ``followed`` are the targets of
    links that led here.
    """
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
                yield from walk(Path(entry.path), f"{name}/", recursive, hidden, way)
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

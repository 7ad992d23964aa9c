"""What of a path is sent: a Parquet file, those of a folder, or the committed ones of a lake."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from celes_beam.errors import InputError, IntegrityError, StorageError
from celes_beam.stores.inputs.refused import LAKE_MARK
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import DataFile

PARQUET = ".parquet"
_MAGIC = b"PAR1"
_LEAST_BYTES = 12
_HIDDEN = ("_", ".")


@dataclass(frozen=True)
class SourceFile:
    """A file to send.

    ``name`` is what its object is called below the prefix, ``size`` is in bytes, ``modified`` the
    time of its last change in nanoseconds. ``crc32c`` is what a lake's commit says of it, in
    base64.
    """

    path: str
    name: str
    size: int
    modified: int
    crc32c: str | None = None


@dataclass(frozen=True)
class Sources:
    """The files to send, by name. ``left_out`` are Parquet files that no commit of a lake names."""

    path: str
    files: tuple[SourceFile, ...]
    is_folder: bool
    is_lake: bool = False
    left_out: tuple[str, ...] = ()


def find_sources(path: str) -> Sources:
    """Find what a path holds to be sent.

    Of a folder these are the files below it named ``*.parquet``, with their folders, except what
    begins with ``_`` or ``.``. Of a lake they are the files of its committed state alone.
    Raises ``InputError`` for a path that is missing or may not be read, a folder without Parquet, a
    folder with a lake in it, and a file that is no Parquet; ``IntegrityError`` for a lake that
    lacks files; ``StorageError`` when the disk fails.
    """
    if not path.strip():
        raise InputError("PATH is empty text: give a Parquet file, or a folder of them")
    if "://" in path:
        raise InputError(f"{path}: expected a file or folder of this machine")
    place = Path(path).expanduser()
    try:
        if place.is_dir():
            return _of_any_folder(place)
        return Sources(path, (_parquet_file(place, place.name),), is_folder=False)
    except PermissionError as error:
        raise InputError(
            f"{error.filename}: no permission to read it: allow it (chmod), or leave it out"
        ) from error
    except OSError as error:
        raise StorageError(
            f"{error.filename or path}: cannot be read: {error.strerror or error}"
        ) from error


def status_of(path: str) -> tuple[int, int]:
    """Size in bytes and time of last change in nanoseconds. Raises ``OSError``."""
    status = Path(path).stat()
    return status.st_size, status.st_mtime_ns


def _of_any_folder(folder: Path) -> Sources:
    if (folder / LAKE_MARK).is_dir():
        return _of_lake(folder)
    found = _of_folder(folder)
    # A first commit may have begun to publish meanwhile: what was found would be a part of it.
    return _of_lake(folder) if (folder / LAKE_MARK).is_dir() else found


def _of_folder(folder: Path) -> Sources:
    above = next((p for p in folder.resolve().parents if (p / LAKE_MARK).is_dir()), None)
    if above is not None:
        raise InputError(
            f"{folder} is a part of the lake {above}, whose files count only as its commits say: "
            "give the whole lake, or single files of it"
        )
    files = tuple(_parquet_file(folder / name, name) for name in _visible_parquet(folder))
    if not files:
        raise InputError(
            f"{folder} holds no Parquet file: none is named *{PARQUET} (what begins with _ or . is "
            "skipped)"
        )
    return Sources(str(folder), files, is_folder=True)


def _of_lake(root: Path) -> Sources:
    lake = Lake.open(str(root))
    committed = {f.path: f for f in lake.snapshot().files}
    if not committed:
        raise InputError(f"the lake {root} holds no rows: there is nothing to send")
    files = []
    for name, file in sorted(committed.items()):
        found = _committed_file(root, file)
        if found is not None:
            files.append(found)
        elif name in {f.path for f in lake.snapshot().files}:
            raise IntegrityError(
                f"{root / name} is not as it was committed, with {file.bytes:,} bytes: see what "
                f"else is with celes-beam lake verify {root}"
            )
        else:
            # Another commit has retired it since we looked.
            return _of_lake(root)
    left_out = tuple(name for name in _visible_parquet(root) if name not in committed)
    return Sources(str(root), tuple(files), is_folder=True, is_lake=True, left_out=left_out)


def _committed_file(root: Path, file: DataFile) -> SourceFile | None:
    path = root / file.path
    try:
        size, modified = status_of(str(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    if size != file.bytes or not path.is_file():
        return None
    return SourceFile(str(path), file.path, size, modified, file.crc32c)


def _visible_parquet(folder: Path) -> Iterator[str]:
    """Names below a folder, in order; links to folders are not followed."""

    def fail(error: OSError) -> None:
        # A commit that retires all files of a partition takes its folder away, too.
        is_gone = isinstance(error, FileNotFoundError) and error.filename != str(folder)
        if not (is_gone and (folder / LAKE_MARK).is_dir()):
            raise error

    for inside, folders, names in os.walk(folder, onerror=fail):
        here = Path(inside)
        if LAKE_MARK in folders and here != folder:
            raise InputError(f"{here} is a lake: upload it by itself")
        folders[:] = sorted(name for name in folders if not name.startswith(_HIDDEN))
        for name in sorted(names):
            if name.lower().endswith(PARQUET) and not name.startswith(_HIDDEN):
                yield (here / name).relative_to(folder).as_posix()


def _parquet_file(path: Path, name: str) -> SourceFile:
    try:
        size, modified = status_of(str(path))
    except (FileNotFoundError, NotADirectoryError):
        what = "a link to what is not there" if path.is_symlink() else "no such file or folder"
        raise InputError(f"{path}: {what}; check the path") from None
    if not path.is_file():
        raise InputError(f"{path}: not a regular file; write it to a file first")
    with path.open("rb") as file:
        head = file.read(len(_MAGIC))
        file.seek(max(size - len(_MAGIC), 0))
        tail = file.read(len(_MAGIC))
    if size < _LEAST_BYTES or not head == tail == _MAGIC:
        what = "is empty" if size == 0 else "does not begin and end with PAR1"
        raise InputError(
            f"{path} is no Parquet file: it {what}; is it still being written, or of another "
            "format?"
        )
    return SourceFile(str(path), name, size, modified)

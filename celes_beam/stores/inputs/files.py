"""Input files: finding them, on a disk or in Cloud Storage, and opening them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from celes_beam.errors import InputChangedError, InputError, StorageError
from celes_beam.stores.cloud.clients import GCS_SCHEME
from celes_beam.stores.cloud.read_failures import READ_ERRORS, read_failure
from celes_beam.stores.inputs.gcs_files import list_gcs, open_gcs
from celes_beam.stores.inputs.globs import HIDDEN, MAGIC, glob_pattern
from celes_beam.stores.inputs.names import COMPRESSED_SUFFIXES, FORMAT_OF_SUFFIX, format_of_name
from celes_beam.stores.inputs.refused import LAKE_MARK, Refusals, a_lake


@dataclass(frozen=True, order=True, slots=True)
class InputFile:
    """One file to read.

    ``path`` is its real path, or a ``gs://`` URL; ``size`` is in bytes; ``version`` is the time of
    its last change in nanoseconds, or the object's generation. Together they identify its content.
    """

    path: str
    size: int
    version: str


LeaveOut = Callable[[str, str], object]
"""Told the path of a file that cannot be read, and why."""


def list_inputs(
    patterns: Sequence[str],
    outside: str | None = None,
    *,
    may_be_empty: Callable[[str], bool] = lambda pattern: False,
) -> list[InputFile]:
    """List the files that paths, folders and globs name: sorted, each once, whatever its links.

    Folders are searched to the bottom, for names that end as those of the formats do (``names``).
    Globs know ``*``, ``?`` and ``[...]`` within a name and ``**`` across folders. What begins with
    ``_`` or ``.`` below a folder or in a glob is skipped, unless the glob itself begins with it.
    Raises ``InputError`` when a pattern names no file (unless it ``may_be_empty``), one that may
    not be read, a lake or a file in one, a file below the folder ``outside`` or a folder above it;
    and
    ``StorageError`` when the disk or the bucket fails.
    """
    return _list_all(patterns, outside, may_be_empty, None)


def list_landing(
    patterns: Sequence[str], outside: str | None, leave_out: LeaveOut
) -> list[InputFile]:
    """List the files there are now in folders where others come and go; see ``list_inputs``.

    None at all is no error, as long as the folder or the bucket is there. ``leave_out`` is told of
    files that may not be read or are no regular ones.
    """
    return _list_all(patterns, outside, lambda pattern: True, leave_out)


def _list_all(
    patterns: Sequence[str],
    outside: str | None,
    may_be_empty: Callable[[str], bool],
    leave_out: LeaveOut | None,
) -> list[InputFile]:
    refusals = Refusals(outside)
    found: dict[str, InputFile] = {}
    for pattern in patterns:
        if not MAGIC.search(pattern):
            refusals.check_folder(pattern, folder_of(pattern))
        files = list(_list_pattern(pattern, leave_out))
        if not files and not may_be_empty(pattern):
            raise InputError(_nothing_found(pattern))
        for file in files:
            if file.path.startswith(GCS_SCHEME):
                refusals.check_object(pattern, file.path)
            else:
                refusals.check(pattern, Path(file.path))
            found.setdefault(file.path, file)
    return sorted(found.values())


def folder_of(pattern: str) -> str:
    """What the paths of all files that a pattern names begin with, links resolved."""
    if pattern.startswith(GCS_SCHEME):
        start = MAGIC.split(pattern)[0]
        return start if start != pattern else start.rstrip("/") + "/"
    path = Path(os.path.normpath(Path(pattern).expanduser().absolute()))
    return os.path.realpath(path if path.is_dir() else _fixed_part(path)) + os.sep


def _list_pattern(pattern: str, leave_out: LeaveOut | None) -> Iterator[InputFile]:
    if pattern.startswith(GCS_SCHEME):
        return (InputFile(*file) for file in list_gcs(pattern))
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", pattern):
        raise InputError(f"--input {pattern}: expected a local path or gs://BUCKET/OBJECT")
    if not pattern:
        raise InputError("--input is empty: give a file, a folder or a glob")
    return _list_local(pattern, leave_out)


def _nothing_found(pattern: str) -> str:
    bucket_and_name = pattern.removeprefix(GCS_SCHEME).rstrip("/")
    is_name = pattern.startswith(GCS_SCHEME) and "/" in bucket_and_name
    if is_name and not MAGIC.search(pattern):
        return f"--input {pattern}: no such object or folder; check the name"
    if MAGIC.search(pattern):
        return (
            f"--input {pattern}: no file matches; check the pattern (names with _ or . in front "
            "are skipped)"
        )
    return (
        f"--input {pattern}: the folder holds no file to read: none ends in "
        f"{', '.join(FORMAT_OF_SUFFIX)}, or these and {', '.join(COMPRESSED_SUFFIXES)} (names with "
        "_ or . in front are skipped); name other files themselves, or with a glob"
    )


def _list_local(pattern: str, leave_out: LeaveOut | None) -> Iterator[InputFile]:
    path = Path(os.path.normpath(Path(pattern).expanduser().absolute()))
    try:
        if path.is_dir():
            yield from _walk(path, pattern, leave_out)
        elif path.exists() or not MAGIC.search(pattern):
            yield _local_file(path)
        else:
            yield from _local_glob(path, pattern, leave_out)
    except PermissionError as error:
        raise InputError(
            f"--input {pattern}: no permission to read {error.filename}: allow it (chmod), or "
            "leave it out"
        ) from error
    except OSError as error:
        raise StorageError(f"--input {pattern}: {error}") from error


def _local_file(path: Path, real_folder: str | None = None) -> InputFile:
    """Look at a file; ``real_folder`` is where its folder really is, if the caller knows."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        what = "a link to what is not there" if path.is_symlink() else "no such file or folder"
        raise InputError(f"--input {path}: {what}; check the path") from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"--input {path}: not a regular file; write it to a file first")
    if not os.access(path, os.R_OK):
        raise PermissionError(13, "no permission", str(path))
    # By its real path the ledger knows a file again, from other folders and by other links. To
    # resolve it looks at every folder above: of a million files, that takes a minute.
    if real_folder is None or path.is_symlink():
        real = os.path.realpath(path)
    else:
        real = f"{real_folder}{os.sep}{path.name}"
    return InputFile(real, status.st_size, str(status.st_mtime_ns))


def _local_files(paths: Iterable[Path], leave_out: LeaveOut | None) -> Iterator[InputFile]:
    folder, real_folder = "", ""
    for path in paths:
        parent = os.path.dirname(path)  # noqa: PTH120 - a path object takes longer than the look
        if parent != folder:
            folder, real_folder = parent, os.path.realpath(parent).rstrip(os.sep)
        try:
            yield _local_file(path, real_folder)
        except (InputError, PermissionError) as error:
            if leave_out is None:
                raise
            # What is not even a broken link was taken away since the folder was read.
            if os.path.lexists(path):
                closed = isinstance(error, PermissionError)
                why = f"{path}: no permission to read it: allow it (chmod)" if closed else error
                leave_out(str(path), str(why))


def _walk(folder: Path, pattern: str, leave_out: LeaveOut | None) -> Iterator[InputFile]:
    paths = _paths_below(folder, set(), pattern)
    yield from _local_files((p for p in paths if format_of_name(p.name)), leave_out)


def _fixed_part(path: Path) -> Path:
    """The folder that the names of a glob begin with."""
    fixed = Path(path.anchor)
    for name in path.parts[1:]:
        if MAGIC.search(name):
            break
        fixed /= name
    return fixed


def _local_glob(path: Path, pattern: str, leave_out: LeaveOut | None) -> Iterator[InputFile]:
    fixed = _fixed_part(path)
    if not fixed.is_dir():
        if leave_out is not None:
            raise InputError(f"--input {pattern}: no such folder as {fixed}; check the path")
        return
    rest = path.parts[len(fixed.parts) :]
    if "**" not in rest and len(rest) == 1:
        # Folders beside the files may be huge: only those that match are searched.
        matcher = glob_pattern(rest[0])
        for entry in sorted(fixed.iterdir()):
            if matcher.fullmatch(entry.name):
                if entry.is_dir():
                    yield from _walk(entry, pattern, leave_out)
                else:
                    yield from _local_files((entry,), leave_out)
        return
    matcher = glob_pattern("/".join(rest))
    hidden = any(name[:1] in HIDDEN for name in rest)
    paths = _paths_below(fixed, set(), pattern, hidden=hidden)
    matching = (p for p in paths if matcher.fullmatch(p.relative_to(fixed).as_posix()))
    yield from _local_files(matching, leave_out)


def _paths_below(
    folder: Path, seen: set[tuple[int, int]], pattern: str, *, hidden: bool = False
) -> Iterator[Path]:
    status = folder.stat()
    # A link to a folder above would be followed for ever.
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    # What an entry is was told with its name: nothing more is asked for it.
    with os.scandir(folder) as found:
        entries = sorted((entry for entry in found), key=lambda entry: entry.name)
    for entry in entries:
        if entry.name == LAKE_MARK and entry.is_dir():
            raise a_lake(pattern, folder)
        if entry.name[:1] in HIDDEN and not hidden:
            continue
        if entry.is_dir():
            yield from _paths_below(Path(entry.path), seen, pattern, hidden=hidden)
        else:
            yield Path(entry.path)


def open_input(file: InputFile) -> pa.NativeFile:
    """Open a file for reading at any place.

    Raises ``InputChangedError`` when it is gone, may not be read, or is not the same as when it
    was listed, ``StorageError`` for other failures.
    """
    try:
        if file.path.startswith(GCS_SCHEME):
            source = open_gcs(file.path)
            version = source.metadata()["generation"].decode()
        else:
            source = pa.OSFile(file.path)
            version = str(Path(file.path).stat().st_mtime_ns)
        now = InputFile(file.path, source.size(), version)
    except (*READ_ERRORS, pa.ArrowException) as error:
        raise unreadable(file, error) or StorageError(
            f"{file.path}: cannot be opened: {error}"
        ) from error
    if now != file:
        source.close()
        raise changed(file)
    return source


def unreadable(file: InputFile, error: BaseException) -> InputChangedError | StorageError | None:
    """Make the error of a file that could not be read; None when what it holds is to blame."""
    failure = read_failure(error)
    if failure is None:
        return None
    if failure.kind == "gone":
        return InputChangedError(f"{file.path}: gone since it was listed; run again")
    if failure.kind == "refused":
        return InputChangedError(f"{file.path}: {failure.why}, or leave it out")
    return StorageError(f"{file.path}: reading failed: {failure.why}; run it again")


def changed(file: InputFile) -> InputChangedError:
    """Make the error of a file that is not what it was when it was listed."""
    return InputChangedError(
        f"{file.path}: changed since it was listed, when it had {file.size} bytes; "
        "run again when nothing writes to it"
    )

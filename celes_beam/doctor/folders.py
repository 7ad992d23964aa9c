"""Folders and files of this machine that a run would read or write."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from celes_beam.doctor.check import Check, State
from celes_beam.stores.inputs.files import list_inputs
from celes_beam.stores.inputs.refused import LAKE_MARK

_BYTES_PER_GB = 1_000_000_000
LEAST_FREE_BYTES = 1 * _BYTES_PER_GB
"""With less room than this on a disk, a warning is given."""


def check_input_path(pattern: str) -> Iterator[Check]:
    """Whether a path, folder or glob of this machine names files that can be read.

    Raises ``InputError`` when it does not.
    """
    name = f"input {pattern}"
    if Path(pattern, LAKE_MARK).is_dir():
        yield Check(name, State.OK, "a lake")
        return
    files = list_inputs([pattern])
    for file in files:
        with_error = _unreadable(file.path)
        if with_error:
            remedy = f"chmod u+r {file.path}, or run as its owner"
            yield Check(name, State.FAILED, f"{file.path} cannot be read: {with_error}", remedy)
            return
    size = sum(file.size for file in files)
    yield Check(name, State.OK, f"{len(files):,} file(s) to read, {_gb(size)}")


def check_output_folder(path: str) -> Iterator[Check]:
    """Whether a folder is there or can be made, takes and gives files, and has room."""
    name, folder = f"output {path}", Path(path).absolute()
    there = next(one for one in (folder, *folder.parents) if one.exists() or one.is_symlink())
    if not there.is_dir():
        said = f"{there} is no folder"
        yield Check(name, State.FAILED, said, "name a folder, or move what is there away")
        return
    try:
        # A file that never gets a name, so that a lake that is there stays as it is.
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"x")
            file.flush()
        next(there.iterdir(), None)
        free = shutil.disk_usage(there).free
    except OSError as error:
        said = f"{there} cannot be read and written: {error.strerror}"
        yield Check(name, State.FAILED, said, "chmod u+rwx on it, or name another folder")
        return
    state = "there, and can be written" if there == folder else f"can be made in {there}"
    if free < LEAST_FREE_BYTES:
        remedy = "make room, or name a folder on another disk"
        yield Check(name, State.WARNING, f"{state}, but only {_gb(free)} are free", remedy)
    else:
        yield Check(name, State.OK, f"{state}; {_gb(free)} free")


def _unreadable(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _gb(size: int) -> str:
    return f"{size / _BYTES_PER_GB:,.1f} GB" if size >= _BYTES_PER_GB else f"{size / 1e6:,.1f} MB"

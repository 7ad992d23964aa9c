"""What there is to read in a folder: the committed files of a lake, or all of a plain folder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from celes_beam.contract import Rules
from celes_beam.errors import ConfigError, InputError
from celes_beam.stores.lake.commit import COMMITS
from celes_beam.stores.lake.fixed_input import FixedInput, fixed_input
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.lake_reader import LakeFile, LakeReader
from celes_beam.stores.lake.local_storage import LocalStorage
from celes_beam.stores.lake.manifest import Manifest
from celes_beam.stores.lake.plain_folder import PlainReader, plain_files
from celes_beam.stores.lake.storage import Storage, open_storage


@dataclass(frozen=True)
class LakeInput:
    """Files to read, and their reader.

    ``rows`` and ``total`` are what the commits of a lake, ``runs``, say; ``None`` for a plain
    folder.
    """

    root: str
    reader: LakeReader
    files: tuple[LakeFile, ...]
    rows: int | None = None
    total: Decimal | None = None
    runs: tuple[Manifest, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(f.bytes for f in self.files)

    def fixed(self) -> FixedInput:
        """The same to write down, for other processes to find."""
        total = None if self.total is None else str(self.total)
        return FixedInput(root=self.root, files=self.files, rows=self.rows, total=total)


def open_input(
    root: str, started: datetime, headers: tuple[tuple[str, str], ...] = ()
) -> LakeInput:
    """Find what a lake holds now, finishing commits that were cut short, or a plain folder.

    ``started`` bounds the dates of a plain folder; ``headers`` pairs contract columns with the
    names of its columns. In a process that was given a fixed input (``fixed_input.py``) it is that,
    whatever the lake holds by now. Raises ``InputError`` when there is neither.
    """
    fixed = fixed_input(root)
    if fixed is not None:
        return _as_fixed(fixed, started, headers)
    storage = open_storage(root)
    if isinstance(storage, LocalStorage) and not Path(root).exists():
        raise InputError(f"--input {root}: there is no such folder; give that of a lake")
    if not _is_lake(storage):
        files = plain_files(storage)
        # A first commit may have begun to publish since the look, but not before it was decided:
        # what was found would be a part of it.
        if not _is_lake(storage):
            if not files:
                raise _nothing_to_read(root, storage)
            return LakeInput(root, PlainReader(root, Rules(started), headers), files)
    if headers:
        raise ConfigError(f"--columns is for plain folders, and {root} is a lake: leave it out")
    snapshot = Lake.open(root).snapshot()
    if not snapshot.runs:
        raise InputError(f"--input {root}: nothing has been committed to this lake yet")
    return LakeInput(
        root,
        LakeReader(root),
        tuple(LakeFile(f.path, f.bytes, tuple(f.partition.items())) for f in snapshot.files),
        snapshot.rows,
        snapshot.total,
        snapshot.runs,
    )


def _is_lake(storage: Storage) -> bool:
    return next(storage.list(COMMITS, recursive=False), None) is not None


def _nothing_to_read(root: str, storage: Storage) -> InputError:
    if not isinstance(storage, LocalStorage) and next(storage.list(), None) is None:
        return InputError(f"--input {root}: there is nothing there; give a lake's folder")
    return InputError(
        f"--input {root} is not a lake, and holds no .parquet file: give the folder that "
        "pipelines.batch wrote to"
    )


def _as_fixed(
    fixed: FixedInput, started: datetime, headers: tuple[tuple[str, str], ...]
) -> LakeInput:
    root, files = fixed.root, fixed.files
    if fixed.rows is None or fixed.total is None:
        return LakeInput(root, PlainReader(root, Rules(started), headers), files)
    return LakeInput(root, LakeReader(root), files, fixed.rows, Decimal(fixed.total))

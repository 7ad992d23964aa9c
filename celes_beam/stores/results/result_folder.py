"""Where a result goes: a folder that holds a whole result, or what was there before."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

import pyarrow as pa

from celes_beam.contract import SCHEMA
from celes_beam.errors import ConfigError, IntegrityError, LakeExistsError, StorageError
from celes_beam.stores.results.results import RESULT_JSON, SORTED, Result, read_result
from celes_beam.stores.results.sorted_parts import write_part
from celes_beam.stores.work_folder import hidden_beside, placing_beside, work_folder_beside

RESULT = "result"
"""The folder, in a work folder, in which the files of the result are written."""
_OURS = re.compile(rf"(by_category|by_region|top)\.(csv|parquet)|{re.escape(RESULT_JSON)}")
_PART = re.compile(r"part-\d{5,}\.parquet")


@dataclass(frozen=True)
class ResultFolder:
    """The ``--output`` of an aggregation, or ``None`` when the result is only shown."""

    output: str | None

    @property
    def path(self) -> Path:
        """The folder itself, links resolved."""
        return Path(self.output or "").resolve()

    def check(self, root: str, *, overwrite: bool) -> None:
        """Raise unless the folder may be written to, while ``root`` is being read.

        ``LakeExistsError`` when something is there that must not be replaced, ``ConfigError`` when
        readers of the lake would take the result for sales, or it would replace its own input.
        """
        if self.output is None:
            return
        if not self.output.strip() or "://" in self.output or self.output.startswith("gs:"):
            raise ConfigError(
                f"--output {self.output!r}: results are written to a folder of this machine, or "
                "below gs://BUCKET; give one, such as ./result"
            )
        path, lake = self.path, Path(root).resolve()
        if lake.is_relative_to(path):
            raise ConfigError(f"--output {self.output} holds the input: give another folder")
        if path.is_relative_to(lake) and not is_hidden(path.relative_to(lake)):
            raise ConfigError(
                f"--output {self.output} is inside the input, whose readers would take it for "
                "sales: give another folder"
            )
        with placing_beside(path):
            self._check_contents(overwrite=overwrite)

    def _check_contents(self, *, overwrite: bool) -> None:
        path = self.path
        if path.exists() and not path.is_dir():
            raise LakeExistsError(f"--output {self.output} is a file: give a folder")
        entries = _entries(path)
        self._check_found(_stranger(entries), bool(entries), overwrite=overwrite)

    def _check_found(self, stranger: str | None, found: bool, *, overwrite: bool) -> None:
        if stranger is not None:
            raise LakeExistsError(
                f"--output {self.output} holds what no aggregation wrote, such as {stranger}: "
                "give another folder"
            )
        if found and not overwrite:
            raise LakeExistsError(
                f"--output {self.output} holds a result: give another folder, or replace it with "
                "--if_exists overwrite (-f)"
            )

    @contextmanager
    def work_folder(self) -> Iterator[str]:
        """A hidden folder beside the target, to work in; removed at the end with all in it."""
        path = Path(tempfile.gettempdir(), "aggregate") if self.output is None else self.path
        with ExitStack() as made:
            try:
                folder = made.enter_context(work_folder_beside(path))
            except OSError as error:
                raise StorageError(
                    f"--output {self.output}: cannot write beside it: {error.strerror}; give "
                    "another folder"
                ) from error
            yield str(folder)

    def publish(self, work_folder: str, *, with_sorted: bool, overwrite: bool = True) -> Result:
        """Put the finished result of a work folder in place of what was there, and return it.

        Raises ``IntegrityError`` when there is none, ``LakeExistsError`` when what came there
        meanwhile must not be replaced, and ``StorageError`` when the disk refuses.
        """
        finished = Path(work_folder) / RESULT
        if not (finished / RESULT_JSON).exists():
            raise IntegrityError(
                f"the pipeline ended, but left no result in {work_folder}: its workers must see "
                "this machine's disk, so use --runner DirectRunner or PrismRunner"
            )
        result = read_result(str(finished))
        if self.output is not None:
            if with_sorted and not result.rows:
                # Readers want a schema, and a folder without files has none.
                write_part(str(finished / SORTED), 0, pa.RecordBatch.from_pylist([], SCHEMA))
            self._replace(finished, overwrite=overwrite)
        return result

    def _replace(self, finished: Path, *, overwrite: bool) -> None:
        with placing_beside(self.path):
            self._check_contents(overwrite=overwrite)
            self._swap(finished)

    def _swap(self, finished: Path) -> None:
        path = self.path
        # Not in the work folder, which is removed also when the old result could not be put back.
        old = hidden_beside(path)
        try:
            had = path.exists()
            if had:
                # Hidden names that did not change for a day are swept by whoever works beside us.
                os.utime(path)
                path.rename(old)
            try:
                finished.rename(path)
            except OSError:
                if had:
                    old.rename(path)
                raise
            shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            raise StorageError(
                f"--output {self.output} could not be written: {error.strerror}; what was there "
                "is as it was"
            ) from error


def is_result_name(name: str) -> bool:
    """Whether a file with this name, below a folder of results, is part of a result."""
    folder, _, part = name.rpartition("/")
    return bool(_PART.fullmatch(part) if folder == SORTED else _OURS.fullmatch(name))


def is_hidden(path: PurePath) -> bool:
    """Whether readers of a lake pass over what is at this path within it."""
    return any(part.startswith(("_", ".")) for part in path.parts)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"{folder} cannot be listed: {error.strerror}") from error


def _stranger(entries: Sequence[Path]) -> str | None:
    """The first of the things in a folder that is no part of a result."""
    for path in entries:
        if path.name == SORTED and path.is_dir():
            for part in _entries(path):
                if not _PART.fullmatch(part.name):
                    return f"{SORTED}/{part.name}"
        elif not _OURS.fullmatch(path.name) or not path.is_file():
            return path.name
    try:
        if entries:
            read_result(str(entries[0].parent))
    except IntegrityError:
        return entries[0].name
    return None

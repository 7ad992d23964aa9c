"""Where a data set goes: one file or a folder of shards, complete or as it was before."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from celes_beam.errors import ConfigError, IntegrityError, LakeExistsError, StorageError
from celes_beam.stores.datasets.dataset import (
    FORMATS,
    Format,
    Shard,
    ShardWritten,
    appearing,
    concatenate,
    plan_parts,
    plan_shards,
)
from celes_beam.stores.work_folder import placing_beside, work_folder_beside

_SHARD_NAME = re.compile(r"ventas-\d{5,}-of-\d{5,}\.(csv|parquet)")
_REPORT = "report.json"
_OTHER_FILES = (
    *("arrow", "avro", "feather", "json", "jsonl", "ndjson", "orc", "parq", "pq", "tsv", "txt"),
    *("xls", "xlsx", "xml", "7z", "bz2", "gz", "tar", "tgz", "xz", "zip", "zst"),
)
"""Names that end like this are of files, and none that are written here."""


@dataclass(frozen=True)
class DatasetTarget:
    """The file or folder that a data set is written to, and its format."""

    path: Path
    one_file: bool
    format: Format

    @classmethod
    def parse(cls, output: str, format: str | None) -> DatasetTarget:
        """Tell a file from a folder by its name: ``ventas.csv`` is one, ``ventas/`` is not.

        ``format`` is that of the name, or CSV, when it is ``None``. Raises ``ConfigError``.
        """
        path, a_folder = cls._locate(output)
        named = path.suffix.lower().removeprefix(".")
        if named in _OTHER_FILES and not a_folder:
            raise ConfigError(
                f"--output {output}: a data set is written as .csv or .parquet, not as "
                f".{named}; give such a file, or end the name of a folder with /"
            )
        one_file = named in FORMATS and not a_folder
        if format is not None and format not in FORMATS:
            raise ConfigError(f"--format {format}: expected one of {', '.join(FORMATS)}")
        if one_file and format not in (None, named):
            raise ConfigError(
                f"--output {output} does not go with --format {format}: name it .{format}, or "
                "leave out --format"
            )
        chosen = format or (named if one_file else "csv")
        return cls(path, one_file, "parquet" if chosen == "parquet" else "csv")

    @classmethod
    def _locate(cls, output: str) -> tuple[Path, bool]:
        """The path, and whether it can only be that of a folder."""
        if "://" in output or output.startswith("gs:"):
            raise ConfigError(
                f"--output {output}: a data set is written to a disk or to gs://BUCKET; give a "
                "file such as ventas.csv or a folder, and copy it from there"
            )
        path = Path(output)
        return path, output.endswith(("/", "\\")) or path.is_dir()

    @property
    def output(self) -> str:
        """Where it is, for people."""
        return str(self.path)

    def check(self, *, overwrite: bool) -> None:
        """Raise ``LakeExistsError`` when something stands here that must not be replaced."""
        with placing_beside(self.path):
            self._check(overwrite=overwrite)

    def _check(self, *, overwrite: bool) -> None:
        if self.one_file:
            if self.path.exists() and not overwrite:
                raise LakeExistsError(
                    f"{self.path} is there already: choose another --output, or replace it with -f"
                )
            return
        if self.path.exists() and not self.path.is_dir():
            raise LakeExistsError(
                f"{self.path} is a file, not a folder: choose another --output, such as "
                f"{self.path}.{self.format}"
            )
        ours, others = _contents(self.path)
        check_contents(self.output, len(ours), [path.name for path in others], overwrite=overwrite)

    @contextmanager
    def work_folder(self) -> Iterator[str]:
        """A hidden folder beside the target, to write in; removed at the end with all in it."""
        with ExitStack() as made:
            try:
                folder = made.enter_context(work_folder_beside(self.path.absolute()))
            except OSError as error:
                raise StorageError(
                    f"{self.path} could not be written: {error.strerror}; choose another --output"
                ) from error
            yield str(folder)

    def plan(self, folder: str, rows: int, shards: int) -> list[Shard]:
        """Divide rows among ``shards`` files in a work folder, fewer when there are fewer rows."""
        shards = max(1, min(shards, rows))
        if self.one_file and self.format == "csv":
            return plan_parts(folder, rows, shards)
        return plan_shards(folder, rows, 1 if self.one_file else shards, self.format)

    def publish(
        self, shards: Sequence[Shard], written: Sequence[ShardWritten], *, overwrite: bool = True
    ) -> int:
        """Put finished shards in place of what was there; return the bytes of all.

        Raises ``IntegrityError`` when what was written is not what was planned, and
        ``LakeExistsError`` when what came there meanwhile must not be replaced.
        """
        if sorted((w.path, w.rows) for w in written) != sorted((s.path, s.rows) for s in shards):
            raise IntegrityError(
                f"{len(written)} files of {sum(w.rows for w in written):,} rows were written, but "
                f"{len(shards)} of {sum(s.rows for s in shards):,} were planned; {self.output} was "
                "left as it was: run again"
            )
        return self._place(shards, sum(w.bytes for w in written), overwrite=overwrite)

    def _place(self, shards: Sequence[Shard], size: int, *, overwrite: bool) -> int:
        whole = Path(shards[0].path)
        if self.one_file and len(shards) > 1:
            whole = whole.with_name("whole")
            size = concatenate([shard.path for shard in shards], str(whole))
        try:
            with placing_beside(self.path):
                # What another process put there meanwhile is another's.
                self._check(overwrite=overwrite)
                if self.one_file:
                    whole.replace(self.path)
                else:
                    self._fill([Path(shard.path) for shard in shards])
        except OSError as error:
            raise StorageError(f"{self.path} could not be written: {error.strerror}") from error
        return size

    def _fill(self, shards: Sequence[Path]) -> None:
        self.path.mkdir(exist_ok=True)
        for old in _contents(self.path)[0]:
            old.unlink()
        for shard in shards:
            shard.replace(self.path / shard.name)


def check_contents(output: str, ours: int, others: Sequence[str], *, overwrite: bool) -> None:
    """Raise ``LakeExistsError`` unless a folder with these files may be replaced."""
    if others:
        raise LakeExistsError(
            f"{output} holds files of others, such as {others[0]}: choose another --output"
        )
    if ours and not overwrite:
        raise LakeExistsError(
            f"{output} holds a data set of {ours} files: choose another --output, or "
            "replace it with -f"
        )


def is_shard_name(name: str) -> bool:
    """Whether a file with this name is a shard of a data set."""
    return _SHARD_NAME.fullmatch(name) is not None


def write_report(folder: str, written: Sequence[ShardWritten]) -> None:
    """Note in a work folder which shards are finished; asked again, the same note replaces it."""
    with appearing(Path(folder) / _REPORT) as file:
        file.write(msgspec.json.encode(written))


def read_report(folder: str) -> list[ShardWritten]:
    """Which shards are finished, by ``write_report``.

    Raises ``IntegrityError`` when there is no report: the workers have written elsewhere.
    """
    try:
        text = (Path(folder) / _REPORT).read_bytes()
    except OSError as error:
        raise IntegrityError(
            f"the pipeline ended, but left nothing in {folder}: its workers must see this "
            "machine's disk, so use --runner DirectRunner or PrismRunner"
        ) from error
    return msgspec.json.decode(text, type=list[ShardWritten])


def _contents(folder: Path) -> tuple[list[Path], list[Path]]:
    """The shards of an earlier data set in a folder, and whatever else is there."""
    try:
        found = sorted(folder.iterdir())
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise StorageError(f"{folder} cannot be listed: {error.strerror}") from error
    ours = [path for path in found if is_shard_name(path.name) and path.is_file()]
    return ours, [path for path in found if path not in ours]

"""Where sales come from: a source splits itself into shards, and reads each as checked rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from celes_beam.config import Config
from celes_beam.contract import Rules
from celes_beam.errors import InputError
from celes_beam.sales.generate import Generator
from celes_beam.sales.outcomes import all_accepted
from celes_beam.sales.rejected import Checked, checked
from celes_beam.sales.validate import accept_typed, judge_typed
from celes_beam.stores.inputs.files import InputFile, open_input
from celes_beam.stores.inputs.ranges import FileRange, plan_ranges, range_bytes_of
from celes_beam.stores.inputs.read import ReadOptions, read_range
from celes_beam.stores.inputs.read_options import NDJSON

SLICE_ROWS = 131_072
"""Generated rows are made and checked this many at a time, so that they stay in the caches."""

_PIECE_ROWS = 2 * SLICE_ROWS
MOST_TOGETHER = 256
"""Most files in one group: to open one in a bucket takes as long as to read some MiB."""

ShardT = TypeVar("ShardT")


class Source(Protocol[ShardT]):
    """Reads shards; small and picklable, since it travels to every worker."""

    @property
    def sets_aside(self) -> bool:
        """Whether an ``InputError`` of one input is noted, for the others to go on."""
        ...

    def read(self, shard: ShardT) -> Iterator[Checked]:
        """Yield what became of the records of a shard, in bounded memory."""
        ...

    def pieces(self, shard: ShardT) -> list[ShardT]:
        """Split a shard for the threads of one worker."""
        ...

    def progress_of(self, shard: ShardT) -> int:
        """How much of the work (in the unit of the progress bar) the shard is."""
        ...

    def source_of(self, shard: ShardT) -> str | None:
        """The path of the input that the shard is a part of; ``None`` when there is none."""
        ...


@dataclass(frozen=True)
class GeneratedShard:
    """Some rows of the generated table."""

    first_row: int
    rows: int


@dataclass(frozen=True)
class GeneratedSales:
    """Generated sales, which pass the same checks as any others."""

    config: Config
    rules: Rules
    sets_aside: ClassVar[bool] = False

    def shards(self) -> list[GeneratedShard]:
        """The rows of the configuration, ``batch_rows`` to a shard; one shard when there are none.

        Without one nothing would be staged, and a run of no rows is committed too.
        """
        rows, size = self.config.rows, self.config.batch_rows
        return [
            GeneratedShard(first, min(size, rows - first)) for first in range(0, rows, size)
        ] or [GeneratedShard(0, 0)]

    def pieces(self, shard: GeneratedShard) -> list[GeneratedShard]:
        """Split a shard for the threads of one worker, so that they end at the same time."""
        stop = shard.first_row + shard.rows
        firsts = range(shard.first_row, stop, _PIECE_ROWS)
        return [GeneratedShard(first, min(_PIECE_ROWS, stop - first)) for first in firsts]

    def read(self, shard: GeneratedShard) -> Iterator[Checked]:
        """Make the rows of a shard and check them."""
        for offset in range(0, shard.rows, SLICE_ROWS):
            first = shard.first_row + offset
            columns = self._generator.columns(first, min(SLICE_ROWS, shard.rows - offset))
            accepted = accept_typed(columns, self.rules)
            yield self._judge(columns, first) if accepted is None else all_accepted(accepted)

    def progress_of(self, shard: GeneratedShard) -> int:
        """Rows."""
        return shard.rows

    def source_of(self, shard: GeneratedShard) -> None:
        """None: generated rows come out of no input."""

    @cached_property
    def _generator(self) -> Generator:
        return Generator(self.config)

    def _judge(self, columns: dict[str, pa.Array], first: int) -> Checked:
        verdict = judge_typed(columns, self.rules)
        positions = np.arange(first, first + verdict.rows, dtype=np.int64)
        source = f"generated:seed={self.config.seed}"
        return checked(verdict, source, positions, _no_raw, self.rules)


def _no_raw(indexes: npt.NDArray[np.int64]) -> pa.Array:
    """Generated rows have no raw form: seed and position make them again."""
    return pa.array([b""] * len(indexes), pa.binary())


@dataclass(frozen=True)
class FileGroup:
    """Some whole files, each too small to be split, or one that may be large; not opened yet."""

    files: tuple[InputFile, ...]


@dataclass(frozen=True)
class WholeFile:
    """A file that is read as a whole, and was not opened yet."""

    file: InputFile


@dataclass(frozen=True)
class RefusedFile:
    """A file that could not be split into ranges; to read it raises why."""

    file: InputFile
    error: InputError
    weight: int


FileShard = FileRange | RefusedFile | FileGroup | WholeFile


@dataclass(frozen=True)
class SalesFiles:
    """Files of sales, read by ranges.

    ``sets_aside`` says that no file is to be in the way of others: one that cannot be planned is
    a shard all the same, and one that is being written to is told apart from a damaged one.
    """

    how: ReadOptions
    rules: Rules
    sets_aside: bool = False

    def groups(self, files: Iterable[InputFile]) -> Iterator[FileGroup]:
        """Put small files together, in their order, and leave each large one alone.

        A hundred thousand files of a few rows are a few hundred groups then, and as many elements.
        """
        together: list[InputFile] = []
        size = 0
        for file in files:
            most = range_bytes_of(file, self.how)
            if file.size > most:
                yield FileGroup((file,))
                continue
            if together and (size + file.size > most or len(together) == MOST_TOGETHER):
                yield FileGroup(tuple(together))
                together, size = [], 0
            together.append(file)
            size += file.size
        if together:
            yield FileGroup(tuple(together))

    def split(self, group: FileGroup) -> list[FileRange | RefusedFile | FileGroup]:
        """Split a large file into ranges; small ones are opened by nobody but their reader."""
        (first, *others) = group.files
        if others or first.size <= range_bytes_of(first, self.how):
            return [group]
        return [*self.plan(first)]

    def plan(self, file: InputFile) -> list[FileRange | RefusedFile]:
        """Split a file into ranges that can be read on their own; an empty one when it is empty."""
        try:
            return [*plan_ranges(file, self.how)] or [FileRange(file, NDJSON, 0, 0, 0)]
        except InputError as error:
            if not self.sets_aside:
                raise
            return [RefusedFile(file, _changed_rather(file, error), file.size)]

    def read(self, shard: FileShard) -> Iterator[Checked]:
        """Read a range, or a whole file, and check its rows."""
        if isinstance(shard, RefusedFile):
            raise shard.error
        if isinstance(shard, FileRange):
            yield from self._read_range(shard)
            return
        for file in shard.files if isinstance(shard, FileGroup) else (shard.file,):
            for part in self.plan(file):
                yield from self.read(part)

    def pieces(self, shard: FileShard) -> list[FileShard]:
        """The files of a group one by one; a range itself, for it is small enough."""
        return [WholeFile(f) for f in shard.files] if isinstance(shard, FileGroup) else [shard]

    def progress_of(self, shard: FileShard) -> int:
        """Bytes."""
        if isinstance(shard, FileGroup):
            return sum(f.size for f in shard.files)
        return shard.file.size if isinstance(shard, WholeFile) else shard.weight

    def source_of(self, shard: FileShard) -> str:
        """The path of the file (of a group, that of the first)."""
        return shard.files[0].path if isinstance(shard, FileGroup) else shard.file.path

    def _read_range(self, part: FileRange) -> Iterator[Checked]:
        try:
            yield from read_range(part, self.how, self.rules)
        except InputError as error:
            if not self.sets_aside:
                raise
            raise _changed_rather(part.file, error) from error


def _changed_rather(file: InputFile, error: InputError) -> InputError:
    """The error of a file; that it changed if it did, since any other may have come of it."""
    try:
        open_input(file).close()
    except InputError as now:
        return now
    return error

"""Where sales come from: a source splits itself into shards, and reads each as checked rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from celes_beam.config import Config
from celes_beam.contract import Rules
from celes_beam.sales.generate import Generator
from celes_beam.sales.rejected import Checked, all_accepted, checked
from celes_beam.sales.validate import accept_typed, judge_typed
from celes_beam.stores.inputs.files import InputFile
from celes_beam.stores.inputs.ranges import FileRange, plan_ranges
from celes_beam.stores.inputs.read import ReadOptions, read_range

SLICE_ROWS = 131_072
"""Generated rows are made and checked this many at a time, so that they stay in the caches."""

ShardT_contra = TypeVar("ShardT_contra", contravariant=True)


class Source(Protocol[ShardT_contra]):
    """Reads shards; small and picklable, since it travels to every worker."""

    def read(self, shard: ShardT_contra) -> Iterator[Checked]:
        """Yield what became of the records of a shard, in bounded memory."""
        ...

    def progress_of(self, shard: ShardT_contra) -> int:
        """How much of the work (in the unit of the progress bar) the shard is."""
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

    def shards(self) -> list[GeneratedShard]:
        """The rows of the configuration, ``batch_rows`` to a shard."""
        rows, size = self.config.rows, self.config.batch_rows
        return [GeneratedShard(first, min(size, rows - first)) for first in range(0, rows, size)]

    def read(self, shard: GeneratedShard) -> Iterator[Checked]:
        """Make the rows of a shard and check them."""
        for offset in range(0, shard.rows, SLICE_ROWS):
            first = shard.first_row + offset
            columns = self._generator.columns(first, min(SLICE_ROWS, shard.rows - offset))
            accepted = accept_typed(columns, self.rules)
            yield (all_accepted(accepted) if accepted is not None else self._judge(columns, first))

    def progress_of(self, shard: GeneratedShard) -> int:
        """Rows."""
        return shard.rows

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
class SalesFiles:
    """Files of sales, read by ranges."""

    how: ReadOptions
    rules: Rules

    def plan(self, file: InputFile) -> list[FileRange]:
        """Split a file into ranges that can be read on their own."""
        return plan_ranges(file, self.how)

    def read(self, shard: FileRange) -> Iterator[Checked]:
        """Read a range and check its rows."""
        return read_range(shard, self.how, self.rules)

    def progress_of(self, shard: FileRange) -> int:
        """Bytes."""
        return shard.weight

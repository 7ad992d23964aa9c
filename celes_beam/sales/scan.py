"""What one pass over sales gathers: exact sums, the first rows in some order, a sample of keys."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from celes_beam.contract import AMOUNT, CATEGORY, COLUMN_NAMES, DATE, ID, REGION, SCHEMA
from celes_beam.sales.aggregate import Sums, merge_sums, sum_batch
from celes_beam.sales.columns import Ints
from celes_beam.sales.order import Order, first_rows, sample_keys

_NO_SALES: Any = pa.RecordBatch.from_pylist([], SCHEMA)
_NO_KEYS: Ints = np.empty((0, 3), np.int64)
_TOPS_KEPT = 8
"""First rows of batches are kept until they are this many times more than asked for."""


@dataclass(frozen=True)
class Questions:
    """What a pass is to find out beside the sums.

    ``top`` is how many first rows by ``order`` to keep; one key of ``sample_every`` is sampled.
    0 is none of either.
    """

    order: Order = field(default_factory=Order)
    top: int = 0
    sample_every: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that must be read, in the order of the contract."""
        if self.top:
            return COLUMN_NAMES
        needed = {AMOUNT, CATEGORY, REGION} | ({ID, DATE} if self.sample_every else set())
        return tuple(name for name in COLUMN_NAMES if name in needed)


@dataclass(frozen=True, eq=False)
class Scanned:
    """What was gathered of some rows; ``merge_scanned`` adds two, in any order.

    ``top`` holds the first rows, in order, with ``contract.SCHEMA``; ``sample`` int64 keys, one
    line a row.
    """

    sums: Sums = field(default_factory=Sums)
    top: pa.RecordBatch = field(default_factory=lambda: _NO_SALES)
    sample: Ints = field(default_factory=lambda: _NO_KEYS)


class Scan:
    """Gathers batch by batch. Not thread-safe: each thread has its own."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._sums = Sums()
        self._tops: list[pa.RecordBatch] = []
        self._samples: list[Ints] = [_NO_KEYS]

    def add(self, sales: pa.RecordBatch, file: str, first_row: int) -> None:
        """Take rows ``first_row`` and following of a file, with the columns of the questions."""
        asked = self._questions
        self._sums = self._sums + sum_batch(sales)
        if asked.top:
            self._tops.append(first_rows(sales, asked.order, asked.top))
            if sum(t.num_rows for t in self._tops) > _TOPS_KEPT * asked.top:
                self._tops = [_first_of(self._tops, asked)]
        if asked.sample_every:
            keys = asked.order.keys(sales)
            seed = zlib.crc32(file.encode())
            self._samples.append(sample_keys(keys, first_row, asked.sample_every, seed))

    def result(self) -> Scanned:
        """What was gathered so far."""
        top = _first_of(self._tops, self._questions)
        return Scanned(self._sums, top, np.concatenate(self._samples))


def merge_scanned(parts: Iterable[Scanned], questions: Questions) -> Scanned:
    """Add what was gathered of several sets of rows."""
    all_parts = list(parts)
    return Scanned(
        merge_sums(p.sums for p in all_parts),
        _first_of([p.top for p in all_parts], questions),
        np.concatenate([_NO_KEYS, *(p.sample for p in all_parts)]),
    )


def _first_of(tops: Sequence[pa.RecordBatch], questions: Questions) -> pa.RecordBatch:
    batches = pa.Table.from_batches(tops, SCHEMA).combine_chunks().to_batches()
    return first_rows(batches[0], questions.order, questions.top) if batches else _NO_SALES

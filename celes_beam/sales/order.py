"""The total order of sales by one column: what comes first, where a range ends, how ties fall.

Rows that are equal in the column asked for are ordered by the others, ascending, in the order of
the contract, so that sorted sales are the same however they were split before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from celes_beam.contract import AMOUNT, CATEGORY, DATE, ID, REGION, SCHEMA
from celes_beam.errors import ConfigError
from celes_beam.sales.columns import Ints, cents_view, int64_view, text_codes

SORT_COLUMNS: tuple[str, ...] = (AMOUNT, DATE, ID)
"""What sales can be sorted by; all of them are integers underneath."""

_NUMBERS = (ID, DATE, AMOUNT)
_TEXTS = (CATEGORY, REGION)
_WORD_BITS = 63
_PER_COUNTER = 4
"""Numbers that Philox makes of each value of its counter."""


@dataclass(frozen=True)
class Order:
    """Sales by one column, ties by the others; the direction is that of the one column alone.

    Raises ``ConfigError`` for a column that is not one of ``SORT_COLUMNS``.
    """

    column: str = AMOUNT
    descending: bool = False

    def __post_init__(self) -> None:
        if self.column not in SORT_COLUMNS:
            raise ConfigError(f"--sort_by {self.column}: expected one of {', '.join(SORT_COLUMNS)}")

    def keys(self, sales: pa.RecordBatch) -> list[Ints]:
        """Three int64 arrays that order the rows, but for ties in all three; smaller is first."""
        first = _numbers(sales, self.column)
        others = [_numbers(sales, name) for name in _NUMBERS if name != self.column]
        return [-first if self.descending else first, *others]


def sort_indexes(sales: pa.RecordBatch, order: Order) -> Ints:
    """The indexes that put the rows of a batch in order."""
    keys: list[Ints] = order.keys(sales)
    words = _pack([*keys, *(_text_ranks(sales.column(name)) for name in _TEXTS)])
    indexes = np.argsort(words[0])
    if len(words) > 1:
        _order_ties(indexes, words)
    return indexes


def in_order(sales: pa.RecordBatch, order: Order) -> pa.RecordBatch:
    """The rows of a batch, in order."""
    return sales.take(pa.array(sort_indexes(sales, order)))


def first_rows(sales: pa.RecordBatch, order: Order, most: int) -> pa.RecordBatch:
    """The first rows of a batch, at most ``most``, in order; a copy with ``contract.SCHEMA``."""
    if sales.num_rows > most:
        key = order.keys(sales)[0]
        last = np.partition(key, most - 1)[most - 1]
        sales = sales.take(pa.array(np.flatnonzero(key <= last)))
    plain = pa.RecordBatch.from_arrays(
        [sales.column(f.name).cast(f.type) for f in SCHEMA], schema=SCHEMA
    )
    return plain.take(pa.array(sort_indexes(plain, order)[:most]))


def sample_keys(keys: Sequence[Ints], first_row: int, every: int, seed: int = 0) -> Ints:
    """The keys of one row, at random, of each block of ``every`` rows: int64, one line a row.

    ``first_row`` is the number of the first row. The choice depends on the seed and the number of
    the block alone: how rows are split changes nothing.
    """
    rows = len(keys[0])
    first_block, blocks = first_row // every, -(-(first_row + rows) // every) - first_row // every
    # Random, since rows may repeat with a period that has a factor in common with the block.
    random = np.random.Philox(key=seed, counter=first_block).random_raw(blocks * _PER_COUNTER)
    within = (random[::_PER_COUNTER] % np.uint64(every)).astype(np.int64)
    chosen = np.arange(first_block, first_block + blocks) * every + within - first_row
    chosen = chosen[(chosen >= 0) & (chosen < rows)]
    return np.column_stack([np.take(key, chosen, mode="clip") for key in keys])


def choose_bounds(sample: Ints, ranges: int) -> Ints:
    """Divide all rows into about equal ranges by a sample of their keys.

    Each line of the result is the key that begins the next range; there are fewer than ``ranges``
    when the sample has too few distinct keys. No range of the sample is empty.
    """
    if ranges <= 1 or not len(sample):
        return sample[:0]
    in_order = sample[np.lexsort(sample.T[::-1])]
    picked = in_order[[len(sample) * i // ranges for i in range(1, ranges)]]
    distinct: Ints = np.unique(picked, axis=0)
    return distinct[1:] if np.array_equal(distinct[0], in_order[0]) else distinct


def range_codes(keys: Sequence[Ints], bounds: Ints) -> Ints:
    """The range each row falls into: how many bounds are at or before its key."""
    if not len(bounds):
        return np.zeros(len(keys[0]), np.int64)
    starts = np.ascontiguousarray(bounds[:, 0])
    codes: Ints = np.searchsorted(starts, keys[0], side="right")
    if len(keys) == 1:
        return codes
    # Rows at or past a bound whose own number begins like theirs: the other keys decide.
    tied = np.flatnonzero((codes > 0) & (np.take(starts, codes - 1, mode="clip") == keys[0]))
    ends = codes[tied]
    for after in np.unique(ends).tolist():
        rows = tied[ends == after]
        before = int(np.searchsorted(starts, starts[after - 1]))
        same = bounds[before:after, 1:]
        codes[rows] = before + range_codes([key[rows] for key in keys[1:]], same)
    return codes


def _numbers(sales: pa.RecordBatch, name: str) -> Ints:
    column = sales.column(name)
    return cents_view(column) if name == AMOUNT else int64_view(column)


def _text_ranks(column: pa.Array) -> Ints:
    codes, texts = text_codes(column)
    ranks = np.empty(len(texts), np.int64)
    ranks[sorted(range(len(texts)), key=texts.__getitem__)] = np.arange(len(texts))
    return np.take(ranks, codes, mode="clip") if len(texts) else np.zeros(0, np.int64)


def _pack(columns: Sequence[Ints]) -> list[Ints]:
    """Put as many columns as fit side by side into int64 words that order rows as they do.

    Two columns of a bucket of sales mostly fit into one word, and one sort does for both.
    """
    words: list[Ints] = []
    room = 0
    for column in columns if len(columns[0]) else ():
        low = int(column.min())
        bits = (int(column.max()) - low).bit_length()
        if bits > room:
            words.append(column - low)
            room = _WORD_BITS - bits
        elif bits:
            words[-1] = (words[-1] << bits) | (column - low)
            room -= bits
    return words or [np.zeros(len(columns[0]), np.int64)]


def _order_ties(indexes: npt.NDArray[np.intp], words: Sequence[Ints]) -> None:
    """Order, in place, those indexes whose first words are equal, by all words."""
    first = np.take(words[0], indexes, mode="clip")
    equal = first[1:] == first[:-1]
    tied = np.zeros(len(first), bool)
    tied[1:] |= equal
    tied[:-1] |= equal
    places = np.flatnonzero(tied)
    rows = indexes[places]
    indexes[places] = rows[np.lexsort([word[rows] for word in reversed(words)])]

"""Generated sales: row i is a pure function of the seed, i, and the configured world.

Each row owns two 64-bit words of one PCG64DXSM stream, which NumPy promises to keep (NEP 19), and
is made from them by integers and IEEE-exact arithmetic alone. So any batch size, number of
workers, runner, platform or NumPy version makes the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from celes_beam.config import Config
from celes_beam.contract import AMOUNT, CATEGORY, COLUMNS, DATE, ID, REGION, SCHEMA

WORDS_PER_ROW = 2
SLICE_ROWS = 32_768
"""Rows made at a time, so that what lies between the steps stays in a core's own cache."""

_ENTRIES = 1 << 16
_DAY_US = 86_400_000_000
_UNIT = 2.0**-32
_WEIGHT_STEPS = 2.0**30
_TYPES = {column.name: column.arrow_type for column in COLUMNS}

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Generator:
    """Makes any rows of the endless table that a Config describes; safe to share by threads."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._categories = pa.array(config.categories, pa.string())
        self._regions = pa.array(config.regions, pa.string())
        self._category_of = _codes([config.category_weight(c) for c in config.categories])
        self._region_of = _codes([config.region_weight(r) for r in config.regions])
        self._instant_of = _instants(config)
        ranges = [config.price_range(category) for category in config.categories]
        self._lowest = np.array([_cents(low) for low, _ in ranges], np.float64)
        self._prices = np.array([_cents(high) - _cents(low) + 1 for low, high in ranges], float)

    def __reduce__(self) -> tuple[type[Generator], tuple[Config]]:
        return Generator, (self.config,)

    def columns(self, first_row: int, rows: int) -> dict[str, pa.Array]:
        """Make rows ``first_row`` to ``first_row + rows - 1``, texts dictionary-encoded.

        The arrays stand in contract order and have the contract's types, but for the texts: these
        are codes (int8, or int16 above 128 texts) into the configured texts, in their order.
        """
        if first_row < 0 or rows < 0:
            raise ValueError(f"first_row={first_row}, rows={rows}: neither may be negative")
        ids = np.empty(rows, np.int64)
        instants = np.empty(rows, np.int64)
        # Decimals are 128-bit little-endian integers: the cents, then a word that stays zero.
        amounts = np.zeros((rows, 2), np.int64)
        categories = np.empty(rows, self._category_of.dtype)
        regions = np.empty(rows, self._region_of.dtype)
        stream = np.random.PCG64DXSM(self.config.seed).advance(first_row * WORDS_PER_ROW)
        for start in range(0, rows, SLICE_ROWS):
            part = slice(start, min(start + SLICE_ROWS, rows))
            words = stream.random_raw((part.stop - start) * WORDS_PER_ROW).astype("<u8", copy=False)
            halves = words.view("<u4").reshape(-1, 2 * WORDS_PER_ROW)
            quarters = words.view("<u2").reshape(-1, 4 * WORDS_PER_ROW)
            category = self._category_of[quarters[:, 4]]
            categories[part] = category
            regions[part] = self._region_of[quarters[:, 5]]
            instants[part] = self._instant_of[quarters[:, 6]]
            ids[part] = _skewed(halves[:, 0], float(self.config.customers), 1.0)
            amounts[part, 0] = _skewed(halves[:, 1], self._prices[category], self._lowest[category])
        return {
            ID: pa.array(ids),
            DATE: _from_buffer(_TYPES[DATE], rows, instants),
            AMOUNT: _from_buffer(_TYPES[AMOUNT], rows, amounts),
            CATEGORY: pa.DictionaryArray.from_arrays(categories, self._categories, safe=False),
            REGION: pa.DictionaryArray.from_arrays(regions, self._regions, safe=False),
        }

    def batch(self, first_row: int, rows: int) -> pa.RecordBatch:
        """Make rows ``first_row`` to ``first_row + rows - 1`` in the contract's own types."""
        columns = self.columns(first_row, rows)
        for name in (CATEGORY, REGION):
            columns[name] = columns[name].dictionary_decode()
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=SCHEMA)


def _skewed(
    words: npt.NDArray[np.uint32], choices: Floats | float, lowest: Floats | float
) -> Floats:
    """Whole numbers from ``lowest`` to ``lowest + choices - 1``, the low ones more often."""
    unit = words * _UNIT
    cube = unit * unit
    cube *= unit
    cube *= choices
    np.floor(cube, out=cube)
    cube += lowest
    return cube


def _cents(price: Decimal) -> int:
    return int(price * 100)


def _shares(weights: Floats) -> Ints:
    """Share out the 65,536 values of a 16-bit word: at each, the index of the weight it falls to.

    The running sum of the weights is cut at evenly spaced points, in whole numbers, so that the
    shares are right to one part in 65,536 and the same on every platform.
    """
    steps = np.maximum(1, np.floor(weights / weights.max() * _WEIGHT_STEPS)).astype(np.int64)
    ends = np.cumsum(steps)
    total = int(ends[-1])
    odd = 2 * np.arange(_ENTRIES, dtype=np.int64) + 1
    # odd * total // (2 * entries), in two parts, neither of which overflows.
    whole, rest = divmod(total, 2 * _ENTRIES)
    points = odd * whole + odd * rest // (2 * _ENTRIES)
    return np.searchsorted(ends, points, side="right").astype(np.int64)


def _codes(weights: Sequence[float]) -> npt.NDArray[np.int8 | np.int16]:
    shares = _shares(np.array(weights, np.float64))
    return shares.astype(np.int8 if len(weights) <= 128 else np.int16)


def _instants(config: Config) -> Ints:
    """Midnights, in microseconds since 1970, by the weights of their months and weekdays."""
    first, last = np.datetime64(config.first_date, "D"), np.datetime64(config.last_date, "D")
    days = np.arange(first, last + 1)
    months = days.astype("datetime64[M]").astype(np.int64) % 12
    weekdays = (days.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    weights = np.array(config.month_weights)[months] * np.array(config.weekday_weights)[weekdays]
    return days.astype(np.int64)[_shares(weights)] * _DAY_US


def _from_buffer(arrow_type: pa.DataType, rows: int, values: Ints) -> pa.Array:
    return pa.Array.from_buffers(arrow_type, rows, [None, pa.py_buffer(values)])

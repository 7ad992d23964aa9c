"""Exact partial sums: rows and cents by category and by region, and how they add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import pyarrow as pa

from celes_beam.contract import AMOUNT_SCALE, CATEGORY, MAX_CENTS, REGION, mean
from celes_beam.sales.columns import Codes, Ints, cents, text_codes

_EXACT_IN_FLOAT = 2**53
_LOW_BITS = 26
_MAX_CELLS = 4096
_ROWS_IN_INT64 = 2**63 // MAX_CENTS


@dataclass(frozen=True)
class Share:
    """Rows of one group and the sum of their amounts, in cents."""

    rows: int
    cents: int

    def __add__(self, other: Share) -> Share:
        return Share(self.rows + other.rows, self.cents + other.cents)

    @property
    def total(self) -> Decimal:
        """The sum in currency units, exact, with 2 decimals."""
        return amount(self.cents)

    @property
    def mean(self) -> Decimal:
        """The mean amount by the project's one division."""
        return mean(self.total, self.rows)


@dataclass(frozen=True)
class Sums:
    """Partial sums of some rows; adding two gives the sums of both sets of rows, in any order."""

    by_category: Mapping[str, Share] = field(default_factory=dict)
    by_region: Mapping[str, Share] = field(default_factory=dict)

    def __add__(self, other: Sums) -> Sums:
        return merge_sums((self, other))

    @property
    def whole(self) -> Share:
        """Rows and cents of everything that was summed."""
        return sum(self.by_category.values(), Share(0, 0))


def amount(in_cents: int) -> Decimal:
    """Express cents in currency units, exact, with 2 decimals."""
    return Decimal(in_cents).scaleb(-AMOUNT_SCALE)


def sum_batch(batch: pa.RecordBatch) -> Sums:
    """Sum the amounts of a batch of accepted sales by category and by region, exactly."""
    values = cents(batch)
    categories, category_names = text_codes(batch.column(CATEGORY))
    regions, region_names = text_codes(batch.column(REGION))
    shape = len(category_names), len(region_names)
    if shape[0] * shape[1] > _MAX_CELLS:
        return Sums(
            _sum_by(categories, category_names, values), _sum_by(regions, region_names, values)
        )
    # Both are margins of one table, so the rows are gone through once and not twice.
    cells = categories.astype(np.intp) * shape[1] + regions if shape[1] > 1 else categories
    counted = _counts_and_sums(cells, shape[0] * shape[1], values)
    rows, sums = (np.array(numbers, object).reshape(shape) for numbers in counted)
    return Sums(
        _shares(category_names, rows.sum(axis=1).tolist(), sums.sum(axis=1).tolist()),
        _shares(region_names, rows.sum(axis=0).tolist(), sums.sum(axis=0).tolist()),
    )


def merge_sums(parts: Iterable[Sums]) -> Sums:
    """Add partial sums."""
    by_category: dict[str, Share] = {}
    by_region: dict[str, Share] = {}
    for part in parts:
        for merged, shares in ((by_category, part.by_category), (by_region, part.by_region)):
            for name, share in shares.items():
                merged[name] = merged[name] + share if name in merged else share
    return Sums(by_category, by_region)


def _sum_by(codes: Codes, texts: list[str], values: Ints) -> dict[str, Share]:
    if len(texts) == 1 and 0 < len(values) < _ROWS_IN_INT64:
        return {texts[0]: Share(len(values), int(values.sum()))}
    rows = np.bincount(codes, minlength=len(texts))
    return _shares(texts, rows.tolist(), group_sums(codes, len(texts), values))


def _shares(texts: list[str], rows: list[int], sums: list[int]) -> dict[str, Share]:
    return {text: Share(n, s) for text, n, s in zip(texts, rows, sums, strict=True) if n}


def group_sums(codes: Codes, groups: int, values: Ints) -> list[int]:
    """Sum non-negative int64 values by group code, exactly, as Python ints.

    ``np.bincount`` adds in float64, which is exact only below 2**53: larger sums are made of
    two halves of each value that stay below it.
    """
    if not len(values):
        return [0] * groups
    if int(values.max()) * len(values) < _EXACT_IN_FLOAT:
        return _float_sums(codes, groups, values)
    high = _float_sums(codes, groups, values >> _LOW_BITS)
    low = _float_sums(codes, groups, values & ((1 << _LOW_BITS) - 1))
    return [(h << _LOW_BITS) + x for h, x in zip(high, low, strict=True)]


def _counts_and_sums(codes: Codes, groups: int, values: Ints) -> tuple[list[int], list[int]]:
    """Rows and sums by group code, in one pass where both fit into 53 bits.

    ``np.bincount`` holds the GIL, so that threads wait for each other there.
    """
    bits = len(values).bit_length()
    if len(values) < _ROWS_IN_INT64 and int(values.sum()) < _EXACT_IN_FLOAT >> bits + 1:
        weights = values.astype(np.float64)
        weights *= 1 << bits
        weights += 1
        both = [int(one) for one in np.bincount(codes, weights=weights, minlength=groups).tolist()]
        return [one & ((1 << bits) - 1) for one in both], [one >> bits for one in both]
    rows: list[int] = np.bincount(codes, minlength=groups).tolist()
    return rows, group_sums(codes, groups, values)


def _float_sums(codes: Codes, groups: int, values: Ints) -> list[int]:
    return [int(s) for s in np.bincount(codes, weights=values, minlength=groups).tolist()]

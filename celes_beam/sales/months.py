"""Exact sums by month: rows and cents of each, and the first and last moment of all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from celes_beam.contract import EPOCH
from celes_beam.sales.aggregate import Share, group_sums
from celes_beam.sales.columns import cents, micros

_MICROS_PER_DAY = 86_400_000_000


@dataclass(frozen=True)
class Months:
    """Partial sums by month (2024-05, in UTC); ``first`` and ``last`` are ``None`` without rows."""

    by_month: Mapping[str, Share] = field(default_factory=dict)
    first: datetime | None = None
    last: datetime | None = None

    def __add__(self, other: Months) -> Months:
        return merge_months((self, other))


def sum_months(batch: pa.RecordBatch) -> Months:
    """Sum the amounts of a batch of accepted sales by month, exactly."""
    moments = micros(batch)
    if not len(moments):
        return Months()
    first, last = int(moments.min()), int(moments.max())
    # Months are looked up by day: numpy's own conversion of each moment takes twenty times longer.
    days = np.arange(first // _MICROS_PER_DAY, last // _MICROS_PER_DAY + 1)
    months = days.astype("datetime64[D]").astype("datetime64[M]")
    names, of_day = np.unique(months, return_inverse=True)
    codes = of_day[moments // _MICROS_PER_DAY - days[0]]
    rows = np.bincount(codes, minlength=len(names)).tolist()
    sums = group_sums(codes, len(names), cents(batch))
    by_month = {str(name): Share(n, s) for name, n, s in zip(names, rows, sums, strict=True) if n}
    return Months(by_month, _moment(first), _moment(last))


def merge_months(parts: Iterable[Months]) -> Months:
    """Add partial sums."""
    by_month: dict[str, Share] = {}
    firsts, lasts = [], []
    for part in parts:
        for name, share in part.by_month.items():
            by_month[name] = by_month[name] + share if name in by_month else share
        firsts += [part.first] if part.first else []
        lasts += [part.last] if part.last else []
    return Months(by_month, min(firsts, default=None), max(lasts, default=None))


def _moment(micros_since_1970: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros_since_1970)

"""Sums of a batch by window of event time, category and region: what live windows are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from celes_beam.contract import CATEGORY, REGION
from celes_beam.sales.aggregate import Share, group_sums
from celes_beam.sales.columns import cents, micros, text_codes

SECOND_US = 1_000_000


@dataclass(frozen=True)
class WindowSum:
    """Rows and cents of one window, category and region; ``start`` is in µs since 1970."""

    start: int
    category: str
    region: str
    share: Share


def window_sums(batch: pa.RecordBatch, seconds: int) -> tuple[WindowSum, ...]:
    """Sum accepted sales (``contract.SCHEMA``) by windows of so many seconds, exactly.

    Windows follow one another from 1970 on; a sale is in the one that its date is in. In order of
    window, category and region.
    """
    if not batch.num_rows:
        return ()
    width = seconds * SECOND_US
    starts, windows = np.unique(micros(batch) // width, return_inverse=True)
    categories, category_names = text_codes(batch.column(CATEGORY))
    regions, region_names = text_codes(batch.column(REGION))
    cells = (windows.astype(np.int64) * len(category_names) + categories) * len(
        region_names
    ) + regions
    # Only those that have rows: of a backlog of years most have none.
    there, groups = np.unique(cells, return_inverse=True)
    rows = np.bincount(groups, minlength=len(there)).tolist()
    sums = group_sums(groups, len(there), cents(batch))
    rest, at_region = np.divmod(there, len(region_names))
    at_window, at_category = np.divmod(rest, len(category_names))
    found = [
        WindowSum(
            int(starts[w]) * width, category_names[c], region_names[r], Share(rows[i], sums[i])
        )
        for i, (w, c, r) in enumerate(
            zip(at_window.tolist(), at_category.tolist(), at_region.tolist(), strict=True)
        )
    ]
    return tuple(sorted(found, key=lambda one: (one.start, one.category, one.region)))


def split_by_end(
    sums: Iterable[WindowSum], seconds: int, before_us: int
) -> tuple[list[WindowSum], list[WindowSum]]:
    """Those whose window ends at ``before_us`` (µs since 1970) or later, and the others."""
    young: list[WindowSum] = []
    old: list[WindowSum] = []
    for one in sums:
        (old if one.start + seconds * SECOND_US < before_us else young).append(one)
    return young, old

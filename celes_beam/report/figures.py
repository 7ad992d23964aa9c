"""The figures of a lake's sales, gathered in one pass over its files; exact to the cent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

import msgspec

from celes_beam.contract import AMOUNT, CATEGORY, DATE, REGION, mean
from celes_beam.errors import IntegrityError
from celes_beam.sales.aggregate import Share, Sums, merge_sums, sum_batch
from celes_beam.sales.months import Months, merge_months, sum_months
from celes_beam.stores.lake.ingest import category_totals, region_means
from celes_beam.stores.lake.lake_input import LakeInput
from celes_beam.stores.lake.lake_reader import Piece
from celes_beam.stores.lake.manifest import RegionMean
from celes_beam.stores.lake.staging_area import each
from celes_beam.stores.results.results import CategoryShare, category_shares
from celes_beam.stores.share_out import share_out

MOST_NAMES = 1000
"""A page lists this many categories, and regions; the others are one line."""
_COLUMNS = (DATE, AMOUNT, CATEGORY, REGION)
_PLANNED_AT_ONCE = 16

Told = Callable[[int, int], object]
"""Called with the rows and bytes that a thread has just read."""
Line = TypeVar("Line", CategoryShare, RegionMean)


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """The categories or regions that are not listed, in one line; ``mean`` of all their rows."""

    names: int
    rows: int
    total: str
    mean: str


class MonthTotal(msgspec.Struct, frozen=True, kw_only=True):
    """Rows, sum and mean of the amounts of one month (2024-05, UTC)."""

    month: str
    rows: int
    total: str
    mean: str


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a report says of sales. Amounts are decimal strings, moments ISO 8601 in UTC.

    Categories are in falling order of their totals, regions of their means, months in order of
    time. ``mean``, ``first`` and ``last`` are ``None`` when there are no rows.
    """

    rows: int
    total: str
    mean: str | None
    first: str | None
    last: str | None
    categories: int
    regions: int
    by_category: tuple[CategoryShare, ...]
    by_region: tuple[RegionMean, ...]
    by_month: tuple[MonthTotal, ...]
    other_categories: Rest | None = None
    other_regions: Rest | None = None


@dataclass(frozen=True)
class Gathered:
    """Partial sums of some rows."""

    sums: Sums = field(default_factory=Sums)
    months: Months = field(default_factory=Months)


def gather(found: LakeInput, tell: Told = lambda rows, size: None) -> Gathered:
    """Sum all sales of a lake or plain folder, a batch at a time on a thread a core.

    Raises ``IntegrityError`` when a lake's files do not hold what its commits say, and what the
    reader raises.
    """
    planned = each(found.reader.plan, found.files, at_once=_PLANNED_AT_ONCE)
    pieces = [piece for of_file in planned for piece in of_file]

    def work(taken: Iterator[Piece]) -> Gathered:
        sums, months = Sums(), Months()
        for piece in taken:
            for sales in found.reader.read(piece, _COLUMNS):
                sums, months = sums + sum_batch(sales), months + sum_months(sales)
                tell(sales.num_rows, 0)
            tell(0, piece.bytes)
        return Gathered(sums, months)

    parts = share_out(pieces, work)
    whole = Gathered(merge_sums(p.sums for p in parts), merge_months(p.months for p in parts))
    _check(found, whole.sums.whole)
    return whole


def make_figures(gathered: Gathered, most: int = MOST_NAMES) -> Figures:
    """Put sums in the order of a page; past ``most`` names the rest is one line."""
    sums, months = gathered.sums, gathered.months
    whole = sums.whole
    categories = category_shares(category_totals(sums), str(whole.total))
    regions = sorted(region_means(sums), key=lambda r: (-Decimal(r.mean), r.region_de_venta))
    by_category, other_categories = _listed(categories, most)
    by_region, other_regions = _listed(regions, most)
    return Figures(
        rows=whole.rows,
        total=str(whole.total),
        mean=str(whole.mean) if whole.rows else None,
        first=months.first.isoformat() if months.first else None,
        last=months.last.isoformat() if months.last else None,
        categories=len(categories),
        regions=len(regions),
        by_category=by_category,
        by_region=by_region,
        by_month=tuple(
            MonthTotal(month=name, rows=s.rows, total=str(s.total), mean=str(s.mean))
            for name, s in sorted(months.by_month.items())
        ),
        other_categories=other_categories,
        other_regions=other_regions,
    )


def _listed(lines: Sequence[Line], most: int) -> tuple[tuple[Line, ...], Rest | None]:
    listed, left = tuple(lines[:most]), lines[most:]
    if not left:
        return listed, None
    rows = sum(line.rows for line in left)
    total = sum((Decimal(line.total) for line in left), Decimal("0.00"))
    rest = Rest(names=len(left), rows=rows, total=str(total), mean=str(mean(total, rows)))
    return listed, rest


def _check(found: LakeInput, whole: Share) -> None:
    if found.rows is None:
        return
    if (whole.rows, whole.total) != (found.rows, found.total):
        raise IntegrityError(
            f"{found.root}: its files hold {whole.rows:,} rows that sum to {whole.total:,}, and "
            f"its commits say {found.rows:,} and {found.total:,}: celes-beam lake verify "
            f"{found.root} tells which file is not as it was committed"
        )

"""What an engine found, checked before it is called a result.

Every engine comes through here, Beam as well: counts and sums must be those that were committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from celes_beam.contract import AMOUNT_SCALE, CATEGORY, REGION, SCHEMA
from celes_beam.errors import IntegrityError
from celes_beam.sales.aggregate import Share, Sums, merge_sums
from celes_beam.sales.order import Order, first_rows
from celes_beam.stores.lake.lake_input import LakeInput
from celes_beam.stores.lake.lake_reader import TEXTS
from celes_beam.stores.lake.plain_folder import PlainReader

Committed = tuple[int | None, Decimal | None]
"""Rows and total that the commits of a lake say; of a plain folder nobody knows."""

Shares = Mapping[str, Share] | Mapping[str | None, Share]

_AGAIN = "run again, and report it as a bug when it stays so"


@dataclass(frozen=True, eq=False)
class EngineAnswer:
    """Exact sums as an engine made them, each row counted once in each of the two.

    The key of nulls is ``None``; texts are as they stand in the files. ``top`` holds the first
    rows in the order asked for, with types that cast to ``contract.SCHEMA``, or is ``None`` when
    none were. ``unacceptable`` counts rows of a plain folder whose other columns the contract does
    not accept (a null, an amount out of range): any such row makes the whole an error.
    """

    by_category: Shares = field(default_factory=dict)
    by_region: Shares = field(default_factory=dict)
    top: pa.RecordBatch | pa.Table | None = None
    unacceptable: int = 0


def share(rows: int, total: Decimal) -> Share:
    """Make a share of rows and the sum of their amounts, in currency units.

    Raises ``IntegrityError`` when that is no whole number of cents.
    """
    cents = total.scaleb(AMOUNT_SCALE)
    if cents != int(cents):
        raise IntegrityError(f"the engine gave a sum of {total}, which is no whole cents: {_AGAIN}")
    return Share(int(rows), int(cents))


def accept_answer(
    answer: EngineAnswer, found: LakeInput, columns: Sequence[str], order: Order, top: int
) -> tuple[Sums, pa.RecordBatch | None]:
    """Check an answer about the files of ``found``, of which ``columns`` were read.

    Returns the sums, and the first rows with ``contract.SCHEMA`` when ``top`` is not 0. Raises
    ``InputError`` naming a value of a plain folder that the contract does not accept, and
    ``IntegrityError`` when rows were lost or won, or sums do not agree.
    """
    if answer.unacceptable:
        _name_unacceptable(found, columns)
    sums = Sums(
        _accepted_names(answer.by_category, CATEGORY, found, columns),
        _accepted_names(answer.by_region, REGION, found, columns),
    )
    regions = sum(sums.by_region.values(), Share(0, 0))
    if regions != sums.whole:
        raise IntegrityError(
            f"by category the engine counted {sums.whole.rows:,} rows of {sums.whole.total:,} in "
            f"all, by region {regions.rows:,} of {regions.total:,}: {_AGAIN}"
        )
    check_read(sums.whole, (found.rows, found.total))
    if not top:
        return sums, None
    first = _accepted_rows(answer.top, found, order, top)
    if first.num_rows != min(top, sums.whole.rows):
        raise IntegrityError(
            f"the engine gave {first.num_rows:,} first rows of {sums.whole.rows:,}, but "
            f"{min(top, sums.whole.rows):,} were asked for: {_AGAIN}"
        )
    return sums, first


def check_read(whole: Share, committed: Committed) -> None:
    """Raise ``IntegrityError`` unless what was read is what a lake says it holds."""
    if committed[0] is not None and committed != (whole.rows, whole.total):
        raise IntegrityError(
            f"{whole.rows:,} rows of {whole.total:,} in all were read, but {committed[0]:,} of "
            f"{committed[1]:,} were committed: find the file with celes-beam lake verify"
        )


def check_sorted(rows: int, whole: Share) -> None:
    """Raise ``IntegrityError`` unless as many rows were sorted as were read."""
    if rows != whole.rows:
        raise IntegrityError(f"{whole.rows:,} rows were read, but {rows:,} were sorted: {_AGAIN}")


def sorted_rows(folder: str) -> int:
    """How many rows the sorted parts in a folder hold, by their footers."""
    return sum(pq.read_metadata(path).num_rows for path in Path(folder).glob("part-*.parquet"))


def _accepted_names(
    shares: Shares, column: str, found: LakeInput, columns: Sequence[str]
) -> Mapping[str, Share]:
    """The same sums under texts as the contract has them."""
    names = list(shares)
    if isinstance(found.reader, PlainReader):
        judged = found.reader.judge(column, pa.array(names, pa.string()))
        if judged.codes.any():
            _name_unacceptable(found, columns)
        names = judged.values.cast(pa.string()).to_pylist()
    if None in names:
        _name_unacceptable(found, columns)
    parts = [
        Sums({str(name): Share(int(one.rows), int(one.cents))})
        for name, one in zip(names, shares.values(), strict=True)
    ]
    return merge_sums(parts).by_category


def _accepted_rows(
    top: pa.RecordBatch | pa.Table | None, found: LakeInput, order: Order, most: int
) -> pa.RecordBatch:
    table = SCHEMA.empty_table() if top is None else pa.table(top).select(SCHEMA.names)
    batches = table.cast(SCHEMA).combine_chunks().to_batches()
    rows = batches[0] if batches else pa.RecordBatch.from_pylist([], SCHEMA)
    if not isinstance(found.reader, PlainReader):
        return rows
    # Texts are put in the contract's form, by which ties may fall otherwise.
    for name in TEXTS:
        values = found.reader.judge(name, rows.column(name)).values.cast(pa.string())
        rows = rows.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), values)
    return first_rows(rows, order, most)


def _name_unacceptable(found: LakeInput, columns: Sequence[str]) -> NoReturn:
    """Read until the reader raises the error that names the first unacceptable value."""
    for file in found.files:
        for piece in found.reader.plan(file):
            for _ in found.reader.read(piece, columns):
                pass
    raise IntegrityError(
        f"the engine met values in {found.root} that the contract does not accept, such as "
        f"nothing, but they are not there when read again: {_AGAIN}"
    )

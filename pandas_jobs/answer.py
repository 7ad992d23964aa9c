"""What is found out about the sales of a lake: sums, the first rows, all rows in order."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
from pandas.api.types import union_categoricals

from celes_beam.commands.engine_job import EngineJob
from celes_beam.contract import AMOUNT, CATEGORY, COLUMN_NAMES, DATE, ID, REGION
from celes_beam.sales.aggregate import Share, Sums, merge_sums
from celes_beam.sales.columns import decimal_array
from celes_beam.sales.order import Order
from celes_beam.stores.lake.lake_reader import TEXTS
from celes_beam.stores.results.engine_answer import EngineAnswer
from celes_beam.stores.results.sorted_parts import write_part
from pandas_jobs.frames import CENTS, sales_frames

PART_ROWS = 524_288


def aggregate(job: EngineJob, _: None) -> EngineAnswer:
    """Read all files of a job once, and answer it.

    With ``write_sorted`` all rows are kept, some 30 bytes each, and sorted in memory.
    """
    order, most = job.options.order, job.options.top
    sums = Sums()
    tops: list[pd.DataFrame] = []
    kept: list[pd.DataFrame] = []
    for frame in sales_frames(job):
        sums = merge_sums((sums, Sums(_sums_by(frame, CATEGORY), _sums_by(frame, REGION))))
        if most:
            tops = [_first_of([*tops, _candidates(frame, order, most)], order, most)]
        if job.options.write_sorted:
            kept.append(frame)
    if kept:
        _write_sorted(job.sorted_folder, kept, order)
    return EngineAnswer(sums.by_category, sums.by_region, _table(tops[0]) if tops else None)


def _sums_by(frame: pd.DataFrame, column: str) -> dict[str, Share]:
    # A frame has few enough rows for int64; the sum of all frames is one of Python integers.
    grouped = frame.groupby(column, observed=True)[CENTS].agg(["size", "sum"])
    return {name: Share(int(rows), int(cents)) for name, rows, cents in grouped.itertuples()}


def _candidates(frame: pd.DataFrame, order: Order, most: int) -> pd.DataFrame:
    """The first rows by the one column, with all that tie with the last of them."""
    column = frame[CENTS if order.column == AMOUNT else order.column]
    first = column.nlargest if order.descending else column.nsmallest
    return frame.loc[first(most, keep="all").index].astype(dict.fromkeys(TEXTS, "object"))


def _first_of(frames: list[pd.DataFrame], order: Order, most: int) -> pd.DataFrame:
    return _in_order(pd.concat(frames, ignore_index=True), order).head(most)


def _in_order(frame: pd.DataFrame, order: Order) -> pd.DataFrame:
    """Sort by the column asked for, ties by the others, ascending, in the order of the contract."""
    others = [name for name in (ID, DATE, AMOUNT, *TEXTS) if name != order.column]
    names = [CENTS if name == AMOUNT else name for name in (order.column, *others)]
    ascending = [not order.descending, *[True] * len(others)]
    return frame.sort_values(names, ascending=ascending, ignore_index=True)


def _write_sorted(folder: str, frames: list[pd.DataFrame], order: Order) -> None:
    """Sort what was kept, which is let go of, and write it in parts."""
    texts = {
        name: union_categoricals([f.pop(name) for f in frames], sort_categories=True)
        for name in TEXTS
    }
    whole = pd.concat(frames, ignore_index=True).assign(
        **{name: column.as_ordered() for name, column in texts.items()}
    )
    frames.clear()
    whole = _in_order(whole, order)
    for number, first in enumerate(range(0, len(whole), PART_ROWS)):
        part = _table(whole.iloc[first : first + PART_ROWS])
        write_part(folder, number, part.combine_chunks().to_batches()[0])


def _table(frame: pd.DataFrame) -> pa.Table:
    """The rows of a frame as the contract has them, but that texts may be dictionaries."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    amounts = decimal_array(frame[CENTS].to_numpy())
    return table.append_column(AMOUNT, amounts).select(COLUMN_NAMES).replace_schema_metadata()

"""What is found out about the sales of a lake, as expressions over one lazy data frame."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
from distributed import Client, KilledWorker
from distributed.comm import CommClosedError

from celes_beam.commands.command_line import our_error
from celes_beam.commands.engine_job import EngineJob
from celes_beam.contract import AMOUNT, CATEGORY, REGION
from celes_beam.sales.aggregate import Share
from celes_beam.sales.columns import Ints
from celes_beam.sales.order import (
    Order,
    choose_bounds,
    first_rows,
    in_order,
    range_codes,
    sample_keys,
)
from celes_beam.stores.cloud.engine_access import storage_emulator
from celes_beam.stores.results.engine_answer import EngineAnswer, share
from celes_beam.stores.results.sorted_parts import write_part
from dask_jobs.pieces import SalesReader, batch_of, frame_of, plan_partitions
from dask_jobs.workers import gave_up

PART_ROWS = 524_288
_SAMPLED_PER_PART = 1_024
_NO_KEYS: Ints = np.empty((0, 3), np.int64)
_TOP = "top"
_SAMPLE = "sample"
_RANGE = "_range"
_SPLIT_EVERY = 8


def aggregate(job: EngineJob, client: Client) -> EngineAnswer:
    """Answer a job with the workers of a client; of rows only the first come back from there."""
    partitions = plan_partitions(job.found, job.files)
    if not partitions:
        return EngineAnswer()
    with _failures(job), _progress(job, client) as topic:
        read = SalesReader(job.found.reader, job.columns, storage_emulator(), topic)
        sales = dd.from_map(read, partitions, meta=read.empty, label="read-sales")
        # All at once, so that files are read once for all.
        found = dask.compute(_questions(sales, job, read.empty))[0]
        if job.options.write_sorted:
            rows = int(found[CATEGORY]["size"].sum())
            bounds = choose_bounds(found[_SAMPLE].to_numpy(), -(-rows // PART_ROWS))
            _write_sorted(sales, job, bounds)
    top = batch_of(found[_TOP]) if _TOP in found else None
    return EngineAnswer(_shares(found[CATEGORY]), _shares(found[REGION]), top)


def _questions(sales: Any, job: EngineJob, empty: pd.DataFrame) -> dict[str, Any]:
    """Lazy frames, all of them small."""
    order, most = job.options.order, job.options.top
    # Amounts are decimals of Arrow, whose sums Dask makes of Python's: exact to 28 digits.
    asked = {
        column: sales.groupby(column)[AMOUNT].agg(["size", "sum"], split_out=1)
        for column in (CATEGORY, REGION)
    }
    if most:
        how = {"order": order, "most": most}
        asked[_TOP] = sales.reduction(
            _first_rows,
            combine=_first_rows,
            aggregate=_first_rows,
            meta=empty,
            chunk_kwargs=how,
            combine_kwargs=how,
            aggregate_kwargs=how,
            split_every=_SPLIT_EVERY,
        )
    if job.options.write_sorted:
        asked[_SAMPLE] = sales.map_partitions(_sample, order, meta=_keys_frame(_NO_KEYS))
    return asked


def _write_sorted(sales: Any, job: EngineJob, bounds: Ints) -> None:
    """Let each worker write ranges of the order; a range is sorted in memory."""
    order = job.options.order
    meta = sales._meta.assign(**{_RANGE: np.int64(0)})
    ranged = sales.map_partitions(_with_range, order, bounds, meta=meta)
    # ``shuffle`` would go by a hash; of these divisions each holds one range.
    ranges = ranged.set_index(_RANGE, divisions=list(range(len(bounds) + 2)))
    ranges.map_partitions(
        _write_part, job.sorted_folder, order, meta=pd.DataFrame({"rows": [0]})
    ).compute()


def _first_rows(sales: pd.DataFrame, order: Order, most: int) -> pd.DataFrame:
    return frame_of(pa.table(first_rows(batch_of(sales), order, most)))


def _sample(sales: pd.DataFrame, order: Order) -> pd.DataFrame:
    keys = order.keys(batch_of(sales))
    return _keys_frame(sample_keys(keys, 0, max(1, PART_ROWS // _SAMPLED_PER_PART)))


def _keys_frame(keys: Ints) -> pd.DataFrame:
    return pd.DataFrame(keys, columns=[f"key_{i}" for i in range(keys.shape[1])])


def _with_range(sales: pd.DataFrame, order: Order, bounds: Ints) -> pd.DataFrame:
    return sales.assign(**{_RANGE: range_codes(order.keys(batch_of(sales)), bounds)})


def _write_part(sales: pd.DataFrame, folder: str, order: Order) -> pd.DataFrame:
    if len(sales):
        write_part(folder, int(sales.index[0]), in_order(batch_of(sales), order))
    return pd.DataFrame({"rows": [len(sales)]})


def _shares(sums: pd.DataFrame) -> dict[str, Share]:
    return {name: share(rows, total) for name, rows, total in sums.itertuples()}


@contextmanager
def _progress(job: EngineJob, client: Client) -> Iterator[str]:
    """Count what workers say that they have read; yields the topic of what they say."""
    topic = job.options.run_id
    client.subscribe_topic(topic, lambda event: job.advance(**event[1]["read"]))
    try:
        yield topic
    finally:
        client.unsubscribe_topic(topic)


@contextmanager
def _failures(job: EngineJob) -> Iterator[None]:
    """Raise the error of ours that a worker raised, whatever Dask put around it."""
    try:
        yield
    except (KilledWorker, CommClosedError, CancelledError, TimeoutError) as error:
        raise gave_up(error, job) from error
    except RuntimeError as error:
        ours = our_error(error)
        if ours is None:
            raise
        raise ours from error

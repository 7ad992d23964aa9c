"""Functions for ``--transform`` in tests."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from celes_beam.contract import AMOUNT, REGION

calls: list[int] = []
"""Rows of each batch that ``count`` was given."""


def same(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Change nothing."""
    return batch


def sliced(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Change nothing, in arrays that do not begin where their buffers do."""
    rows = batch.num_rows
    twice = pa.Table.from_batches([batch, batch]).combine_chunks().to_batches()[0]
    return twice.slice(rows, rows)


def count(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Note the call."""
    calls.append(batch.num_rows)
    return batch


def fail(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Fail on every batch."""
    raise RuntimeError(f"no tariff for {batch.num_rows} rows")


def region_of_shop(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Make regions out of the field ``tienda``, such as N-12, and euros out of ``centimos``."""
    letters = pc.utf8_slice_codeunits(batch["tienda"], 0, 1)
    regions = pc.if_else(pc.equal(letters, "N"), "Norte", pa.scalar(None, pa.string()))
    amounts = pc.divide(pc.cast(batch["centimos"], pa.float64()), 100)
    batch = batch.set_column(batch.schema.names.index(REGION), REGION, regions)
    return batch.set_column(batch.schema.names.index(AMOUNT), AMOUNT, amounts)


def pause(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Let the first batch wait, in the folder CELES_TEST_PAUSE, for a file ``go``."""
    folder = Path(os.environ["CELES_TEST_PAUSE"])
    try:
        (folder / "paused").touch(exist_ok=False)
    except FileExistsError:
        return batch
    end = time.monotonic() + 60
    while not (folder / "go").exists() and time.monotonic() < end:
        time.sleep(0.01)
    return batch

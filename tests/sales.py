"""Small batches of sales for tests, written as the few values that matter."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from celes_beam.contract import SCHEMA, Rules
from celes_beam.sales.columns import decimal_array

NOON = datetime(2024, 5, 3, 12, tzinfo=UTC)
RULES = Rules(started=datetime(2026, 1, 1, tzinfo=UTC))


def sales_batch(
    rows: Sequence[tuple[str, str, int]], dates: Sequence[datetime] | None = None
) -> pa.RecordBatch:
    """Make a batch out of (category, region, cents); ids count from 1, dates are noon."""
    return pa.RecordBatch.from_arrays(
        [
            pa.array(range(1, len(rows) + 1), pa.int64()),
            pa.array(dates or [NOON] * len(rows), SCHEMA.field(1).type),
            decimal_array(np.array([cents for _, _, cents in rows], dtype=np.int64)),
            pa.array([category for category, _, _ in rows], pa.string()),
            pa.array([region for _, region, _ in rows], pa.string()),
        ],
        schema=SCHEMA,
    )

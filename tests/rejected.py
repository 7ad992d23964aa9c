"""Rejected rows for tests, written as the few values that matter."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from celes_beam.contract import REJECTED_SCHEMA

REJECTED_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def rejected_rows(*rows: dict[str, Any]) -> pa.RecordBatch:
    """A batch of ``contract.REJECTED_SCHEMA``; what is not given is of a first attempt at a.csv."""
    whole = {
        "source": "a.csv",
        "position": 0,
        "reasons": ["missing"],
        "raw": b"x",
        "rejected_at": REJECTED_AT,
        "rules_version": 1,
        "attempt": 1,
    }
    return pa.RecordBatch.from_pylist([whole | row for row in rows], schema=REJECTED_SCHEMA)

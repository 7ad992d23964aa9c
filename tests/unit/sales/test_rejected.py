"""Rejected rows: complete, reproducible, and never more or fewer than were read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from celes_beam.contract import (
    AMOUNT,
    CATEGORY,
    COLUMN_NAMES,
    DATE,
    ID,
    MAX_RAW_BYTES,
    REGION,
    REJECTED_SCHEMA,
    RULES_VERSION,
    SCHEMA,
    Rules,
)
from celes_beam.errors import IntegrityError
from celes_beam.sales.rejected import Checked, checked, malformed_batch, rejected_batch
from celes_beam.sales.validate import judge_texts

STARTED = datetime(2025, 6, 1, 12, 30, tzinfo=UTC)
RULES = Rules(STARTED, attempt=3)
TEXTS = {
    ID: pa.array(["1", "x", "3"]),
    DATE: pa.array(["2024-01-01"] * 3),
    AMOUNT: pa.array(["1.00", "-1", "0.125"]),
    CATEGORY: pa.array(["Ropa"] * 3),
    REGION: pa.array(["Norte", None, "Norte"]),
}


def empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema)


def test_rejected_rows_say_where_what_and_why() -> None:
    asked: list[Any] = []

    def raws(rows: np.ndarray) -> pa.Array:
        asked.append(rows.tolist())
        return pa.array([f"raw {i}".encode() for i in rows], pa.binary())

    result = checked(judge_texts(TEXTS, RULES), "a.csv", np.array([0, 40, 80]), raws, RULES)
    assert (result.rows, result.accepted.num_rows) == (3, 1)
    assert result.accepted.schema == SCHEMA
    assert result.rejected.schema == REJECTED_SCHEMA
    result.rejected.validate(full=True)
    assert asked == [[1, 2]]
    always = {
        "source": "a.csv",
        "rejected_at": STARTED,
        "rules_version": RULES_VERSION,
        "attempt": 3,
    }
    assert result.rejected.to_pylist() == [
        {
            **always,
            "position": 40,
            "reasons": ["unparseable", "out_of_range", "missing"],
            "column": ID,
            "value": "x",
            "raw": b"raw 1",
        },
        {
            **always,
            "position": 80,
            "reasons": ["inexact"],
            "column": AMOUNT,
            "value": "0.125",
            "raw": b"raw 2",
        },
    ]


def test_raw_bytes_are_not_asked_for_when_all_rows_are_accepted() -> None:
    first = {c: TEXTS[c].slice(0, 1) for c in COLUMN_NAMES}

    def raws(rows: np.ndarray) -> pa.Array:
        raise AssertionError(f"asked for the raw bytes of {rows}")

    result = checked(judge_texts(first, RULES), "a.csv", np.array([0]), raws, RULES)
    assert result.rejected.equals(empty(REJECTED_SCHEMA))


def test_rows_that_went_missing_are_an_error() -> None:
    with pytest.raises(IntegrityError, match="3 rows were read, but 0 accepted and 0 rejected"):
        Checked(3, empty(SCHEMA), empty(REJECTED_SCHEMA))


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_long_raw_bytes_are_cut(kind: pa.DataType) -> None:
    long = b"ab" * MAX_RAW_BYTES
    batch = malformed_batch("a.csv", np.array([7, 9]), pa.array([long, b"\xff"], kind), RULES)
    assert batch.column("raw").to_pylist() == [long[:MAX_RAW_BYTES], b"\xff"]


def test_malformed_records_have_one_reason_and_no_column() -> None:
    batch = malformed_batch("a.csv", np.array([7, 9]), pa.array([b"{", b"}"]), RULES)
    assert batch.schema == REJECTED_SCHEMA
    batch.validate(full=True)
    assert batch.column("reasons").to_pylist() == [["malformed"], ["malformed"]]
    assert batch.column("position").to_pylist() == [7, 9]
    assert batch.column("column").null_count == 2
    assert batch.column("value").null_count == 2


def test_no_malformed_records() -> None:
    nothing = malformed_batch("a.csv", np.array([], np.int64), pa.array([], pa.binary()), RULES)
    assert nothing.equals(empty(REJECTED_SCHEMA))


def test_a_retry_makes_the_very_same_rows() -> None:
    verdict = judge_texts(TEXTS, RULES)
    batches = [
        rejected_batch(
            "a.csv",
            np.array([40, 80]),
            verdict.reasons,
            verdict.columns,
            verdict.values,
            pa.array([b"1", b"2"]),
            RULES,
        )
        for _ in range(2)
    ]
    assert batches[0].equals(batches[1])

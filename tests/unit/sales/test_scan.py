from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from celes_beam.contract import AMOUNT, CATEGORY, COLUMN_NAMES, DATE, ID, REGION
from celes_beam.sales.aggregate import sum_batch
from celes_beam.sales.order import Order
from celes_beam.sales.scan import Questions, Scan, Scanned, merge_scanned
from tests.answers import Row, batch_of, in_order, rows_of

DAY = datetime(2024, 5, 3, tzinfo=UTC)
ROWS: list[Row] = [
    (i * 7 % 11 + 1, DAY, Decimal(i * 13 % 29 + 1), f"c{i % 3}", f"r{i % 2}") for i in range(100)
]


def scan(rows: list[Row], questions: Questions, step: int, first_row: int = 0) -> Scanned:
    scanning = Scan(questions)
    for i in range(0, len(rows), step):
        batch = batch_of(rows[i : i + step]).select(questions.columns)
        scanning.add(batch, "file", first_row + i)
    return scanning.result()


@pytest.mark.parametrize("step", [1, 7, 100])
def test_a_scan_gathers_the_same_however_rows_are_split(step: int) -> None:
    questions = Questions(Order(AMOUNT, True), top=5, sample_every=4)

    whole = scan(ROWS, questions, step)
    parts = [scan(ROWS[60:], questions, step, 60), scan(ROWS[:60], questions, step), Scanned()]
    merged = merge_scanned(parts, questions)

    for scanned in (whole, merged):
        assert scanned.sums == sum_batch(batch_of(ROWS))
        assert rows_of(scanned.top) == in_order(ROWS, AMOUNT, descending=True)[:5]
        assert len(scanned.sample) == 25
    assert sorted(merged.sample.tolist()) == sorted(whole.sample.tolist())


def test_only_the_columns_that_are_needed_are_read() -> None:
    assert Questions().columns == (AMOUNT, CATEGORY, REGION)
    assert Questions(sample_every=1).columns == (ID, DATE, AMOUNT, CATEGORY, REGION)
    assert Questions(top=1).columns == COLUMN_NAMES


def test_nothing_asked_is_nothing_kept() -> None:
    scanned = scan(ROWS, Questions(), 10)
    assert (scanned.top.num_rows, len(scanned.sample)) == (0, 0)
    assert merge_scanned([], Questions(top=3)).top.num_rows == 0

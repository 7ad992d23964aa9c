from __future__ import annotations

import itertools
import pickle
from datetime import UTC, datetime
from decimal import Decimal

from celes_beam.sales.aggregate import sum_batch
from celes_beam.sales.order import Order
from celes_beam.sales.scan import Questions, Scan, Scanned
from celes_beam.transforms.aggregate import MergeScannedFn
from tests.answers import Row, batch_of, in_order, rows_of

DAY = datetime(2024, 5, 3, tzinfo=UTC)
ROWS: list[Row] = [(i, DAY, Decimal(i * 7 % 10 + 1), f"c{i % 2}", "r") for i in range(1, 31)]
QUESTIONS = Questions(Order(), top=4, sample_every=3)


def scanned(rows: list[Row]) -> Scanned:
    scan = Scan(QUESTIONS)
    scan.add(batch_of(rows), "file", 0)
    return scan.result()


def test_merging_in_any_order_gives_the_same() -> None:
    parts = [scanned(ROWS[:3]), scanned(ROWS[3:20]), scanned(ROWS[20:])]
    fn = MergeScannedFn(QUESTIONS)
    for one, two, three in itertools.permutations(parts):
        first = fn.add_input(fn.add_input(fn.create_accumulator(), one), two)
        second = fn.add_input(fn.create_accumulator(), three)
        whole = fn.extract_output(fn.merge_accumulators([first, fn.create_accumulator(), second]))

        assert whole.sums == sum_batch(batch_of(ROWS))
        assert rows_of(whole.top) == in_order(ROWS, "cantidad_de_venta")[:4]
        assert len(whole.sample) == sum(len(p.sample) for p in parts)


def test_what_crosses_a_shuffle_is_small() -> None:
    many = [ROWS[i % len(ROWS)] for i in range(20_000)]
    scan = Scan(Questions(Order(), top=4))
    scan.add(batch_of(many), "file", 0)
    # A slice of a batch would drag all its rows along.
    assert len(pickle.dumps(scan.result())) < 4_000

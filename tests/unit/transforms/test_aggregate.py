from __future__ import annotations

import itertools
import pickle
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from celes_beam.sales.aggregate import sum_batch
from celes_beam.sales.order import Order
from celes_beam.sales.scan import Questions, Scan, Scanned, merge_scanned
from celes_beam.stores.lake.lake_input import open_input
from celes_beam.transforms.aggregate import PlanPieces
from tests.answers import Row, batch_of, commit_rows, in_order, rows_of

DAY = datetime(2024, 5, 3, tzinfo=UTC)
ROWS: list[Row] = [(i, DAY, Decimal(i * 7 % 10 + 1), f"c{i % 2}", "r") for i in range(1, 31)]
QUESTIONS = Questions(Order(), top=4, sample_every=3)


def scanned(rows: list[Row]) -> Scanned:
    scan = Scan(QUESTIONS)
    scan.add(batch_of(rows), "file", 0)
    return scan.result()


def test_merging_in_any_order_gives_the_same() -> None:
    parts = [scanned(ROWS[:3]), scanned(ROWS[3:20]), scanned(ROWS[20:])]
    for one, two, three in itertools.permutations(parts):
        first = merge_scanned((Scanned(), one, two), QUESTIONS)
        whole = merge_scanned((first, Scanned(), three), QUESTIONS)

        assert whole.sums == sum_batch(batch_of(ROWS))
        assert rows_of(whole.top) == in_order(ROWS, "cantidad_de_venta")[:4]
        assert len(whole.sample) == sum(len(p.sample) for p in parts)


@pytest.mark.parametrize("spread", [True, False])
def test_pieces_are_those_of_all_files(tmp_path: Path, spread: bool) -> None:
    commit_rows(tmp_path, ROWS[:9], ROWS[9:], partition_by=("categoria_de_producto",))
    found = open_input(str(tmp_path), DAY)
    expected = [piece for file in found.files for piece in found.reader.plan(file)]

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        assert_that(pipeline | PlanPieces(found.reader, found.files, spread), equal_to(expected))
    assert len(expected) == 4


def test_what_crosses_a_shuffle_is_small() -> None:
    many = [ROWS[i % len(ROWS)] for i in range(20_000)]
    scan = Scan(Questions(Order(), top=4))
    scan.add(batch_of(many), "file", 0)
    # A slice of a batch would drag all its rows along.
    assert len(pickle.dumps(scan.result())) < 4_000

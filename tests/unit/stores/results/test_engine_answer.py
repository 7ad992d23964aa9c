from __future__ import annotations

import dataclasses
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celes_beam.contract import AMOUNT, CATEGORY, COLUMN_NAMES, REGION
from celes_beam.errors import InputError, IntegrityError
from celes_beam.sales.aggregate import Share
from celes_beam.sales.order import Order
from celes_beam.stores.lake.lake_input import LakeInput, open_input
from celes_beam.stores.results.engine_answer import (
    EngineAnswer,
    accept_answer,
    check_sorted,
    share,
)
from tests.answers import batch_of, commit_rows
from tests.jobs.cases import HAND_CHECKED, START

RIGHT = EngineAnswer(
    {"Ropa": Share(2, 2020), "Hogar": Share(2, 501)},
    {"Norte": Share(1, 1010), "Sur": Share(3, 1511)},
    batch_of(HAND_CHECKED[:1]),
)


@pytest.fixture
def found(tmp_path: Path) -> LakeInput:
    commit_rows(tmp_path, HAND_CHECKED)
    return open_input(str(tmp_path), START)


def accept(answer: EngineAnswer, found: LakeInput, top: int = 1) -> pa.RecordBatch | None:
    return accept_answer(answer, found, COLUMN_NAMES, Order(AMOUNT, descending=True), top)[1]


def test_a_right_answer_is_taken_as_it_is(found: LakeInput) -> None:
    sums, top = accept_answer(RIGHT, found, COLUMN_NAMES, Order(), 1)

    assert (sums.by_category, sums.by_region) == (RIGHT.by_category, RIGHT.by_region)
    assert top is not None
    assert top.equals(RIGHT.top)
    assert accept(RIGHT, found, top=0) is None


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"by_region": {"Sur": Share(4, 2520)}}, "by region 4 of 25.20"),
        ({"by_region": {"Sur": Share(3, 2521)}}, "by region 3 of 25.21"),
        ({"by_region": {"Norte": Share(1, 1010), None: Share(3, 1511)}}, "not there when read"),
        ({"by_category": {}, "by_region": {}}, "0 rows of 0.00 .* 4 of 25.21 were committed"),
        ({"top": None}, "0 first rows of 4, but 1 were asked for"),
        ({"top": batch_of(HAND_CHECKED)}, "4 first rows of 4, but 1 were asked for"),
        ({"unacceptable": 1}, "not there when read again"),
    ],
)
def test_a_wrong_answer_is_none(found: LakeInput, wrong: dict[str, object], what: str) -> None:
    with pytest.raises(IntegrityError, match=what):
        accept(dataclasses.replace(RIGHT, **wrong), found)  # type: ignore[arg-type]


def test_texts_of_a_plain_folder_become_those_of_the_contract(tmp_path: Path) -> None:
    table = pa.Table.from_batches([batch_of(HAND_CHECKED)])
    pq.write_table(table, tmp_path / "v.parquet")
    plain = open_input(str(tmp_path), START)
    regions = {"Norte": Share(1, 1010), " Sur": Share(1, 1), "Sur ": Share(2, 1510)}
    first = batch_of([(*HAND_CHECKED[0][:4], " Norte ")])

    sums, top = accept_answer(
        EngineAnswer(RIGHT.by_category, regions, first), plain, COLUMN_NAMES, Order(), 1
    )

    assert sums.by_region == RIGHT.by_region
    assert top is not None
    assert top.equals(batch_of(HAND_CHECKED[:1]))


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [
        (REGION, None, {"by_region": {"Norte": Share(1, 1010), None: Share(3, 1511)}}),
        (CATEGORY, " ", {"by_category": {" ": Share(1, 1), "Ropa": Share(3, 2520)}}),
        (AMOUNT, Decimal("-1.00"), {"unacceptable": 1}),
    ],
)
def test_the_first_unacceptable_value_is_named(
    tmp_path: Path, column: str, value: object, found: dict[str, object]
) -> None:
    records = pa.Table.from_batches([batch_of(HAND_CHECKED)]).to_pylist()
    records[1][column] = value
    schema = pa.schema([field.with_nullable(True) for field in batch_of([]).schema])
    pq.write_table(pa.Table.from_pylist(records, schema), tmp_path / "v.parquet")

    with pytest.raises(InputError, match=rf"v\.parquet: row 1: {column} is "):
        accept(
            dataclasses.replace(RIGHT, **found),  # type: ignore[arg-type]
            open_input(str(tmp_path), START),
        )


def test_sums_are_whole_cents() -> None:
    assert share(2, Decimal("12345678901234567890.10")) == Share(2, 1234567890123456789010)
    with pytest.raises(IntegrityError, match=r"a sum of 0\.005, which is no whole cents"):
        share(1, Decimal("0.005"))


def test_as_many_rows_are_sorted_as_were_read() -> None:
    check_sorted(3, Share(3, 1))
    with pytest.raises(IntegrityError, match="3 rows were read, but 2 were sorted"):
        check_sorted(2, Share(3, 1))

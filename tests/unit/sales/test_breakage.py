from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celes_beam.config import DEFAULT_CATEGORIES, DEFAULT_REGIONS, Config
from celes_beam.contract import (
    AMOUNT,
    CATEGORY,
    COLUMN_NAMES,
    DATE,
    ID,
    REGION,
    SCHEMA,
    Reason,
)
from celes_beam.errors import ConfigError
from celes_beam.sales.breakage import (
    KINDS,
    TYPED_KINDS,
    Breakage,
    break_csv,
    break_json,
    break_texts,
    count_by_reason,
    plan_breakage,
)
from celes_beam.sales.decode_ndjson import decode_ndjson
from celes_beam.sales.encode_csv import encode_csv
from celes_beam.sales.encode_json import encode_json
from celes_beam.sales.generate import Generator
from celes_beam.sales.validate import accept_typed, judge_texts

GENERATOR = Generator(Config())
EVERY_KIND = np.arange(len(KINDS), dtype=np.uint8)


def lines(text: pa.Buffer) -> list[bytes]:
    return text.to_pybytes().split(b"\n")[:-1]


# The kinds


def test_every_reason_is_planted_in_every_column_it_can_stand_in() -> None:
    assert {(kind.reason, kind.column) for kind in KINDS} == {
        *((Reason.MISSING, name) for name in COLUMN_NAMES),
        *((Reason.UNPARSEABLE, name) for name in (ID, DATE, AMOUNT)),
        *((Reason.OUT_OF_RANGE, name) for name in (ID, DATE, AMOUNT)),
        (Reason.INEXACT, AMOUNT),
        *((Reason.UNKNOWN, name) for name in (CATEGORY, REGION)),
        (Reason.MALFORMED, None),
    }


def test_kinds_are_distinct_and_fit_the_type_of_a_plan() -> None:
    assert len(set(KINDS)) == len(KINDS) <= 256


def test_typed_kinds_are_all_but_the_malformed() -> None:
    assert set(KINDS) - set(TYPED_KINDS) == {k for k in KINDS if k.reason is Reason.MALFORMED}


def test_unknown_texts_are_not_among_the_defaults() -> None:
    unknown = {kind.text for kind in KINDS if kind.reason is Reason.UNKNOWN}
    assert not unknown & {*DEFAULT_CATEGORIES, *DEFAULT_REGIONS}


# The plan


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 2**63 - 1),
    st.integers(0, 10**12),
    st.lists(st.integers(0, 150_000), min_size=1, max_size=4),
    st.floats(0, 1),
)
def test_any_batching_breaks_the_same_rows_in_the_same_way(
    seed: int, first_row: int, sizes: list[int], rate: float
) -> None:
    whole = plan_breakage(seed, first_row, sum(sizes), rate)
    starts = np.cumsum([0, *sizes[:-1]])
    parts = [
        plan_breakage(seed, first_row + int(start), rows, rate)
        for start, rows in zip(starts, sizes, strict=True)
    ]
    indexes = [part[0] + start for part, start in zip(parts, starts, strict=True)]
    assert np.array_equal(np.concatenate(indexes), whole[0])
    assert np.array_equal(np.concatenate([part[1] for part in parts]), whole[1])


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.5])
def test_as_many_rows_break_as_asked_for(rate: float) -> None:
    indexes, kinds = plan_breakage(42, 0, 500_000, rate)
    assert len(indexes) == len(kinds)
    assert indexes.dtype == np.int64
    assert kinds.dtype == np.uint8
    assert np.all(np.diff(indexes) > 0)
    assert indexes[0] >= 0
    assert indexes[-1] < 500_000
    assert len(indexes) == pytest.approx(500_000 * rate, abs=4 * (500_000 * rate) ** 0.5)


def test_kinds_are_equally_common() -> None:
    rows = np.bincount(plan_breakage(42, 0, 400_000, 1.0)[1], minlength=len(KINDS))
    assert rows.min() > 0.95 * 400_000 / len(KINDS)
    assert rows.max() < 1.05 * 400_000 / len(KINDS)


def test_no_rate_breaks_nothing_and_a_full_one_everything() -> None:
    assert len(plan_breakage(42, 0, 1000, 0.0)[0]) == 0
    assert plan_breakage(42, 0, 1000, 1.0)[0].tolist() == list(range(1000))
    assert [len(part) for part in plan_breakage(42, 0, 0, 1.0)] == [0, 0]


def test_a_higher_rate_breaks_those_of_a_lower_one_too() -> None:
    low, high = (set(plan_breakage(42, 0, 100_000, rate)[0]) for rate in (0.01, 0.02))
    assert low < high


def test_only_the_kinds_asked_for_are_planned() -> None:
    kinds = plan_breakage(42, 0, 10_000, 0.5, TYPED_KINDS)[1]
    assert {KINDS[kind] for kind in kinds} == set(TYPED_KINDS)


def test_seeds_break_different_rows() -> None:
    assert not np.array_equal(*(plan_breakage(seed, 0, 1000, 0.1)[0] for seed in (1, 2)))


def test_broken_rows_are_not_tied_to_their_values() -> None:
    indexes, _ = plan_breakage(42, 0, 200_000, 0.5)
    ids = GENERATOR.columns(0, 200_000)[ID].to_numpy()
    assert ids[indexes].mean() == pytest.approx(ids.mean(), rel=0.01)


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_a_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=f"error_rate={rate}: expected a share from 0 to 1"):
        plan_breakage(42, 0, 10, rate)


def test_counts_are_by_reason_and_leave_out_the_absent() -> None:
    counts = count_by_reason(EVERY_KIND)
    assert counts == Counter(kind.reason for kind in KINDS)
    assert list(counts) == [reason for reason in Reason if reason in counts]
    missing = np.array([i for i, k in enumerate(KINDS) if k.reason is Reason.MISSING], np.uint8)
    assert count_by_reason(np.repeat(missing, 3)) == {Reason.MISSING: 3 * len(missing)}
    assert count_by_reason(np.empty(0, np.uint8)) == {}


# Broken CSV


def planted(kind: Breakage, config: Config | None = None) -> tuple[bytes, list[str]]:
    """The line of a broken row among good ones, and the fields it was made of."""
    generator = Generator(config or Config())
    columns = generator.columns(0, 3)
    number = np.array([KINDS.index(kind)], np.uint8)
    before, broken, after = lines(break_csv(columns, np.array([1]), number))
    good = lines(encode_csv(columns))
    assert (before, after) == (good[0], good[2])
    return broken, good[1].decode().split(",")


@pytest.mark.parametrize("kind", TYPED_KINDS, ids=lambda k: f"{k.column}-{k.reason}-{k.text}")
def test_a_wrong_value_stands_in_for_the_right_one(kind: Breakage) -> None:
    line, fields = planted(kind)
    assert kind.column is not None
    text = kind.text or ""
    fields[COLUMN_NAMES.index(kind.column)] = f'"{text}"' if "," in text else text
    assert line.decode() == ",".join(fields)


def test_malformed_rows() -> None:
    made = [planted(kind) for kind in KINDS if kind.reason is Reason.MALFORMED]
    (many, few, undecodable), (fields, *_) = (list(each) for each in zip(*made, strict=True))
    assert many.count(b",") == 5
    assert few.decode() == ",".join(fields[:4])
    assert undecodable == b",".join(
        [*(f.encode() for f in fields[:3]), b"\xff\xfe", fields[4].encode()]
    )


def test_other_fields_of_a_broken_row_are_quoted_when_they_must_be() -> None:
    config = Config(categories=('Ropa, "usada"',), regions=("Sur, Este",))
    line = planted(KINDS[0], config)[0].decode()
    assert line.endswith(',"Ropa, ""usada""","Sur, Este"')


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**9), st.integers(0, 400), st.floats(0, 1))
def test_broken_rows_stay_one_line_each_and_leave_the_others_alone(
    first_row: int, rows: int, rate: float
) -> None:
    columns = GENERATOR.columns(first_row, rows)
    indexes, kinds = plan_breakage(42, first_row, rows, rate)
    broken, good = lines(break_csv(columns, indexes, kinds)), lines(encode_csv(columns))
    assert len(broken) == rows
    assert {i for i in range(rows) if broken[i] != good[i]} == set(indexes.tolist())


def test_nothing_planned_is_plain_csv() -> None:
    columns = GENERATOR.columns(0, 100)
    plan = plan_breakage(42, 0, 100, 0.0)
    assert break_csv(columns, *plan).equals(encode_csv(columns))


# Broken texts


def test_texts_hold_what_the_csv_does() -> None:
    columns = GENERATOR.columns(0, 300)
    indexes, kinds = plan_breakage(42, 0, 300, 0.4, TYPED_KINDS)
    texts = break_texts(columns, indexes, kinds)
    assert tuple(texts) == COLUMN_NAMES
    assert {array.type for array in texts.values()} == {pa.string()}
    good = break_texts(columns, indexes[:0], kinds[:0])
    wrong = dict(zip(indexes.tolist(), (KINDS[kind] for kind in kinds), strict=True))
    for name in COLUMN_NAMES:
        expected = good[name].to_pylist()
        for row, kind in wrong.items():
            if kind.column == name:
                expected[row] = kind.text
        assert texts[name].to_pylist() == expected


def test_unbroken_texts_are_those_of_the_csv() -> None:
    columns = GENERATOR.columns(0, 50)
    texts = break_texts(columns, *plan_breakage(42, 0, 50, 0.0))
    rows = zip(*(array.to_pylist() for array in texts.values()), strict=True)
    assert [",".join(row).encode() for row in rows] == lines(encode_csv(columns))


# Broken JSON


def test_every_kind_of_broken_object_is_rejected_for_its_reason() -> None:
    rows = 2 * len(KINDS)
    indexes = np.arange(0, rows, 2)
    objects = break_json(GENERATOR.columns(0, rows), indexes, EVERY_KIND)
    checked = decode_ndjson(b"\n".join(objects), source="x", rules=RULES)
    rejected = checked.rejected
    assert rejected.column("raw").to_pylist() == objects[::2]
    assert rejected.column("reasons").to_pylist() == [[str(kind.reason)] for kind in KINDS]
    assert rejected.column("column").to_pylist() == [kind.column for kind in KINDS]
    assert rejected.column("value").to_pylist() == [kind.text for kind in KINDS]
    kept = np.arange(1, rows, 2)
    assert checked.accepted.cast(SCHEMA).equals(GENERATOR.batch(0, rows).take(pa.array(kept)))


@settings(max_examples=40)
@given(st.integers(0, 10**9), st.integers(0, 400), st.floats(0, 1))
def test_broken_objects_stay_one_line_each_and_leave_the_others_alone(
    first_row: int, rows: int, rate: float
) -> None:
    columns = GENERATOR.columns(first_row, rows)
    indexes, kinds = plan_breakage(42, first_row, rows, rate)
    broken, good = break_json(columns, indexes, kinds), encode_json(columns)
    assert not any(b"\n" in line for line in broken)
    assert {i for i in range(rows) if broken[i] != good[i]} == set(indexes.tolist())


# Validation finds what was planted

RULES = Config().rules(datetime(2026, 1, 1, tzinfo=UTC), generated=True)


def test_validation_rejects_every_kind_for_its_reason_and_nothing_else() -> None:
    kinds = [KINDS.index(kind) for kind in TYPED_KINDS]
    rows = 2 * len(kinds)
    indexes = np.arange(0, rows, 2)
    texts = break_texts(GENERATOR.columns(0, rows), indexes, np.array(kinds, np.uint8))
    verdict = judge_texts(texts, RULES)
    assert verdict.rejected.tolist() == indexes.tolist()
    assert verdict.reasons.to_pylist() == [[str(kind.reason)] for kind in TYPED_KINDS]
    assert verdict.columns.to_pylist() == [kind.column for kind in TYPED_KINDS]
    assert verdict.values.to_pylist() == [kind.text for kind in TYPED_KINDS]


def test_validation_accepts_generated_rows_as_they_are() -> None:
    accepted = accept_typed(GENERATOR.columns(0, 1000), RULES)
    assert accepted is not None
    assert accepted.cast(SCHEMA).equals(GENERATOR.batch(0, 1000))

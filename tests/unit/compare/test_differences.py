from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celes_beam.compare.differences import (
    are_equal,
    differences,
    not_as_committed,
    reference_of,
)
from celes_beam.report.comparison import Difference
from celes_beam.sales.aggregate import Share, Sums
from celes_beam.stores.results.results import Result, TopSale, make_result
from tests.stub_engine import RESULT, changed


def told(result: Result, expected: Result = RESULT) -> list[tuple[object, ...]]:
    found = differences(result, expected, "other", 3)
    assert all((d.engine, d.against, d.rows) == (result.engine, "other", 3) for d in found)
    return [(d.table, d.key, d.column, d.value, d.expected) for d in found]


def sale(amount: str) -> TopSale:
    return TopSale(
        id_cliente=1,
        fecha_de_transaccion="2024-01-01T00:00:00+00:00",
        cantidad_de_venta=amount,
        categoria_de_producto="Ropa",
        region_de_venta="Sur",
    )


def test_results_that_are_equal_have_none() -> None:
    other = msgspec.structs.replace(RESULT, engine="other")
    assert are_equal(RESULT, other)
    assert told(other) == []


def test_a_cent_is_a_difference() -> None:
    ropa, hogar = RESULT.by_category
    wrong = changed(
        total="20.22",
        by_category=(msgspec.structs.replace(ropa, total="20.21"), hogar),
    )
    assert not are_equal(RESULT, wrong)
    assert told(wrong) == [
        ("whole", "", "total", "20.22", "20.21"),
        ("by_category", "Ropa", "total", "20.21", "20.20"),
    ]


def test_a_line_that_one_lacks_differs_in_all_columns() -> None:
    fewer = changed(by_region=RESULT.by_region[1:])
    assert told(fewer) == [
        ("by_region", "Norte", "rows", None, 1),
        ("by_region", "Norte", "total", None, "10.10"),
        ("by_region", "Norte", "mean", None, "10.100000"),
    ]
    assert [(t, k, c, v, w) for t, k, c, w, v in told(RESULT, fewer)] == told(fewer)


def test_the_order_counts() -> None:
    assert told(changed(by_region=RESULT.by_region[::-1])) == [
        ("by_region", "Norte", "place", 2, 1),
        ("by_region", "Sur", "place", 1, 2),
    ]


def test_first_rows_are_compared_place_by_place() -> None:
    ours, theirs = changed(top=(sale("2.00"), sale("1.00"))), changed(top=(sale("2.00"),))
    assert ("top", "2", "cantidad_de_venta", "1.00", None) in told(ours, theirs)
    assert {key for _, key, *_ in told(ours, theirs)} == {"2"}
    assert {key for _, key, *_ in told(RESULT, theirs)} == {"1"}


def test_equal_means_without_a_difference() -> None:
    # Whatever makes two results unequal must also be shown.
    for field in ("rows", "total", "by_category", "by_region"):
        value: object = {"rows": 4, "total": "1.00"}.get(field, ())
        wrong = changed(**{field: value})
        assert not are_equal(wrong, RESULT)
        assert told(wrong)


SHARES = st.dictionaries(
    st.sampled_from(["Ropa", "Hogar", "ñ"]), st.builds(Share, st.integers(1, 2), st.integers(1, 3))
)
RESULTS = st.builds(lambda *of: make_result("e", Sums(*of)), SHARES, SHARES)


@given(RESULTS, RESULTS)
def test_there_is_a_difference_just_when_results_are_not_equal(one: Result, other: Result) -> None:
    assert are_equal(one, other) is not bool(told(one, other))
    # The other way round the same figures differ.
    assert {figure[:3] for figure in told(one, other)} == {f[:3] for f in told(other, one)}


@pytest.mark.parametrize(
    ("totals", "rows", "reference"),
    [
        (["1.00", "2.00", "2.00"], None, 1),
        (["1.00", "2.00"], None, 0),
        (["2.00", "2.00", "1.00"], 3, 2),
    ],
)
def test_most_are_the_reference_and_what_was_committed_before_all(
    totals: list[str], rows: int | None, reference: int
) -> None:
    results = [changed(engine=str(i), total=total) for i, total in enumerate(totals)]
    assert reference_of(results, rows, None if rows is None else "1.00") is results[reference]


def test_what_was_committed_is_told_in_rows_and_total() -> None:
    found = not_as_committed(RESULT, 4, "20.21", 4)
    assert found == [
        Difference(
            engine="stub",
            against="the commits",
            table="whole",
            key="",
            column="rows",
            value=3,
            expected=4,
            rows=4,
        )
    ]

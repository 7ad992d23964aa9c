from collections import defaultdict
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celes_beam.contract import MAX_CENTS
from celes_beam.sales.aggregate import Share, Sums, amount, group_sums, merge_sums, sum_batch
from tests.sales import sales_batch

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["Hogar", "Ropa", "Electrónica"]),
        st.sampled_from(["Norte", "Sur"]),
        st.integers(1, MAX_CENTS),
    ),
    max_size=50,
)


@given(ROWS, st.integers(0, 50))
def test_sums_of_parts_add_up_to_the_sums_of_all(
    rows: list[tuple[str, str, int]], cut: int
) -> None:
    batch = sales_batch(rows)
    expected: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for category, _, cents in rows:
        expected[category][0] += 1
        expected[category][1] += cents

    whole = sum_batch(batch)
    parts = [sum_batch(batch.slice(0, cut)), sum_batch(batch.slice(cut))]

    assert {k: [s.rows, s.cents] for k, s in whole.by_category.items()} == expected
    assert merge_sums(parts) == merge_sums(reversed(parts)) == whole == whole + Sums()
    assert whole.whole == Share(len(rows), sum(c for _, _, c in rows))


@pytest.mark.parametrize("value", [2**53 // 1000, 2**53 // 999, MAX_CENTS, 2**53 + 1])
def test_group_sums_are_exact_where_floats_are_not(value: int) -> None:
    values = np.full(1001, value, dtype=np.int64)
    values[0] = 1
    codes = np.zeros(1001, dtype=np.int8)

    assert group_sums(codes, 2, values) == [1000 * value + 1, 0]


@pytest.mark.parametrize("regions", [1, 2])
@pytest.mark.parametrize("whole", [2**42 - 1, 2**42, 2**42 + 1, 2**53 - 1, 2**53, 2**53 + 1])
def test_sums_and_counts_are_exact_where_one_pass_no_longer_does(whole: int, regions: int) -> None:
    """Of 1023 rows, 10 bits, one pass does up to 2**42 cents."""
    cents = [whole // 1023] * 1022
    cents.append(whole - sum(cents))
    rows = [(f"c{n % 7}", f"r{n % regions}", value) for n, value in enumerate(cents)]

    sums = sum_batch(sales_batch(rows))

    for by, column in ((sums.by_category, 0), (sums.by_region, 1)):
        assert by == {
            name: Share(
                sum(row[column] == name for row in rows),
                sum(row[2] for row in rows if row[column] == name),
            )
            for name in dict.fromkeys(row[column] for row in rows)
        }


def test_no_rows_sum_to_nothing() -> None:
    assert group_sums(np.array([], np.int8), 2, np.array([], np.int64)) == [0, 0]
    assert sum_batch(sales_batch([])) == Sums()


def test_a_share_knows_its_total_and_mean() -> None:
    share = Share(3, 1000)

    assert share.total == amount(1000) == Decimal("10.00")
    assert share.mean == Decimal("3.333333")

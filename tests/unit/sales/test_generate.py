from __future__ import annotations

import hashlib
import pickle
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celes_beam.config import DEFAULT_CATEGORIES, DEFAULT_REGIONS, Config
from celes_beam.contract import AMOUNT, CATEGORY, COLUMN_NAMES, DATE, ID, REGION, SCHEMA
from celes_beam.sales.encode_csv import encode_csv
from celes_beam.sales.generate import SLICE_ROWS, Generator

DEFAULT = Generator(Config())
ROWS = 400_000


@pytest.fixture(scope="module")
def sales() -> pa.RecordBatch:
    return DEFAULT.batch(0, ROWS)


def shares(column: pa.Array) -> dict[str, float]:
    return {
        item["values"]: item["counts"] / len(column) for item in pc.value_counts(column).to_pylist()
    }


def digest(generator: Generator, first_row: int, sizes: list[int]) -> str:
    """SHA-256 of consecutive batches of the given sizes, written as CSV one after the other."""
    sha = hashlib.sha256()
    for rows in sizes:
        sha.update(encode_csv(generator.columns(first_row, rows)))
        first_row += rows
    return sha.hexdigest()


# What may never change


def test_first_hundred_thousand_rows_of_the_default_seed() -> None:
    # A change here changes everyone's data: only ever on purpose, with a note in the changelog.
    assert digest(DEFAULT, 0, [100_000]) == (
        "83a6838eec0c98d82aa15fd8f4e198234c204d1da9e17901d6a03fe032e91d95"
    )


def test_first_rows_of_the_default_seed() -> None:
    midnight = datetime(2025, 12, 19, tzinfo=UTC), datetime(2025, 1, 15, tzinfo=UTC)
    assert DEFAULT.batch(0, 2).to_pylist() == [
        dict(
            zip(COLUMN_NAMES, (43017, midnight[0], Decimal("36.18"), "Alimentos", "Este"), strict=1)
        ),
        dict(
            zip(COLUMN_NAMES, (2, midnight[1], Decimal("347.58"), "Deportes", "Norte"), strict=True)
        ),
    ]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 2 * SLICE_ROWS), max_size=6), st.integers(0, 10**12))
def test_any_batching_gives_the_same_rows(sizes: list[int], first_row: int) -> None:
    assert digest(DEFAULT, first_row, sizes) == digest(DEFAULT, first_row, [sum(sizes)])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**63 - 1), st.integers(0, 10**12), st.integers(1, 50))
def test_a_row_does_not_depend_on_the_rows_asked_for_with_it(
    seed: int, row: int, before: int
) -> None:
    generator = Generator(Config(seed=seed))
    alone = generator.batch(row, 1)
    among_others = generator.batch(max(0, row - before), 100).slice(min(row, before), 1)
    assert alone.equals(among_others)


def test_a_pickled_generator_makes_the_same_rows() -> None:
    again = pickle.loads(pickle.dumps(DEFAULT))
    assert again.batch(5, 100).equals(DEFAULT.batch(5, 100))


def test_seeds_make_different_rows() -> None:
    firsts = [Generator(Config(seed=seed)).batch(0, 50) for seed in (0, 1, 42, 2**63 - 1)]
    assert all(not a.equals(b) for i, a in enumerate(firsts) for b in firsts[:i])


# Shape


def test_a_batch_is_of_the_contract(sales: pa.RecordBatch) -> None:
    assert sales.schema.equals(SCHEMA)
    sales.validate(full=True)
    assert all(column.null_count == 0 for column in sales.columns)


def test_columns_hold_the_same_values_as_the_batch_with_texts_as_codes() -> None:
    columns, batch = DEFAULT.columns(70_000, 40_000), DEFAULT.batch(70_000, 40_000)
    assert tuple(columns) == COLUMN_NAMES
    assert columns[CATEGORY].type == pa.dictionary(pa.int8(), pa.string())
    assert columns[CATEGORY].dictionary.to_pylist() == list(DEFAULT_CATEGORIES)
    assert columns[REGION].dictionary.to_pylist() == list(DEFAULT_REGIONS)
    for name, column in columns.items():
        column.validate(full=True)
        assert column.cast(SCHEMA.field(name).type).equals(batch[name])


def test_no_rows() -> None:
    batch = DEFAULT.batch(10, 0)
    assert batch.num_rows == 0
    assert batch.schema.equals(SCHEMA)


@pytest.mark.parametrize(("first_row", "rows"), [(-1, 5), (0, -5)])
def test_negative_numbers_are_refused(first_row: int, rows: int) -> None:
    with pytest.raises(ValueError, match=f"first_row={first_row}, rows={rows}"):
        DEFAULT.columns(first_row, rows)


# The world


def test_values_stay_within_the_configured_bounds(sales: pa.RecordBatch) -> None:
    config = DEFAULT.config
    assert pc.min(sales[ID]).as_py() >= 1
    assert pc.max(sales[ID]).as_py() <= config.customers
    assert pc.min(sales[DATE]).as_py() == datetime(2024, 1, 1, tzinfo=UTC)
    assert pc.max(sales[DATE]).as_py() == datetime(2025, 12, 31, tzinfo=UTC)
    for category in config.categories:
        lowest, highest = config.price_range(category)
        prices = sales.filter(pc.equal(sales[CATEGORY], category))[AMOUNT]
        assert lowest <= pc.min(prices).as_py() < lowest * Decimal("1.1")
        assert highest * Decimal("0.99") < pc.max(prices).as_py() <= highest


def test_dates_are_midnights(sales: pa.RecordBatch) -> None:
    assert not np.any(sales[DATE].cast(pa.int64()).to_numpy() % 86_400_000_000)


def test_categories_and_regions_follow_their_weights(sales: pa.RecordBatch) -> None:
    config = DEFAULT.config
    for name, weights in (
        (CATEGORY, {c: config.category_weight(c) for c in config.categories}),
        (REGION, {r: config.region_weight(r) for r in config.regions}),
    ):
        total = sum(weights.values())
        expected = {text: weight / total for text, weight in weights.items()}
        assert shares(sales[name]) == pytest.approx(expected, abs=0.003)


def test_days_follow_the_weights_of_months_and_weekdays(sales: pa.RecordBatch) -> None:
    config = DEFAULT.config
    first, days = config.first_date.toordinal(), (config.last_date - config.first_date).days + 1
    expected: Counter[tuple[int, int]] = Counter()
    for day in (date.fromordinal(first + i) for i in range(days)):
        expected[day.month, day.weekday()] += (
            config.month_weights[day.month - 1] * config.weekday_weights[day.weekday()] * 10**6
        )
    found: Counter[tuple[int, int]] = Counter()
    for item in pc.value_counts(sales[DATE].cast(pa.date32())).to_pylist():
        found[item["values"].month, item["values"].weekday()] += item["counts"]
    total = expected.total()
    assert {key: rows / ROWS for key, rows in found.items()} == pytest.approx(
        {key: weight / total for key, weight in expected.items()}, abs=0.0015
    )


def test_few_customers_buy_most(sales: pa.RecordBatch) -> None:
    fifth = DEFAULT.config.customers // 5
    share = pc.sum(pc.less_equal(sales[ID], fifth)).as_py() / ROWS
    assert share == pytest.approx(0.2 ** (1 / 3), abs=0.005)


def test_low_prices_are_the_more_common(sales: pa.RecordBatch) -> None:
    for category in DEFAULT_CATEGORIES:
        lowest, highest = DEFAULT.config.price_range(category)
        prices = sales.filter(pc.equal(sales[CATEGORY], category))[AMOUNT]
        mean = float(pc.mean(prices).as_py())
        assert mean == pytest.approx(float(lowest + (highest - lowest) / 4), rel=0.05)


def test_columns_do_not_depend_on_one_another(sales: pa.RecordBatch) -> None:
    region = sales[REGION].dictionary_encode().indices.to_numpy()
    category = sales[CATEGORY].dictionary_encode().indices.to_numpy()
    day = sales[DATE].cast(pa.int64()).to_numpy()
    customer = sales[ID].to_numpy()
    correlations = np.corrcoef(np.array([region, category, day, customer], float))
    assert np.abs(correlations - np.eye(4)).max() < 0.01


# Unusual worlds


def test_many_regions() -> None:
    regions = tuple(f"Región {i}" for i in range(450))
    columns = Generator(Config(regions=regions, region_weights={"Región 7": 50})).columns(0, ROWS)
    assert columns[REGION].type == pa.dictionary(pa.int16(), pa.string())
    found = shares(columns[REGION].dictionary_decode())
    assert set(found) == set(regions)
    assert found.pop("Región 7") == pytest.approx(50 / 499, abs=0.003)
    assert max(found.values()) < 1.5 / 499
    assert min(found.values()) > 0.5 / 499


@pytest.mark.parametrize("count", [128, 129, 4096])
def test_as_many_categories_as_a_config_may_hold(count: int) -> None:
    categories = tuple(f"c{i}" for i in range(count))
    columns = Generator(Config(categories=categories)).columns(0, 100_000)
    columns[CATEGORY].validate(full=True)
    assert len(shares(columns[CATEGORY].dictionary_decode())) == count


def test_the_smallest_world() -> None:
    config = Config(
        categories=("Pan",),
        regions=("Sur",),
        prices={"Pan": ("1.25", "1.25")},
        customers=1,
        first_date=date(2024, 2, 29),
        last_date=date(2024, 2, 29),
    )
    row = (1, datetime(2024, 2, 29, tzinfo=UTC), Decimal("1.25"), "Pan", "Sur")
    expected = dict(zip(COLUMN_NAMES, row, strict=True))
    assert Generator(config).batch(10**12 - 5, 5).to_pylist() == [expected] * 5


def test_the_widest_world() -> None:
    config = Config(
        categories=("Joyas",),
        prices={"Joyas": ("0.01", "9999999999.99")},
        customers=2**40,
        last_date=date(9999, 12, 31),
    )
    batch = Generator(config).batch(0, 100_000)
    batch.validate(full=True)
    assert pc.min(batch[ID]).as_py() >= 1
    assert 2**39 < pc.max(batch[ID]).as_py() <= 2**40
    assert pc.min(batch[AMOUNT]).as_py() >= Decimal("0.01")
    assert Decimal("9000000000") < pc.max(batch[AMOUNT]).as_py() <= Decimal("9999999999.99")
    assert pc.max(batch[DATE].cast(pa.int64())).as_py() > 250_000_000_000_000_000

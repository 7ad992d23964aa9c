"""Estimates, against sums made by hand."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from celes_beam.errors import ConfigError
from celes_beam.plan.cost import Estimate, Line, estimate_batch, estimate_month, work_of
from celes_beam.plan.job import Job
from celes_beam.plan.prices import BUNDLED, Prices, read_prices
from celes_beam.plan.refusals import StreamShape

JOB = Job("batch", machine_type="n2-standard-4", max_workers=10, given_disk_gb=50)


@pytest.fixture
def prices() -> Prices:
    return read_prices(None)


def amounts(estimate: Estimate) -> dict[str, float]:
    return {line.name: line.amount for line in estimate.lines}


def test_the_bundled_prices_say_their_source_and_date(prices: Prices) -> None:
    assert prices.known_on < date.today()
    assert str(prices.known_on) in prices.note
    for part in ("dataflow_batch", "dataflow_streaming", "pubsub", "bigquery", "storage", "kms"):
        assert getattr(prices, part).source.startswith("https://cloud.google.com/")


def test_free_amounts_are_taken_off_first() -> None:
    assert Line("x", 5, "GB", 2.0, free=3).amount == 4
    assert Line("x", 2, "GB", 2.0, free=3).amount == 0


def test_a_batch_run_by_hand(prices: Prices) -> None:
    # 1 TB of text: 50,000 vCPU seconds; on machines of four, 12,500 s, which 53 would do in four
    # minutes each, and ten may be had.
    work = work_of([("gs://b/a.csv", 10**12)], prices, rows=None, writes_table=True)
    assert work.rows == 25e9
    found = estimate_batch(JOB, work, prices)
    assert found.workers == 10
    assert found.hours == pytest.approx((240 + 1_250) / 3_600)
    of = amounts(found)
    assert of["vCPUs"] == pytest.approx(10 * found.hours * 4 * 0.056)
    assert of["memory"] == pytest.approx(10 * found.hours * 16 * 0.003557)
    assert of["disks"] == pytest.approx(10 * found.hours * 50 * 0.000054)
    assert of["lake, a month"] == pytest.approx(175 * 0.02)
    assert of["table, a month"] == pytest.approx(25e9 * 60 / 2**30 * 0.02)
    assert found.total == pytest.approx(sum(of.values()))


def test_packed_files_hold_more(prices: Prices) -> None:
    files = [("a.csv", 100), ("b.csv.GZ", 100), ("c.parquet", 100)]
    assert work_of(files, prices, rows=None, writes_table=False).text_bytes == 100 + 500 + 600


def test_a_small_run_takes_the_workers_it_starts_with(prices: Prices) -> None:
    work = work_of((), prices, rows=1_000, writes_table=False)
    found = estimate_batch(Job("batch", num_workers=3, machine_type="n2-standard-2"), work, prices)
    assert found.workers == 3
    assert found.hours == pytest.approx(4 / 60, rel=0.01)
    assert "table, a month" not in amounts(found)


def test_flexrs_costs_less(prices: Prices) -> None:
    work = work_of((), prices, rows=10**9, writes_table=False)
    plain = estimate_batch(JOB, work, prices)
    flex = estimate_batch(Job("batch", machine_type="n2-standard-4", flexrs="X"), work, prices)
    assert amounts(flex)["vCPUs"] / flex.hours / flex.workers == pytest.approx(
        amounts(plain)["vCPUs"] / plain.hours / plain.workers * 0.6
    )


def month(prices: Prices, rate: float, delivery: str = "at_least_once", **job: int) -> Estimate:
    return estimate_month(
        Job("streaming", machine_type="n2-standard-2", **job),  # type: ignore[arg-type]
        StreamShape(delivery, 5_000, 1.0, rate, 200),
        prices,
        writes_lake=True,
        writes_table=True,
        flush_seconds=60,
    )


def test_a_month_of_a_stream_by_hand(prices: Prices) -> None:
    found = month(prices, 1_000)
    seconds = 730 * 3_600
    volume = 1_000 * seconds * 200
    of = amounts(found)
    assert found.workers == 1
    assert of["vCPUs"] == pytest.approx(730 * 2 * 0.069)
    assert of["engine"] == pytest.approx(3 * volume / 1e9 * 0.018)
    assert of["messages, in and out"] == pytest.approx((2 * volume / 2**40 - 10 / 1024) * 40)
    assert of["rows written"] == 0  # below 2 TiB
    assert of["table, a month"] == pytest.approx((1_000 * seconds * 60 / 2**30 - 10) * 0.02)
    assert of["writes of objects"] == pytest.approx((seconds + seconds / 60 * 16) / 1e3 * 0.005)
    assert amounts(month(prices, 1_000, "exactly_once"))["engine"] == pytest.approx(
        4 * volume / 1e9 * 0.018
    )


def test_workers_follow_the_rate_and_may_be_too_few(prices: Prices) -> None:
    assert month(prices, 0).workers == 1
    assert month(prices, 4_001, max_workers=2).workers == 2
    with pytest.raises(ConfigError, match="give --max_num_workers 3"):
        month(prices, 8_001, max_workers=2)


def test_a_corrected_copy_is_taken(tmp_path: Path) -> None:
    copy = tmp_path / "mine.toml"
    copy.write_text(BUNDLED.read_text().replace("vcpu_hour = 0.069", "vcpu_hour = 0.1"))
    assert read_prices(str(copy)).dataflow_streaming.vcpu_hour == 0.1


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("vcpu_hour = 0.056", "vcpu_hour = -1", "dataflow_batch.vcpu_hour"),
        ("vcpu_hour = 0.056", "vcpu_hour = nan", "dataflow_batch"),
        ("vcpu_hour = 0.056", 'vcpu_hour = "dear"', "dataflow_batch.vcpu_hour"),
        ("vcpu_hour = 0.056", "vcpu_our = 0.056", "vcpu_"),
        ("known_on = 2025-01-01", "", "known_on"),
        ("known_on = 2025-01-01", "known_on = ", "expected a copy of"),
        ("mb_per_vcpu_second = 20.0", "mb_per_vcpu_second = 0", "mb_per_vcpu_second"),
    ],
)
def test_a_file_that_is_wrong_is_refused(
    tmp_path: Path, before: str, after: str, said: str
) -> None:
    text = BUNDLED.read_text()
    assert before in text
    copy = tmp_path / "mine.toml"
    copy.write_text(text.replace(before, after, 1))
    with pytest.raises(ConfigError, match=said):
        read_prices(str(copy))


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_prices(str(tmp_path / "none.toml"))

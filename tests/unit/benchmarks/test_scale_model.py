"""Forecasts, against sums made by hand."""

from __future__ import annotations

import math

import msgspec
import pytest

from benchmarks.scale_batch import (
    BatchForecast,
    batch_forecast,
    bytes_of_file,
    megabytes_of_vcpu,
    requests_of_file,
)
from benchmarks.scale_limits import Limits, read_limits
from benchmarks.scale_measured import GENERATE, MESSAGES
from benchmarks.scale_model import Pressure, predicted_seconds, worst
from benchmarks.scale_stream import (
    TURNS,
    StreamFlags,
    StreamForecast,
    flush_pace,
    messages_of_vcpu,
    predicted_stream_seconds,
    stream_forecast,
)
from celes_beam.plan.prices import Prices, read_prices
from tests.unit.benchmarks.scale_figures import MEASURED, run


@pytest.fixture(scope="module")
def prices() -> Prices:
    return read_prices(None)


@pytest.fixture(scope="module")
def limits() -> Limits:
    limits = read_limits()
    supposed = msgspec.structs.replace(
        limits.supposed,
        request_seconds=0.04,
        request_cpu_seconds=0.0005,
        cores_of_vcpu=0.5,
        pace_of_core=1.0,
        python_share=0.8,
    )
    return msgspec.structs.replace(limits, supposed=supposed)


def of(forecast: BatchForecast | StreamForecast, text: str) -> Pressure:
    """The one pressure whose name begins so."""
    (found,) = (one for one in forecast.pressures if one.what.startswith(text))
    return found


def test_limits_say_where_to_check_them(limits: Limits) -> None:
    for limit in limits.limits:
        assert limit.source.startswith("https://cloud.google.com/")
    assert len(limits.by_name) == len(limits.limits)
    assert str(limits.known_on) in limits.note


def test_a_prediction_is_a_fixed_part_and_rows() -> None:
    few = run(GENERATE, 1_000, 0.1)
    stages = MEASURED.stages[GENERATE]
    # What the work takes in any case is in the run of few rows, not in the rows.
    assert stages.per_row(1) == pytest.approx(100e-9)
    assert predicted_seconds(stages, few, 10_000_000, 1) == pytest.approx(1.0999)
    assert predicted_seconds(stages, few, 10_000_000, 2) == pytest.approx(0.59995)
    # More slots than threads were measured help no more.
    assert predicted_seconds(stages, few, 10_000_000, 4) == pytest.approx(0.59995)


def test_the_worst_is_the_largest_share() -> None:
    half, twice = Pressure("a", 5, 10, "", ""), Pressure("b", 2, 1, "", "")
    assert worst([half, twice]) is twice
    assert twice.breaks
    assert not half.breaks


def test_paces_of_a_vcpu(limits: Limits) -> None:
    # 40 bytes in 250 ns are 160 MB/s of a core.
    csv = MEASURED.stages["csv"]
    assert megabytes_of_vcpu(csv, limits) == pytest.approx(160 * 0.5 * 0.8)
    assert messages_of_vcpu(MEASURED, limits) == pytest.approx(50_000 * 0.5 * 0.8)


def test_one_more_file(limits: Limits) -> None:
    assert requests_of_file(MEASURED) == {"upload": 1, "rewrite": 1, "delete": 1, "list": 0}
    assert bytes_of_file(MEASURED) == 500


def test_a_batch_by_hand(prices: Prices, limits: Limits) -> None:
    found = batch_forecast(1e9, MEASURED, prices, limits)
    assert found.text_bytes == 40e9
    ranges = math.ceil(40e9 / 2**25)
    assert found.files[1] == ranges * 6
    # A copy and a deletion of each, by more workers than the bucket takes requests of.
    assert found.commit_seconds == pytest.approx(ranges * 6 * 2 / 1_000)
    assert found.manifest_bytes == ranges * 6 * 500
    assert of(found, "load jobs").needed == 1
    assert of(found, "changes of partitions").needed == 731
    assert of(found, "bytes of the job's graph").needed == 20_000 + 40 * 80
    # 20 MB/s by the prices, 64 by what was measured: the same start, more work.
    assert found.planned.workers > found.measured.workers
    assert found.seconds(found.planned) > found.commit_seconds
    assert not worst(found.pressures).breaks


def test_a_commit_by_hand(prices: Prices, limits: Limits) -> None:
    writes = limits.by_name["storage_writes"]
    grown = msgspec.structs.replace(writes, value=100_000)
    others = tuple(one for one in limits.limits if one.name != writes.name)
    warm = msgspec.structs.replace(limits, limits=(*others, grown))

    found = batch_forecast(1e9, MEASURED, prices, warm)

    movers = min(6, found.measured.workers * 2)
    assert movers > 1
    # 0.04 s for 32 at once is 1.25 ms; 0.5 ms of a core are as much of a vCPU of 0.4 cores.
    assert found.commit_seconds == pytest.approx(found.files[1] * 2 * 0.00125 / movers)
    slow = msgspec.structs.replace(warm.supposed, request_cpu_seconds=0.001)
    found = batch_forecast(1e9, MEASURED, prices, msgspec.structs.replace(warm, supposed=slow))
    assert found.commit_seconds == pytest.approx(found.files[1] * 2 * 0.0025 / movers)


def test_what_breaks_in_one_run_does_not_in_many(prices: Prices, limits: Limits) -> None:
    whole = batch_forecast(1e11, MEASURED, prices, limits)
    months = batch_forecast(1e11, MEASURED, prices, limits, runs=24)
    assert of(whole, "seconds of the commit").breaks
    assert of(whole, "changes of partitions").breaks
    assert not of(months, "seconds of the commit").breaks
    assert of(months, "changes of partitions").needed == months.load_jobs * 31
    assert months.files[1] == pytest.approx(whole.files[1], rel=1e-3)
    assert months.text_bytes == pytest.approx(whole.text_bytes)


def test_a_stream_by_hand(prices: Prices, limits: Limits) -> None:
    found = stream_forecast(10_000, StreamFlags(), MEASURED, prices, limits)
    assert found.batches == 2
    assert of(found, "write streams").needed == 14_400
    assert of(found, "write streams").breaks
    assert of(found, "object writes").needed == 2
    # 120 entries, read and deleted one after another; 600,000 rows on 0.4 of a core.
    assert of(found, "seconds of a flush").needed == pytest.approx(120 * 0.08 + 0.6 / 0.4)
    assert found.planned.workers == 3
    assert found.measured.workers == 1


def test_the_pace_of_flushes_by_hand(limits: Limits) -> None:
    # A row takes 2.5 us on 0.4 of a core, an entry of 5,000 rows 80 ms: 16 us a row.
    assert flush_pace(StreamFlags(), MEASURED, limits) == pytest.approx(1 / 18.5e-6)


def test_traffic_to_each_service(prices: Prices, limits: Limits) -> None:
    stream = stream_forecast(10_000, StreamFlags(), MEASURED, prices, limits)
    found = {one.what: (one.requests, one.bytes) for one in stream.traffic}
    assert found["messages in, and out again"] == (20_000, pytest.approx(3e6))
    assert found["appends, of accepted and of rejected rows"] == (4, pytest.approx(700_000))
    assert found["writes of the journal"] == (2, pytest.approx(400_000))
    batch = batch_forecast(1e9, MEASURED, prices, limits)
    reads = next(one for one in batch.traffic if one.what == "reads")
    working = batch.measured.hours * 3_600 - 240
    assert reads.bytes == pytest.approx(40e9 / working)
    assert len(stream_forecast(1e4, TURNS[-1], MEASURED, prices, limits).traffic) == 2


def test_a_batch_of_messages_holds_8_mib_at_most() -> None:
    flags = StreamFlags(max_batch_rows=100_000)
    assert flags.batches_a_second(100_000, 200) == pytest.approx(100_000 * 200 / 2**23)
    assert StreamFlags().batches_a_second(10, 200) == 1


def test_flags_are_turned_until_a_table_alone_is_left() -> None:
    assert str(TURNS[0]) == "--delivery exactly_once"
    assert str(TURNS[1]).endswith("--max_batch_rows 50000 --max_batch_seconds 5")
    assert str(TURNS[-1]).endswith(", no --output")


def test_without_a_lake_there_is_no_flush(prices: Prices, limits: Limits) -> None:
    found = stream_forecast(1e6, TURNS[-1], MEASURED, prices, limits)
    assert {one.unit for one in found.pressures if one.breaks} == {"workers"}


def test_a_backlog_is_predicted_by_the_parts_of_its_work() -> None:
    messages, flush = MEASURED.stages[MESSAGES], MEASURED.stages["flush"]
    servers = 3.0 / 100_000
    assert predicted_stream_seconds(MEASURED, "pull and ack alone") is None
    assert predicted_stream_seconds(MEASURED, "at least once") == pytest.approx(
        1.0 + 95_000 * (servers + messages.per_row())
    )
    assert predicted_stream_seconds(MEASURED, "exactly once, and a lake") == pytest.approx(
        1.5 + 95_000 * (servers + messages.per_row() + flush.per_row())
    )

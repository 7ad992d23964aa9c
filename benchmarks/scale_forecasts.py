"""Forecasts at the sizes of the page, as tables: time, money, what breaks, and what is turned."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.report import markdown_table
from benchmarks.scale_batch import BatchForecast, batch_forecast, megabytes_of_vcpu
from benchmarks.scale_limits import Limits
from benchmarks.scale_measured import CSV, Measured
from benchmarks.scale_model import Pressure, worst
from benchmarks.scale_stream import (
    TURNS,
    StreamForecast,
    flush_pace,
    messages_of_process,
    messages_of_vcpu,
    stream_forecast,
)
from celes_beam.plan.cost import Estimate
from celes_beam.plan.prices import Prices
from celes_beam.stores.stream.spec import DeliverySpec

BATCH_ROWS = (1e7, 1e9, 1e11)
STREAM_RATES = (1e3, 1e4, 1e5, 1e6)
RUNS_BY_DATE = (1, 24)
"""All rows in one run; or two years month by month."""

Table = list[list[str]]


def forecast_tables(measured: Measured, prices: Prices, limits: Limits) -> dict[str, str]:
    """The tables by the names of their places."""
    batches = [batch_turns(rows, measured, prices, limits) for rows in BATCH_ROWS]
    streams = [stream_turns(rate, measured, prices, limits) for rate in STREAM_RATES]
    found = {
        "batch": batch_table(batches),
        "batch-breaks": batch_breaks(batches),
        "streams": stream_cost_table(streams),
        "stream-breaks": stream_breaks(streams),
        "traffic": traffic_table(batches, streams),
        "paces": pace_table(measured, prices, limits),
    }
    return {name: markdown_table(table) for name, table in found.items()}


def batch_turns(
    rows: float, measured: Measured, prices: Prices, limits: Limits
) -> list[BatchForecast]:
    """Forecasts with ever more runs, until nothing breaks."""
    found = []
    for runs in RUNS_BY_DATE:
        found.append(batch_forecast(rows, measured, prices, limits, runs=runs))
        if not worst(found[-1].pressures).breaks:
            break
    return found


def batch_table(batches: Sequence[Sequence[BatchForecast]]) -> Table:
    """Time and money of each size."""
    head = ["Rows", "text", "runs", "by", "workers", "time", "of it commits", "cost of the work"]
    table = [[*head, "lake and table, a month"]]
    for forecast in (turns[-1] for turns in batches):
        for by, estimate in (("prices", forecast.planned), ("measured", forecast.measured)):
            kept = math.fsum(x.amount for x in estimate.lines if x.name.endswith("a month"))
            table.append(
                [
                    _number(forecast.rows),
                    _size(forecast.text_bytes),
                    str(forecast.runs),
                    by,
                    f"{estimate.workers:,}",
                    _time(forecast.seconds(estimate)),
                    _time(forecast.runs * forecast.commit_seconds),
                    _money(estimate, forecast.runs * (estimate.total - kept)),
                    _money(estimate, forecast.runs * kept),
                ]
            )
    return table


def batch_breaks(batches: Sequence[Sequence[BatchForecast]]) -> Table:
    """What is nearest to its limit at each size, and what is turned."""
    table = [["Rows", "runs", "files", "nearest to a limit", "of the limit", "if it breaks"]]
    for forecast in (one for turns in batches for one in turns):
        least, most = forecast.files
        first = [_number(forecast.rows), str(forecast.runs), f"{least:,.0f} to {most:,.0f}"]
        table += _breaks(first, forecast.pressures)
    return table


def stream_turns(
    rate: float, measured: Measured, prices: Prices, limits: Limits
) -> list[StreamForecast]:
    """Forecasts with the flags turned one after another, until nothing breaks but workers."""
    found = []
    for flags in TURNS:
        found.append(stream_forecast(rate, flags, measured, prices, limits))
        if not any(one.breaks and one.unit != "workers" for one in found[-1].pressures):
            break
    return found


def stream_cost_table(streams: Sequence[Sequence[StreamForecast]]) -> Table:
    """Workers and money of each rate, with the flags that it takes."""
    table = [["Messages/s", "flags", "by", "workers", "batches/s", "cost of a month"]]
    for forecast in (turns[-1] for turns in streams):
        for by, estimate in (("prices", forecast.planned), ("measured", forecast.measured)):
            table.append(
                [
                    _number(forecast.rate),
                    f"`{forecast.flags}`",
                    by,
                    f"{estimate.workers:,}",
                    f"{forecast.batches:,.1f}",
                    _money(estimate, estimate.total),
                ]
            )
    return table


def stream_breaks(streams: Sequence[Sequence[StreamForecast]]) -> Table:
    """What breaks at each rate with which flags."""
    table = [["Messages/s", "flags", "nearest to a limit", "of the limit", "if it breaks"]]
    for forecast in (one for turns in streams for one in turns):
        table += _breaks([_number(forecast.rate), f"`{forecast.flags}`"], forecast.pressures)
    return table


def _breaks(first: Sequence[str], pressures: Sequence[Pressure]) -> Table:
    """All that break, the worst first; else the one that is nearest to it."""
    broken = sorted((one for one in pressures if one.breaks), key=lambda one: -one.share)
    shown = broken or [worst(pressures)]
    blank = ["" for _ in first]
    return [
        [
            *(blank if i else first),
            f"**{one.what}**" if one.breaks else one.what,
            f"{one.needed:,.0f} of {one.limit:,.0f} {one.unit} ({one.share:.0%})",
            one.remedy if one.breaks else "nothing breaks",
        ]
        for i, one in enumerate(shown)
    ]


def traffic_table(
    batches: Sequence[Sequence[BatchForecast]], streams: Sequence[Sequence[StreamForecast]]
) -> Table:
    """Requests and bytes a second to each service, with the flags that each size takes."""
    table = [["Size", "service", "what", "a second", "MB/s"]]
    sizes = [
        *((f"{_number(turns[-1].rows)} rows", turns[-1].traffic) for turns in batches),
        *((f"{_number(turns[-1].rate)} messages/s", turns[-1].traffic) for turns in streams),
    ]
    for size, traffic in sizes:
        for i, one in enumerate(traffic):
            in_all = one.what.endswith("in all")
            amount = f"{one.requests:,.0f}" if in_all else f"{one.requests:,.1f}"
            megabytes = f"{one.bytes / 1e6:,.1f}" if one.bytes and not in_all else ""
            table.append(["" if i else size, one.service, one.what, amount, megabytes])
    return table


def pace_table(measured: Measured, prices: Prices, limits: Limits) -> Table:
    """What a vCPU does, by the price file and by what was measured; and one process alone."""
    csv = megabytes_of_vcpu(measured.stages[CSV], limits)
    messages = messages_of_vcpu(measured, limits)
    supposed = prices.supposed
    table = [
        ["What", "by the price file", "by what was measured"],
        ["MB of CSV a second, a vCPU", f"{supposed.mb_per_vcpu_second:g}", f"{csv:,.0f}"],
        [
            "messages a second, a vCPU",
            f"{supposed.messages_per_vcpu_second:,g}",
            f"{messages:,.0f}",
        ],
    ]
    for flags in TURNS[:2]:
        pace = f"{flush_pace(flags, measured, limits):,.0f}"
        rows = f"{flags.max_batch_rows:,}"
        table.append([f"messages a second, one lake, batches of {rows} at most", "", pace])
    alone = messages_of_process(measured)
    if alone is not None:
        seconds = DeliverySpec.dedupe_minutes * 60
        memory = alone * seconds * measured.bytes_of_an_id
        table += [
            ["messages a second, one process of one's own", "", f"{alone:,.0f}"],
            ["ids it remembers then, memory", "", _size(memory)],
        ]
    return table


def _number(value: float) -> str:
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if value >= size:
            return f"{value / size:g} {name}"
    return f"{value:,.0f}"


def _size(value: float) -> str:
    return f"{value / 1e12:,.1f} TB" if value >= 1e12 else f"{value / 1e9:,.1f} GB"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7_200 else f"{seconds / 3_600:,.1f} h"


def _money(estimate: Estimate, amount: float) -> str:
    return (
        f"{amount:,.2f} {estimate.currency}"
        if amount < 100
        else f"{amount:,.0f} {estimate.currency}"
    )

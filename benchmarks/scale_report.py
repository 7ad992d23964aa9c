"""What was measured and forecast, as tables, each put into its place in ``docs/scale.md``.

A place is between two comments of the page, ``<!-- name -->`` and ``<!-- /name -->``; what stands
around them is written by hand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.report import markdown_table
from benchmarks.scale_limits import Limits
from benchmarks.scale_measured import AGGREGATE, CSV, GENERATE, Measured, Run, Stages
from benchmarks.scale_model import (
    TURNS,
    BatchForecast,
    Pressure,
    StreamForecast,
    batch_forecast,
    bytes_of_file,
    megabytes_of_vcpu,
    messages_of_vcpu,
    predicted_seconds,
    requests_of_file,
    stream_forecast,
    worst,
)
from benchmarks.scale_runs import FEW
from benchmarks.section import Goal
from celes_beam.plan.cost import Estimate
from celes_beam.plan.prices import Prices

BATCH_ROWS = (1e7, 1e9, 1e11)
STREAM_RATES = (1e3, 1e4, 1e5, 1e6)
RUNS_BY_DATE = (1, 24)
"""All rows in one run; or two years month by month."""
MAX_SLOWER = 0.1
MAX_GROWTH = 0.15
BASE_ROWS = 10_000_000

Table = list[list[str]]


def tables(measured: Measured, prices: Prices, limits: Limits) -> dict[str, str]:
    """The content of every place, for which there are measurements."""
    found = {
        "machine": _machine(measured),
        "stages": markdown_table(stage_table(measured)),
        "runs": markdown_table(run_table(measured)),
        "goals": markdown_table(goal_table(measured)),
        "limits": markdown_table(limit_table(limits)),
    }
    if measured.flink:
        found["flink"] = markdown_table(flink_table(measured))
    if measured.stream is not None:
        found["stream"] = markdown_table(stream_table(measured))
    if len(measured.requests) > 1:
        found["requests"] = markdown_table(request_table(measured))
        batches = [batch_turns(rows, measured, prices, limits) for rows in BATCH_ROWS]
        found["batch"] = markdown_table(batch_table(batches))
        found["batch-breaks"] = markdown_table(batch_breaks(batches))
        streams = [stream_turns(rate, measured, prices, limits) for rate in STREAM_RATES]
        found["streams"] = markdown_table(stream_cost_table(streams))
        found["stream-breaks"] = markdown_table(stream_breaks(streams))
        found["paces"] = _paces(measured, prices, limits)
    return found


def put(page: str, found: Mapping[str, str]) -> str:
    """The page with its places filled. Raises ``ValueError`` for one that the page has not."""
    for name, content in found.items():
        place = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not place.search(page):
            raise ValueError(f"the page has no place named {name}: expected <!-- {name} -->")
        page = place.sub(lambda match, text=content: match[1] + text + match[2], page)  # type: ignore[misc]
    return page


def _machine(measured: Measured) -> str:
    return f"{measured.about}.\n"


def stage_table(measured: Measured) -> Table:
    """Nanoseconds a row (or message) of each stage, and of what lies between them."""
    table = [["Way", "stage", "ns a row"]]
    for way, stages in measured.stages.items():
        for stage, seconds in stages.seconds.items():
            table.append([way, stage, _ns(seconds / stages.rows)])
        for threads in sorted(stages.whole):
            name = f"all, on {threads} thread{'s' * (threads > 1)}"
            table.append([way, name, _ns(stages.per_row(threads))])
        table.append([way, "bytes read, written", f"{_bytes_of(stages)} a row"])
    return table


def _bytes_of(stages: Stages) -> str:
    of_row = [stages.bytes_read / stages.rows, stages.bytes_written / stages.rows]
    if stages.bytes_appended:
        of_row.append(stages.bytes_appended / stages.rows)
    return ", ".join(f"{size:.1f}" for size in of_row)


def run_table(measured: Measured) -> Table:
    """Whole runs against what their stages predict."""
    head = ["Way", "rows", "predicted s", "measured s", "error", "rows/s", "peak MB", "MB"]
    table = [head]
    for way in (GENERATE, AGGREGATE):
        for run, predicted in predictions(measured, way):
            table.append(
                [
                    way,
                    f"{run.rows:,}",
                    f"{predicted:.2f}",
                    f"{run.middle:.2f}",
                    f"{predicted / run.middle - 1:+.0%}",
                    f"{run.rows / run.middle:,.0f}",
                    f"{run.peak_mb:,.0f}",
                    f"{run.bytes / 1e6:,.1f}",
                ]
            )
    return table


def predictions(measured: Measured, way: str) -> Iterator[tuple[Run, float]]:
    """The runs of a way but that of few rows, which the prediction begins with, and predictions."""
    runs = measured.of(way)
    few = next((run for run in runs if run.rows == FEW), None)
    if few is None or way not in measured.stages:
        return
    for run in runs:
        if run is not few:
            yield run, predicted_seconds(measured.stages[way], few, run.rows, run.slots)


def goals(measured: Measured) -> Iterator[Goal]:
    """What the largest run was to reach beside the one of ten million rows."""
    for way in (GENERATE, AGGREGATE):
        runs = {run.rows: run for run in measured.of(way)}
        largest = runs.get(max(runs, default=0))
        base = runs.get(BASE_ROWS)
        if largest is None or base is None or largest.rows <= base.rows:
            continue
        rate = (largest.rows / largest.middle) / (base.rows / base.middle)
        yield Goal(
            f"{way}: rows/s at {largest.rows:,} not more than {MAX_SLOWER:.0%} below those at "
            f"{base.rows:,}",
            f"{rate - 1:+.1%}",
            rate >= 1 - MAX_SLOWER,
        )
        grown = largest.peak_mb / base.peak_mb - 1
        yield Goal(
            f"{way}: peak memory at {largest.rows:,} within {MAX_GROWTH:.0%} of that at "
            f"{base.rows:,}",
            f"{grown:+.1%}",
            grown <= MAX_GROWTH,
        )
        if largest.equal_to_duckdb is not None:
            yield Goal(
                f"sums of {largest.rows:,} rows equal to DuckDB's on the same lake",
                largest.total,
                largest.equal_to_duckdb,
            )


def goal_table(measured: Measured) -> Table:
    """The goals."""
    rows = [[g.text, g.measured, "yes" if g.reached else "**no**"] for g in goals(measured)]
    return [["Goal", "measured", "reached"], *rows]


def flink_table(measured: Measured) -> Table:
    """Runs on the Flink cluster against what the stages predict."""
    table = [["Slots", "rows", "predicted s", "measured s", "error", "peak MB of the launcher"]]
    for run, predicted in flink_predictions(measured):
        table.append(
            [
                str(run.slots),
                f"{run.rows:,}",
                f"{predicted:.1f}",
                f"{run.middle:.1f}",
                f"{predicted / run.middle - 1:+.0%}",
                f"{run.peak_mb:,.0f}",
            ]
        )
    return table


def flink_predictions(measured: Measured) -> Iterator[tuple[Run, float]]:
    """As ``predictions``: for each number of slots, from its own run of the fewest rows."""
    for slots in sorted({run.slots for run in measured.flink}):
        few, *others = sorted(
            (run for run in measured.flink if run.slots == slots), key=lambda run: run.rows
        )
        for run in others:
            cores = min(slots, measured.cores)
            yield run, predicted_seconds(measured.stages[GENERATE], few, run.rows, cores)


def stream_table(measured: Measured) -> Table:
    """Messages a second against the local servers."""
    stream = measured.stream
    if stream is None:
        return []
    table = [["Way", "messages/s", "us a message"]]
    for way, seconds in stream.seconds.items():
        each = seconds / stream.messages
        table.append([way, f"{1 / each:,.0f}", f"{each * 1e6:.1f}"])
    return table


def request_table(measured: Measured) -> Table:
    """Requests of runs with few and with many files, and what one more file takes."""
    runs = sorted(measured.requests, key=lambda run: run.files)
    of_file = requests_of_file(measured)
    table = [["Request", *(f"{run.files:,} files" for run in runs), "one more file"]]
    for kind in sorted({kind for run in runs for kind in run.requests}):
        counts = [f"{run.requests.get(kind, 0):,}" for run in runs]
        table.append([kind, *counts, f"{of_file.get(kind, 0):.2f}"])
    size = [f"{run.manifest_bytes:,}" for run in runs]
    return [*table, ["bytes of the decision", *size, f"{bytes_of_file(measured):,.0f}"]]


def limit_table(limits: Limits) -> Table:
    """What was taken from memory."""
    rows = [
        [limit.what, f"{limit.value:,.0f} {limit.unit}", f"<{limit.source}>"]
        for limit in limits.limits
    ]
    return [["Limit", f"value, known {limits.known_on}", "check at"], *rows]


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


def _paces(measured: Measured, prices: Prices, limits: Limits) -> str:
    csv = megabytes_of_vcpu(measured.stages[CSV], limits)
    messages = messages_of_vcpu(measured, limits)
    supposed = prices.supposed
    return markdown_table(
        [
            ["A vCPU does", "by the price file", "by what was measured"],
            ["MB of CSV a second", f"{supposed.mb_per_vcpu_second:g}", f"{csv:,.0f}"],
            ["messages a second", f"{supposed.messages_per_vcpu_second:,g}", f"{messages:,.0f}"],
        ]
    )


def _ns(seconds: float) -> str:
    return f"{seconds * 1e9:,.1f}"


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

"""What was measured and forecast, as tables, each put into its place in ``docs/scale.md``.

A place is between two comments of the page, ``<!-- name -->`` and ``<!-- /name -->``; what stands
around them is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from benchmarks.report import markdown_table
from benchmarks.scale_batch import bytes_of_file, requests_of_file
from benchmarks.scale_forecasts import Table, forecast_tables
from benchmarks.scale_limits import Limits
from benchmarks.scale_measured import AGGREGATE, GENERATE, Measured, Run, Stages
from benchmarks.scale_model import predicted_cpu, predicted_seconds
from benchmarks.scale_runs import FEW
from benchmarks.scale_stream import predicted_stream_seconds
from benchmarks.section import Goal
from celes_beam.plan.prices import Prices

MAX_SLOWER = 0.1
MAX_GROWTH = 0.15
BASE_ROWS = 10_000_000


def tables(measured: Measured, prices: Prices, limits: Limits) -> dict[str, str]:
    """The content of every place, for which there are measurements."""
    found = {
        "machine": _machine(measured),
        "stages": markdown_table(stage_table(measured)),
        "runs": markdown_table(run_table(measured)),
        "goals": markdown_table(goal_table(measured)),
        "limits": markdown_table(limit_table(limits)),
    }
    if measured.flink and measured.stages:
        found["flink"] = markdown_table(flink_table(measured))
    if measured.stream is not None and measured.stages:
        found["stream"] = markdown_table(stream_table(measured))
    if len(measured.requests) > 1 and measured.stages:
        found["requests"] = markdown_table(request_table(measured))
        found |= forecast_tables(measured, prices, limits)
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
    loads = ", ".join(
        f"{part} {before:.1f} and {after:.1f}" for part, (before, after) in measured.loads.items()
    )
    told = f" Load average before and after each part was measured: {loads}." if loads else ""
    return f"{measured.about}.{told}\n"


def stage_table(measured: Measured) -> Table:
    """Nanoseconds of a processor that a row takes in each stage, and in all."""
    table = [["Way", "stage", "ns of a core, a row"]]
    for way, stages in measured.stages.items():
        for stage, seconds in stages.seconds.items():
            table.append([way, stage, _ns(seconds / stages.rows)])
        for threads in sorted(stages.whole):
            name = f"**one more row**, on {threads} thread{'s' * (threads > 1)}"
            clock = f"{_ns(stages.per_row(threads))} by the clock"
            table.append([way, name, f"**{_ns(stages.cpu_per_row(threads))}**, {clock}"])
        table.append([way, "bytes read, written", f"{_bytes_of(stages)} a row"])
    return table


def _bytes_of(stages: Stages) -> str:
    of_row = [stages.bytes_read / stages.rows, stages.bytes_written / stages.rows]
    if stages.bytes_appended:
        of_row.append(stages.bytes_appended / stages.rows)
    return ", ".join(f"{size:.1f}" for size in of_row)


def run_table(measured: Measured) -> Table:
    """Whole runs against what their stages predict."""
    clock = ["predicted s", "measured s", "error"]
    cpu = ["predicted CPU s", "measured CPU s", "error"]
    table = [["Way", "rows", *clock, *cpu, "rows/s", "peak MB", "MB"]]
    for way in (GENERATE, AGGREGATE):
        for run, few in grown_runs(measured, way):
            stages = measured.stages[way]
            table.append(
                [
                    way,
                    f"{run.rows:,}",
                    *_error(predicted_seconds(stages, few, run.rows, run.slots), run.middle),
                    *_error(predicted_cpu(stages, few, run.rows, run.slots), run.cpu),
                    f"{run.rows / run.middle:,.0f}",
                    f"{run.peak_mb:,.0f}",
                    f"{run.bytes / 1e6:,.1f}",
                ]
            )
    return table


def grown_runs(measured: Measured, way: str) -> Iterator[tuple[Run, Run]]:
    """The runs of a way, each with the run of few rows that its prediction begins with."""
    runs = measured.of(way)
    few = next((run for run in runs if run.rows == FEW), None)
    if few is None or way not in measured.stages:
        return
    for run in runs:
        if run is not few:
            yield run, few


def _error(predicted: float, measured: float) -> list[str]:
    return [f"{predicted:.2f}", f"{measured:.2f}", f"{predicted / measured - 1:+.0%}"]


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
        if way == AGGREGATE:
            yield Goal(
                f"sums of {largest.rows:,} rows equal to DuckDB's on the same lake",
                largest.total,
                largest.is_checked,
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
                *_error(predicted, run.middle),
                f"{run.peak_mb:,.0f}",
            ]
        )
    return table


def flink_predictions(measured: Measured) -> Iterator[tuple[Run, float]]:
    """Runs and what is predicted, for each number of slots from its own run of the fewest rows."""
    for slots in sorted({run.slots for run in measured.flink}):
        few, *others = sorted(
            (run for run in measured.flink if run.slots == slots), key=lambda run: run.rows
        )
        for run in others:
            cores = min(slots, measured.cores)
            yield run, predicted_seconds(measured.stages[GENERATE], few, run.rows, cores)


def stream_table(measured: Measured) -> Table:
    """Streams against the local servers, and what the parts of their work predict."""
    stream = measured.stream
    if stream is None:
        return []
    table = [["Way", "messages/s", "predicted s", "measured s", "error"]]
    for way, seconds in stream.seconds.items():
        predicted = predicted_stream_seconds(measured, way)
        told = ["", f"{seconds:.2f}", ""] if predicted is None else _error(predicted, seconds)
        table.append([f"{way}, {stream.messages:,}", f"{stream.messages / seconds:,.0f}", *told])
    for way, seconds in stream.few.items():
        few = f"{way}, {stream.few_messages:,}"
        table.append([few, f"{stream.few_messages / seconds:,.0f}", "", f"{seconds:.2f}", ""])
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
    table.append(["bytes of the decision", *size, f"{bytes_of_file(measured):,.0f}"])
    if measured.graph is not None:
        blank = ["" for _ in runs]
        table.append(["bytes of the graph, an input file", *blank, f"{measured.graph.a_file:,.0f}"])
        table.append(["… a shard of generated rows", *blank, f"{measured.graph.a_shard:,.0f}"])
    return table


def limit_table(limits: Limits) -> Table:
    """What was taken from memory."""
    rows = [
        [limit.what, f"{limit.value:,.0f} {limit.unit}", f"<{limit.source}>"]
        for limit in limits.limits
    ]
    return [["Limit", f"value, known {limits.known_on}", "check at"], *rows]


def _ns(seconds: float) -> str:
    return f"{seconds * 1e9:,.1f}"

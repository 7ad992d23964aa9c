"""The charts of a comparison: time and memory of each engine, and both against rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from celes_beam.report.chart import (
    ACCENT,
    PALE,
    Chart,
    Mark,
    bars,
    figures_axis,
    figures_column,
    finish,
    names_axis,
)
from celes_beam.report.comparison import Comparison, EngineRun
from celes_beam.report.texts import Texts

_LINES_HEIGHT = 320
_LEAST = 0.001
"""A logarithmic scale has no zero."""
_COLOURS = 7
_MOST_TICKS = 7
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
_SHORT_ROWS = ((10**9, "G"), (10**6, "M"), (10**3, "k"))


def engine_charts(comparison: Comparison, words: Texts) -> list[Chart]:
    """Bars for the largest data set, and lines when there are several; none without any figure."""
    runs = [run for run in comparison.runs if run.seconds]
    sizes = sorted({run.rows for run in runs})
    if not sizes:
        return []
    largest = [run for run in runs if run.rows == sizes[-1]]
    charts = [_times(largest, words), _memory(largest, words)]
    if len(sizes) > 1:
        charts += _lines(runs, sizes, words)
    return [chart for chart in charts if chart is not None]


def _times(runs: Sequence[EngineRun], words: Texts) -> Chart:
    import altair as alt  # noqa: PLC0415 - slow to import, and an extra

    show = words.form.seconds
    ordered = sorted(runs, key=_whole)
    totals = [Mark(run.engine, _whole(run), show(_whole(run))) for run in ordered]
    parts = [
        {"part": part, "order": order, **asdict(Mark(run.engine, seconds, show(seconds)))}
        for run in ordered
        for order, (part, seconds) in enumerate(
            ((words.startup, _median(run.startup_seconds)), (words.work, _median(run.seconds)))
        )
    ]
    stacked = (
        alt.Chart(alt.InlineData(values=parts))
        .mark_bar()
        .encode(
            y=names_axis(totals),
            x=figures_axis(totals, stack="zero"),
            fill=alt.Fill(
                "part:N",
                scale=alt.Scale(domain=[words.startup, words.work], range=[PALE, ACCENT]),
                legend=alt.Legend(orient="top", title=None, symbolType="square"),
            ),
            stroke=alt.value(ACCENT),
            order="order:Q",
            tooltip=[
                alt.Tooltip("name:N", title=words.engine),
                alt.Tooltip("part:N", title=" "),
                alt.Tooltip("text:N", title=words.seconds_axis),
            ],
        )
    )
    return Chart(
        "engine-times",
        words.time_chart.format(rows=words.form.number(runs[0].rows)),
        finish(stacked + figures_column(totals), bars=len(totals)),
        _alt(words.alt_times, totals, words),
    )


def _memory(runs: Sequence[EngineRun], words: Texts) -> Chart | None:
    measured = sorted((r for r in runs if r.peak_mb), key=lambda r: _median(r.peak_mb))
    if not measured:
        return None
    marks = [
        Mark(run.engine, _median(run.peak_mb), words.form.size(_median(run.peak_mb) * 1e6))
        for run in measured
    ]
    return Chart(
        "engine-memory",
        words.memory_chart.format(rows=words.form.number(runs[0].rows)),
        finish(bars(marks, words.engine, words.memory), bars=len(marks)),
        _alt(words.alt_memory, marks, words),
    )


def _lines(runs: Sequence[EngineRun], sizes: Sequence[int], words: Texts) -> list[Chart]:
    form = words.form
    engines = list(dict.fromkeys(run.engine for run in runs))
    told = {
        "engines": ", ".join(engines),
        "sizes": ", ".join(form.number(size) for size in sizes),
    }
    kinds: tuple[tuple[str, str, str, str, _Figure, _Shown], ...] = (
        (
            "time-by-rows",
            words.time_by_rows,
            words.work_axis,
            words.alt_time_lines,
            lambda run: run.seconds,
            form.seconds,
        ),
        (
            "memory-by-rows",
            words.memory_by_rows,
            words.megabytes_axis,
            words.alt_memory_lines,
            lambda run: run.peak_mb,
            lambda mb: form.size(mb * 1e6),
        ),
    )
    charts = []
    for name, caption, axis, alt_text, figure, show in kinds:
        values = [
            {
                "engine": run.engine,
                "rows": run.rows,
                "size": form.number(run.rows),
                "value": max(_median(figure(run)), _LEAST),
                "text": show(_median(figure(run))),
            }
            for run in runs
            if figure(run) and run.rows
        ]
        if values:
            spec = finish(_line_chart(values, engines, axis, words), height=_LINES_HEIGHT)
            charts.append(Chart(name, caption, spec, alt_text.format(**told)))
    return charts


_Figure = Callable[[EngineRun], Sequence[float]]
_Shown = Callable[[float], str]


def _line_chart(
    values: Sequence[Mapping[str, Any]], engines: Sequence[str], axis: str, words: Texts
) -> Any:
    import altair as alt  # noqa: PLC0415

    ticks = log_ticks(min(v["value"] for v in values), max(v["value"] for v in values))
    sizes = sorted({v["rows"] for v in values})
    short = ",".join(f"'{size}':'{_short(size, words)}'" for size in sizes)
    colours = [f"var(--engine-{i % _COLOURS + 1})" for i in range(len(engines))]
    shapes = [_SHAPES[i % len(_SHAPES)] for i in range(len(engines))]
    legend = alt.Legend(orient="bottom", title=None, columns=3, columnPadding=16, offset=12)
    base = alt.Chart(alt.InlineData(values=list(values))).encode(
        x=alt.X(
            "rows:Q",
            scale=alt.Scale(type="log", nice=False, padding=14),
            axis=alt.Axis(
                title=words.rows_axis,
                values=sizes,
                labelExpr=f"({{{short}}})[datum.value]",
                grid=False,
            ),
        ),
        y=alt.Y(
            "value:Q",
            scale=alt.Scale(type="log", domain=[ticks[0], ticks[-1]], nice=False),
            axis=alt.Axis(
                title=axis,
                titleAngle=0,
                titleAlign="left",
                titleAnchor="end",
                titleX=0,
                titleY=-12,
                format=",.3~r",
                values=ticks,
                domain=False,
                ticks=False,
            ),
        ),
        color=alt.Color(
            "engine:N", scale=alt.Scale(domain=list(engines), range=colours), legend=legend
        ),
        tooltip=[
            alt.Tooltip("engine:N", title=words.engine),
            alt.Tooltip("size:N", title=words.rows),
            alt.Tooltip("text:N", title=axis),
        ],
    )
    return base.mark_line(strokeWidth=2.2) + base.mark_point(
        filled=True, size=80, opacity=1
    ).encode(
        shape=alt.Shape(
            "engine:N", scale=alt.Scale(domain=list(engines), range=shapes), legend=legend
        )
    )


def log_ticks(least: float, most: float) -> list[float]:
    """Round numbers that enclose all values, 1, 2, 5 or powers of ten: as few as can be read."""
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
    ticks: list[float] = []
    for steps in ((1, 2, 5), (1,)):
        every = [float(f"{step}e{power}") for power in range(first, last + 1) for step in steps]
        below = [t for t in every if t <= least]
        above = [t for t in every if t >= most]
        ticks = [t for t in every if below[-1] <= t <= above[0]]
        if len(ticks) <= _MOST_TICKS:
            break
    return ticks if len(ticks) > 1 else [ticks[0], ticks[0] * 10]


def _short(rows: int, words: Texts) -> str:
    for least, letter in _SHORT_ROWS:
        if rows >= least:
            digits = 0 if rows % least == 0 else 1
            return f"{words.form.number(rows / least, digits)} {letter}"
    return str(rows)


def _median(values: Sequence[float]) -> float:
    return float(median(values)) if values else 0.0


def _whole(run: EngineRun) -> float:
    return _median(run.startup_seconds) + _median(run.seconds)


def _alt(template: str, marks: Sequence[Mark], words: Texts) -> str:
    high, low = marks[0], marks[-1]
    if len(marks) == 1:
        return words.alt_one.format(high=high.name, high_value=high.text)
    return template.format(high=high.name, high_value=high.text, low=low.name, low_value=low.text)

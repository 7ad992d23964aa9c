"""Engines side by side, as a table: while they run, and when they are done."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from functools import partial
from statistics import median
from typing import IO

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from celes_beam.commands.viewing import Ticks, viewing
from celes_beam.compare.side_by_side import Line, Now
from celes_beam.report.comparison import Comparison, Difference, EngineRun

_LOGGER = logging.getLogger(__name__)
_BYTES_PER_MB = 1_000_000
_DIFFERENCES_SHOWN = 20
_COLOURS = {"ok": "green", "equal": "green", "differs": "bold red", "failed": "bold red"}


def showing(lines: Sequence[Line], mode: str) -> AbstractContextManager[None]:
    """Show how far the engines of ``lines`` are while the body runs them.

    A table on a terminal, elsewhere now and then a log line; nothing if ``mode`` is "off".
    """
    return viewing(mode, None, partial(_show_live, lines), partial(_log_now, lines))


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print the figures of all engines, whether their results are equal, and where not."""
    for rows in comparison.sizes:
        runs = [run for run in comparison.runs if run.rows == rows]
        title = f"{rows:,} rows, median of {comparison.rounds:,} rounds"
        if comparison.rounds == 1:
            title = f"{rows:,} rows, one round"
        table = _table(title)
        for run in runs:
            table.add_row(*_cells(run, alone=_results(runs) == 1))
        console.print(table)
        for run in runs:
            if run.why:
                console.print(f"  {run.engine}: {escape(run.why)}", soft_wrap=True, highlight=False)
        if all(run.state != "differs" for run in runs) and _results(runs) > 1:
            one = next(run.result for run in runs if run.result is not None)
            console.print(
                f"All {_results(runs)} results are equal: {one.rows:,} rows, "
                f"{Decimal(one.total):,} in all.",
                highlight=False,
            )
    if comparison.differences:
        _print_differences(console, comparison.differences)


def _results(runs: Sequence[EngineRun]) -> int:
    return sum(run.result is not None for run in runs)


def _print_differences(console: Console, differences: Sequence[Difference]) -> None:
    shown = differences[:_DIFFERENCES_SHOWN]
    table = Table(title="What is not equal", title_justify="left")
    for name in ("engine", "table", "key", "column"):
        table.add_column(name, overflow="fold")
    for name in ("value", "expected"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("as of", overflow="fold")
    for one in shown:
        figures = ("missing" if v is None else str(v) for v in (one.value, one.expected))
        cells = (one.engine, one.table, one.key, one.column, *figures, one.against)
        table.add_row(*map(Text, cells))
    console.print(table)
    if len(differences) > len(shown):
        more = len(differences) - len(shown)
        console.print(f"… and {more:,} more, all of them in --json FILE", highlight=False)


def _table(title: str) -> Table:
    table = Table("engine", title=title, title_justify="left")
    for name in ("work s", "start-up s", "all s", "peak MB", "read MB"):
        table.add_column(name, justify="right")
    table.add_column("result")
    return table


def _cells(run: EngineRun, *, alone: bool) -> list[Text]:
    state = run.state
    if state == "ok" and not alone:
        said = "equal"
    else:
        said = "not installed" if state == "skipped" else state
    all_seconds = [w + s for w, s in zip(run.seconds, run.startup_seconds, strict=True)]
    figures = [
        _figure(run.seconds, "{:,.2f}"),
        _figure(run.startup_seconds, "{:,.2f}"),
        _figure(all_seconds, "{:,.2f}"),
        _figure(run.peak_mb, "{:,.0f}"),
        "" if run.bytes_read is None else f"{run.bytes_read / _BYTES_PER_MB:,.1f}",
    ]
    name = f"{run.engine} {run.version}".strip()
    return [*map(Text, (name, *figures)), Text(said, style=_COLOURS.get(said, "dim"))]


def _figure(values: Sequence[float], form: str) -> str:
    return form.format(median(values)) if values else ""


def _show_live(lines: Sequence[Line], ticks: Ticks, stream: IO[str]) -> None:
    with Live(
        console=Console(file=stream),
        transient=True,
        auto_refresh=False,
        # Others redirect them meanwhile, and would be undone at the end.
        redirect_stdout=False,
        redirect_stderr=False,
    ) as live:
        for _ in ticks:
            live.update(live_table(lines), refresh=True)


def live_table(lines: Sequence[Line]) -> Table:
    """The table of engines that are still running."""
    table = Table("engine", title_justify="left")
    for name in ("rows", "rounds done", "work s", "start-up s", "peak MB"):
        table.add_column(name, justify="right")
    table.add_column("now")
    for line in lines:
        done = line.ended_well
        table.add_row(
            line.engine.name,
            "" if line.rows is None else f"{line.rows:,}",
            str(len(done)),
            _figure([a.work_seconds for a in done], "{:,.2f}"),
            _figure([a.startup_seconds for a in done], "{:,.2f}"),
            _figure([a.ended.peak_mb for a in done], "{:,.0f}"),
            Text(_now(line), style=_COLOURS.get(line.now.value, "")),
        )
    return table


def _now(line: Line) -> str:
    if line.now is Now.RUNS:
        return f"runs, {time.monotonic() - line.since:,.0f} s"
    return line.now.value


def _log_now(lines: Sequence[Line], ticks: Ticks) -> None:
    for _ in ticks:
        for line in lines:
            if line.now is Now.RUNS:
                _LOGGER.info("%s %s", line.engine.name, _now(line))

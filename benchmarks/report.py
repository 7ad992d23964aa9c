"""What was measured, as tables on a terminal and as ``docs/benchmarks.md``."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Measured, Runs
from benchmarks.section import Section

PACKAGES = ("apache-beam", "pyarrow", "numpy", "polars", "duckdb", "pandas")

_HEAD = """\
# Benchmarks

Written by `{command}`, which `make bench` runs; {rounds} rounds of {rows:,} rows.
{machine}.

How it is measured:

- Every run is a process of its own, with an output folder of its own that is gone before the next.
  Before each run the disk is synced, so that nobody pays for what another one wrote.
- The contestants take turns in every round, after a round that is not counted. Figures are medians
  of the rounds; "times ours" is the median of the ratios within each round.
- "Seconds" are those of the work: without the start of Python and imports, with everything else
  (for `pipelines.batch`: the pipeline, its commit included). "Process" is the whole command.
- "Peak" is the peak resident memory of the process as the kernel counts it, or of it and all below
  it at one moment if that is more; the highest of all rounds. Every contestant is one process.
- What each one wrote is read back: the rows and the exact sums of every category and region must be
  the same for all, or the benchmark fails.
- Engines compress with zstd, level 1; the pipeline, the limit and "our Parquet settings" do as
  `celes_beam.stores.lake.parquet_writer.parquet_settings` says. All have the same column types (the
  straightforward way has floats), and may use all cores.
"""


def machine() -> str:
    """Cores and memory of this machine, and versions."""
    cores = os.cpu_count()
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"{cores} cores, {gib:.0f} GiB of memory; Python {platform.python_version()}, {versions}"


def print_section(section: Section, console: Console) -> None:
    """Print a section's table and goals."""
    head, *rows = _cells(section)
    table = Table(title=section.title, title_justify="left")
    for i, name in enumerate(head):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for goal in section.goals:
        mark = "[green]reached[/]" if goal.reached else "[red]not reached[/]"
        console.print(f"  {mark}  {goal.text}: {goal.measured}")


def markdown(
    sections: Iterable[Section], *, command: str, rows: int, rounds: int, about: str
) -> str:
    """The report; ``about`` is what ``machine`` says."""
    parts = [_HEAD.format(command=command, rows=rows, rounds=rounds, machine=about)]
    for section in sections:
        parts.append(f"## {section.title}\n")
        parts.append(markdown_table(_cells(section)))
        goals = [[g.text, g.measured, "yes" if g.reached else "**no**"] for g in section.goals]
        parts.append(markdown_table([["Goal", "measured", "reached"], *goals]))
        does = [
            f"- **{runs.contestant.name}**: {runs.contestant.does}\n"
            for runs in section.runs
            if runs.contestant.does
        ]
        if does:
            parts.append("What each does:\n\n" + "".join(does))
    return "\n".join(parts)


def _cells(section: Section) -> list[list[str]]:
    if section.table:
        return [list(row) for row in section.table]
    if section.whole:
        rows = [[r.contestant.name, _seconds(r.median(_process_seconds))] for r in section.runs]
        return [["Command", "seconds"], *rows]
    head = ["Way", "seconds", "times ours", "process s", "peak MB", "files", "MB written"]
    ours = section.runs[0]
    return [head, *(_row(runs, ours) for runs in section.runs)]


def _row(runs: Runs, ours: Runs) -> list[str]:
    content = runs.runs[-1].content
    return [
        runs.contestant.name,
        _seconds(runs.median(lambda run: run.seconds)),
        f"{runs.ratio_to(ours):.2f}",
        _seconds(runs.median(_process_seconds)),
        f"{runs.peak_mb:,.0f}",
        f"{content['files']:,}",
        f"{content['bytes'] / 1e6:,.1f}",
    ]


def _process_seconds(run: Measured) -> float:
    return run.process_seconds


def _seconds(value: float) -> str:
    return f"{value:.2f}"


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    rule = ["---", *(["---:"] * (len(head) - 1))]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *body))

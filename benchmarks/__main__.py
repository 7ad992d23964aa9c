"""``python -m benchmarks``: measure, print, and with ``--write`` write ``docs/benchmarks.md``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rich.console import Console

from benchmarks.report import machine, markdown, print_section
from benchmarks.subjects import SUBJECTS

APART = ("cloud", "streaming", "ledger", "commit")
"""The first two need the extra ``local``, whose DuckDB is another than the one to be measured
against; the others take minutes to make what they look at, and the last needs ``make flink``."""
REPORT = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        choices=SUBJECTS,
        help=f"measure this alone (default: all but {' and '.join(APART)})",
    )
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=10_000_000)
    parser.add_argument("--runs", type=int, default=5, help="rounds (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    flags = parser.parse_args()
    if flags.write and flags.only:
        parser.error("--write writes the whole report: leave out --only")
    console = Console()
    about = f"{machine()}; load average {os.getloadavg()[0]:.1f} at the start"
    console.print(about)
    sections = []
    for name in [flags.only] if flags.only else [s for s in SUBJECTS if s not in APART]:
        section = SUBJECTS[name](flags.rows, flags.runs, console.print)
        print_section(section, console)
        sections.append(section)
    if flags.write:
        command = f"python -m benchmarks --rows {flags.rows} --runs {flags.runs} --write"
        REPORT.write_text(
            markdown(sections, command=command, rows=flags.rows, rounds=flags.runs, about=about),
            encoding="utf-8",
        )
        console.print(f"written: {REPORT}")


if __name__ == "__main__":
    main()

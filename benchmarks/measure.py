"""Measure commands: each run a fresh process, the contestants of a round one after the other.

Nothing heavy is imported here: on Linux the peak memory of a child begins at that of its parent.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from celes_beam.compare.measured import run_measured


@dataclass(frozen=True)
class Contestant:
    """One way to do a subject's work.

    ``command`` makes the arguments of ``python`` out of an empty folder: the lake is to stand in
    its ``lake``. The command writes ``summary.json`` there, or prints a JSON line at its end; in
    either ``seconds`` are those of its work. ``does`` says what the work is, and is not.
    """

    name: str
    command: Callable[[Path], list[str]]
    does: str = ""


@dataclass(frozen=True)
class Measured:
    """One run: seconds of its work and of its whole process, peak memory, and what it wrote."""

    seconds: float
    process_seconds: float
    peak_mb: float
    content: dict[str, Any]


@dataclass(frozen=True)
class Runs:
    """The runs of a contestant, one for each round."""

    contestant: Contestant
    runs: Sequence[Measured]

    def median(self, figure: Callable[[Measured], float]) -> float:
        """The median of a figure over the rounds."""
        return median(figure(run) for run in self.runs)

    def ratio_to(self, other: Runs) -> float:
        """How many times the seconds of ``other`` it takes: the median of the rounds' ratios."""
        pairs = zip(self.runs, other.runs, strict=True)
        return median(mine.seconds / theirs.seconds for mine, theirs in pairs)

    @property
    def peak_mb(self) -> float:
        """The highest peak of all rounds."""
        return max(run.peak_mb for run in self.runs)


def measure(
    contestants: Sequence[Contestant], rounds: int, say: Callable[[str], None]
) -> list[Runs]:
    """Run the contestants in turn, ``rounds`` times, after a round that is not counted.

    That first round fills caches of the disk and compiles modules; a single round has none. Raises
    ``ValueError`` when a contestant fails, or wrote other rows than the first one.
    """
    measured: list[list[Measured]] = [[] for _ in contestants]
    for number in range(0 if rounds > 1 else 1, rounds + 1):
        for contestant, runs in zip(contestants, measured, strict=True):
            run = run_once(contestant)
            wrote = measured[0][0].content if measured[0] else run.content
            if run.content.get("groups") != wrote.get("groups"):
                raise ValueError(f"{contestant.name} wrote other rows than {contestants[0].name}")
            say(f"round {number}: {contestant.name} {run.seconds:.3f} s, {run.peak_mb:,.0f} MB")
            if number:
                runs.append(run)
    return [Runs(c, runs) for c, runs in zip(contestants, measured, strict=True)]


def run_once(contestant: Contestant) -> Measured:
    """Run a contestant in a folder of its own, and read back what it wrote."""
    with tempfile.TemporaryDirectory(prefix="celes-bench-") as name:
        folder = Path(name)
        # What others wrote is not to be flushed on the contestant's time.
        os.sync()
        command = [sys.executable, *contestant.command(folder)]
        seconds, peak_mb, output = run_process(command)
        summary = folder / "summary.json"
        report = summary.read_text() if summary.exists() else (output.splitlines() or [""])[-1]
        lake = folder / "lake"
        content = _read_back(lake) if lake.exists() else {}
    own = json.loads(report)["seconds"] if report.startswith("{") else seconds
    return Measured(own, seconds, peak_mb, content)


def run_process(command: Sequence[str]) -> tuple[float, float, str]:
    """Run a command; return its seconds, its peak memory in MB, and its output.

    Raises ``ValueError`` with the error output when it fails.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        ended = run_measured(command, out, err)
        out.seek(0)
        err.seek(0)
        if ended.code:
            raise ValueError(f"{' '.join(command)} failed: {err.read().decode()}")
        return ended.seconds, ended.peak_mb, out.read().decode()


def _read_back(lake: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.lake_content", str(lake)]
    content: dict[str, Any] = json.loads(run_process(command)[2])
    return content

"""Engines run on the same files, one after another, round after round, and their results compared.

The files are found once and handed to each engine (``fixed_input.py``), so that what is committed
meanwhile does not count. Copies or links of the files would be read in another way than the lake
is; and results alone, compared with counts of the snapshot, would have runs done again whenever
a commit came in between.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from statistics import median_low

from celes_beam.compare.attempt import Attempt, Question, run_engine
from celes_beam.compare.catalog import Engine
from celes_beam.compare.differences import (
    are_equal,
    differences,
    not_as_committed,
    reference_of,
)
from celes_beam.report.comparison import Difference, EngineRun, State
from celes_beam.stores.cloud.clients import GCS_SCHEME
from celes_beam.stores.lake.fixed_input import FIXED_INPUT, write_fixed_input
from celes_beam.stores.lake.lake_input import LakeInput
from celes_beam.stores.results.results import Result

Say = Callable[[str], None]


class Now(StrEnum):
    """What an engine is doing at the moment."""

    WAITS = "waits"
    RUNS = "runs"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass
class Line:
    """One engine on one data set, as it goes: looked at by whoever shows how far it is."""

    engine: Engine
    rows: int | None
    now: Now = Now.WAITS
    why: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    since: float = 0.0
    """When it began to run, by ``time.monotonic``."""

    @property
    def results(self) -> list[Result]:
        """The results so far."""
        return [attempt.result for attempt in self.attempts if attempt.result is not None]

    @property
    def ended_well(self) -> list[Attempt]:
        """The attempts that gave a result."""
        return [attempt for attempt in self.attempts if attempt.result is not None]


@dataclass(frozen=True)
class Compared:
    """The runs on one data set, and in what their results are not equal."""

    runs: tuple[EngineRun, ...]
    differences: tuple[Difference, ...]


def lines_of(engines: Sequence[Engine], found: LakeInput) -> list[Line]:
    """A line for each engine; those that are not installed are skipped."""
    lines = [Line(engine, found.rows) for engine in engines]
    for line in lines:
        missing = line.engine.missing(found.root)
        if missing is not None:
            line.now, line.why = Now.SKIPPED, missing
    return lines


def run_rounds(
    found: LakeInput, lines: Sequence[Line], question: Question, rounds: int, say: Say
) -> Compared:
    """Run the engines of ``lines`` on ``found``, ``rounds`` times each, and compare the results.

    The engines take turns in each round. One that fails is not run again. Raises
    ``MissingProgramError`` without psutil.
    """
    with tempfile.TemporaryDirectory(prefix="celes-compare-") as name:
        description = Path(name, "input.json")
        write_fixed_input(description, found.fixed())
        for number in range(1, rounds + 1):
            for line in lines:
                if line.now in (Now.SKIPPED, Now.FAILED):
                    continue
                line.now, line.since = Now.RUNS, time.monotonic()
                attempt = run_engine(line.engine, question, {FIXED_INPUT: str(description)})
                line.attempts.append(attempt)
                line.now = Now.FAILED if attempt.result is None else Now.DONE
                line.why = attempt.why
                if line.now is Now.DONE and number < rounds:
                    line.now = Now.WAITS
                say(_said(line, attempt, number, rounds))
    return _compared(found, lines)


def _said(line: Line, attempt: Attempt, number: int, rounds: int) -> str:
    where = f"round {number} of {rounds}: {line.engine.name}"
    if attempt.result is None:
        return f"{where} failed: {attempt.why}"
    return (
        f"{where}: {attempt.work_seconds:.2f} s of work, {attempt.startup_seconds:.2f} s of "
        f"start-up, {attempt.ended.peak_mb:,.0f} MB"
    )


def _compared(found: LakeInput, lines: Sequence[Line]) -> Compared:
    # An engine that failed in a later round has shown results, but is no example to others.
    whole = [line.results[0] for line in lines if line.now is Now.DONE]
    total = None if found.total is None else str(found.total)
    expected = reference_of(whole, found.rows, total) if whole else None
    size = found.rows if found.rows is not None else expected.rows if expected else 0
    runs, all_found = [], []
    for line in lines:
        wrong = _differences(line, expected, found, size) if expected else []
        all_found += wrong
        runs.append(_run(line, found, size, wrong))
    return Compared(tuple(runs), tuple(all_found))


def _differences(line: Line, expected: Result, found: LakeInput, size: int) -> list[Difference]:
    wrong: list[Difference] = []
    for number, result in enumerate(line.results, 1):
        if number > 1 and not are_equal(result, line.results[0]):
            wrong += differences(result, line.results[0], f"{line.engine.name}, round 1", size)
    if not line.results:
        return wrong
    first = line.results[0]
    if not are_equal(first, expected):
        return differences(first, expected, expected.engine, size) + wrong
    if found.rows is not None and (first.rows, first.total) != (found.rows, str(found.total)):
        return not_as_committed(first, found.rows, str(found.total), size) + wrong
    return wrong


def _run(line: Line, found: LakeInput, size: int, wrong: Sequence[Difference]) -> EngineRun:
    state: State = "ok"
    why = line.why
    if line.now in (Now.SKIPPED, Now.FAILED):
        state = "skipped" if line.now is Now.SKIPPED else "failed"
    elif wrong:
        state, why = "differs", _why_different(line, found, wrong)
    measured = line.ended_well
    read = [a.ended.bytes_read for a in measured if a.ended.bytes_read is not None]
    told = bool(read) and not line.engine.of_table and not found.root.startswith(GCS_SCHEME)
    return EngineRun(
        engine=line.engine.name,
        rows=size,
        state=state,
        version=line.engine.version,
        why=why,
        seconds=tuple(round(a.work_seconds, 4) for a in measured),
        startup_seconds=tuple(round(a.startup_seconds, 4) for a in measured),
        peak_mb=tuple(round(a.ended.peak_mb, 1) for a in measured),
        bytes_read=median_low(read) if told else None,
        result=line.results[0] if line.results else None,
    )


def _why_different(line: Line, found: LakeInput, wrong: Sequence[Difference]) -> str:
    first = line.results[0]
    committed = (found.rows, str(found.total))
    if line.engine.of_table and None not in committed and committed != (first.rows, first.total):
        return (
            f"the table holds {first.rows:,} rows of {Decimal(first.total):,} in all, the lake "
            f"{found.rows:,} of {found.total:,}: load what is missing with celes-beam lake load"
        )
    return f"{len(wrong):,} figures are not those of {wrong[0].against}"

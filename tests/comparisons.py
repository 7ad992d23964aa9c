"""A comparison of engines for tests: two sizes, with every state that a run can end in."""

from __future__ import annotations

from collections.abc import Sequence

from celes_beam.report.comparison import Comparison, Difference, EngineRun, Machine, State
from celes_beam.stores.results.results import Result

HOSTILE_WHY = "MemoryError: <script>alert('why')</script>"


def engine_run(
    engine: str,
    rows: int,
    seconds: Sequence[float] = (),
    state: State = "ok",
    why: str = "",
    result: Result | None = None,
) -> EngineRun:
    """A run whose start-up and memory follow from its seconds."""
    return EngineRun(
        engine=engine,
        rows=rows,
        state=state,
        version="1.2.3",
        why=why,
        seconds=tuple(seconds),
        startup_seconds=tuple(s / 4 for s in seconds),
        peak_mb=tuple(100 + 10 * s for s in seconds),
        bytes_read=rows * 7 if engine != "spark" else None,
        result=result,
    )


def comparison(*, agree: bool = False, result: Result | None = None) -> Comparison:
    """Engines on 1,000 and 100,000 rows; unless they ``agree``, dask differs on the larger."""
    runs = []
    for rows in (1000, 100_000):
        scale = rows / 1000
        dask: State = "differs" if rows == 100_000 and not agree else "ok"
        runs += [
            engine_run("beam", rows, [0.2 * scale, 0.1 * scale, 0.3 * scale], result=result),
            engine_run("dask", rows, [0.5 * scale, 0.4 * scale, 0.6 * scale], dask),
            engine_run("spark", rows, [1.5 * scale, 1.4 * scale, 1.6 * scale]),
            engine_run("pandas", rows, [0.4])
            if rows == 1000
            else engine_run("pandas", rows, state="failed", why=HOSTILE_WHY),
            engine_run("polars", rows, state="skipped", why="pip install 'celes-beam[bench]'"),
        ]
    difference = Difference(
        engine="dask",
        against="beam",
        table="by_category",
        key="Ropa <i>",
        column="total",
        value="4.26",
        expected="4.25",
        rows=100_000,
    )
    return Comparison(
        machine=Machine(cores=2, memory_gb=24, python="3.11.9", versions={"dask": "2026.8.0"}),
        rounds=3,
        input="ventas_lake",
        agree=agree,
        runs=tuple(runs),
        differences=() if agree else (difference,),
        started_at="2026-05-03T10:00:00+00:00",
    )

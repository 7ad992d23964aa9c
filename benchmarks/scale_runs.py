"""Whole runs as rows grow: generate into a lake, aggregate it, and the same sums by DuckDB.

``python -m benchmarks.scale_runs LAKE`` prints what DuckDB finds in the files of a lake.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.measure import run_process
from benchmarks.scale_measured import AGGREGATE, GENERATE, Run
from benchmarks.section import Say

FEW = 1_000
"""Rows of the run that tells what every run takes, however small."""
MOST_ROUNDS_ROWS = 50_000_000
"""Runs of more rows are made once."""

Sums = list[list[Any]]
_CORES = os.cpu_count() or 1


def grown(sizes: Sequence[int], rounds: int, folder: Path, say: Say) -> list[Run]:
    """Generate and aggregate lakes of these sizes below ``folder``; each is gone before the next.

    Raises ``ValueError`` when DuckDB's sums of a lake are others than ours.
    """
    runs = []
    for rows in sizes:
        with tempfile.TemporaryDirectory(prefix="celes-scale-", dir=folder) as name:
            runs += _of_size(rows, 1 if rows > MOST_ROUNDS_ROWS else rounds, Path(name), say)
    return runs


def _of_size(rows: int, rounds: int, folder: Path, say: Say) -> list[Run]:
    lake, said = folder / "lake", folder / "summary.json"
    common = ["--summary_json", str(said), "--progress", "off"]
    writing = ["-m", "pipelines.batch", "--rows", str(rows), "--output", str(lake), *common]
    reading = ["-m", "pipelines.aggregate", "--input", str(lake), *common]
    taken = []
    for _ in range(rounds):
        shutil.rmtree(lake, ignore_errors=True)
        taken.append(timed(writing, said))
    written = json.loads(said.read_text())
    runs = [run_of(GENERATE, _CORES, taken, said)]
    say(_told(runs[-1]))
    taken = [timed(reading, said) for _ in range(rounds)]
    read = json.loads(said.read_text())
    theirs = json.loads(run_process([sys.executable, "-m", __name__, str(lake)])[2])
    check_sums(written, read, theirs)
    runs.append(msgspec.structs.replace(run_of(AGGREGATE, _CORES, taken, said), is_checked=True))
    say(f"{_told(runs[-1])}; DuckDB's sums are the same")
    return runs


@dataclass(frozen=True)
class Timed:
    """One run: seconds of its pipeline, of its process, and of processors; its most memory."""

    seconds: float
    process_seconds: float
    cpu_seconds: float
    peak_mb: float


def timed(arguments: Sequence[str], said: Path) -> Timed:
    """Run ``python`` with these arguments, which writes its summary to ``said``."""
    # What others wrote is not to be flushed on this one's time.
    os.sync()
    before = _of_children()
    process, peak, _ = run_process([sys.executable, *arguments])
    cpu = _of_children() - before
    return Timed(float(json.loads(said.read_text())["seconds"]), process, cpu, peak)


def _of_children() -> float:
    """Seconds of processors that all processes took which we started, and that ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_of(way: str, slots: int, rounds: Sequence[Timed], said: Path) -> Run:
    """The rounds of a run, whose last summary is in ``said``."""
    summary = json.loads(said.read_text())
    return Run(
        way=way,
        rows=summary["rows"] if "rows" in summary else summary["rows_accepted"],
        slots=slots,
        seconds=tuple(one.seconds for one in rounds),
        process_seconds=tuple(one.process_seconds for one in rounds),
        cpu_seconds=tuple(one.cpu_seconds for one in rounds),
        peak_mb=max(one.peak_mb for one in rounds),
        files=summary["files"],
        bytes=summary["bytes"],
        total=summary["total"],
    )


def _told(run: Run) -> str:
    return (
        f"{run.way} {run.rows:,} rows: {run.middle:.2f} s, "
        f"{run.rows / max(run.middle, 1e-9):,.0f} rows/s, {run.cpu:.2f} s of processors, "
        f"{run.peak_mb:,.0f} MB"
    )


def check_sums(written: dict[str, Any], read: dict[str, Any], theirs: dict[str, Sums]) -> None:
    """Raise ``ValueError`` unless both summaries have the sums that DuckDB has."""
    for what, column in (
        ("by_category", "categoria_de_producto"),
        ("by_region", "region_de_venta"),
    ):
        expected = sorted(theirs[what])
        for whose, summary in (("the run", written), ("the aggregation", read)):
            ours = sorted([line[column], line["rows"], line["total"]] for line in summary[what])
            if ours != expected:
                raise ValueError(f"{what}: {whose} has {ours}, and DuckDB {expected}")


def duckdb_sums(lake: str) -> dict[str, Sums]:
    """Rows and exact total of each category and region, by SQL on the files of a hive folder."""
    import duckdb  # noqa: PLC0415

    files = f"read_parquet('{lake}/*/*.parquet', hive_partitioning=true, hive_types_autocast=false)"

    def by(column: str) -> Sums:
        query = f"SELECT {column}, count(*), sum(cantidad_de_venta) FROM {files} GROUP BY ALL"
        return [[name, rows, str(total)] for name, rows, total in duckdb.sql(query).fetchall()]

    return {"by_category": by("categoria_de_producto"), "by_region": by("region_de_venta")}


if __name__ == "__main__":
    print(json.dumps(duckdb_sums(sys.argv[1])))

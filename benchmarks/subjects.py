"""The measurements: what is measured against what, and what this project is to reach."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.cloud import cloud
from benchmarks.commit import commit
from benchmarks.ledger import ledger
from benchmarks.measure import Contestant, Runs, measure, run_process
from benchmarks.section import Goal, Say, Section
from benchmarks.streaming import streaming
from benchmarks.upload import upload

OURS = "pipelines.batch"
LIMIT = "the limit"
POLARS, DUCKDB, PYARROW, TUNED = (
    "Polars",
    "DuckDB",
    "pyarrow",
    "pyarrow, our Parquet settings",
)
STRAIGHTFORWARD = "the straightforward way"

MAX_TIMES_LIMIT = 1.35
MAX_TIMES_POLARS_CSV = 1.1
MIN_TIMES_STRAIGHTFORWARD = 20.0
MAX_MB_GENERATE = 450.0
MAX_MB_CSV = 600.0
MAX_GROWTH = 0.15
MORE_ROWS = 5
MAX_HELP_SECONDS = 0.5
HELP_RUNS = 10


def generate(rows: int, rounds: int, say: Say) -> Section:
    """Generated rows to a lake: us, the limit, and the three engines."""
    contestants = [
        _ours(rows),
        Contestant(
            LIMIT,
            _child("limit", rows),
            "`benchmarks/limit.py`: the same rows, checks, split, sums and Parquet settings by "
            "hand on 2 threads; no engine, fsync, checksum, manifest or commit.",
        ),
        Contestant(
            POLARS,
            _child("polars", rows),
            "all rows are made by 2 threads first, since a Python source is slower for it, then "
            "`sink_parquet`; no checks, sums, fsync or commit.",
        ),
        Contestant(
            DUCKDB,
            _child("duckdb", rows),
            "`COPY … PARTITION_BY` from a stream of record batches; no checks, sums, fsync or "
            "commit.",
        ),
        Contestant(
            PYARROW,
            _child("pyarrow", rows),
            "`write_dataset` from a stream of record batches, its default encodings and row "
            "groups; no checks, sums, fsync or commit.",
        ),
        Contestant(
            TUNED,
            _child("pyarrow-tuned", rows),
            "the same, given the encodings and row groups that this project chose.",
        ),
    ]
    runs = measure(contestants, rounds, say)
    return Section(
        f"{rows:,} generated rows to Parquet, partitioned by region",
        runs,
        [
            _no_more_than(runs[0], runs[1], MAX_TIMES_LIMIT),
            *(_ahead_of(runs[0], other) for other in runs[2:5]),
            _below_mb(runs[0], MAX_MB_GENERATE),
        ],
    )


def csv(rows: int, rounds: int, say: Say) -> Section:
    """A CSV file to a lake: us with every row checked, and the three engines."""
    with tempfile.TemporaryDirectory(prefix="celes-bench-") as name:
        source = Path(name) / "ventas.csv"
        making = ["-m", "pipelines.generate", "--rows", str(rows), "-o", str(source)]
        run_process([sys.executable, *making])
        contestants = [
            Contestant(
                OURS,
                _batch(["--input", str(source)]),
                "every value of every row checked; rejected rows kept; exact sums, fsync, "
                "checksums, manifest and commit.",
            ),
            Contestant(
                POLARS,
                _child("polars-csv", source),
                "`scan_csv` with a schema to `sink_parquet`; types only, no rules, sums, fsync or "
                "commit.",
            ),
            Contestant(
                DUCKDB,
                _child("duckdb-csv", source),
                "`read_csv` with a schema to `COPY … PARTITION_BY`; as Polars.",
            ),
            Contestant(
                PYARROW,
                _child("pyarrow-csv", source),
                "`open_csv` with a schema to `write_dataset`, its default encodings and row "
                "groups; as Polars.",
            ),
            Contestant(
                TUNED,
                _child("pyarrow-csv-tuned", source),
                "the same, given the encodings and row groups that this project chose.",
            ),
        ]
        megabytes = source.stat().st_size / 1e6
        runs = measure(contestants, rounds, say)
    return Section(
        f"{rows:,} rows of CSV ({megabytes:,.0f} MB) to Parquet, partitioned by region",
        runs,
        [
            _no_more_than(runs[0], runs[1], MAX_TIMES_POLARS_CSV),
            *(_ahead_of(runs[0], other) for other in runs[2:4]),
            _below_mb(runs[0], MAX_MB_CSV),
        ],
    )


def straightforward(rows: int, _: int, say: Say) -> Section:
    """Generated rows to a lake the way one would write it first; once, since it takes long."""
    contestants = [
        _ours(rows),
        Contestant(
            STRAIGHTFORWARD,
            _child("pandas", rows),
            "pandas frames of 1,000,000 rows, `concat`, `to_csv`, then `read_csv` and "
            "`write_dataset` of pyarrow; no checks, sums, fsync or commit.",
        ),
    ]
    runs = measure(contestants, 1, say)
    times = runs[1].ratio_to(runs[0])
    goal = Goal(
        f"{MIN_TIMES_STRAIGHTFORWARD:.0f} times faster than {STRAIGHTFORWARD}",
        f"{times:.1f} times",
        times >= MIN_TIMES_STRAIGHTFORWARD,
    )
    return Section(f"{rows:,} generated rows, the straightforward way (one run)", runs, [goal])


def memory(rows: int, rounds: int, say: Say) -> Section:
    """Our own peak memory, with five times the rows."""
    runs = [
        measure([_ours(n, f"{OURS}, {n:,} rows")], rounds, say)[0] for n in (rows, MORE_ROWS * rows)
    ]
    growth = runs[1].peak_mb / runs[0].peak_mb - 1
    goal = Goal(
        f"peak memory with {MORE_ROWS * rows:,} rows within {MAX_GROWTH:.0%} of that with {rows:,}",
        f"{growth:+.1%}",
        growth <= MAX_GROWTH,
    )
    return Section("Memory as rows grow", runs, [goal])


def start(_: int, __: int, say: Say) -> Section:
    """How soon each command answers ``--help``."""
    script = str(Path(sys.executable).with_name("celes-beam"))
    commands = [
        Contestant("celes-beam --help", _help(script)),
        *(
            Contestant(f"python -m {module} --help", _help("-m", module))
            for module in ("pipelines.batch", "pipelines.generate", "pipelines.aggregate")
        ),
    ]
    runs = measure(commands, HELP_RUNS, say)
    slowest = max(r.median(lambda run: run.process_seconds) for r in runs)
    goal = Goal(
        f"each in less than {MAX_HELP_SECONDS} s", f"{slowest:.2f} s", slowest < MAX_HELP_SECONDS
    )
    return Section("Start-up", runs, [goal], whole=True)


SUBJECTS: dict[str, Callable[[int, int, Say], Section]] = {
    "generate": generate,
    "csv": csv,
    "straightforward": straightforward,
    "memory": memory,
    "help": start,
    "upload": upload,
    "cloud": cloud,
    "streaming": streaming,
    "ledger": ledger,
    "commit": commit,
}


def _help(*command: str) -> Callable[[Path], list[str]]:
    return lambda _: [*command, "--help"]


def _ours(rows: int, name: str = OURS) -> Contestant:
    return Contestant(
        name,
        _batch(["--rows", str(rows)]),
        "every row checked; exact sums, fsync, checksums, manifest and commit.",
    )


def _batch(flags: Sequence[str]) -> Callable[[Path], list[str]]:
    def command(folder: Path) -> list[str]:
        files = ["--output", str(folder / "lake"), "--summary_json", str(folder / "summary.json")]
        return ["-m", "pipelines.batch", *flags, *files]

    return command


def _child(name: str, what: int | Path) -> Callable[[Path], list[str]]:
    def command(folder: Path) -> list[str]:
        (folder / "lake").mkdir()
        return ["-m", "benchmarks.child", name, str(what), str(folder / "lake")]

    return command


def _no_more_than(ours: Runs, other: Runs, most: float) -> Goal:
    times = ours.ratio_to(other)
    text = f"within {most} times {other.contestant.name}"
    return Goal(text, f"{times:.2f} times", times <= most)


def _ahead_of(ours: Runs, other: Runs) -> Goal:
    times = other.ratio_to(ours)
    return Goal(f"ahead of {other.contestant.name}", f"{times:.2f} times as fast", times > 1)


def _below_mb(ours: Runs, most: float) -> Goal:
    return Goal(f"peak memory below {most:.0f} MB", f"{ours.peak_mb:.0f} MB", ours.peak_mb < most)

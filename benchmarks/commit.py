"""What a commit of many files costs: in a folder, and in a bucket by one process and by workers.

Files are made up, of a few bytes each, and staged before the clock starts. The bucket is that of
the local Cloud Storage, which shares the cores and takes longer for a file than its clients do.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.measure import Contestant, Runs, measure
from benchmarks.scale_flink import cluster
from benchmarks.section import Goal, Say, Section
from benchmarks.servers import local_servers

FOLDER, BUCKET, WORKERS = "folder", "bucket", "workers"
FILES = {FOLDER: 100_000, BUCKET: 20_000, WORKERS: 20_000}
"""The stand-in for Cloud Storage goes through all objects for each thousand that it lists."""
FEW = 256
PARALLELISM = 2
MOST_SECONDS = 60.0
_WHERE = {
    FOLDER: "a folder",
    BUCKET: "a bucket, by one process",
    WORKERS: f"a bucket, by {PARALLELISM} processes on Flink",
}


def commit(rows: int, rounds: int, say: Say) -> Section:
    """Commits of many files and of few; ``rows`` is not used."""
    del rows
    from celes_beam.local.servers import start_storage  # noqa: PLC0415

    with (
        tempfile.TemporaryDirectory(prefix="celes-bench-") as name,
        local_servers(Path(name), start_storage),
        cluster(Path(name)) as flags,
    ):
        few = [_way(way, FEW, flags) for way in FILES]
        many = [_way(way, files, flags) for way, files in FILES.items()]
        runs = measure([*few, *many], rounds, say)
    in_folder = runs[len(few)].median(lambda run: run.seconds)
    goal = Goal(
        f"{FILES[FOLDER]:,} files in a folder in less than {MOST_SECONDS:.0f} s",
        f"{in_folder:.1f} s",
        in_folder < MOST_SECONDS,
    )
    return Section("A commit of many files", runs, [goal], table=_table(runs))


def _way(way: str, files: int, flags: list[str]) -> Contestant:
    def command(folder: Path) -> list[str]:
        return ["-m", "benchmarks.commit_child", way, str(files), str(folder), *flags]

    return Contestant(f"{files:,} files, {_WHERE[way]}", command)


def _table(runs: list[Runs]) -> list[list[str]]:
    rows = [["Commit", "seconds", "peak MB"]]
    for of in runs:
        seconds = of.median(lambda run: run.seconds)
        rows.append([of.contestant.name, f"{seconds:.1f}", f"{of.peak_mb:,.0f}"])
    return rows

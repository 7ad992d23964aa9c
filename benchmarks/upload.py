"""Bytes a second of ``celes-beam upload``, against a server of Cloud Storage on this machine."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.latency import delayed
from benchmarks.measure import Contestant, Runs, measure, run_process
from benchmarks.section import Goal, Say, Section

BUCKET = "celes-bench"
ONE_BY_ONE = "one file at a time"
GCLOUD = "gcloud storage cp"
_FILE_MB = 4
_ROUND_TRIP_SECONDS = 0.03


def upload(rows: int, rounds: int, say: Say) -> Section:
    """The files of a lake to a new folder of a bucket: us, the library, and gcloud."""
    with tempfile.TemporaryDirectory(prefix="celes-bench-") as name, _server(Path(name)):
        lake = Path(name) / "lake"
        run_process([sys.executable, *_making(rows, lake)])
        contestants = [
            Contestant(
                "celes-beam upload",
                lambda folder: _ours(lake, folder.name),
                "looks at the bucket's privacy and at what is there; preconditions, and every "
                "object compared with its file.",
            ),
            Contestant(
                ONE_BY_ONE,
                _other("one-by-one", lake),
                "`upload_from_filename` of the same library, one after the other.",
            ),
            Contestant(
                "transfer manager, threads",
                _other("thread", lake),
                "`upload_many` of the same library alone, 8 threads; no preconditions.",
            ),
            Contestant(
                "transfer manager, processes",
                _other("process", lake),
                "the same with 8 processes.",
            ),
        ]
        if shutil.which("gcloud"):
            contestants.append(
                Contestant(GCLOUD, _other("gcloud", lake), "its own defaults; checksums compared.")
            )
        size = sum(file.stat().st_size for file in lake.glob("[!_]*/*.parquet"))
        files = len(list(lake.glob("[!_]*/*.parquet")))
        runs = measure(contestants, rounds, say)
    return Section(
        f"{files} files of a lake ({size / 1e6:,.0f} MB) to a local Cloud Storage that answers "
        f"after {_ROUND_TRIP_SECONDS * 1000:.0f} ms, whole commands",
        runs,
        [_speed(runs[0], other, size) for other in runs[1:] if other.contestant.name in _BEATEN],
        whole=True,
    )


_BEATEN = (ONE_BY_ONE, GCLOUD)


def _speed(ours: Runs, other: Runs, size: int) -> Goal:
    times = other.ratio_to(ours)
    speed = size / 1e6 / ours.median(lambda run: run.process_seconds)
    return Goal(
        f"ahead of {other.contestant.name}",
        f"{times:.2f} times as fast ({speed:,.0f} MB/s)",
        times > 1,
    )


def _making(rows: int, lake: Path) -> list[str]:
    size = ["--target_file_mb", str(_FILE_MB)]
    return ["-m", "pipelines.batch", "--rows", str(rows), "--output", str(lake), *size]


def _ours(lake: Path, prefix: str) -> list[str]:
    flags = ["-n", BUCKET, "--prefix", prefix, "--progress", "off"]
    return ["-m", "celes_beam.cli", "upload", str(lake), *flags]


def _other(way: str, lake: Path) -> Callable[[Path], list[str]]:
    return lambda folder: ["-m", "benchmarks.upload_child", way, str(lake), BUCKET, folder.name]


@contextmanager
def _server(folder: Path) -> Iterator[None]:
    from celes_beam.local.servers import start_storage  # noqa: PLC0415 - needed for this alone
    from celes_beam.stores.cloud.clients import STORAGE_EMULATOR, storage_client  # noqa: PLC0415

    server = start_storage(folder / "server")
    before = os.environ.get(STORAGE_EMULATOR)
    try:
        with delayed(server.address, _ROUND_TRIP_SECONDS) as address:
            os.environ[STORAGE_EMULATOR] = f"http://{address}"
            storage_client().create_bucket(BUCKET)
            yield
    finally:
        server.stop()
        os.environ.pop(STORAGE_EMULATOR)
        if before is not None:
            os.environ[STORAGE_EMULATOR] = before

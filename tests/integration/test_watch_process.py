"""A watch as a process of its own: files that arrive while it runs, signals, and sudden death."""

from __future__ import annotations

import functools
import gzip
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import pytest

from celes_beam.contract import COLUMN_NAMES
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify

HEADER = ",".join(COLUMN_NAMES).encode() + b"\n"
PATIENCE = 90.0
AMOUNT = Decimal("1.25")


def rows(first: int, count: int) -> bytes:
    return b"".join(
        b"%d,2024-05-03,1.25,Hogar,Norte\n" % number for number in range(first, first + count)
    )


class Place(Protocol):
    """Where files arrive."""

    url: str

    def put(self, name: str, data: bytes) -> None: ...


class Folder:
    """A folder of this machine; a file gets its name when it is whole."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path = path
        self.url = str(path)

    def put(self, name: str, data: bytes) -> None:
        partial = self.path / f".{name}"
        partial.write_bytes(data)
        partial.rename(self.path / name)


class Bucket:
    """A folder of a bucket."""

    def __init__(self, bucket: Any) -> None:
        self._bucket = bucket
        self.url = f"gs://{bucket.name}/landing/"

    def put(self, name: str, data: bytes) -> None:
        self._bucket.blob(f"landing/{name}").upload_from_string(data)


class Watching:
    """A process that watches."""

    def __init__(self, landing: str, lake: str, logs: Path, *flags: str) -> None:
        line = [sys.executable, "-m", "pipelines.batch", "-i", landing, "-o", lake]
        self._logs = logs
        self.lake = lake
        with (logs / "out").open("ab") as out, (logs / "err").open("ab") as err:
            self.process = subprocess.Popen(
                [*line, "--progress", "off", *flags], stdout=out, stderr=err
            )

    @property
    def said(self) -> str:
        return (self._logs / "out").read_text() + (self._logs / "err").read_text()

    def until(self, what: Callable[[], bool]) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < deadline, self.said
            assert self.process.poll() is None, self.said
            time.sleep(0.01)

    def end(self, *signals: int) -> int:
        for number in signals:
            self.process.send_signal(number)
            if len(signals) > 1:
                self.until_noted()
        return self.process.wait(PATIENCE)

    def until_noted(self) -> None:
        """The second of two signals is one only when the first has been noted."""
        deadline = time.monotonic() + PATIENCE
        while "once more stops at once" not in self.said and self.process.poll() is None:
            assert time.monotonic() < deadline, self.said
            time.sleep(0.01)


@contextmanager
def watching(landing: str, lake: str, logs: Path, *flags: str) -> Iterator[Watching]:
    watch = Watching(landing, lake, logs, *flags)
    try:
        yield watch
    finally:
        if watch.process.poll() is None:
            watch.process.kill()
        watch.process.wait(PATIENCE)


def rows_in(lake: str) -> int:
    return Lake.open(lake).snapshot().rows


def has_rows(lake: str, least: int) -> bool:
    return rows_in(lake) >= least


def check(lake: str, count: int) -> None:
    """Every row exactly once, and all files as their commits say."""
    snapshot = Lake.open(lake).snapshot()
    assert (snapshot.rows, snapshot.total) == (count, AMOUNT * count)
    paths = [i.path for m in snapshot.runs for i in m.inputs]
    assert len(paths) == len(set(paths))
    assert sum(m.rows_read for m in snapshot.runs) == sum(
        m.rows_accepted + m.rows_rejected for m in snapshot.runs
    )
    assert verify(Lake.open(lake)).problems == ()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "landing")


def write_slowly(path: Path, data: bytes, pieces: int, pause: threading.Event) -> None:
    """Append a file in pieces that end within rows."""
    size = len(data) // pieces + 1
    with path.open("wb") as file:
        for start in range(0, len(data), size):
            file.write(data[start : start + size])
            file.flush()
            pause.wait(0.25)


def test_files_arrive_while_it_runs(folder: Folder, tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")
    folder.put("a.csv", HEADER + rows(1, 10))
    with watching(folder.url, lake, tmp_path, "--watch", "1") as watch:
        watch.until(lambda: rows_in(lake) == 10)
        slow = threading.Thread(
            target=write_slowly,
            args=(folder.path / "slow.csv", HEADER + rows(100, 1000), 10, threading.Event()),
        )
        slow.start()
        folder.put("b.csv", HEADER + rows(11, 5))
        folder.put("bad.csv", b"no,sales\n1,2\n")
        folder.put("c.csv", HEADER + rows(16, 5) + b"broken row\n")
        watch.until(lambda: rows_in(lake) >= 20)
        slow.join()
        watch.until(lambda: rows_in(lake) == 1020)
        assert watch.end(signal.SIGTERM) == 0

    assert "set aside: " in watch.said
    assert "changed since" not in watch.said
    check(lake, 1020)
    rejected = [m.rows_rejected for m in Lake.open(lake).runs()]
    assert sum(rejected) == 2


def test_a_signal_ends_an_idle_watch_at_once(folder: Folder, tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")
    folder.put("a.csv", HEADER + rows(1, 10))
    with watching(folder.url, lake, tmp_path, "--watch", "604800") as watch:
        # The second look comes by itself; all others a week later. The file has to be quiet first.
        os.utime(folder.path / "a.csv", (1_700_000_000, 1_700_000_000))
        watch.until(lambda: rows_in(lake) == 10)
        watch.until(lambda: "(run " in watch.said)
        assert watch.end(signal.SIGINT) == 0
    assert "commits      " in watch.said


def test_a_round_under_way_is_finished_first(folder: Folder, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    folder.put("a.csv", HEADER + rows(1, 400_000))
    with watching(folder.url, str(lake), tmp_path, "--watch", "0.5") as watch:
        watch.until((lake / "_staging").exists)
        assert watch.end(signal.SIGTERM) == 0
    assert "1 file, 400,000 rows accepted" in watch.said
    check(str(lake), 400_000)


def test_a_second_signal_interrupts_it(folder: Folder, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    folder.put("a.csv", HEADER + rows(1, 2_000_000))
    with watching(folder.url, str(lake), tmp_path, "--watch", "0.5") as watch:
        watch.until(lambda: bool(list(lake.glob("_staging/*/*/*/*"))))
        assert watch.end(signal.SIGTERM, signal.SIGTERM) == 128 + signal.SIGTERM
    assert "terminated; it is safe to run it again" in watch.said
    assert not list(lake.glob("_commits/*.json"))
    assert not list(lake.glob("_staging/*"))


@dataclass(frozen=True)
class Places:
    """Where files arrive, the lake they go to, and the folder in which that rests in truth."""

    landing: Place
    lake: str
    path: Path


@pytest.fixture(params=["folder", "bucket"])
def places(request: pytest.FixtureRequest, tmp_path: Path, buckets: Path) -> Places:
    if request.param == "folder":
        return Places(Folder(tmp_path / "landing"), str(tmp_path / "lake"), tmp_path / "lake")
    bucket = request.getfixturevalue("bucket")
    lake = f"gs://{bucket.name}/lake"
    return Places(Bucket(bucket), lake, buckets / bucket.name / "lake")


def test_killed_at_many_points_every_row_is_there_once(places: Places, tmp_path: Path) -> None:
    landing, lake, path = places.landing, places.lake, places.path
    numbers = itertools.count()

    def arrive(files: int) -> None:
        for _ in range(files):
            number = next(numbers)
            landing.put(f"{number}.csv", HEADER + rows(1 + 2000 * number, 2000))

    def appears(pattern: str) -> Callable[[], bool]:
        """Whether something new is there; what is there for a moment may take several rounds."""
        before = set(path.glob(pattern))
        arrived = time.monotonic()

        def look() -> bool:
            nonlocal arrived
            if time.monotonic() - arrived > 2:
                arrive(1)
                arrived = time.monotonic()
            return bool(set(path.glob(pattern)) - before)

        return look

    points = [
        "_staging/*/*/.started",
        "_staging/*/*/region*/*.staged",
        "_commits/*.claim",
        "_commits/*.json",
        "region*/*.parquet",
        "_commits/*.done",
    ]
    for point in points:
        arrive(3)
        with watching(landing.url, lake, tmp_path, "--watch", "0.3") as watch:
            watch.until(appears(point))
            watch.end(signal.SIGKILL)
    arrive(1)
    with watching(landing.url, lake, tmp_path, "--watch", "0.3", "--idle_rounds", "2") as last:
        assert last.process.wait(PATIENCE) == 0, last.said

    check(lake, 2000 * next(numbers))


def test_objects_arrive_in_a_bucket(bucket: Any, tmp_path: Path) -> None:
    """An object is whole once it is there, so the very look that finds it takes it in."""
    landing, lake = Bucket(bucket), str(tmp_path / "lake")
    with watching(landing.url, lake, tmp_path, "--watch", "0.3") as watch:
        landing.put("a.csv", HEADER + rows(1, 10))
        watch.until(lambda: rows_in(lake) == 10)
        landing.put("bad.csv", b"no,sales\n1,2\n")
        landing.put("b.csv.gz", gzip.compress(HEADER + rows(11, 5)))
        watch.until(lambda: rows_in(lake) == 15)
        landing.put("a.csv", HEADER + rows(1, 11))
        watch.until(lambda: "has changed since" in watch.said)
        landing.put("c.csv", HEADER + rows(16, 5))
        watch.until(lambda: rows_in(lake) == 20)
        assert watch.end(signal.SIGTERM) == 0
    assert watch.said.count("set aside: ") == 1
    assert watch.said.count("has changed since") == 1
    check(lake, 20)


def test_a_bucket_that_is_not_there_ends_it_and_an_empty_one_does_not(
    bucket: Any, tmp_path: Path
) -> None:
    lake = str(tmp_path / "lake")
    with watching("gs://no-such-bucket-here/in", lake, tmp_path, "--watch", "1") as watch:
        assert watch.process.wait(PATIENCE) == 2
    assert "no bucket no-such-bucket-here; check the name" in watch.said
    quick = ["--watch", "0.1", "--idle_rounds", "2"]
    with watching(Bucket(bucket).url, lake, tmp_path, *quick) as watch:
        assert watch.process.wait(PATIENCE) == 0, watch.said


def test_two_watches_of_one_folder_take_each_file_in_once(folder: Folder, tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")
    logs = [tmp_path / name for name in ("one", "two")]
    for log in logs:
        log.mkdir()
    flags = ["--watch", "0.1"]
    with watching(folder.url, lake, logs[0], *flags) as one:
        with watching(folder.url, lake, logs[1], *flags) as two:
            for number in range(10):
                folder.put(f"{number}.csv", HEADER + rows(1 + 500 * number, 500))
                one.until(functools.partial(has_rows, lake, 500 * number))
            one.until(functools.partial(has_rows, lake, 5000))
            assert two.end(signal.SIGTERM) in {0, 1}
        assert one.end(signal.SIGTERM) in {0, 1}
    check(lake, 5000)
    assert "Traceback" not in one.said + two.said

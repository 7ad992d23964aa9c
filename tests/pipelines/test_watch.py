"""A watch in this process: what it takes in, what it reports, what it outlasts, and what it costs.

Times of change lie an hour back, so that two looks suffice.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from celes_beam.commands.watch_summary import WatchSummary
from celes_beam.errors import (
    ColumnError,
    ConfigError,
    InputError,
    LakeConflictError,
    LakeExistsError,
    StorageError,
    TooManyRejectedError,
    UsageError,
)
from celes_beam.stores.inputs.landing import Landing
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from pipelines import batch
from tests.pipelines.test_bad_files import HEADER, QUIET, customers_of
from tests.tools import ROOT

FAST = [*QUIET, "--watch", "0.01"]


def put(folder: Path, name: str, *customers: int, text: str | None = None) -> Path:
    rows = "".join(f"{customer},2024-05-03,1.25,Hogar,Norte\n" for customer in customers)
    path = folder / name
    path.write_text(f"{HEADER}\n{rows}" if text is None else text)
    when = path.stat().st_mtime - 3600
    os.utime(path, (when, when))
    return path


@dataclass
class Place:
    """A landing folder, a lake beside it, and things that happen before a given look."""

    landing: Path
    lake: Path
    before_look: dict[int, Callable[[], object]] = field(default_factory=dict)
    looks: int = 0

    def watch(self, *flags: str, seconds: str = "0.01") -> WatchSummary:
        return batch.watch(
            ["-i", str(self.landing), "-o", str(self.lake), *QUIET, "--watch", seconds, *flags]
        )

    def inputs_of_commits(self) -> list[list[str]]:
        runs = Lake.open(str(self.lake)).runs()
        return [[Path(i.path).name for i in m.inputs] for m in runs]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path / "landing", tmp_path / "lake")
    made.landing.mkdir()
    look = Landing.look

    def counted(landing: Landing, leave_out: Any) -> Any:
        made.looks += 1
        made.before_look.get(made.looks, lambda: None)()
        return look(landing, leave_out)

    monkeypatch.setattr(Landing, "look", counted)
    return made


def test_files_are_taken_in_as_they_arrive_one_commit_a_round(
    place: Place, runner: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    put(place.landing, "a.csv", 1, 2)
    put(place.landing, "b.csv", 3)
    place.before_look[4] = lambda: put(place.landing, "c.csv", 4)

    summary = place.watch("--idle_rounds", "3", *runner)

    assert place.inputs_of_commits() == [["a.csv", "b.csv"], ["c.csv"]]
    assert customers_of(place.lake) == [1, 2, 3, 4]
    assert (summary.commits, summary.rows_accepted, summary.total) == (2, 4, Decimal("5.00"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[2].partition(",")[0] for line in lines] == ["2 files", "1 file"]
    assert verify(Lake.open(str(place.lake))).problems == ()


def test_a_watch_goes_on_where_another_one_stopped(place: Place) -> None:
    put(place.landing, "a.csv", 1)
    place.watch("--idle_rounds", "1")
    put(place.landing, "b.csv", 2)

    summary = place.watch("--idle_rounds", "1")

    assert (summary.commits, summary.inputs) == (1, 1)
    assert customers_of(place.lake) == [1, 2]


def test_bad_files_are_set_aside_once(
    place: Place, runner: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    put(place.landing, "a.csv", 1)
    put(place.landing, "b.csv", text="no,sales\n")

    summary = place.watch("--idle_rounds", "3", *runner)

    assert (summary.commits, summary.set_aside, summary.rows_rejected) == (1, 1, 1)
    assert [r.getMessage().partition(":")[0] for r in caplog.records] == ["set aside"]
    assert customers_of(place.lake) == [1]


def test_where_bad_files_are_to_fail_one_ends_the_watch(place: Place) -> None:
    put(place.landing, "b.csv", text="no,sales\n")

    with pytest.raises(ColumnError, match=r"b\.csv"):
        place.watch("--bad_files", "fail")


def test_a_known_file_that_changed_is_reported_once_and_never_read_again(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    put(place.landing, "a.csv", 1)
    place.before_look[4] = lambda: put(place.landing, "a.csv", 1, 2)
    place.before_look[8] = lambda: put(place.landing, "b.csv", 3)

    place.watch("--watch_rounds", "14")

    assert customers_of(place.lake) == [1, 3]
    (said,) = [r.getMessage() for r in caplog.records]
    assert "a.csv was taken into the lake by run" in said


def test_a_file_without_permission_is_reported_once_and_read_when_it_has_it(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = put(place.landing, "a.csv", 1)
    put(place.landing, "b.csv", 2)
    may = os.access
    # Root may read everything.
    monkeypatch.setattr(os, "access", lambda p, mode: p != closed and may(p, mode))
    place.before_look[5] = lambda: monkeypatch.setattr(os, "access", may)

    place.watch("--watch_rounds", "8")

    assert place.inputs_of_commits() == [["b.csv"], ["a.csv"]]
    (said,) = [r.getMessage() for r in caplog.records]
    assert "no permission to read it" in said


def failing(times: int, error: Exception, monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Any]]:
    """Let the first rounds fail; returns what the rounds were given."""
    run_round = batch.run_round
    given: list[Sequence[Any]] = []

    def run(options: Any, lake: Lake, files: Sequence[Any], *rest: Any, **named: Any) -> Any:
        given.append(files)
        if files and sum(map(bool, given)) <= times:
            raise error
        return run_round(options, lake, files, *rest, **named)

    monkeypatch.setattr(batch, "run_round", run)
    return given


@pytest.mark.parametrize("error", [StorageError("the disk is away"), LakeConflictError("lost")])
def test_a_fault_is_reported_and_the_round_tried_again(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    put(place.landing, "a.csv", 1)
    failing(2, error, monkeypatch)

    summary = place.watch("--idle_rounds", "1")

    assert (summary.failed_rounds, summary.commits) == (2, 1)
    assert customers_of(place.lake) == [1]
    assert [r.getMessage() for r in caplog.records] == [f"{error}; tried again later"] * 2


def test_a_watch_that_ends_in_a_fault_says_so(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(place.landing, "a.csv", 1)
    failing(9, StorageError("the disk is away"), monkeypatch)

    with pytest.raises(StorageError, match="the disk is away"):
        place.watch("--watch_rounds", "3")


def test_faults_make_pauses_longer_up_to_ten_minutes(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(place.landing, "a.csv", 1)
    failing(9, StorageError("the disk is away"), monkeypatch)
    pauses: list[float] = []
    monkeypatch.setattr(
        "celes_beam.commands.stop_request.StopRequest.wait", lambda _, s: pauses.append(s)
    )

    place.watch("--watch_rounds", "13", seconds="60")

    assert pauses == [2, 120, 240, 480, *[600] * 6, 60, 60]


def test_a_fault_of_many_days_is_outlasted(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(
        "celes_beam.commands.stop_request.StopRequest.wait", lambda _, s: pauses.append(s)
    )
    place.before_look[2] = lambda: place.landing.rename(place.landing.with_name("aside"))

    with pytest.raises(InputError, match="no such file or folder"):
        place.watch("--watch_rounds", "1100")

    assert pauses[-1] == 600
    caplog.clear()


def test_a_folder_that_goes_for_a_while_is_waited_for(place: Place) -> None:
    aside = place.landing.with_name("aside")
    place.before_look[2] = lambda: place.landing.rename(aside)
    place.before_look[4] = lambda: aside.rename(place.landing)
    put(place.landing, "a.csv", 1)

    summary = place.watch("--idle_rounds", "2")

    assert summary.failed_rounds == 2
    assert customers_of(place.lake) == [1]


def test_what_is_wrong_from_the_start_ends_it_at_once(place: Place) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        batch.watch(["-i", str(place.landing / "gone"), "-o", str(place.lake), *FAST])
    place.lake.mkdir()
    (place.lake / "other.parquet").write_bytes(b"")
    with pytest.raises(LakeExistsError, match="holds files that no commit"):
        place.watch()
    (place.lake / "other.parquet").unlink()
    put(place.landing, "a.csv", 1)
    place.watch("--idle_rounds", "1")
    with pytest.raises(UsageError, match="partitioned by region_de_venta"):
        place.watch("--partition_by", "none")
    with pytest.raises(InputError, match="is a lake"):
        batch.watch(["-i", str(place.lake), "-o", str(place.landing / "lake"), *FAST])


def test_the_limit_of_rejected_rows_ends_it(place: Place) -> None:
    put(place.landing, "a.csv", text=f"{HEADER}\nx\n")

    with pytest.raises(TooManyRejectedError):
        place.watch("--max_rejected", "0")


def test_an_empty_folder_is_watched(place: Place) -> None:
    summary = place.watch("--watch_rounds", "2")

    assert (summary.rounds, summary.commits) == (2, 0)
    assert not place.lake.exists()


def test_the_summary_is_written_after_each_commit(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "summary.json"
    put(place.landing, "a.csv", 1)
    seen: list[Any] = []
    place.before_look[4] = lambda: seen.append(json.loads(target.read_text()))

    place.watch("--run_id", "night", "--watch_rounds", "5", "--summary_json", str(target))

    (then,) = seen
    assert (then["commits"], then["rows_accepted"], then["total"]) == (1, 1, "1.25")
    assert then["last_run"]["run_id"].startswith("night-")
    assert json.loads(target.read_text())["rounds"] == 5


def test_a_single_run_is_not_a_watch(place: Place) -> None:
    with pytest.raises(ConfigError, match="--watch"):
        batch.run(["-i", str(place.landing), "-o", str(place.lake), *FAST])
    with pytest.raises(ConfigError, match="--watch is missing"):
        batch.watch(["-i", str(place.landing), "-o", str(place.lake), *QUIET])


def test_memory_and_threads_stay_the_same_over_many_rounds(
    place: Place, request: pytest.FixtureRequest
) -> None:
    """After warming up, 80 more rounds, each with a file and a commit."""
    if _IN_ITS_OWN not in os.environ:
        # A process of thousands of tests takes and lets go of memory for reasons of its own.
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", f"{__file__}::{request.node.name}"],
            env=os.environ | {_IN_ITS_OWN: "1"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert "1 passed" in done.stdout
        return
    warm, last = 40, 120
    marks: list[tuple[int, int]] = []

    def arrive(number: int) -> None:
        if number in (warm, last):
            gc.collect()
            marks.append((memory(), threading.active_count()))
        put(place.landing, f"{number:04d}.csv", number)

    for look in range(1, last + 1):
        place.before_look[look] = functools.partial(arrive, look)

    summary = place.watch("--idle_rounds", "2")

    assert summary.commits == last
    assert customers_of(place.lake) == list(range(1, last + 1))
    (before, threads), (after, threads_after) = marks
    assert threads_after == threads
    assert after - before < 10_000_000


_IN_ITS_OWN = "CELES_TEST_IN_ITS_OWN_PROCESS"


def memory() -> int:
    """Bytes of this process in memory: now, or at its highest where only that is told."""
    told = Path("/proc/self/statm")
    if told.exists():
        return int(told.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster

from celes_beam.contract import ID
from celes_beam.errors import ConfigError, InputError, IntegrityError, StorageError, UsageError
from dask_jobs import answer, pieces, workers
from dask_jobs.aggregate import run
from dask_jobs.workers import SILENT
from tests.answers import commit_rows
from tests.jobs.buckets import case_named, check_in_bucket
from tests.jobs.cases import (
    CASES,
    Case,
    ask_all,
    check_answer,
    sales,
    sorted_table,
    without_engine,
)
from tests.jobs.conftest import Million
from tests.tools import ROOT

PATIENCE = 60
QUIET = ["--progress", "off"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Two worker processes, as somebody else would run them."""
    with (
        dask.config.set({"distributed.admin.tick.limit": "1h"}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            local_directory=str(tmp_path_factory.mktemp("dask")),
            silence_logs=SILENT,
        ) as cluster,
    ):
        yield cluster


@pytest.fixture
def there(cluster: LocalCluster) -> list[str]:
    """The flags that send a job to that cluster."""
    return ["--scheduler", cluster.scheduler_address]


@pytest.fixture
def many_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions and parts of a few rows."""
    monkeypatch.setattr("celes_beam.stores.lake.lake_reader.PIECE_ROWS", 30)
    monkeypatch.setattr(pieces, "PARTITION_ROWS", 30)
    monkeypatch.setattr(answer, "PART_ROWS", 40)


@pytest.mark.usefixtures("many_partitions")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_answer_is_that_of_every_engine(tmp_path: Path, there: list[str], case: Case) -> None:
    check_answer(run, case, tmp_path, there)


def test_a_million_rows_as_beam_has_them(
    tmp_path: Path, there: list[str], million: Million
) -> None:
    summary = run([*million.questions, "-o", str(tmp_path / "result"), *there])

    assert without_engine(summary.result) == million.result
    assert sorted_table(tmp_path / "result").equals(million.ordered)


def test_lakes_and_folders_in_a_bucket(tmp_path: Path, there: list[str], bucket: Any) -> None:
    check_in_bucket(run, tmp_path, bucket, *there)


def test_what_a_worker_raises_is_raised_here(tmp_path: Path, there: list[str]) -> None:
    case = case_named("hive-of-others")
    folder, lake = tmp_path / "folder", tmp_path / "lake"
    case.make(folder, [*case.rows, (0, *case.rows[0][1:])])
    with pytest.raises(InputError, match=f"{ID} is out_of_range: '0'"):
        run(["-i", str(folder), *case.flags, "--top", "1", *QUIET, *there])

    first = commit_rows(lake, sales(90)).snapshot().files[-1].path
    (lake / first).write_bytes((lake / first).read_bytes()[:-9])
    with pytest.raises(IntegrityError, match="cannot be read as Parquet"):
        run(["-i", str(lake), *QUIET, *there])
    (lake / first).unlink()
    with pytest.raises(StorageError, match="is gone"):
        run(["-i", str(lake), *QUIET, *there])


def test_schedulers_that_cannot_do_it(
    tmp_path: Path, there: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_CONNECT_SECONDS", 1)
    commit_rows(tmp_path, sales(9))
    ask = ["-i", str(tmp_path), *QUIET]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with pytest.raises(UsageError, match=rf"127\.0\.0\.1:{port}: no scheduler of Dask answers"):
            run([*ask, "--scheduler", f"tcp://127.0.0.1:{port}"])
    with pytest.raises(UsageError, match="no scheduler of Dask answers there"):
        run([*ask, "--scheduler", "nonsense://x"])
    with (
        LocalCluster(
            n_workers=0,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=SILENT,
        ) as idle,
        pytest.raises(UsageError, match="has no workers: start some, with dask worker"),
    ):
        run([*ask, "--scheduler", idle.scheduler_address])
    with pytest.raises(ConfigError, match="--workers is about workers started here"):
        run([*ask, *there, "--workers", "2"])
    with pytest.raises(ConfigError, match="--memory_limit much: expected a size"):
        run([*ask, "--memory_limit", "much"])


def test_workers_started_here_are_gone_afterwards(tmp_path: Path) -> None:
    case = case_named("odd-names")
    case.make(tmp_path / "input", case.rows)
    flags = ask_all(case, str(tmp_path / "input"), str(tmp_path / "result"))

    done = ask_process(*flags, "--workers", "2", "--summary_json", str(tmp_path / "summary"))

    assert (done.returncode, done.stderr) == (0, "")
    written = json.loads((tmp_path / "summary").read_text())
    assert case.expected().items() <= written.items()
    assert written["engine"] == "dask"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["input", "result", "summary"]
    assert_no_process_in(tmp_path)


def test_workers_without_enough_memory_are_one_line(million: Million) -> None:
    done = ask_process("-i", str(million.lake), *QUIET, "--workers", "1", "--memory_limit", "120MB")

    assert done.returncode == 1
    assert "one worker after another died at the same piece of the input; give more" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_interrupt_ends_all_of_it(tmp_path: Path, million: Million) -> None:
    command = [sys.executable, "-m", "dask_jobs.aggregate", "-i", str(million.lake), *QUIET]
    command += ["--output", str(tmp_path / "result"), "--write_sorted", "--workers", "2"]
    job = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + PATIENCE
    while not list(tmp_path.glob(".result.celes-*/workers/*/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    # As a terminal does, to all processes of the job.
    os.killpg(job.pid, signal.SIGINT)
    _, stderr = job.communicate(timeout=PATIENCE)

    assert job.returncode == 130
    assert stderr == "dask_jobs.aggregate: interrupted; it is safe to run it again\n"
    assert list(tmp_path.iterdir()) == []
    assert_no_process_in(tmp_path)


def ask_process(*flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dask_jobs.aggregate", *flags],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def assert_no_process_in(folder: Path) -> None:
    """No process works in a folder, or names it, any more."""
    deadline = time.monotonic() + PATIENCE
    while found := [line for line in processes() if str(folder) in line]:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def processes() -> list[str]:
    """The command lines of all processes, each with its folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found.append(f"{(path / 'cmdline').read_text()} {(path / 'cwd').readlink()}")
    return found


def test_a_worker_that_is_killed_while_it_reads_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, cluster: LocalCluster, there: list[str], million: Million
) -> None:
    monkeypatch.setattr(pieces, "PARTITION_ROWS", 30_000)
    monkeypatch.setattr("celes_beam.stores.lake.lake_reader.PIECE_ROWS", 30_000)
    asked = [flag for flag in million.questions if flag != "--write_sorted"]

    with worker_killed_at(cluster, "read-sales"):
        summary = run([*asked, *there])

    assert without_engine(summary.result) == million.result


@pytest.mark.slow
def test_a_worker_that_is_killed_while_rows_are_sent_changes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cluster: LocalCluster,
    there: list[str],
    million: Million,
) -> None:
    monkeypatch.setattr(pieces, "PARTITION_ROWS", 30_000)
    monkeypatch.setattr("celes_beam.stores.lake.lake_reader.PIECE_ROWS", 30_000)

    with worker_killed_at(cluster, "shuffle-transfer"):
        summary = run([*million.questions, "-o", str(tmp_path / "result"), *there])

    assert without_engine(summary.result) == million.result
    assert sorted_table(tmp_path / "result").equals(million.ordered)


@contextmanager
def worker_killed_at(cluster: LocalCluster, doing: str) -> Iterator[None]:
    """Kill, while the body runs, the first worker that is seen at a task of this kind."""
    killed: list[int] = []
    with Client(cluster, set_as_default=False) as client:
        pids = client.run(os.getpid)
        killer = threading.Thread(target=kill_one, args=(client, pids, doing, killed))
        killer.start()
        yield
        killer.join()
        assert len(killed) == 1
        assert killed[0] not in client.run(os.getpid).values()


def kill_one(client: Client, pids: dict[str, int], doing: str, killed: list[int]) -> None:
    """Kill the first worker that is seen at a task of this kind."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for worker, tasks in client.processing().items():
            if any(doing in str(key) for key in tasks):
                os.kill(pids[worker], signal.SIGKILL)
                killed.append(pids[worker])
                return
        time.sleep(0.005)

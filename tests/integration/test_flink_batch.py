"""Pipelines on a Flink cluster: in processes, in spite of a killed worker, and ended with us."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from celes_beam import cli
from celes_beam.contract import COLUMN_NAMES
from celes_beam.errors import InputError
from celes_beam.local.flink import JOBS, MANAGER, WORKERS
from celes_beam.local.processes import Server
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from celes_beam.transforms.portable import worker_command
from pipelines import aggregate, batch, generate, replay
from tests.faults import FaultProxy
from tests.flink_cluster import ON_FLINK, FlinkCluster, wait_for_workers
from tests.numbered import until
from tests.tools import ROOT, need_tool

pytestmark = ON_FLINK

QUIET = ["--progress", "off"]
ROWS = 40_000
SECONDS = 90
MOVE = {"method": "POST", "path": "/(rewriteTo|copyTo)/"}
MOVED = 20


@pytest.fixture
def processes() -> list[str]:
    """Flags that put workers in processes of their own."""
    need_tool(str(Path(sys.executable).parent / "celes-beam-worker"), "install this package again")
    return ["--environment_type", "PROCESS"]


def sales_files(folder: Path) -> str:
    """Four files of generated sales, one of which has rows that are broken."""
    flags = ["--rows", str(ROWS), "--shards", "4", "--error_rate", "0.01", *QUIET]
    generate.run(["-o", str(folder), *flags])
    return str(folder)


@contextmanager
def paused_batch(
    cluster: FlinkCluster, folder: Path, *flags: str
) -> Iterator[subprocess.Popen[str]]:
    """Run ``pipelines.batch`` into ``folder/lake``, and give it while a worker waits for ``go``."""
    variables = {"CELES_TEST_PAUSE": str(folder), "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "pipelines.batch", "-i", sales_files(folder / "in")]
    line += [
        "-o",
        str(folder / "lake"),
        "--transform",
        "tests.hooks:pause",
        "--run_id",
        folder.name,
    ]
    line += ["--summary_json", str(folder / "told.json"), *QUIET, *cluster.flags, *flags]
    if "PROCESS" in flags:
        how = {"command": worker_command(), "env": variables}
        line += ["--environment_config", json.dumps(how)]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | variables
    ) as process:
        until(lambda: (folder / "paused").exists() or process.poll() is not None)
        try:
            yield process
        finally:
            # One that is waited for in vain is not to outlive the test.
            process.kill()


@pytest.mark.parametrize("environment", ["LOOPBACK", "PROCESS"])
def test_a_batch_outlives_a_worker_that_is_killed(
    environment: str, processes: list[str], flink: FlinkCluster, tmp_path: Path
) -> None:
    try:
        with paused_batch(flink, tmp_path, "--environment_type", environment) as process:
            flink.kill(WORKERS[0])
            (tmp_path / "go").touch()
            _, err = process.communicate(timeout=SECONDS)
    finally:
        flink.mend()

    assert (process.returncode, err) == (0, "")
    job = flink.job(tmp_path.name)
    assert job["state"] == "FINISHED"
    assert flink.ask(f"jobs/{job['jid']}/exceptions")["exceptionHistory"]["entries"]
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["rows_read"] == told["rows_accepted"] + told["rows_rejected"] == ROWS
    lake = Lake.open(str(tmp_path / "lake"))
    found = verify(lake)
    assert (found.problems, found.rows) == ((), told["rows_accepted"])
    assert not list(lake.storage.list("_staging"))
    # The same as without Flink, and without a loss.
    here = batch.run(["-i", str(tmp_path / "in"), "-o", str(tmp_path / "here"), *QUIET]).to_dict()
    same = ("rows_accepted", "rejected_by_reason", "total", "by_category", "by_region")
    assert {name: told[name] for name in same} == {name: here[name] for name in same}


def test_an_interrupted_launcher_takes_its_job_along(
    processes: list[str], flink: FlinkCluster, tmp_path: Path
) -> None:
    with paused_batch(flink, tmp_path, *processes) as process:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=SECONDS)

    assert process.returncode == 143
    assert err == "pipelines.batch: terminated; it is safe to run it again\n"
    assert flink.job(tmp_path.name)["state"] == "CANCELED"
    lake = Lake.open(str(tmp_path / "lake"))
    assert (lake.runs(), [*lake.storage.list("_staging")]) == ([], [])


def test_a_second_interrupt_does_not_leave_the_job_to_itself(
    processes: list[str], flink: FlinkCluster, tmp_path: Path
) -> None:
    with paused_batch(flink, tmp_path, *processes) as process:
        for number in (signal.SIGINT, signal.SIGINT):
            process.send_signal(number)
            # Two that come at once are one.
            time.sleep(0.02)
        _, err = process.communicate(timeout=SECONDS)

    assert process.returncode == 130
    assert err == "pipelines.batch: interrupted; it is safe to run it again\n"
    assert flink.job(tmp_path.name)["state"] == "CANCELED"


def test_a_job_that_others_cancel_is_told(flink: FlinkCluster, tmp_path: Path) -> None:
    with paused_batch(flink, tmp_path) as process:
        flink.cancel(tmp_path.name)
        _, err = process.communicate(timeout=SECONDS)

    assert process.returncode == 1
    assert err.startswith("pipelines.batch: the job was cancelled on the cluster, and not from")
    assert not list(Lake.open(str(tmp_path / "lake")).storage.list("_staging"))


def test_a_job_server_that_is_lost_is_told_and_its_job_ended(
    flink: FlinkCluster, tmp_path: Path
) -> None:
    try:
        with paused_batch(flink, tmp_path) as process:
            flink.kill(JOBS)
            _, err = process.communicate(timeout=SECONDS)
    finally:
        flink.mend()

    assert process.returncode == 1
    (line,) = err.splitlines()
    assert "the job server does not answer any more (UNAVAILABLE)" in line
    assert flink.job(tmp_path.name)["state"] == "CANCELED"


@pytest.mark.slow
def test_a_manager_that_is_lost_is_told_and_its_workers_come_back(
    flink: FlinkCluster, tmp_path: Path
) -> None:
    try:
        with paused_batch(flink, tmp_path) as process:
            flink.kill(MANAGER)
            _, err = process.communicate(timeout=SECONDS)
    finally:
        flink.mend()

    assert process.returncode == 1
    warned, told = err.splitlines()
    assert f"job {tmp_path.name} may still run" in warned
    assert told.startswith("pipelines.batch: Flink at http://127.0.0.1:")
    assert flink.ask("overview")["slots-total"] == 4


def test_no_folders_of_a_launcher_are_left(
    flink: FlinkCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary := tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    lake = str(tmp_path / "lake")
    batch.run(["-o", lake, "--rows", "1000", *QUIET, *flink.flags])
    with pytest.raises(InputError):
        replay.run(["--from", str(tmp_path / "no-lake"), "-o", lake, *QUIET, *flink.flags])

    # Beam makes the latter once and for all.
    assert {path.name for path in temporary.iterdir()} <= {"beam-requirements-cache"}


def test_each_pipeline_in_processes(
    processes: list[str], flink: FlinkCluster, tmp_path: Path
) -> None:
    lake, result = str(tmp_path / "lake"), tmp_path / "result"
    there = [*flink.flags, *processes, *QUIET]

    made = generate.run(["-o", str(tmp_path / "in"), "--rows", "9000", "--shards", "3", *there])
    taken = batch.run(["-i", str(tmp_path / "in"), "-o", lake, "--regions", "Norte,Sur", *there])
    again = replay.run(["--from", lake, *there]).to_dict()
    summed = aggregate.run(["-i", lake, "-o", str(result), "--write_sorted", *there])

    first = taken.to_dict()
    assert made.rows == first["rows_read"] == 9000
    assert again["rows_accepted"] == first["rows_rejected"] > 0
    assert summed.result.to_dict()["rows"] == 9000
    assert ds.dataset(result / "sorted", format="parquet").count_rows() == 9000
    rows = ds.dataset(lake, format="parquet", partitioning="hive").to_table()
    assert rows.select(COLUMN_NAMES).num_rows == 9000


def test_all_slots_share_a_commit_to_a_bucket(
    flink: FlinkCluster, bucket: Any, tmp_path: Path
) -> None:
    root = f"gs://{bucket.name}/lake"
    there = [*QUIET, *flink.flags, "--parallelism", "4"]
    batch.run(["-i", sales_files(tmp_path / "in"), "-o", root, *there])
    batch.run(["-i", str(tmp_path / "in"), "-o", root, "-f", *there])
    wait_for_workers()

    lake = Lake.open(root)
    assert verify(lake).problems == ()
    assert all(lake.storage.exists(f"_commits/{m.run_id}.done") for m in lake.runs())


def test_more_slots_than_there_are_is_told_at_once(
    flink: FlinkCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["-o", str(tmp_path / "lake"), "--rows", "10", *flink.flags, "--parallelism", "9"]
    assert batch.main(flags) == 2
    assert "--parallelism 9: the cluster has 4 slots" in capsys.readouterr().err


def test_a_cluster_without_workers_is_told_at_once(
    flink: FlinkCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        for worker in WORKERS:
            flink.kill(worker)
        until(lambda: flink.ask("overview")["slots-total"] == 0)
        assert batch.main(["-o", str(tmp_path / "lake"), "--rows", "10", *flink.flags]) == 2
    finally:
        flink.mend()
    (line,) = capsys.readouterr().err.splitlines()
    assert "no task manager is there, so no job would begin" in line


def test_another_server_in_place_of_the_job_server_is_told(
    pubsub: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--runner", "PortableRunner", "--job_endpoint", pubsub, *QUIET]
    assert batch.main(["-o", str(tmp_path / "lake"), "--rows", "10", *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pipelines.batch: --job_endpoint {pubsub}: what is there is no job")


def test_the_local_cloud_tells_of_its_cluster(
    flink: FlinkCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["--folder", str(flink.folder)]
    assert cli.main(["local", "env", *folder]) == 0
    assert capsys.readouterr().out.startswith("export CELES_FLINK_FLAGS='--runner PortableRunner ")
    flink.kill(JOBS)
    before = flink.record(JOBS)
    assert cli.main(["local", "status", *folder]) == 1
    out = capsys.readouterr().out
    assert (out.count("running"), out.count("crashed: ")) == (3, 1)
    assert cli.main(["local", "up", "--only", "flink", *folder]) == 0
    assert "started flink-jobs\n" in capsys.readouterr().out
    assert flink.record(JOBS).ports == before.ports


def test_a_shared_commit_outlives_a_worker_that_is_killed_in_the_middle(
    flink: FlinkCluster, storage_server: Server, bucket: Any, tmp_path: Path
) -> None:
    root, told = f"gs://{bucket.name}/lake", tmp_path / "told.json"
    line = [sys.executable, "-m", "pipelines.batch", "-i", sales_files(tmp_path / "in"), "-o", root]
    line += ["-p", "region_de_venta,mes", "--run_id", tmp_path.name, "--summary_json", str(told)]
    try:
        with (
            FaultProxy(storage_server.address) as proxy,
            subprocess.Popen(
                [*line, *QUIET, *flink.flags, "--parallelism", "4"],
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"STORAGE_EMULATOR_HOST": proxy.url},
            ) as process,
        ):
            proxy.add("delay", lambda n: n > MOVED, **MOVE, seconds=1.0)
            until(lambda: proxy.count(**MOVE) > MOVED or process.poll() is not None)
            try:
                flink.kill(WORKERS[0])
                # All slots are taken, so the job waits for the next task manager.
                flink.mend()
                _, err = process.communicate(timeout=SECONDS)
            finally:
                process.kill()
            moves = proxy.count(**MOVE)
    finally:
        flink.mend()

    assert (process.returncode, err) == (0, "")
    job = flink.job(tmp_path.name)
    assert flink.ask(f"jobs/{job['jid']}/exceptions")["exceptionHistory"]["entries"]
    lake = Lake.open(root)
    (run,) = lake.runs()
    assert MOVED < len(run.all_files) < moves
    found = verify(lake)
    rows = json.loads(told.read_text())["rows_accepted"]
    assert (found.problems, found.notes, found.rows) == ((), (), rows)
    assert not list(lake.storage.list("_staging"))

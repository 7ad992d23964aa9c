"""A Spark job that is interrupted, in a process of its own: one line, and nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.answers import commit_rows
from tests.jobs.cases import sales
from tests.tools import ROOT, need_module, need_tool

SECONDS = 90
SAID = {
    signal.SIGINT: (130, "spark_jobs.aggregate: interrupted; it is safe to run it again\n"),
    signal.SIGTERM: (143, "spark_jobs.aggregate: terminated; it is safe to run it again\n"),
}
# Its rows come after ten minutes: what is interrupted is a call of Java in the middle of a query.
SLOW = """
import os, sys, time
from pathlib import Path
from spark_jobs import aggregate, answer

read = answer.sales_frame

def slow(batches):
    Path(os.environ["MARK"]).touch()
    time.sleep(600)
    yield from batches

def slow_frame(spark, job):
    sales = read(spark, job)
    return sales.mapInArrow(slow, sales.schema)

answer.sales_frame = slow_frame
sys.exit(aggregate.main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def spark() -> None:
    need_tool("java", "install openjdk-17-jre-headless")
    need_module("pyspark", "pip install 'celes-beam[spark]'")


@contextmanager
def running(folder: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A job on a small lake, as a terminal would start it, with its temporary folder in ours."""
    commit_rows(folder / "lake", sales(30))
    (folder / "tmp").mkdir()
    flags = ["-i", str(folder / "lake"), "-o", str(folder / "out"), "--master", "local[1]"]
    job = subprocess.Popen(
        [sys.executable, *command, *flags, "--progress", "off"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(folder / "tmp"), "MARK": str(folder / "running")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield job
    finally:
        for process in of_session(job.pid):
            process.kill()
        job.wait()


def of_session(number: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def check_interrupted(job: subprocess.Popen[str], number: signal.Signals, folder: Path) -> None:
    # A terminal sends Ctrl-C to all of them, others send a signal to the one that they know.
    (os.killpg if number is signal.SIGINT else os.kill)(job.pid, number)
    out, err = job.communicate(timeout=SECONDS)

    code, line = SAID[number]
    assert (job.returncode, out, err) == (code, "", line)
    wait_for(lambda: not of_session(job.pid))
    assert {path.name for path in folder.iterdir()} - {"running"} == {"lake", "tmp"}
    assert not list((folder / "tmp").iterdir())


@pytest.mark.parametrize("number", SAID, ids=lambda number: number.name)
def test_while_java_starts(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path, "-m", "spark_jobs.aggregate") as job:
        wait_for(lambda: len(of_session(job.pid)) > 1)
        check_interrupted(job, number, tmp_path)


@pytest.mark.parametrize("number", SAID, ids=lambda number: number.name)
def test_while_a_query_runs(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path, "-c", SLOW) as job:
        wait_for((tmp_path / "running").exists)
        check_interrupted(job, number, tmp_path)


def test_java_ends_by_itself_after_a_process_that_was_killed(tmp_path: Path) -> None:
    with running(tmp_path, "-m", "spark_jobs.aggregate") as job:
        wait_for(lambda: len(of_session(job.pid)) > 1)
        job.kill()
        job.communicate(timeout=SECONDS)
        wait_for(lambda: not of_session(job.pid))

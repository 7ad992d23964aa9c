from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from celes_beam.stores.results.result_folder import is_result_name
from spark_jobs import aggregate
from tests.answers import in_order, rows_of
from tests.jobs.buckets import case_named, put_folder
from tests.jobs.cases import Case, ask_all, lake, sales, sorted_rows
from tests.spark_cluster import need_connector, spark_cluster, spark_home
from tests.tools import ROOT

CASE = Case("cluster", sales(2000), lake("region_de_venta", commits=2))
SECONDS = 240
# The first rows of each part are written, and no more come for ten minutes.
SLOW = """
import sys, time
from pathlib import Path
from spark_jobs import aggregate, answer

mark, write = sys.argv[1], answer.write_sorted_parts

def slow(batches):
    yield from batches
    Path(mark).touch()
    time.sleep(600)

answer.write_sorted_parts = lambda sales, job: write(sales.mapInArrow(slow, sales.schema), job)
sys.exit(aggregate.main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with spark_cluster(tmp_path_factory.mktemp("spark")) as url:
        yield url


def ask(command: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def job(*flags: str) -> subprocess.CompletedProcess[str]:
    return ask([sys.executable, "-m", "spark_jobs.aggregate", *flags])


@pytest.mark.parametrize(
    "case",
    [CASE, pytest.param(case_named("hive-of-others"), marks=pytest.mark.slow)],
    ids=lambda case: case.name,
)
def test_a_cluster_answers_from_a_bucket_into_a_bucket(
    tmp_path: Path, cluster: str, bucket: Any, case: Case
) -> None:
    need_connector()
    case.make(tmp_path / "data", case.rows)
    source = put_folder(tmp_path / "data", bucket, "data")
    output = f"gs://{bucket.name}/out/result"

    done = job(*ask_all(case, source, output), "--master", cluster, "--memory", "1g")

    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(bucket.blob("out/result/result.json").download_as_bytes())
    assert result == {"engine": "spark"} | case.expected()
    names = [blob.name for blob in bucket.list_blobs(prefix="out/")]
    read = []
    for name in (name for name in names if "/sorted/" in name):
        bucket.blob(name).download_to_filename(tmp_path / "part")
        read += rows_of(pq.read_table(tmp_path / "part"))
    assert read == in_order(case.rows, case.sort_by, descending=case.descending)
    assert all(is_result_name(name.removeprefix("out/result/")) for name in names)


def test_a_cluster_without_room_for_the_job_is_not_waited_for(tmp_path: Path, cluster: str) -> None:
    CASE.make(tmp_path / "lake", CASE.rows)
    code = (
        "import sys; from spark_jobs import aggregate, session; session.WORKER_SECONDS = 2.0; "
        "sys.exit(aggregate.main(sys.argv[1:]))"
    )
    flags = ["-i", str(tmp_path / "lake"), "--master", cluster, "--memory", "64g"]

    done = ask([sys.executable, "-c", code, *flags])

    assert done.returncode == 1
    assert "no worker took the job in 2 s: perhaps none is free" in done.stderr
    assert "none has the --memory 64g" in done.stderr
    assert done.stderr.count("\n") == 1


def test_spark_submit_takes_the_job(tmp_path: Path, cluster: str) -> None:
    CASE.make(tmp_path / "lake", CASE.rows)
    home = spark_home()
    program = [aggregate.__file__, *ask_all(CASE, str(tmp_path / "lake"), str(tmp_path / "out"))]
    submit = [str(home / "bin" / "spark-submit"), "--master", cluster, "--executor-memory", "1g"]

    done = ask(
        [*submit, *program],
        SPARK_HOME=str(home),
        PYSPARK_PYTHON=sys.executable,
        PYTHONPATH=str(ROOT),
    )

    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out" / "result.json").read_bytes())
    assert result == {"engine": "spark"} | CASE.expected()
    assert sorted_rows(tmp_path / "out") == in_order(CASE.rows, CASE.sort_by, descending=True)


@pytest.mark.slow
def test_interrupted_while_a_cluster_writes_to_a_bucket_nothing_stays_there(
    tmp_path: Path, cluster: str, bucket: Any
) -> None:
    need_connector()
    CASE.make(tmp_path / "data", CASE.rows)
    source = put_folder(tmp_path / "data", bucket, "data")
    mark = tmp_path / "running"
    flags = ["-i", source, "-o", f"gs://{bucket.name}/out/result", "--write_sorted"]
    where = ["--master", cluster, "--memory", "512m", "--progress", "off"]
    command = [sys.executable, "-c", SLOW, str(mark), *flags, *where]

    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + SECONDS
        while not mark.exists() and running.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=SECONDS)

    assert said == "spark_jobs.aggregate: terminated; it is safe to run it again\n"
    assert running.returncode == 143
    assert [blob.name for blob in bucket.list_blobs(prefix="out/")] == []

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from spark_jobs import aggregate
from tests.answers import in_order, rows_of
from tests.jobs.cases import Case, ask_all, lake, sales, sorted_rows
from tests.spark_cluster import need_connector, spark_cluster, spark_home
from tests.tools import ROOT

CASE = Case("cluster", sales(2000), lake("region_de_venta", commits=2))
SECONDS = 150


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


def upload(folder: Path, bucket: Any, prefix: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            name = f"{prefix}/{path.relative_to(folder).as_posix()}"
            bucket.blob(name).upload_from_filename(path)


def test_a_cluster_answers_from_a_bucket_into_a_bucket(
    tmp_path: Path, cluster: str, bucket: Any
) -> None:
    need_connector()
    CASE.make(tmp_path / "lake", CASE.rows)
    upload(tmp_path / "lake", bucket, "lake")
    place = f"gs://{bucket.name}"

    done = job(*ask_all(CASE, f"{place}/lake", f"{place}/out/result"), "--master", cluster)

    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(bucket.blob("out/result/result.json").download_as_bytes())
    assert result == {"engine": "spark"} | CASE.expected()
    names = [blob.name for blob in bucket.list_blobs(prefix="out/")]
    parts = [name for name in names if name.startswith("out/result/sorted/")]
    for name in parts:
        bucket.blob(name).download_to_filename(tmp_path / Path(name).name)
    read = [row for name in parts for row in rows_of(pq.read_table(tmp_path / Path(name).name))]
    assert read == in_order(CASE.rows, CASE.sort_by, descending=CASE.descending)
    assert not [name for name in names if "sorting" in name]


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

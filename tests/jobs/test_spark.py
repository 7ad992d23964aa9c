from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spark_jobs.aggregate import run
from spark_jobs.session import launch_settings, start_spark
from tests.jobs.cases import CASES, Case, check_answer


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Spark for all tests here, which takes seconds to start."""
    from pyspark.sql import SparkSession

    settings = launch_settings("local[2]", "1g", None)
    few = {"spark.sql.shuffle.partitions": "2"}
    context = start_spark(settings | few, {}, tmp_path_factory.mktemp("spark") / "log")
    SparkSession(context)
    yield
    context.stop()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_answer_is_that_of_every_engine(tmp_path: Path, spark: None, case: Case) -> None:
    check_answer(run, case, tmp_path)

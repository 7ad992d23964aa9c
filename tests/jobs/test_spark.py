from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celes_beam.contract import AMOUNT, DATE, ID, REGION
from celes_beam.errors import ConfigError, InputError, IntegrityError, StorageError
from celes_beam.stores.results.results import Result
from spark_jobs.aggregate import run
from tests.answers import Row, answer, batch_of, commit_rows
from tests.jobs.cases import CASES, Case, check_answer, sales, sorted_table, without_engine
from tests.jobs.conftest import Million
from tests.tools import ROOT

QUIET = ["--progress", "off"]


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Spark for all tests here, which takes seconds to start."""
    from pyspark.sql import SparkSession

    from spark_jobs.session import launch_settings, start_spark

    quick = {
        "spark.sql.shuffle.partitions": "2",
        # Queries of a few rows are over before the better compiler pays.
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
    }
    settings = launch_settings("local[2]", "1g", None) | quick
    context = start_spark(settings, {}, tmp_path_factory.mktemp("spark") / "log")
    SparkSession(context)
    yield
    context.stop()


def ask(*flags: str) -> Result:
    return run([*flags, *QUIET]).result


def process(*flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "spark_jobs.aggregate", *flags, *QUIET],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_answer_is_that_of_every_engine(tmp_path: Path, spark: None, case: Case) -> None:
    check_answer(run, case, tmp_path)


def plain(folder: Path, name: str, rows: list[Row], **columns: pa.Array) -> None:
    """A plain file of some sales, with some columns as they are given."""
    table = pa.Table.from_batches([batch_of(rows)])
    for column, array in columns.items():
        table = table.set_column(table.schema.get_field_index(column), column, array)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / name, store_decimal_as_integer=False)


def test_files_of_others_hold_columns_of_all_types(tmp_path: Path, spark: None) -> None:
    rows = sales(20)
    batch = batch_of(rows)
    ids, dates, amounts = (batch.column(name) for name in (ID, DATE, AMOUNT))
    forms: list[dict[str, pa.Array]] = [
        {ID: ids.cast(kind)}
        for kind in (pa.uint8(), pa.int16(), pa.uint64(), pa.float64(), pa.decimal128(20, 0))
    ]
    forms += [
        {DATE: dates.cast(kind)}
        for kind in (pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns", "Europe/Madrid"))
    ]
    forms += [
        {AMOUNT: amounts.cast(pa.float64())},
        {AMOUNT: amounts.cast(pa.decimal128(30, 6))},
        {AMOUNT: amounts.cast(pa.string()), ID: ids.cast(pa.string())},
        {DATE: pa.array([row[1].isoformat() for row in rows])},
        {REGION: pa.array([f" {row[4]}\t" for row in rows], pa.large_string())},
        {REGION: batch.column(REGION).cast(pa.binary())},
    ]
    for number, form in enumerate(forms):
        plain(tmp_path, f"{number}.parquet", rows, **form)

    result = ask("-i", str(tmp_path), "--top", "9", "--sort_by", DATE)

    expected = without_engine(result)
    del expected["top"]
    assert expected == answer(rows * len(forms))


def test_paths_may_be_of_any_layout(tmp_path: Path, spark: None) -> None:
    rows = [(*row[:4], "Norte") for row in sales(12)]
    elsewhere = [(*row[:4], "Aragón y más") for row in rows]
    for name in ("a b/x.parquet", "dia=1/y%20z.parquet", "dia=1/sub/dia=2/v.parquet"):
        plain(tmp_path, name, rows)
    for name in (f"{REGION}=Arag%C3%B3n y más/w.parquet", f"x/{REGION}=Aragón%20y más/n.parquet"):
        plain(tmp_path, name, rows)

    result = ask("-i", str(tmp_path))

    assert without_engine(result) == answer(rows * 3 + elsewhere * 2)


def test_a_path_is_no_pattern(tmp_path: Path, spark: None) -> None:
    rows = sales(12)
    lake, folder = tmp_path / "a[1]" / "{b,c}", tmp_path / "x*" / "y?"
    commit_rows(lake, rows)
    plain(folder, "a[1].parquet", rows)

    for source in (lake, folder):
        assert without_engine(ask("-i", str(source))) == answer(rows)


@pytest.mark.parametrize(
    ("column", "array"),
    [
        (AMOUNT, pa.array([1.234, 2.0, 3.0])),
        (ID, pa.array([1, None, 3])),
        (DATE, pa.array([True, False, True])),
        (REGION, pa.array(["a", " ", "b"])),
        (REGION, pa.array([b"a", b"\xff", b"b"])),
    ],
    ids=["inexact", "null", "no-date", "blank", "no-text"],
)
def test_a_value_that_is_not_acceptable_is_named(
    tmp_path: Path, spark: None, column: str, array: pa.Array
) -> None:
    plain(tmp_path, "a.parquet", sales(3))
    plain(tmp_path, "b.parquet", sales(3), **{column: array})

    with pytest.raises(InputError, match=rf"b\.parquet: row \d: {column} is ") as spoken:
        ask("-i", str(tmp_path), "--top", "2")
    assert "pipelines.batch" in str(spoken.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, spark: None) -> None:
    commit_rows(tmp_path / "lake", sales(30))
    plain(tmp_path / "plain", "a.parquet", sales(30))
    broken = next((tmp_path / "lake").glob("*/*.parquet"))
    whole = broken.read_bytes()

    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(IntegrityError, match=rf"{broken.name} cannot be read as Parquet"):
        ask("-i", str(tmp_path / "lake"))
    broken.unlink()
    with pytest.raises(StorageError, match=rf"{broken.name} is gone: .* run again"):
        ask("-i", str(tmp_path / "lake"))
    shutil.copy(__file__, tmp_path / "plain" / "b.parquet")
    with pytest.raises(InputError, match=r"b\.parquet cannot be read as Parquet"):
        ask("-i", str(tmp_path / "plain"))


def test_what_the_flags_say_is_checked_before_spark_starts(tmp_path: Path) -> None:
    commit_rows(tmp_path / "lake", sales(3))
    source = ["-i", str(tmp_path / "lake")]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"spark://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"--master {nobody}: nothing answers there"):
            ask(*source, "--master", nobody)
    with pytest.raises(ConfigError, match=r"--master here: expected local\[N\], spark://"):
        ask(*source, "--master", "here")
    with pytest.raises(ConfigError, match=r"--master spark://x: expected spark://HOST:PORT"):
        ask(*source, "--master", "spark://x")
    for size in ("much", "100m", "4"):
        with pytest.raises(ConfigError, match=f"--memory {size}: expected at least 512m"):
            ask(*source, "--memory", size)
    with pytest.raises(ConfigError, match="--memory and --jars are too late here"):
        _submitted(*source, "--memory", "1g")


def _submitted(*flags: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_GATEWAY_PORT", "1")
        ask(*flags)


def test_without_java_it_says_how_to_get_it(tmp_path: Path) -> None:
    commit_rows(tmp_path / "lake", sales(3))

    done = process("-i", str(tmp_path / "lake"), PATH="/nowhere", JAVA_HOME="")

    assert done.returncode == 2
    assert done.stderr.startswith("spark_jobs.aggregate: Spark needs Java 17 or newer: install")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_million_rows_are_those_of_beam(tmp_path: Path, spark: None, million: Million) -> None:
    result = ask(*million.questions, "-o", str(tmp_path / "result"))

    assert without_engine(result) == million.result
    assert sorted_table(tmp_path / "result").equals(million.ordered)


@pytest.mark.slow
def test_too_little_memory_is_said(tmp_path: Path) -> None:
    """A row group of texts that are many times as large as the heap."""
    rows: Any = pa.table(
        {
            ID: pa.array([1] * 600),
            DATE: pa.array(["2024-01-01"] * 600),
            AMOUNT: pa.array([1.0] * 600),
            "categoria_de_producto": pa.array(["x" * 1_500_000] * 600, pa.large_string()),
            REGION: pa.array(["r"] * 600),
        }
    )
    pq.write_table(rows, tmp_path / "a.parquet", use_dictionary=False, compression="zstd")

    done = process("-i", str(tmp_path), "--master", "local[1]", "--memory", "512m")

    assert done.returncode == 2, done.stderr
    assert "Spark ran out of memory: --memory 512m is too little" in done.stderr
    assert done.stderr.count("\n") == 1

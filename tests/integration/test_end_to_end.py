"""From generated rows to a bucket and BigQuery: whoever adds up gets the same, to the cent.

Google's own command lines are among those who add up.
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from celes_beam.contract import COLUMN_NAMES
from celes_beam.stores.cloud.clients import arrow_filesystem, bigquery_client
from celes_beam.stores.lake.lake import Lake
from tests.cloud import bq, gcloud

ROWS = 200_000
GOOD = "7,2024-05-03,0.10,Hogar,Norte\n" * 3
BROKEN = "8,2024-05-03,not a number,Hogar,Norte\nno comma\n"


def run(*flags: str, summary: Path) -> dict[str, Any]:
    """Run ``pipelines.batch`` as a process; returns its summary."""
    command = [sys.executable, "-m", "pipelines.batch", *flags, "--summary_json", str(summary)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(summary.read_text())
    return found


def by_sql(table: str) -> dict[str, Decimal]:
    project = table.partition(":")[0]
    sql = (
        "SELECT categoria_de_producto, SUM(cantidad_de_venta) AS total "
        f"FROM `{table.replace(':', '.')}` GROUP BY 1"
    )
    rows = bigquery_client(project).query(sql).result()
    return {row["categoria_de_producto"]: row["total"] for row in rows}


def by_pyarrow(lake: str) -> dict[str, Decimal]:
    data = ds.dataset(
        lake.removeprefix("gs://"), filesystem=arrow_filesystem(), partitioning="hive"
    ).to_table()
    sums = data.group_by("categoria_de_producto").aggregate([("cantidad_de_venta", "sum")])
    return {row["categoria_de_producto"]: row["cantidad_de_venta_sum"] for row in sums.to_pylist()}


def by_summary(summary: dict[str, Any]) -> dict[str, Decimal]:
    totals = summary["by_category"]
    return {t["categoria_de_producto"]: Decimal(t["total"]) for t in totals}


def test_all_who_add_up_agree_to_the_cent(bucket: Any, dataset: str, tmp_path: Path) -> None:
    lake, table = f"gs://{bucket.name}/lake", f"{dataset}.ventas"
    project, _, name = dataset.partition(":")
    to = ["--output", lake, "--bigquery_table", table, "--progress", "off"]

    summary = run("--rows", str(ROWS), *to, summary=tmp_path / "first.json")

    expected = by_summary(summary)
    assert summary["rows_accepted"] == ROWS
    assert len(expected) > 1
    assert by_sql(table) == expected
    assert by_pyarrow(lake) == expected

    text = (",".join(COLUMN_NAMES) + "\n" + GOOD + BROKEN).encode()
    bucket.blob("landing/mayo.csv").upload_from_string(text)
    more = ["--input", f"gs://{bucket.name}/landing/", "--if_exists", "append"]
    summary = run(*more, *to, summary=tmp_path / "second.json")

    assert (summary["rows_read"], summary["rows_accepted"]) == (5, 3)
    expected["Hogar"] = expected.get("Hogar", Decimal(0)) + Decimal("0.30")
    assert by_sql(table) == expected
    assert by_pyarrow(lake) == expected
    sql = f"SELECT reasons FROM `{project}.{name}.ventas_rechazadas`"
    reasons = sorted(r["reasons"][0] for r in bigquery_client(project).query(sql).result())
    assert reasons == ["malformed", "unparseable"]

    # Google's own command lines.
    files = Lake.open(lake).snapshot().files
    listed = gcloud("storage", "ls", f"{lake}/region_de_venta=*/*").split()
    assert sorted(listed) == sorted(f"{lake}/{f.path}" for f in files)
    sql = f"SELECT COUNT(*) AS n, SUM(cantidad_de_venta) AS total FROM `{project}.{name}.ventas`"
    answer = bq("--format=csv", "query", "--nouse_legacy_sql", sql)
    (counted,) = csv.DictReader(io.StringIO(answer.strip()))
    assert int(counted["n"]) == ROWS + 3
    assert Decimal(counted["total"]) == sum(expected.values())


@pytest.mark.slow
def test_ten_million_rows_in_flat_memory(bucket: Any, dataset: str, tmp_path: Path) -> None:
    peaks = []
    for rows in (1_000_000, 10_000_000):
        lake, table = f"gs://{bucket.name}/lake{rows}", f"{dataset}.ventas{rows}"
        to = ["--output", lake, "--bigquery_table", table, "--progress", "off"]
        script = (
            "import resource, sys; from pipelines import batch; code = batch.main(sys.argv[1:]); "
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024); sys.exit(code)"
        )
        command = [sys.executable, "-c", script, "--rows", str(rows), *to]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        peaks.append(int(ended.stdout.split()[-1]))
        assert sum(by_sql(table).values()) == Lake.open(lake).snapshot().total
    assert peaks[1] < peaks[0] + 200, f"MiB at 1 M and 10 M rows: {peaks}"

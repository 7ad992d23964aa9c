"""A watch that loads BigQuery, killed between commits and loads: the table holds each row once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from celes_beam.local.processes import Server
from celes_beam.stores.cloud.clients import bigquery_client
from tests.cloud import use
from tests.integration.test_watch_process import (
    AMOUNT,
    HEADER,
    PATIENCE,
    Folder,
    check,
    rows,
    watching,
)

PROJECT = "celes-dev"


def held(table: str) -> tuple[int, int, Decimal]:
    """Rows, customers and total of a table."""
    sql = (
        "SELECT COUNT(*), COUNT(DISTINCT id_cliente), SUM(cantidad_de_venta) "
        f"FROM `{table.replace(':', '.')}`"
    )
    (row,) = bigquery_client(PROJECT).query(sql, job_retry=None).result()
    count, customers, total = row.values()
    return count, customers, total


def something_new(lake: Path, pattern: str) -> Callable[[], bool]:
    before = set(lake.glob(pattern))
    return lambda: bool(set(lake.glob(pattern)) - before)


def test_killed_between_commits_and_loads_the_table_holds_each_row_once(
    bigquery_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(bigquery_server, monkeypatch)
    folder, lake = Folder(tmp_path / "landing"), tmp_path / "lake"
    table = f"{PROJECT}:vigilia.ventas"
    flags = ["--watch", "0.3", "--bigquery_table", table]
    for number, point in enumerate(("_commits/*.json", "_commits/*.done", "_loads/**/*")):
        appeared = something_new(lake, point)
        folder.put(f"{number}.csv", HEADER + rows(1 + 100 * number, 100))
        with watching(str(folder.path), str(lake), tmp_path, *flags) as watch:
            watch.until(appeared)
            watch.end(signal.SIGKILL)
    folder.put("bad.csv", b"no,sales\n")
    with watching(str(folder.path), str(lake), tmp_path, *flags, "--idle_rounds", "2") as last:
        assert last.process.wait(PATIENCE) == 0, last.said

    check(str(lake), 300)
    assert held(table) == (300, 300, AMOUNT * 300)

"""Loads into BigQuery through a proxy that drops, resets and refuses: nothing twice, nothing lost.

A load ends right, or with one error of ours after which the same load ends right.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.cloud.bigquery.retry import DEFAULT_RETRY

from celes_beam.contract import REGION
from celes_beam.errors import StorageError
from celes_beam.local.processes import Server
from celes_beam.stores.cloud import answer_time
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.warehouse.table_name import TableName, parse_table_name
from celes_beam.stores.warehouse.tables import Destination
from celes_beam.stores.warehouse.warehouse import Warehouse
from tests.bucket_folder import BucketFolder
from tests.faults import FaultProxy, at_random, nth, until_done
from tests.integration.test_warehouse import NEW, OLD, held
from tests.lakes import commit_sales

JOBS = {"method": "POST", "path": "/jobs"}
LOOKS = {"method": "GET", "path": "/jobs/"}
TABLES = {"method": "POST|GET|PATCH", "path": "/(datasets|tables)"}
TRIES = 8


# Google's clients leave sockets of lost answers to the collector, which is to find them here.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.usefixtures("sockets_collected"),
]


@pytest.fixture
def proxy(bigquery_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with FaultProxy(bigquery_server.address) as proxy:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", proxy.url)
        yield proxy


@pytest.fixture(params=["folder", "bucket"])
def lake(request: pytest.FixtureRequest, buckets: Path, tmp_path: Path) -> Lake:
    """A lake that is uploaded by the load, and one whose files BigQuery itself reads."""
    if request.param == "folder":
        return Lake.open(str(tmp_path / "lake"))
    return Lake(BucketFolder(buckets, f"f{abs(hash(request.node.name)) % 10**9}"))


@pytest.fixture
def table(request: pytest.FixtureRequest) -> TableName:
    return parse_table_name(f"celes-dev:d{abs(hash(request.node.name)) % 10**9}.ventas")


def load_until_done(lake: Lake, table: TableName) -> int:
    """Load as a person would, again after each error; returns how many tries it took."""

    def load() -> None:
        warehouse = Warehouse(Destination(table), lake)
        warehouse.prepare(partition_by=(REGION,))
        warehouse.load()

    return until_done(load, TRIES)


CASES = [
    *((JOBS, how) for how in ("drop", "reset", "cut", "lose_answer", "answer")),
    *((requests, how) for requests in (LOOKS, TABLES) for how in ("drop", "lose_answer")),
]


@pytest.mark.parametrize(("requests", "how"), CASES)
def test_rows_are_loaded_once_whatever_is_lost(
    proxy: FaultProxy, lake: Lake, table: TableName, requests: dict[str, str], how: Any
) -> None:
    load_until_done(lake, table)
    commit_sales(lake, "r1", OLD, kind="create")
    commit_sales(lake, "r2", NEW)
    fault = proxy.add(how, nth(1, 3), **requests)
    load_until_done(lake, table)
    proxy.clear()
    assert fault.happened
    assert held(table) == sorted(OLD + NEW)
    assert load_until_done(lake, table) == 1
    assert held(table) == sorted(OLD + NEW)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_bad_network_loses_no_row(
    proxy: FaultProxy, lake: Lake, table: TableName, seed: int
) -> None:
    faults = [
        proxy.add(how, at_random(0.05, seed * 10 + i))
        for i, how in enumerate(("drop", "reset", "cut", "lose_answer", "answer"))
    ]
    commit_sales(lake, "r1", OLD, kind="create")
    commit_sales(lake, "r2", NEW)
    load_until_done(lake, table)
    commit_sales(lake, "r3", NEW, kind="overwrite")
    commit_sales(lake, "r4", OLD)
    load_until_done(lake, table)
    proxy.clear()
    assert sum(fault.happened for fault in faults)
    assert held(table) == sorted(NEW + OLD)


def test_a_server_that_does_not_answer_is_given_up(
    proxy: FaultProxy, tmp_path: Path, table: TableName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_time, "STAND_IN_SECONDS", 0.2)
    retry = DEFAULT_RETRY.with_timeout(0.5)
    monkeypatch.setattr("celes_beam.stores.warehouse.tables.bigquery_retry", lambda: retry)
    hang = proxy.add("delay", seconds=60.0)
    warehouse = Warehouse(Destination(table), Lake.open(str(tmp_path / "lake")))
    started = time.monotonic()
    with pytest.raises(StorageError, match=r"dataset celes-dev:\w+: .*timed out.*; run it again"):
        warehouse.prepare(partition_by=(REGION,))
    assert hang.happened
    assert time.monotonic() - started < 30

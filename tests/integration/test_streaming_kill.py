"""A stream killed again and again: every row once, every broken one in the dead letters."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from celes_beam.commands.stream_options import Delivery
from celes_beam.contract import AMOUNT, CATEGORY, DATE, REGION
from celes_beam.sales.traffic import SALE, Published, sale_name, what_was_published
from celes_beam.stores.cloud.clients import (
    LOCAL_PROJECT,
    bigquery_client,
    publisher_client,
    subscriber_client,
)
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from celes_beam.stores.warehouse.table_name import TableName, parse_table_name
from tests.cloud import fresh_name
from tests.tools import ROOT, need_tool

ROWS = 50_000
ERRORS = 0.02
KILLS = 5
PATIENCE = 120.0
PAGE = ROOT / "docs" / "live-windows.md"


@contextmanager
def process(*command: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as written:
        started = subprocess.Popen(
            [sys.executable, "-m", *command], stdout=written, stderr=written, env=os.environ
        )
        try:
            yield started
        finally:
            started.kill()
            started.wait()


class Places:
    """Topics and subscriptions of one test."""

    def __init__(self) -> None:
        name = fresh_name("ventas")
        self.topic = f"projects/{LOCAL_PROJECT}/topics/{name}"
        self.letters = f"projects/{LOCAL_PROJECT}/topics/{name}-muertas"
        self.subscription = f"projects/{LOCAL_PROJECT}/subscriptions/{name}"
        self.letter_box = f"projects/{LOCAL_PROJECT}/subscriptions/{name}-muertas"
        with publisher_client() as publisher, subscriber_client() as subscriber:
            for topic, subscription in (
                (self.topic, self.subscription),
                (self.letters, self.letter_box),
            ):
                publisher.create_topic(request={"name": topic})
                subscriber.create_subscription(
                    request={"name": subscription, "topic": topic, "ack_deadline_seconds": 10}
                )

    def dead_letters(self) -> dict[str, str]:
        """The reasons of each dead letter, by the name of the sale."""
        found = {}
        with subscriber_client() as client:
            while True:
                answer = client.pull(
                    request={"subscription": self.letter_box, "max_messages": 1000},
                    timeout=10,
                    retry=None,
                )
                if not answer.received_messages:
                    return found
                for received in answer.received_messages:
                    attributes = received.message.attributes
                    found[attributes[SALE]] = attributes["celes_reasons"]
                client.acknowledge(
                    request={
                        "subscription": self.letter_box,
                        "ack_ids": [m.ack_id for m in answer.received_messages],
                    }
                )


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_killed_again_and_again(
    tmp_path: Path, pubsub: str, dataset: str, delivery: Delivery
) -> None:
    _kill_again_and_again(tmp_path, dataset, delivery)


@pytest.mark.slow
def test_killed_again_and_again_on_prism_with_live_windows(
    tmp_path: Path, pubsub: str, dataset: str
) -> None:
    flags = ["--runner", "PrismRunner", "--prism_location", need_tool("prism", "make prism")]
    flags += ["--live_windows", "1d"]
    expected, table = _kill_again_and_again(tmp_path, dataset, "exactly_once", *flags)

    truth: dict[tuple[date, str, str], tuple[int, Decimal]] = {}
    for row in expected.accepted.to_pylist():
        group = row[DATE].date(), row[CATEGORY], row[REGION]
        rows, total = truth.get(group, (0, Decimal(0)))
        truth[group] = rows + 1, total + row[AMOUNT]
    shown = _shown(table)
    # Too little is told after a kill, never too much.
    assert all(n <= truth[g][0] and total <= truth[g][1] for g, (n, total) in shown.items())
    (sql,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    _ask(re.sub(r"\b60\b", "86400", sql.replace("tienda.", f"{table.dataset}.")))
    assert _shown(table) == truth


def _shown(table: TableName) -> dict[tuple[date, str, str], tuple[int, Decimal]]:
    rows = _ask(
        f"SELECT inicio, {CATEGORY}, {REGION}, ventas, total "
        f"FROM `{table.beside('ventas_por_ventana').path}`"
    )
    return {
        (start.date(), category, region): (n, total) for start, category, region, n, total in rows
    }


def _kill_again_and_again(
    tmp_path: Path, dataset: str, delivery: Delivery, *flags: str
) -> tuple[Published, TableName]:
    """Kill a stream until all is sent, then check table, lake and dead letters."""
    places, table, lake = Places(), parse_table_name(f"{dataset}.ventas"), tmp_path / "lake"
    stream = ["pipelines.streaming", "--subscription", places.subscription]
    stream += ["--bigquery_table", str(table), "--output", str(lake), "--delivery", delivery]
    stream += ["--dead_letter_topic", places.letters, "--id_attribute", SALE]
    stream += ["--lake_flush_seconds", "2", "--max_batch_rows", "2000", "--progress", "off", *flags]
    publish = ["celes_beam.cli", "publish", "--topic", places.topic, "--rows", str(ROWS)]
    publish += ["--rate", "4000", "--seed", "5", "--error_rate", str(ERRORS)]
    publish += ["--late_share", "0.05", "--duplicate_share", "0.03", "--progress", "off"]
    chance = random.Random(delivery)
    log = tmp_path / "log"

    with process(*publish, log=log) as publisher:
        for _ in range(KILLS):
            with process(*stream, log=log) as killed:
                written = _batches(lake)
                _until_more(lake, written, killed)
                time.sleep(chance.random())
        assert publisher.wait(PATIENCE) == 0, log.read_text()
    last = subprocess.run(
        [sys.executable, "-m", *stream, "--idle_timeout", "15"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env=os.environ,
    )

    assert last.returncode == 0, last.stderr + log.read_text()
    expected = what_was_published(5, 0, ROWS, ERRORS, knows_names=False)
    names = [sale_name(5, row) for row in expected.rows.to_pylist()]
    amounts = dict(zip(names, expected.accepted["cantidad_de_venta"].to_pylist(), strict=True))
    letters = places.dead_letters()
    assert letters.keys() == {sale_name(5, row) for row in range(ROWS)} - amounts.keys()
    assert Counter(letters.values()) == {str(k): n for k, n in expected.rejected.items() if n}
    _check_table(table, amounts, is_exactly_once=delivery == "exactly_once")
    _check_lake(lake, expected)
    return expected, table


def _check_table(table: TableName, amounts: dict[str, Decimal], *, is_exactly_once: bool) -> None:
    rows = _ask(f"SELECT _message_id, cantidad_de_venta FROM `{table.path}`")
    unique = _ask(
        f"SELECT _message_id, cantidad_de_venta FROM `{table.beside('ventas_unicas').path}`"
    )
    assert sorted(unique) == sorted(amounts.items())
    assert set(rows) == set(unique)
    assert (len(rows) == len(unique)) or not is_exactly_once


def _check_lake(lake: Path, expected: Published) -> None:
    found = Lake.open(str(lake))
    assert verify(found).problems == ()
    snapshot = found.snapshot()
    amounts = expected.accepted["cantidad_de_venta"].to_pylist()
    assert (snapshot.rows, snapshot.total) == (len(amounts), sum(amounts))
    assert sum(run.rows_rejected for run in snapshot.runs) == sum(expected.rejected.values())
    ids = pq.read_table(lake, columns=["id_cliente"])["id_cliente"].to_pylist()
    assert sorted(ids) == sorted(expected.accepted["id_cliente"].to_pylist())


def _ask(query: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in bigquery_client(LOCAL_PROJECT).query(query).result()]


def _batches(lake: Path) -> int:
    """Batches in the journal and commits of the lake: what grows while a stream works."""
    return sum(1 for _ in lake.glob("_stream/*/*.entry")) if lake.exists() else 0


def _until_more(lake: Path, before: int, running: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while _batches(lake) <= before and running.poll() is None:
        assert time.monotonic() < deadline, "the stream wrote nothing"
        time.sleep(0.02)

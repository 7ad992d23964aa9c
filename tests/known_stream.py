"""A stream of known sales, some broken, late or twice: what is published, and where it must be."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from celes_beam.sales.traffic import SALE, Published, sale_name, what_was_published
from celes_beam.stores.cloud.clients import (
    LOCAL_PROJECT,
    bigquery_client,
    publisher_client,
    subscriber_client,
)
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from celes_beam.stores.warehouse.table_name import TableName
from tests.cloud import fresh_name

SEED = 5
ERRORS = 0.02
PATIENCE = 120.0


@contextmanager
def process(*command: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a module in the body, and kill it at its end."""
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

    def stream(self, table: TableName, lake: Path) -> list[str]:
        """The command of the stream, without what it is to guarantee."""
        line = ["pipelines.streaming", "--subscription", self.subscription]
        line += ["--bigquery_table", str(table), "--output", str(lake)]
        line += ["--dead_letter_topic", self.letters, "--id_attribute", SALE]
        line += ["--lake_flush_seconds", "2", "--max_batch_rows", "2000", "--progress", "off"]
        return line

    def publish(self, rows: int, rate: int) -> list[str]:
        """The command that publishes so many sales."""
        line = ["celes_beam.cli", "publish", "--topic", self.topic, "--rows", str(rows)]
        line += ["--rate", str(rate), "--seed", str(SEED), "--error_rate", str(ERRORS)]
        line += ["--late_share", "0.05", "--duplicate_share", "0.03", "--progress", "off"]
        return line

    def dead_letters(self) -> dict[str, str]:
        """The reasons of each dead letter, by the name of the sale."""
        found: dict[str, str] = {}
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


def run_to_the_end(stream: list[str], log: Path) -> None:
    """Run a stream until nothing comes any more; ``log`` is shown when it fails."""
    last = subprocess.run(
        [sys.executable, "-m", *stream, "--idle_timeout", "15"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env=os.environ,
    )
    assert last.returncode == 0, last.stderr + log.read_text()


def check_everywhere(
    places: Places, rows: int, table: TableName, lake: Path, *, is_exactly_once: bool
) -> None:
    """Every accepted sale in table and lake, every other one a dead letter with its reasons."""
    expected = what_was_published(SEED, 0, rows, ERRORS, knows_names=False)
    names = [sale_name(SEED, row) for row in expected.rows.to_pylist()]
    amounts = dict(zip(names, expected.accepted["cantidad_de_venta"].to_pylist(), strict=True))
    letters = places.dead_letters()
    assert letters.keys() == {sale_name(SEED, row) for row in range(rows)} - amounts.keys()
    assert Counter(letters.values()) == {str(k): n for k, n in expected.rejected.items() if n}
    check_table(table, amounts, is_exactly_once=is_exactly_once)
    check_lake(lake, expected)


def check_table(table: TableName, amounts: dict[str, Decimal], *, is_exactly_once: bool) -> None:
    """Each sale once, or in the view at least."""
    rows = _ask(f"SELECT _message_id, cantidad_de_venta FROM `{table.path}`")
    unique = _ask(
        f"SELECT _message_id, cantidad_de_venta FROM `{table.beside('ventas_unicas').path}`"
    )
    assert sorted(unique) == sorted(amounts.items())
    assert set(rows) == set(unique)
    assert (len(rows) == len(unique)) or not is_exactly_once


def check_lake(lake: Path, expected: Published) -> None:
    """The accepted sales, and the number of rejected ones."""
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


def batches(lake: Path) -> int:
    """Batches in the journal and commits of the lake: what grows while a stream works."""
    return sum(1 for _ in lake.glob("_stream/*/*.entry")) if lake.exists() else 0


def until_more(lake: Path, before: int, running: subprocess.Popen[bytes]) -> None:
    """Wait until there are more batches, or the stream has ended."""
    deadline = time.monotonic() + PATIENCE
    while batches(lake) <= before and running.poll() is None:
        assert time.monotonic() < deadline, "the stream wrote nothing"
        time.sleep(0.02)

"""A stream on Prism: what goes wrong is one line, and nothing of it is left running."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from celes_beam.contract import AMOUNT, CATEGORY, DATE, REGION
from celes_beam.sales.traffic import what_was_published
from celes_beam.stores.cloud.clients import LOCAL_PROJECT, bigquery_client, publisher_client
from celes_beam.stores.warehouse.table_name import TableName, parse_table_name
from pipelines import generate
from tests.known_stream import (
    ERRORS,
    SEED,
    Places,
    batches,
    check_everywhere,
    process,
    until_more,
)
from tests.known_stream import PATIENCE as KNOWN_PATIENCE
from tests.tools import ROOT, need_tool
from tests.topics import Topic

PATIENCE = 90.0
ROWS = 50_000
KILLS = 5
PAGE = ROOT / "docs" / "live-windows.md"
Group = tuple[date, str, str]
SALE = {
    "id_cliente": 1,
    "fecha_de_transaccion": "2024-05-03",
    "cantidad_de_venta": 1.25,
    "categoria_de_producto": "Hogar",
    "region_de_venta": "Norte",
}
DELETES_ITS_DEAD_LETTER_TOPIC = """
import sys
from celes_beam.stores.cloud.clients import publisher_client
from celes_beam.stores.messages import dead_letter_topic as at
before = at.check_dead_letter_topic
def look_and_delete(topic, read):
    before(topic, read)
    with publisher_client() as client:
        client.delete_topic(topic=topic)
at.check_dead_letter_topic = look_and_delete
from pipelines.streaming import main
sys.exit(main())
"""


@pytest.fixture
def topic(pubsub: str) -> Topic:
    return Topic.make()


@pytest.fixture
def prism() -> list[str]:
    return ["--runner", "PrismRunner", "--prism_location", need_tool("prism", "make prism")]


def send(topic: Topic, *messages: bytes) -> None:
    with publisher_client() as client:
        for message in messages:
            client.publish(topic.path, message).result(PATIENCE)


@contextmanager
def streamed(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process group of which nothing is left afterwards."""
    with log.open("wb") as written:
        running = subprocess.Popen(
            [sys.executable, *command],
            stdout=written,
            stderr=written,
            env=os.environ,
            start_new_session=True,
        )
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait(PATIENCE)


def test_generated_files_are_those_of_the_other_runner(prism: list[str], tmp_path: Path) -> None:
    for name, runner in (("here", []), ("prism", prism)):
        flags = ["--rows", "5000", "--error_rate", "1%", "--progress", "off", *runner]
        generate.run([*flags, "-o", str(tmp_path / f"{name}.csv")])

    assert (tmp_path / "prism.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


@pytest.mark.parametrize(
    ("signals", "code", "how"),
    [
        ([signal.SIGTERM], 143, "terminated"),
        ([signal.SIGINT], 130, "interrupted"),
        ([signal.SIGINT, signal.SIGINT], 130, "interrupted"),
        ([signal.SIGTERM, signal.SIGINT], 130, "interrupted"),
    ],
)
def test_an_interrupted_batch_leaves_nothing(
    prism: list[str], tmp_path: Path, signals: list[signal.Signals], code: int, how: str
) -> None:
    lake, log = tmp_path / "lake", tmp_path / "log"
    flags = ["--rows", "1e9", "-o", str(lake), "--progress", "off", *prism]
    with streamed(["-m", "pipelines.batch", *flags], log) as running:
        waited(lambda: any(lake.glob("_staging/*/*/*/*")))
        for number in signals:
            running.send_signal(number)
            time.sleep(0.3)  # two at once would be one
        assert running.wait(PATIENCE) == code, log.read_text()
        waited(lambda: not running_in_group(running.pid))

    assert log.read_text() == f"pipelines.batch: {how}; it is safe to run it again\n"
    assert not lake.exists() or not [*lake.rglob("*.parquet*")]


def test_what_a_worker_raises_is_one_line_and_nothing_is_acked(
    prism: list[str], topic: Topic, tmp_path: Path
) -> None:
    letters = Topic.make()
    send(topic, b"no row", json.dumps(SALE).encode())
    flags = ["--subscription", topic.subscription, "--output", str(tmp_path / "lake")]
    flags += ["--dead_letter_topic", letters.path, "--max_batch_seconds", "0.2"]
    flags += ["--progress", "off", *prism]
    log = tmp_path / "log"
    with streamed(["-c", DELETES_ITS_DEAD_LETTER_TOPIC, *flags], log) as running:
        assert running.wait(PATIENCE) in {1, 2}, log.read_text()
        # Prism went with it.
        waited(lambda: not running_in_group(running.pid))

    said = log.read_text().splitlines()
    assert letters.path in said[-1]
    assert said[-1].startswith("pipelines.streaming: ")
    assert [line for line in said if "Traceback" in line or "RuntimeError" in line] == []
    assert len(topic.pull(2, then_no_more=False)) == 2


@pytest.mark.slow
def test_figures_for_prometheus(prism: list[str], topic: Topic, tmp_path: Path) -> None:
    flags = ["--subscription", topic.subscription, "--output", str(tmp_path / "lake")]
    flags += ["--metrics_port", "0", "--max_batch_seconds", "0.2", *prism]
    log = tmp_path / "log"
    with streamed(["-m", "pipelines.streaming", *flags], log) as running:
        send(topic, json.dumps(SALE).encode(), b"no row")
        url = waited(lambda: next((w for w in log.read_text().split() if "/metrics" in w), ""))

        def figures() -> str:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return str(answer.read(), "utf-8")

        waited(lambda: "celes_beam_rows_read_total 2.0" in figures())
        assert 'celes_beam_rows_rejected_total{reason="malformed"} 1.0' in figures()
        running.send_signal(signal.SIGTERM)
        assert running.wait(PATIENCE) == 0, log.read_text()


@pytest.mark.slow
def test_killed_again_and_again_with_live_windows(
    prism: list[str], pubsub: str, dataset: str, tmp_path: Path
) -> None:
    places, table, lake = Places(), parse_table_name(f"{dataset}.ventas"), tmp_path / "lake"
    stream = [*places.stream(table, lake), "--delivery", "exactly_once", *prism]
    stream += ["--live_windows", "1d"]
    chance = random.Random(7)
    log = tmp_path / "log"
    with process(*places.publish(ROWS, 4000), log=log) as publisher:
        for _ in range(KILLS):
            with process(*stream, log=log) as killed:
                until_more(lake, batches(lake), killed)
                time.sleep(chance.random())
        assert publisher.wait(KNOWN_PATIENCE) == 0, log.read_text()
    with process(*stream, "--idle_timeout", "15", log=log) as last:
        assert last.wait(KNOWN_PATIENCE) == 0, log.read_text()

    check_everywhere(places, ROWS, table, lake, is_exactly_once=True)
    truth: dict[Group, tuple[int, Decimal]] = {}
    for row in what_was_published(SEED, 0, ROWS, ERRORS, knows_names=False).accepted.to_pylist():
        group = row[DATE].date(), row[CATEGORY], row[REGION]
        rows, total = truth.get(group, (0, Decimal(0)))
        truth[group] = rows + 1, total + row[AMOUNT]
    # Too little is told after a kill, never too much.
    found = shown(table)
    assert all(n <= truth[g][0] and total <= truth[g][1] for g, (n, total) in found.items())
    (sql,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    ask(re.sub(r"\b60\b", "86400", sql.replace("tienda.", f"{table.dataset}.")))
    assert shown(table) == truth


def ask(query: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in bigquery_client(LOCAL_PROJECT).query(query).result()]


def shown(table: TableName) -> dict[Group, tuple[int, Decimal]]:
    """What the view tells of each window."""
    rows = ask(
        f"SELECT inicio, {CATEGORY}, {REGION}, ventas, total "
        f"FROM `{table.beside('ventas_por_ventana').path}`"
    )
    return {
        (start.date(), category, region): (n, sums) for start, category, region, n, sums in rows
    }


def running_in_group(group: int) -> list[str]:
    """Processes of a group that run; those that have ended may wait to be noticed."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, rest = path.read_text().partition(") ")
            state, _, in_group = rest.split()[:3]
            if int(in_group) == group and state not in "ZX":
                found.append(name)
    return found


def waited(ask: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := ask()):
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.05)
    return found

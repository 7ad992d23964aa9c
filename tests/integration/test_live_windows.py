"""Live windows while a stream runs, on Prism and Flink, with the local Pub/Sub and BigQuery."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from celes_beam.errors import ConfigError, UsageError
from celes_beam.stores.cloud.clients import LOCAL_PROJECT, bigquery_client, publisher_client
from celes_beam.stores.warehouse.table_name import TableName, parse_table_name
from pipelines import streaming
from tests.flink_cluster import ON_FLINK, FlinkCluster
from tests.numbered import Numbered, until
from tests.tools import ROOT, need_tool
from tests.topics import Topic

PAGE = ROOT / "docs" / "live-windows.md"
PATIENCE = 90.0
Group = tuple[datetime, str, str]


@pytest.fixture
def topic(pubsub: str) -> Topic:
    return Topic.make()


@pytest.fixture
def table(dataset: str) -> TableName:
    return parse_table_name(f"{dataset}.ventas")


@pytest.fixture
def prism() -> list[str]:
    return ["--runner", "PrismRunner", "--prism_location", need_tool("prism", "make prism")]


@pytest.fixture(params=["PrismRunner", pytest.param("Flink", marks=ON_FLINK)])
def live_runner(request: pytest.FixtureRequest) -> list[str]:
    """Flags of each runner of this machine that has live windows."""
    if request.param == "Flink":
        cluster: FlinkCluster = request.getfixturevalue("flink")
        return cluster.flags
    return list(request.getfixturevalue("prism"))


@dataclass
class Sent:
    """Sales that are published, and what their windows hold then."""

    topic: Topic
    seconds: int
    count: int = 0
    sums: dict[Group, tuple[int, Decimal]] = field(
        default_factory=lambda: defaultdict(lambda: (0, Decimal(0)))
    )

    def send(self, dates: list[datetime]) -> None:
        """Publish a sale of each date."""
        with publisher_client() as client:
            sent = [client.publish(self.topic.path, self._sale(date)) for date in dates]
            for one in sent:
                one.result(PATIENCE)

    def _sale(self, date: datetime) -> bytes:
        self.count += 1
        amount = Decimal(self.count) + Decimal("0.01") * (self.count % 100)
        category, region = f"C{self.count % 3}", f"R{self.count % 2}"
        start = int(date.timestamp()) // self.seconds * self.seconds
        group = (datetime.fromtimestamp(start, UTC), category, region)
        rows, total = self.sums[group]
        self.sums[group] = rows + 1, total + amount
        return json.dumps(
            {
                "id_cliente": self.count,
                "fecha_de_transaccion": date.isoformat(),
                "cantidad_de_venta": str(amount),
                "categoria_de_producto": category,
                "region_de_venta": region,
            }
        ).encode()


def ask(query: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in bigquery_client(LOCAL_PROJECT).query(query).result()]


def shown(table: TableName) -> dict[Group, tuple[int, Decimal]]:
    """What the view tells of each window."""
    rows = ask(
        "SELECT inicio, categoria_de_producto, region_de_venta, ventas, total "
        f"FROM `{table.beside('ventas_por_ventana').path}`"
    )
    found = {(start, category, region): (n, total) for start, category, region, n, total in rows}
    assert len(found) == len(rows)
    return found


@contextmanager
def streamed(argv: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A stream as a process group of its own, of which nothing is left afterwards."""
    command = [sys.executable, "-m", "pipelines.streaming", *argv, "--progress", "off"]
    command += ["--summary_json", str(folder / "told.json")]
    with (folder / "log").open("ab") as log:
        running = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ, start_new_session=True
        )
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait(PATIENCE)


def ended(running: subprocess.Popen[bytes], folder: Path) -> dict[str, Any]:
    """The summary of a stream that ends by itself."""
    assert running.wait(PATIENCE) == 0, (folder / "log").read_text()
    summary: dict[str, Any] = json.loads((folder / "told.json").read_text())
    return summary


def now() -> datetime:
    return datetime.now(UTC)


def counted(table: TableName) -> int:
    """Rows of a table, which may not be there yet."""
    from google.api_core.exceptions import NotFound

    try:
        return int(ask(f"SELECT COUNT(*) FROM `{table.path}`")[0][0])
    except NotFound:
        return 0


def test_sums_of_windows_while_the_stream_runs(
    live_runner: list[str], topic: Topic, table: TableName, tmp_path: Path
) -> None:
    sent = Sent(topic, 2)
    live = table.beside("ventas_en_vivo")
    flags = ["--subscription", topic.subscription, "--bigquery_table", str(table)]
    flags += ["--live_windows", "2s", "--idle_timeout", "6", "--max_batch_seconds", "0.2"]
    flags += ["--live_lateness", "10m"]
    with streamed([*flags, *live_runner], tmp_path) as running:
        began = now()
        while now() - began < timedelta(seconds=5):
            sent.send([now()] * 20)
            time.sleep(0.1)
        # Told while it runs, before it can know that no more comes.
        until(lambda: counted(live) >= 6, running=running)
        assert running.poll() is None
        kinds = {row[0] for row in ask(f"SELECT DISTINCT clase FROM `{live.path}`")}
        assert kinds == {"a_tiempo"}
        # Late: within the lateness, and long after it.
        sent.send([began] * 30)
        sent.send([began - timedelta(days=40)] * 10)
        sent.send([now() + timedelta(hours=2)] * 10)
        summary = ended(running, tmp_path)

    assert summary["rows_accepted"] == sent.count
    assert shown(table) == dict(sent.sums)
    kinds = {row[0] for row in ask(f"SELECT DISTINCT clase FROM `{live.path}`")}
    assert kinds == {"a_tiempo", "correccion", "parcial"}
    late = ask(f"SELECT SUM(tardias) FROM `{table.beside('ventas_por_ventana').path}`")
    assert late == [(40,)]


def told_of(shown: dict[Group, tuple[int, Decimal]]) -> int:
    return sum(rows for rows, _ in shown.values())


def test_sigterm_tells_windows_that_are_open(
    live_runner: list[str], topic: Topic, table: TableName, tmp_path: Path
) -> None:
    sent = Sent(topic, 86_400)
    flags = ["--subscription", topic.subscription, "--bigquery_table", str(table)]
    flags += ["--live_windows", "1d", "--live_table", "por_dia", "--max_batch_seconds", "0.1"]
    with streamed([*flags, *live_runner], tmp_path) as running:
        sent.send([now()] * 50)
        until(lambda: counted(table) == 50, running=running)
        running.send_signal(signal.SIGTERM)
        summary = ended(running, tmp_path)

    assert (summary["ended_by"], summary["live_rows"]) == ("signal", 50)
    assert summary["live_table"] == str(table.beside("por_dia"))
    assert shown(table) == dict(sent.sums)
    kinds = ask(f"SELECT DISTINCT clase FROM `{table.beside('por_dia').path}`")
    assert kinds == [("parcial",)]


@pytest.mark.slow
def test_killed_it_tells_too_little_and_the_sql_of_the_page_sets_it_right(
    prism: list[str], pubsub: str, table: TableName, tmp_path: Path
) -> None:
    # What the killed process had asked for is leased to it for a while.
    numbered = Numbered.make(ack_seconds=10)
    sent = Sent(Topic(numbered.topic, numbered.subscription), 86_400)
    flags = ["--subscription", numbered.subscription, "--bigquery_table", str(table)]
    flags += ["--output", str(tmp_path / "lake"), "--delivery", "exactly_once"]
    flags += ["--live_windows", "1d", "--max_batch_seconds", "0.1", *prism]
    with streamed(flags, tmp_path) as running:
        sent.send([now()] * 30)
        until(lambda: counted(table) == 30, running=running)
        children = children_of(running.pid)
        assert children
        # Alone: Prism has to notice.
        running.kill()
        running.wait(PATIENCE)
        until_gone(children)
    sent.send([now()] * 12)
    with streamed(flags, tmp_path) as running:
        until(lambda: counted(table) == 42, running=running)
        running.send_signal(signal.SIGTERM)
        summary = ended(running, tmp_path)

    # What was written and not told before the kill is missing.
    assert told_of(shown(table)) == summary["live_rows"] == 12
    assert all(
        rows <= sent.sums[group][0] and total <= sent.sums[group][1]
        for group, (rows, total) in shown(table).items()
    )
    (sql,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    sql = re.sub(r"\b60\b", "86400", sql.replace("tienda.", f"{table.dataset}."))
    sql = sql.replace("3720", "0")
    ask(sql)
    assert shown(table) == dict(sent.sums)
    rows = counted(table.beside("ventas_en_vivo"))
    ask(sql)
    assert counted(table.beside("ventas_en_vivo")) == rows


@pytest.mark.slow
@pytest.mark.xdist_group("flink")
def test_sums_outlive_a_worker_of_flink(
    flink: FlinkCluster, pubsub: str, table: TableName, tmp_path: Path
) -> None:
    numbered = Numbered.make(ack_seconds=10)
    sent = Sent(Topic(numbered.topic, numbered.subscription), 86_400)
    name = "live-windows"
    flags = ["--subscription", numbered.subscription, "--bigquery_table", str(table)]
    flags += ["--output", str(tmp_path / "lake"), "--delivery", "exactly_once", "--run_id", name]
    flags += ["--live_windows", "1d", "--max_batch_seconds", "0.1", *flink.flags]

    def checkpoints() -> int:
        counts = flink.ask(f"jobs/{flink.job(name)['jid']}/checkpoints")["counts"]
        return int(counts["completed"])

    with streamed(flags, tmp_path) as running:
        sent.send([now()] * 30)
        until(lambda: counted(table) == 30, running=running)
        # The next one may have begun before.
        kept = checkpoints() + 2
        until(lambda: checkpoints() >= kept, running=running)
        flink.kill(flink.busy_worker(name))
        flink.mend()
        sent.send([now()] * 12)
        until(lambda: counted(table) == 42, running=running)
        running.send_signal(signal.SIGTERM)
        ended(running, tmp_path)

    assert shown(table) == dict(sent.sums)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + PATIENCE
    while any(Path(f"/proc/{pid}/exe").exists() for pid in pids):
        assert time.monotonic() < deadline, f"{pids} are still there"
        time.sleep(0.1)


def test_a_runner_without_live_windows_is_refused_before_a_message_is_pulled(
    topic: Topic, table: TableName
) -> None:
    Sent(topic, 60).send([now()])
    flags = ["--subscription", topic.subscription, "--bigquery_table", str(table)]
    with pytest.raises(ConfigError, match="DirectRunner has no live windows"):
        streaming.run([*flags, "--live_windows", "1m"])
    assert len(topic.pull(1, then_no_more=False)) == 1


def test_a_table_that_does_not_fit_is_named_with_its_flag(
    topic: Topic, table: TableName, prism: list[str]
) -> None:
    client = bigquery_client(LOCAL_PROJECT)
    client.create_dataset(f"{LOCAL_PROJECT}.{table.dataset}", exists_ok=True)
    ask(f"CREATE TABLE `{table.beside('otra').path}` (x INT64)")
    flags = ["--subscription", topic.subscription, "--bigquery_table", str(table)]
    with pytest.raises(UsageError, match=r"--live_table: .*otra is there and does not fit"):
        streaming.run([*flags, *prism, "--live_windows", "1m", "--live_table", "otra"])

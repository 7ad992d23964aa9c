"""A stream on Flink outlives its task manager, and goes on from its last checkpoint."""

from __future__ import annotations

import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from celes_beam.commands.stream_summary import StreamSummary
from celes_beam.sales.traffic import what_was_published
from celes_beam.stores.cloud.clients import LOCAL_PROJECT, bigquery_client
from celes_beam.stores.warehouse.table_name import TableName, parse_table_name
from pipelines import streaming
from tests.flink_cluster import ON_FLINK, FlinkCluster, wait_for_workers
from tests.known_stream import (
    ERRORS,
    PATIENCE,
    SEED,
    Places,
    batches,
    check_everywhere,
    process,
    run_to_the_end,
    until_more,
)
from tests.numbered import until

pytestmark = ON_FLINK

ROWS = 50_000


def last_checkpoint(cluster: FlinkCluster, name: str) -> Any:
    """The last one of the job of this name, or None."""
    job = cluster.job(name)["jid"]
    return cluster.ask(f"jobs/{job}/checkpoints")["latest"]["completed"]


def kept_checkpoint(cluster: FlinkCluster, name: str) -> str:
    """The newest checkpoint that a job has left; what the cluster tells may be seconds old."""
    folder = cluster.folder / "flink" / "checkpoints" / cluster.job(name)["jid"]
    whole = [path.parent for path in folder.glob("chk-*/_metadata")]
    return max(whole, key=lambda path: int(path.name.removeprefix("chk-"))).as_uri()


def total_of(table: TableName) -> Decimal | None:
    query = f"SELECT SUM(cantidad_de_venta) FROM `{table.path}`"
    (row,) = bigquery_client(LOCAL_PROJECT).query(query).result()
    found: Decimal | None = row[0]
    return found


def test_a_worker_and_the_launcher_are_killed_and_it_goes_on_from_the_last_checkpoint(
    tmp_path: Path, pubsub: str, dataset: str, flink: FlinkCluster
) -> None:
    places, table, lake = Places(), parse_table_name(f"{dataset}.ventas"), tmp_path / "lake"
    stream = [*places.stream(table, lake), "--delivery", "exactly_once", *flink.flags]
    stream += ["--checkpointing_interval", "1000"]
    log = tmp_path / "log"
    name = "stream-to-be-killed"
    with process(*places.publish(ROWS, 2000), log=log) as publisher:
        with process(*stream, "--run_id", name, log=log) as launcher:
            until_more(lake, batches(lake), launcher)
            until(lambda: last_checkpoint(flink, name) is not None, PATIENCE)
            busy = flink.busy_worker(name)
            flink.kill(busy)
            try:
                before = last_checkpoint(flink, name)["id"]
                until(lambda: last_checkpoint(flink, name)["id"] > before + 1, PATIENCE)
                until_more(lake, batches(lake), launcher)
            finally:
                flink.mend()
        # Its worker is gone, and so the job restarts in vain until it is ended.
        flink.cancel(name)
        until(lambda: flink.job(name)["state"] == "CANCELED", PATIENCE)
        point = kept_checkpoint(flink, name)
        assert publisher.wait(PATIENCE) == 0, log.read_text()
    run_to_the_end([*stream, "--savepoint_path", point], log)

    check_everywhere(places, ROWS, table, lake, is_exactly_once=True)


@pytest.mark.parametrize("parallelism", ["1", "2"])
def test_it_ends_by_itself(
    tmp_path: Path, pubsub: str, dataset: str, flink: FlinkCluster, parallelism: str
) -> None:
    places, table, lake = Places(), parse_table_name(f"{dataset}.ventas"), tmp_path / "lake"
    subprocess.run([sys.executable, "-m", *places.publish(3000, 10_000)], check=True)
    stream = [*places.stream(table, lake)[1:], "--delivery", "exactly_once", *flink.flags]

    summary = streaming.run([*stream, "--parallelism", parallelism, "--idle_timeout", "4"])

    wait_for_workers()
    assert isinstance(summary, StreamSummary)
    assert summary.rows_read == 3000
    check_everywhere(places, 3000, table, lake, is_exactly_once=True)


def test_with_workers_elsewhere_it_is_left_running(
    tmp_path: Path, pubsub: str, dataset: str, flink: FlinkCluster
) -> None:
    places, table, lake = Places(), parse_table_name(f"{dataset}.ventas"), tmp_path / "lake"
    stream = [*places.stream(table, lake), "--delivery", "exactly_once", *flink.flags]
    stream += ["--environment_type", "PROCESS", "--run_id", "left-alone"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", *stream], capture_output=True, text=True, check=False, timeout=90
        )
        assert done.returncode == 0, done.stderr
        assert "left-alone" in done.stdout
        subprocess.run([sys.executable, "-m", *places.publish(2000, 10_000)], check=True)
        expected = what_was_published(SEED, 0, 2000, ERRORS, knows_names=False)
        accepted = sum(expected.accepted["cantidad_de_venta"].to_pylist())
        until(lambda: total_of(table) == accepted, PATIENCE)
    finally:
        flink.cancel("left-alone")


def test_stopped_by_a_signal_it_acknowledges_what_it_wrote(
    tmp_path: Path, pubsub: str, dataset: str, flink: FlinkCluster
) -> None:
    places, table, lake = Places(), parse_table_name(f"{dataset}.ventas"), tmp_path / "lake"
    stream = [*places.stream(table, lake), "--delivery", "exactly_once", *flink.flags]
    log = tmp_path / "log"
    subprocess.run([sys.executable, "-m", *places.publish(2000, 10_000)], check=True)
    with process(*stream, log=log) as launcher:
        until_more(lake, 0, launcher)
        launcher.send_signal(signal.SIGTERM)
        assert launcher.wait(PATIENCE) == 0, log.read_text()

    assert "It ended because it was told to stop" in log.read_text()
    check_everywhere(places, 2000, table, lake, is_exactly_once=True)

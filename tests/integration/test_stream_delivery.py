"""Deliveries into the local BigQuery, Pub/Sub and Cloud Storage, cut short at each step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pytest

from celes_beam.sales.messages import MessageRules
from celes_beam.stores.cloud.clients import bigquery_client
from celes_beam.stores.lake.gcs_storage import GcsStorage
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from celes_beam.stores.messages.dead_letters import read_dead_letters
from celes_beam.stores.stream.apply import RowWriter, Sinks
from celes_beam.stores.stream.delivery import Delivery, DeliverySpec, open_spec_sinks
from celes_beam.stores.stream.journal import Journal
from celes_beam.stores.warehouse.stream_tables import make_stream
from celes_beam.stores.warehouse.table_name import parse_table_name
from celes_beam.stores.warehouse.tables import Destination
from celes_beam.stores.warehouse.warehouse import Warehouse
from tests.memory_sinks import Faults, Killed, MemoryCloud
from tests.sale_messages import RULES, SOURCE, accepted_ids, cents, rejected_ids, sale_messages
from tests.topics import Topic

NEVER = 1e6


@dataclass
class Cut:
    """A real table that a process reaches in steps, one of which it does not survive."""

    real: RowWriter
    faults: Faults
    name: str

    def open(self) -> str:
        stream: str = self.faults.step("open", self.real.open)
        return stream

    def append(self, rows: pa.RecordBatch, stream: str | None, **how: Any) -> None:
        self.faults.step(f"append {self.name}", lambda: self.real.append(rows, stream, **how))
        self.faults.step(f"appended {self.name}", lambda: None)

    def close(self) -> None:
        self.real.close()


def cut_at(step: int) -> tuple[Faults, Callable[[DeliverySpec], Sinks]]:
    faults = Faults(step)

    def sinks(spec: DeliverySpec) -> Sinks:
        real = open_spec_sinks(spec)
        assert real.sales is not None
        assert real.rejected is not None
        return replace(
            real,
            sales=Cut(real.sales, faults, "sales"),
            rejected=Cut(real.rejected, faults, "rejected"),
        )

    return faults, sinks


def die(delivery: Delivery) -> None:
    """Let go of what the end of a process lets go of."""
    assert delivery._keeper is not None
    delivery._keeper.abandon()
    delivery._sinks.close()


def query(sql: str) -> list[tuple[Any, ...]]:
    rows = bigquery_client("celes-dev").query(sql, job_retry=None).result()
    return [tuple(row.values()) for row in rows]


def check_lake(root: str, numbers: range) -> Lake:
    lake = Lake.open(root)
    snapshot = lake.snapshot()
    assert (snapshot.rows, snapshot.total * 100) == (len(accepted_ids(numbers)), cents(numbers))
    found = verify(lake)
    assert (found.problems, found.notes) == ((), ())
    assert found.rejected_rows == len(rejected_ids(numbers))
    return lake


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_exactly_once_into_everything(
    place: str, bucket: Any, dataset: str, pubsub: str, tmp_path: Any
) -> None:
    topic = Topic.make()
    table = Destination(parse_table_name(f"{dataset}.ventas"))
    make_stream(table)
    spec = DeliverySpec(
        RULES,
        "run",
        table=table,
        lake=f"gs://{bucket.name}/lake" if place == "bucket" else str(tmp_path / "lake"),
        delivery="exactly_once",
        dead_letter_topic=topic.path,
        flush_seconds=NEVER,
    )
    batches = [range(n, n + 20) for n in range(0, 140, 20)]
    for step, batch in enumerate(batches, start=1):
        faults, sinks = cut_at(step)
        dying = Delivery(spec, sinks=sinks)
        dying.start()
        if step < len(batches):
            with pytest.raises(Killed):
                dying.deliver(sale_messages(batch))
        else:
            dying.deliver(sale_messages(batch))
        assert len(faults.steps) == min(step, 6)
        die(dying)
        # A new process, to which the messages come again.
        with Delivery(spec) as after:
            assert after.deliver(sale_messages(batch)).duplicates in (0, 20)
    numbers = range(140)
    lake = check_lake(str(spec.lake), numbers)
    name = table.table
    ids = [row[0] for row in query(f"SELECT _message_id FROM `{name.path}`")]
    assert sorted(ids) == accepted_ids(numbers)
    ((total,),) = query(f"SELECT SUM(cantidad_de_venta) FROM `{name.path}`")
    assert total * 100 == cents(numbers)
    sources = [row[0] for row in query(f"SELECT source FROM `{name.rejected.path}`")]
    assert sorted(s.removeprefix(f"{SOURCE}/") for s in sources) == rejected_ids(numbers)
    letters = read_dead_letters(topic.pull(14))
    of_letters = Counter(s.rsplit("/")[-1] for s in letters.column("source").to_pylist())
    assert sorted(of_letters) == rejected_ids(numbers)
    # What was streamed is not loaded again, and what comes by files is.
    warehouse = Warehouse(table, lake)
    warehouse.prepare()
    loaded = warehouse.load()
    assert (loaded.rows, loaded.rejected_rows) == (0, 0)
    assert query(f"SELECT COUNT(*) FROM `{name.path}`") == [(len(ids),)]


def test_a_journal_in_a_bucket(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = _bucket_run(f"gs://{bucket.name}/whole", Faults(), monkeypatch)
    for at in range(1, len(steps) + 1, 4):
        root = f"gs://{bucket.name}/lake-{at}"
        with pytest.raises(Killed):
            _bucket_run(root, Faults(at), monkeypatch)
        _bucket_run(root, Faults(), monkeypatch)
        check_lake(root, range(30))


def _bucket_run(root: str, faults: Faults, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three batches, all of which come (again) to each process."""

    def faulty(method: Any) -> Any:
        def step(storage: Any, name: str, *args: Any) -> Any:
            return faults.step(f"{method.__name__} {name}", lambda: method(storage, name, *args))

        return step

    rules: MessageRules = RULES
    spec = DeliverySpec(rules, "run", lake=root, flush_seconds=NEVER)
    with monkeypatch.context() as patch:
        for name in ("put_if_absent", "move", "delete"):
            patch.setattr(GcsStorage, name, faulty(getattr(GcsStorage, name)))
        with Delivery(spec, sinks=lambda _: MemoryCloud().sinks(tables=False)) as delivery:
            for first in (0, 10, 20):
                delivery.deliver(sale_messages(range(first, first + 10)))
    assert spec.journal_root is not None
    listing = Journal.open(spec.journal_root).listing()
    assert len(listing.entries) == 3
    assert listing.unapplied() == []
    return faults.steps

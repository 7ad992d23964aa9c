"""Deliveries that are killed at every step: what is in the tables and the lake afterwards."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from celes_beam.errors import ConfigError, IntegrityError, StorageError, UsageError
from celes_beam.sales.messages import Messages
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from celes_beam.stores.stream.delivery import Delivery, DeliverySpec
from celes_beam.stores.stream.flush import Flusher
from celes_beam.stores.stream.journal import Journal
from celes_beam.stores.warehouse.table_name import parse_table_name
from celes_beam.stores.warehouse.tables import Destination
from tests.memory_sinks import Faults, Killed, MemoryCloud
from tests.sale_messages import RULES, SOURCE, accepted_ids, cents, rejected_ids, sale_messages

TABLE = Destination(parse_table_name("my-project:sales.ventas"))
NEVER = 1e6
BATCHES = [range(0, 20), range(20, 40), range(40, 60)]
ALL = range(0, 60)


def spec_of(tmp_path: Path, **changes: Any) -> DeliverySpec:
    given = {
        "message_rules": RULES,
        "run_id": "run",
        "table": TABLE,
        "lake": str(tmp_path / "lake"),
        "delivery": "exactly_once",
        "flush_seconds": NEVER,
        "dead_letter_topic": "projects/p/topics/dead",
    }
    return DeliverySpec(**(given | changes))


class FaultyJournal:
    """Puts steps of faults around what a journal and a lake write."""

    def __init__(self, faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
        from celes_beam.stores.lake.local_storage import LocalStorage

        for name in ("put_if_absent", "move", "delete"):
            monkeypatch.setattr(LocalStorage, name, self._with(faults, getattr(LocalStorage, name)))

    def _with(self, faults: Faults, method: Any) -> Any:
        def step(storage: Any, name: str, *args: Any) -> Any:
            return faults.step(f"{method.__name__} {name}", lambda: method(storage, name, *args))

        return step


def process(cloud: MemoryCloud, spec: DeliverySpec, *, queue: list[Messages]) -> None:
    """What a process does: delivers, and acknowledges what was delivered."""
    delivery = Delivery(spec, sinks=lambda s: cloud.sinks(tables=s.table is not None))
    try:
        delivery.start()
        while queue:
            delivery.deliver(queue[0])
            del queue[0]
        delivery.close()
    finally:
        if delivery._keeper is not None:
            delivery._keeper.abandon()


def check_lake(root: str | None, numbers: range) -> None:
    assert root is not None
    lake = Lake.open(root)
    snapshot = lake.snapshot()
    assert snapshot.rows == len(accepted_ids(numbers))
    assert snapshot.total * 100 == cents(numbers)
    found = verify(lake)
    assert (found.problems, found.notes) == ((), ())
    assert found.rejected_rows == len(rejected_ids(numbers))


def steps_of(tmp_path: Path, spec: DeliverySpec, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    with monkeypatch.context() as patch:
        faults = Faults()
        cloud = MemoryCloud(faults)
        FaultyJournal(faults, patch)
        process(cloud, spec, queue=[sale_messages(b) for b in BATCHES])
        return faults.steps


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_killed_at_every_step(
    delivery: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = steps_of(
        tmp_path, spec_of(tmp_path, lake=str(tmp_path / "first"), delivery=delivery), monkeypatch
    )
    assert {s.split()[0] for s in steps} >= {"put_if_absent", "append", "dead", "move"}
    # Before a step is as good as after the one before it.
    for at in range(1, len(steps) + 1):
        spec = spec_of(tmp_path, lake=str(tmp_path / f"lake-{at}"), delivery=delivery)
        cloud = MemoryCloud()
        queue = [sale_messages(b) for b in BATCHES]
        with monkeypatch.context() as patch:
            faults = Faults(at)
            cloud.use(faults)
            FaultyJournal(faults, patch)
            with pytest.raises(Killed):
                process(cloud, spec, queue=queue)
        cloud.use(Faults())
        # What was not acknowledged comes again, in other batches, and so does some of the rest.
        left = [i for m in queue for i in m.ids]
        again = [int(i[1:]) for i in left] or [59]
        process(cloud, spec, queue=[sale_messages(again[:7]), sale_messages(again)])
        check_everywhere(cloud, spec, exactly=delivery == "exactly_once")


def check_everywhere(cloud: MemoryCloud, spec: DeliverySpec, *, exactly: bool) -> None:
    rejected = sorted(row["source"].rsplit("/")[-1] for row in cloud.rejected.rows)
    if exactly:
        assert cloud.sales.ids == accepted_ids(ALL)
        assert cloud.sales.cents == cents(ALL)
        assert rejected == rejected_ids(ALL)
    else:
        assert sorted(set(cloud.sales.ids)) == accepted_ids(ALL)
        assert sorted(set(rejected)) == rejected_ids(ALL)
        assert max(Counter(cloud.sales.ids).values()) <= 2
    letters = Counter(cloud.topic.letters)
    assert sorted({i for i, _ in letters}) == rejected_ids(ALL)
    assert {reasons for _, reasons in letters} == {("unparseable",)}
    check_lake(spec.lake, ALL)


def test_counts_and_duplicates(tmp_path: Path) -> None:
    cloud = MemoryCloud()
    with Delivery(spec_of(tmp_path), sinks=lambda _: cloud.sinks()) as delivery:
        first = delivery.deliver(sale_messages([*range(20), 3, 3, 7]))
        again = delivery.deliver(sale_messages(range(15, 25)))
        nothing = delivery.deliver(sale_messages(range(20)))
    assert (first.messages, first.duplicates, first.rows) == (23, 3, 20)
    assert (first.accepted, first.rejected, first.dead_letters) == (18, 2, 2)
    assert first.by_reason == {"unparseable": 2}
    assert len(first.latencies) == 20
    assert (first.latencies > 0).all()
    assert (again.messages, again.duplicates, again.rows) == (10, 5, 5)
    assert (nothing.messages, nothing.duplicates, nothing.rows) == (20, 20, 0)
    assert cloud.sales.ids == accepted_ids(range(25))


def test_without_a_journal_nothing_is_remembered(tmp_path: Path) -> None:
    cloud = MemoryCloud()
    spec = spec_of(tmp_path, lake=None, delivery="at_least_once")
    with Delivery(spec, sinks=lambda _: cloud.sinks()) as delivery:
        delivery.deliver(sale_messages([1, 1, 2]))
        delivered = delivery.deliver(sale_messages([1]))
    assert (delivered.duplicates, delivered.entry) == (0, None)
    assert cloud.sales.ids == ["m1", "m1", "m1", "m2"]
    assert list(tmp_path.iterdir()) == []


def test_exactly_once_needs_a_journal(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--journal FOLDER"):
        spec_of(tmp_path, lake=None)
    spec_of(tmp_path, lake=None, stable_batches=True)
    spec_of(tmp_path, lake=None, table=None)


def test_a_journal_without_a_lake_is_cleaned(tmp_path: Path) -> None:
    cloud = MemoryCloud()
    root = tmp_path / "journal"
    spec = spec_of(tmp_path, lake=None, journal=str(root), dedupe_minutes=0)
    with Delivery(spec, sinks=lambda _: cloud.sinks()) as delivery:
        for batch in BATCHES:
            delivery.deliver(sale_messages(batch))
        assert len(list(root.glob("*.entry"))) == 3
    assert cloud.sales.ids == accepted_ids(ALL)
    assert [f.name for f in root.iterdir()] == ["journal.json"]


def test_a_journal_is_of_one_stream(tmp_path: Path) -> None:
    cloud = MemoryCloud()

    def run(**changes: Any) -> None:
        process(cloud, spec_of(tmp_path, journal=str(tmp_path / "j"), **changes), queue=[])

    run()
    run(dedupe_minutes=1, table=None, delivery="at_least_once")
    others = replace(RULES, source="pubsub:projects/p/subscriptions/other")
    for changes in ({"lake": None}, {"lake": str(tmp_path / "other")}, {"message_rules": others}):
        with pytest.raises(UsageError, match="give each stream a journal of its own"):
            run(**changes)
    (tmp_path / "j" / "journal.json").write_text("{")
    with pytest.raises(IntegrityError, match="whose journal"):
        run()


@pytest.mark.parametrize("place", ["lake", "lake/", "lake/journal", "lake/j/_k"])
def test_a_journal_is_not_among_the_rows(place: str) -> None:
    for base in ("", "gs://bucket/"):
        with pytest.raises(ConfigError, match="readers would come upon it"):
            DeliverySpec(RULES, "run", lake=f"{base}lake", journal=base + place)
        DeliverySpec(RULES, "run", lake=f"{base}lake", journal=f"{base}lake/_j")
        DeliverySpec(RULES, "run", lake=f"{base}lake", journal=f"{base}lake2")


def test_rows_that_bigquery_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = {"m3", "m4", "m11"}

    def spec_for(name: str) -> DeliverySpec:
        return spec_of(tmp_path, lake=str(tmp_path / name))

    def refusing() -> MemoryCloud:
        cloud = MemoryCloud()
        cloud.sales.pieces = 5
        cloud.sales.refuses = lambda row: "no" if row["_message_id"] in refused else None
        return cloud

    with monkeypatch.context() as patch:
        cloud = refusing()
        FaultyJournal(cloud.faults, patch)
        process(cloud, spec_for("first"), queue=[sale_messages(range(20))])
        steps = len(cloud.faults.steps)
    for at in range(1, steps + 1):
        cloud, spec = refusing(), spec_for(f"lake-{at}")
        queue = [sale_messages(range(20))]
        with monkeypatch.context() as patch:
            cloud.use(Faults(at))
            FaultyJournal(cloud.faults, patch)
            with pytest.raises(Killed):
                process(cloud, spec, queue=queue)
        cloud.use(Faults())
        process(cloud, spec, queue=[sale_messages(range(20)), sale_messages([20])])
        accepted = set(accepted_ids(range(21))) - refused
        assert cloud.sales.ids == sorted(accepted)
        reasons = Counter(
            (row["source"].rsplit("/")[-1], *row["reasons"]) for row in cloud.rejected.rows
        )
        expected = {(i, "unparseable") for i in rejected_ids(range(20))}
        assert reasons == Counter(expected | {(i, "refused") for i in refused})
        assert {i for i, r in cloud.topic.letters if r == ("refused",)} == refused
        lake = Lake.open(str(spec.lake))
        assert lake.snapshot().rows == len(accepted)
        assert verify(lake).problems == ()
        assert sum(m.rejected_by_reason.get("refused", 0) for m in lake.runs()) == 3


def test_refused_without_a_journal_are_on_their_way_before_the_rest(tmp_path: Path) -> None:
    cloud = MemoryCloud(Faults(at=4))
    cloud.sales.refuses = lambda row: "no" if row["_message_id"] == "m3" else None
    spec = spec_of(tmp_path, lake=None, stable_batches=True)
    delivery = Delivery(spec, sinks=lambda _: cloud.sinks())
    delivery.start()
    streams = delivery.open_streams()
    with pytest.raises(Killed):
        delivery.deliver(sale_messages(range(10)), streams)
    assert cloud.faults.steps[2:] == ["append rejected", "dead letters"]
    cloud.use(Faults())
    assert delivery.deliver(sale_messages(range(10)), streams).refused == 1
    delivery.close()
    assert cloud.sales.ids == [i for i in accepted_ids(range(10)) if i != "m3"]
    assert {i for i, _ in cloud.topic.letters} == {"m3", "m7"}


def test_stable_batches_come_again(tmp_path: Path) -> None:
    cloud = MemoryCloud()
    spec = spec_of(tmp_path, stable_batches=True)
    names = set()
    streams = [Delivery(spec, sinks=lambda _: cloud.sinks()) for _ in BATCHES]
    for opener in streams:
        opener.start()
    opened = [opener.open_streams() for opener in streams]
    for _ in range(2):
        with Delivery(spec, sinks=lambda _: cloud.sinks()) as delivery:
            for batch, places in zip(BATCHES, opened, strict=True):
                delivered = delivery.deliver(sale_messages([*batch, batch[0]]), places)
                assert delivered.duplicates == 1
                names.add(delivered.entry or "")
    assert len(names) == 3
    assert cloud.sales.ids == accepted_ids(ALL)
    root = spec.journal_root
    assert root is not None
    journal = Journal.open(root)
    flusher = Flusher(Lake.open(str(spec.lake)), journal, "run", spec.layout, SOURCE)
    (commit,) = flusher.flush(journal.listing(), names)
    assert commit.rows == len(accepted_ids(ALL))
    assert flusher.flush(journal.listing(), names) == []
    check_lake(spec.lake, ALL)


def test_a_failed_batch_goes_before_the_next(tmp_path: Path) -> None:
    cloud = MemoryCloud()
    with Delivery(spec_of(tmp_path), sinks=lambda _: cloud.sinks()) as delivery:
        delivery.deliver(sale_messages(range(10)))
        for error_at in (1, 2, 3):
            batch = range(10 * error_at, 10 * error_at + 10)
            cloud.use(Faults(error_at, error=StorageError))
            with pytest.raises(StorageError):
                delivery.deliver(sale_messages(batch))
            cloud.use(Faults())
            assert delivery.deliver(sale_messages(batch)).duplicates == 10
    assert cloud.sales.ids == accepted_ids(range(40))
    check_lake(str(tmp_path / "lake"), range(40))


def test_dead_letters_that_cannot_be_sent_hold_everything_up(tmp_path: Path) -> None:
    cloud = MemoryCloud()
    spec = spec_of(tmp_path, table=None)
    topic = cloud.topic
    for _ in range(2):
        topic.faults = Faults(1, error=StorageError)
        with pytest.raises(StorageError):
            process(cloud, spec, queue=[sale_messages(range(10))])
        assert topic.letters == []
    topic.faults = Faults()
    process(cloud, spec, queue=[])
    assert topic.letters == [("m7", ("unparseable",))]
    check_lake(spec.lake, range(10))


def test_a_batch_for_another_table_is_not_forgotten(tmp_path: Path) -> None:
    cloud = MemoryCloud(Faults(3))
    with pytest.raises(Killed):
        process(cloud, spec_of(tmp_path), queue=[sale_messages(range(10))])
    cloud.use(Faults())
    for other in (None, Destination(parse_table_name("my-project:sales.otras"))):
        said = r"batch for table my-project\.sales\.ventas.* another --output"
        with pytest.raises(UsageError, match=said):
            process(cloud, spec_of(tmp_path, table=other), queue=[])
    process(cloud, spec_of(tmp_path), queue=[])
    assert cloud.sales.ids == accepted_ids(range(10))


def test_a_flush_that_fails_is_heard_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()

    def fail(*_: Any) -> Any:
        failed.set()
        raise StorageError("disk full")

    cloud = MemoryCloud()
    delivery = Delivery(spec_of(tmp_path, flush_seconds=0.01), sinks=lambda _: cloud.sinks())
    delivery.start()
    delivery.deliver(sale_messages(range(10)))
    monkeypatch.setattr(Flusher, "flush", fail)
    assert failed.wait(10)
    assert delivery._keeper is not None
    assert delivery._keeper._thread is not None
    delivery._keeper._thread.join(10)
    with pytest.raises(StorageError, match="disk full"):
        delivery.deliver(sale_messages(range(10, 20)))
    with pytest.raises(StorageError, match="disk full"):
        delivery.close()
    monkeypatch.undo()
    process(cloud, spec_of(tmp_path), queue=[])
    check_lake(str(tmp_path / "lake"), range(10))


def test_ids_are_remembered_by_activity_and_not_by_the_clock(tmp_path: Path) -> None:
    cloud = MemoryCloud()
    hours_later = [0]

    def now_us() -> int:
        return time.time_ns() // 1000 + hours_later[0] * 3_600_000_000

    def delivered(numbers: range) -> int:
        with Delivery(spec_of(tmp_path), sinks=lambda _: cloud.sinks(), now_us=now_us) as delivery:
            return delivery.deliver(sale_messages(numbers)).duplicates

    assert delivered(range(10)) == 0
    hours_later[0] = 5
    assert delivered(range(10)) == 10
    assert cloud.sales.ids == accepted_ids(range(10))


def test_an_id_attribute_tells_messages_apart(tmp_path: Path) -> None:
    cloud = MemoryCloud()
    spec = spec_of(tmp_path, message_rules=replace(RULES, id_attribute="order"))
    messages = sale_messages([1, 2, 3])
    named = replace(messages, attributes=[{"order": "a"}, {"order": "a"}, {}])
    with Delivery(spec, sinks=lambda _: cloud.sinks()) as delivery:
        assert delivery.deliver(named).duplicates == 1
        assert delivery.deliver(replace(named, ids=["x", "y", "m3"])).duplicates == 3
    assert cloud.sales.ids == ["a", "m3"]


def test_a_process_recovers_what_another_is_at(tmp_path: Path) -> None:
    cloud = MemoryCloud()
    spec = spec_of(tmp_path)
    slow = Delivery(spec, sinks=lambda _: cloud.sinks())
    slow.start()
    slow.deliver(sale_messages(range(10)))
    cloud.use(Faults(2, error=StorageError))
    with pytest.raises(StorageError):
        slow.deliver(sale_messages(range(10, 20)))
    cloud.use(Faults())
    with Delivery(spec, sinks=lambda _: cloud.sinks()) as other:
        assert other.deliver(sale_messages(range(10, 20))).duplicates == 10
        # The first goes on, and comes to an end later than the other.
        assert slow.deliver(sale_messages(range(20, 30))).accepted == 9
    slow.close()
    assert cloud.sales.ids == accepted_ids(range(30))
    assert len(cloud.rejected.rows) == 3
    check_lake(spec.lake, range(30))


@pytest.mark.parametrize("method", ["headers", "read"])
def test_a_process_may_delete_entries_while_another_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    cloud = MemoryCloud()
    slow = Delivery(spec_of(tmp_path, dedupe_minutes=0), sinks=lambda _: cloud.sinks())
    slow.start()
    for batch in BATCHES[:2]:
        slow.deliver(sale_messages(batch))
    look = getattr(Journal, method)

    def deleted_before_the_look(journal: Journal, *given: Any) -> Any:
        monkeypatch.setattr(Journal, method, look)
        assert len(slow.flush()) == 1
        assert not journal.listing().entries
        return look(journal, *given)

    monkeypatch.setattr(Journal, method, deleted_before_the_look)
    with Delivery(spec_of(tmp_path), sinks=lambda _: cloud.sinks()) as other:
        assert other.deliver(sale_messages(BATCHES[2])).accepted == 18
    slow.close()
    assert cloud.sales.ids == accepted_ids(ALL)
    check_lake(str(tmp_path / "lake"), ALL)


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_a_clean_end_leaves_nothing_to_do(delivery: str, tmp_path: Path) -> None:
    cloud = MemoryCloud()
    for batch in BATCHES:
        spec = spec_of(tmp_path, delivery=delivery)
        with Delivery(spec, sinks=lambda _: cloud.sinks()) as one:
            one.deliver(sale_messages(batch))
        again = Delivery(spec, sinks=lambda _: cloud.sinks())
        assert again.start() == 0
        assert again.close() == []
    assert cloud.sales.ids == accepted_ids(ALL)
    assert len(cloud.topic.letters) == 6


def test_flushes_beside_deliveries(tmp_path: Path) -> None:
    cloud = MemoryCloud()
    spec = spec_of(tmp_path, flush_seconds=0.005, dedupe_minutes=0.2 / 60)
    with Delivery(spec, sinks=lambda _: cloud.sinks()) as delivery:
        for first in range(0, 1000, 10):
            delivery.deliver(sale_messages(range(first, first + 10)))
    assert cloud.sales.ids == accepted_ids(range(1000))
    check_lake(spec.lake, range(1000))
    runs = Lake.open(str(spec.lake)).runs()
    assert len(runs) > 2
    assert {m.streamed_to for m in runs} == {(TABLE.table.key,)}
    assert spec.journal_root is not None
    # Old ones were deleted on the way, and the rest are within the window.
    assert len(Journal.open(spec.journal_root).listing().entries) < 100


def test_streams_that_were_not_used_for_long_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = MemoryCloud()
    with Delivery(spec_of(tmp_path), sinks=lambda _: cloud.sinks()) as delivery:
        delivery.deliver(sale_messages(range(10)))
        delivery.deliver(sale_messages(range(10, 20)))
        assert len(cloud.sales.streams) == 1
        assert delivery._writer is not None
        monkeypatch.setattr(delivery._writer, "_used_at", -1e9)
        delivery.deliver(sale_messages(range(20, 30)))
    assert [len(s) for s in cloud.sales.streams.values()] == [18, 9]


def test_rows_refused_before_a_fault_are_left_out_after_it(tmp_path: Path) -> None:
    cloud = MemoryCloud()
    cloud.sales.pieces = 5
    cloud.sales.refuses = lambda row: "no" if row["_message_id"] == "m3" else None
    with Delivery(spec_of(tmp_path), sinks=lambda _: cloud.sinks()) as delivery:
        cloud.use(Faults(4, error=StorageError))
        with pytest.raises(StorageError, match="append sales"):
            delivery.deliver(sale_messages(range(20)))
        assert len(cloud.sales.rows) == 5
        cloud.use(Faults())
        assert delivery.deliver(sale_messages([20])).accepted == 1
    assert cloud.sales.ids == sorted({*accepted_ids(range(21))} - {"m3"})
    assert len(cloud.rejected.rows) == 3


@pytest.mark.parametrize("was_written", [True, False])
def test_a_write_stream_that_is_gone_is_for_a_person_to_judge(
    was_written: bool, tmp_path: Path
) -> None:
    cloud = MemoryCloud(Faults(5 if was_written else 3))
    spec = spec_of(tmp_path)
    with pytest.raises(Killed):
        process(cloud, spec, queue=[sale_messages(range(10))])
    cloud.use(Faults(1, error=IntegrityError))
    with pytest.raises(IntegrityError, match=r"If the 9 rows .* 1 rejected ones are all") as told:
        process(cloud, spec, queue=[])
    made, deleted = (Path(w[:-1]) for w in str(told.value).split() if str(tmp_path) in w)
    assert (made.suffix, deleted.suffix) == (".applied", ".entry")
    if was_written:
        made.touch()
    else:
        deleted.unlink()
    cloud.use(Faults())
    process(cloud, spec, queue=[sale_messages(range(10))])
    assert cloud.sales.ids == accepted_ids(range(10))
    assert len(cloud.rejected.rows) == 1
    check_lake(spec.lake, range(10))

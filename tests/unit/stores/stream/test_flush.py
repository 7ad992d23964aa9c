from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from celes_beam.sales.messages import check_messages
from celes_beam.stores.lake.history import history
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import STREAM_INPUT
from celes_beam.stores.lake.parquet_writer import Layout
from celes_beam.stores.lake.verify import verify
from celes_beam.stores.stream.delivery import Delivery, DeliverySpec
from celes_beam.stores.stream.entry import make_entry
from celes_beam.stores.stream.flush import Flusher
from celes_beam.stores.stream.journal import Journal, entry_name, new_writer
from tests.lakes import IMPATIENT, commit_sales, draft
from tests.memory_sinks import MemoryCloud
from tests.sale_messages import RULES, SOURCE, accepted_ids, cents, rejected_ids, sale_messages

NEVER = 1e6


def put(journal: Journal, numbers: range, *, table: str = "", writer: str | None = None) -> str:
    messages = sale_messages(numbers)
    checked = check_messages(messages, RULES)
    entry = make_entry(messages.ids, messages, checked, ingested_at=1, table=table)
    name = entry_name(writer or new_writer(), 1)
    assert journal.put(name, entry)
    return name


def flusher_of(root: Path, run_id: str = "run", **lake: object) -> Flusher:
    storage = Lake.open(str(root / "lake")).storage
    opened = Lake(storage, **lake)  # type: ignore[arg-type]
    return Flusher(opened, Journal.open(str(root / "j")), run_id, Layout(), SOURCE)


def check(root: Path, rows: int, total: int, rejected: int) -> list[str]:
    lake = Lake.open(str(root / "lake"))
    snapshot = lake.snapshot()
    assert (snapshot.rows, snapshot.total * 100) == (rows, total)
    found = verify(lake)
    assert (found.problems, found.notes, found.rejected_rows) == ((), (), rejected)
    inputs = [i.path for m in snapshot.runs for i in m.inputs]
    assert len(inputs) == len(set(inputs))
    return inputs


def test_entries_become_one_commit(tmp_path: Path) -> None:
    flusher = flusher_of(tmp_path)
    names = [put(flusher.journal, range(n, n + 10)) for n in range(0, 50, 10)]
    flusher.prepare()
    (commit,) = flusher.flush(flusher.journal.listing(), names)
    assert (commit.run_id, commit.kind, commit.streamed_to) == ("run-00001", "append", ())
    assert [(i.rows_read, i.rows_accepted) for i in commit.inputs] == [(10, 9)] * 5
    assert flusher.flush(flusher.journal.listing(), names) == []
    (step,) = history(flusher.lake.commits())
    assert step.origin == "5 batches of a stream"
    inputs = check(tmp_path, 45, cents(range(50)), 5)
    assert inputs == [STREAM_INPUT + n for n in sorted(names)]


def test_entries_of_two_tables_become_two_commits(tmp_path: Path) -> None:
    flusher = flusher_of(tmp_path)
    names = [
        put(flusher.journal, range(n, n + 10), table="b" if n % 20 else "a")
        for n in range(0, 40, 10)
    ]
    commits = flusher.flush(flusher.journal.listing(), names)
    assert [(m.streamed_to, len(m.inputs)) for m in commits] == [(("a",), 2), (("b",), 2)]
    check(tmp_path, 36, cents(range(40)), 4)


def test_another_flush_with_the_run_id_may_sweep_our_staging(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = flusher_of(tmp_path), flusher_of(tmp_path)
    names = [put(ours.journal, range(n, n + 10)) for n in (0, 10)]
    stage = Flusher._stage

    def swept(flusher: Flusher, *given: Any) -> Any:
        monkeypatch.setattr(Flusher, "_stage", stage)
        staged = stage(flusher, *given)
        other.flush(other.journal.listing(), names[1:])
        return staged

    monkeypatch.setattr(Flusher, "_stage", swept)
    (commit,) = ours.flush(ours.journal.listing(), names[:1])
    assert commit.run_id == "run-00002"
    check(tmp_path, 18, cents(range(20)), 2)


def test_flushers_race(tmp_path: Path) -> None:
    journal = Journal.open(str(tmp_path / "j"))
    names = [put(journal, range(n, n + 10)) for n in range(0, 80, 10)]
    ready = threading.Barrier(4)
    errors: list[BaseException] = []

    def flush(number: int) -> None:
        try:
            # Two have the same run id, and one supersedes whoever claims.
            patience = {"patience": IMPATIENT} if number == 3 else {}
            flusher = flusher_of(tmp_path, f"run{number // 2}", **patience)
            for last in range(number + 1, len(names) + 1):
                ready.wait(20)
                flusher.flush(journal.listing(), names[:last])
                if last == len(names):
                    ready.abort()
        except threading.BrokenBarrierError:
            flusher.flush(journal.listing(), names)
        except BaseException as error:  # noqa: BLE001 - looked at below
            ready.abort()
            errors.append(error)

    threads = [threading.Thread(target=flush, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(check(tmp_path, 72, cents(range(80)), 8)) == 8


def test_a_run_id_that_was_superseded_is_not_used_again(tmp_path: Path) -> None:
    flusher = flusher_of(tmp_path, patience=IMPATIENT)
    name = put(flusher.journal, range(10))
    lake = flusher.lake
    # Claimed, and not decided: whoever comes next goes ahead of it.
    lake._log.claim("run-00001", "inputs")
    assert [m.run_id for m in flusher.flush(flusher.journal.listing(), [name])] == ["run-00001"]
    lake._log.claim("run-00002", "inputs")
    other = put(flusher.journal, range(10, 20))
    commit_inputs = flusher_of(tmp_path, "other", patience=IMPATIENT)
    commit_inputs.flush(flusher.journal.listing(), [other])
    last = put(flusher.journal, range(20, 30))
    assert [m.run_id for m in flusher.flush(flusher.journal.listing(), [last])] == ["run-00003"]
    check(tmp_path, 27, cents(range(30)), 3)


def test_an_overwrite_does_not_bring_entries_back(tmp_path: Path) -> None:
    flusher = flusher_of(tmp_path)
    name = put(flusher.journal, range(10))
    flusher.flush(flusher.journal.listing(), [name])
    commit_sales(flusher.lake, "all-new", [("Hogar", "Norte", 5)], kind="overwrite")
    assert flusher.flush(flusher.journal.listing(), [name]) == []
    check(tmp_path, 1, 5, 1)


def test_beside_other_runs(tmp_path: Path) -> None:
    flusher = flusher_of(tmp_path)
    commit_sales(flusher.lake, "files", [("Hogar", "Norte", 5)])
    staged = draft(flusher.lake, "at-work", [("Hogar", "Sur", 7)])
    flusher.prepare()
    flusher.flush(flusher.journal.listing(), [put(flusher.journal, range(10))])
    flusher.lake.commit(staged)
    check(tmp_path, 11, cents(range(10)) + 12, 1)


def test_what_another_writer_is_applying_waits(tmp_path: Path) -> None:
    cloud = MemoryCloud()
    spec = DeliverySpec(RULES, "run", lake=str(tmp_path / "lake"), flush_seconds=NEVER)
    with Delivery(spec, sinks=lambda _: cloud.sinks(tables=False)) as delivery:
        delivery.deliver(sale_messages(range(10)))
        assert spec.journal_root is not None
        journal = Journal.open(spec.journal_root)
        other = new_writer()
        put(journal, range(10, 20), writer=other)
        (commit,) = delivery.flush()
        assert commit.rows_read == 10
        messages = sale_messages(range(20, 30))
        checked = check_messages(messages, RULES)
        entry = make_entry(messages.ids, messages, checked, ingested_at=1)
        journal.put(entry_name(other, 2), entry)
        (commit,) = delivery.flush()
        assert [i.path for i in commit.inputs] == [STREAM_INPUT + entry_name(other, 1)]
    # Whoever starts next applies what is left.
    with Delivery(spec, sinks=lambda _: cloud.sinks(tables=False)):
        pass
    check(tmp_path, 27, cents(range(30)), 3)
    assert sorted(i for i, _ in cloud.topic.letters) == ["m27", "m7"]
    assert accepted_ids(range(30)) != rejected_ids(range(30))

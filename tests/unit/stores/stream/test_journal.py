from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow.dataset import dataset

from celes_beam.errors import IntegrityError, StorageError, UsageError
from celes_beam.sales.messages import Messages, check_messages
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.local_storage import LocalStorage
from celes_beam.stores.lake.verify import verify
from celes_beam.stores.stream.entry import (
    Entry,
    Place,
    Places,
    decode_entry,
    encode_entry,
    make_entry,
)
from celes_beam.stores.stream.journal import (
    Journal,
    batch_name,
    entry_name,
    journal_root,
    new_writer,
)
from tests.lakes import commit_sales
from tests.sale_messages import PUBLISHED, RULES, sale_messages

SALE = (
    b'{"id_cliente":1,"fecha_de_transaccion":"2024-05-03","cantidad_de_venta":1,'
    b'"categoria_de_producto":"a","region_de_venta":"b"}'
)
BODIES = st.one_of(
    st.just(SALE),
    st.just(b"[%b, %b, {}]" % (SALE, SALE)),
    st.just(SALE[:-1] + b',"x":[1]}'),
    st.binary(max_size=20),
)
ATTRIBUTES = st.dictionaries(st.sampled_from(["celes_attempt", "ñ"]), st.text(max_size=5))


def entry_of(numbers: range = range(10)) -> Entry:
    messages = sale_messages(numbers)
    return make_entry(messages.ids, messages, check_messages(messages, RULES), ingested_at=1)


@given(
    st.lists(st.tuples(BODIES, ATTRIBUTES, st.text(max_size=5)), min_size=1, max_size=8),
    st.integers(0, 2**62),
    st.one_of(st.none(), st.just(Places(Place("a", 3), Place("b", 0)))),
)
def test_an_entry_is_read_as_it_was_written(
    found: list[tuple[bytes, dict[str, str], str]], at: int, places: Places | None
) -> None:
    data, attributes, ids = (list(column) for column in zip(*found, strict=True))
    messages = Messages(data, attributes, ids, [PUBLISHED] * len(found))
    checked = check_messages(messages, RULES)
    entry = make_entry(ids, messages, checked, ingested_at=at, table="t", places=places)
    again = decode_entry(encode_entry(entry), "e")
    for name in ("keys", "kept", "ingested_at", "rejected_at", "table", "places"):
        assert getattr(again, name) == getattr(entry, name)
    one, other = entry.checked, again.checked
    assert (one.messages, one.rows) == (other.messages, other.rows)
    for name in ("accepted", "accepted_ids", "other_fields", "rejected"):
        assert getattr(one, name) is getattr(other, name) or getattr(one, name).equals(
            getattr(other, name)
        )
    assert (one.rejected_whole == other.rejected_whole).all()
    # Each rejected row still finds the message that it came in.
    before = [messages.data[i] for i in checked.rejected_messages]
    assert [again.messages.data[i] for i in other.rejected_messages] == before
    assert [again.messages.ids[i] for i in other.rejected_messages] == [
        messages.ids[i] for i in checked.rejected_messages
    ]


@given(st.data())
def test_a_damaged_entry_is_told(data: st.DataObject) -> None:
    whole = encode_entry(entry_of())
    damaged = bytearray(whole)
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    for broken in (bytes(damaged), whole[:at]):
        with pytest.raises(IntegrityError, match=r"journal/e\.entry is not an entry"):
            decode_entry(broken, "journal/e.entry")


def test_names_sort_by_time_and_are_never_the_same(tmp_path: Path) -> None:
    moments = [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)]
    writers = [new_writer(m) for m in moments]
    assert writers == sorted(writers)
    assert new_writer(moments[0]) != new_writer(moments[0])
    names = [entry_name(w, n) for w in writers for n in (1, 2, 11)]
    assert names == sorted(names)
    assert batch_name(["a", "b"]) == batch_name(["a", "b"])
    assert len({batch_name(k) for k in (["a", "b"], ["b", "a"], ["ab"], ["a/b"])}) == 4
    journal = Journal.open(str(tmp_path / "j"))
    for name in (*names, batch_name(["a"])):
        assert journal.put(name, entry_of())
        assert not journal.put(name, entry_of())
    assert list(journal.listing().entries) == [*names, batch_name(["a"])]


def test_listing_tells_what_may_not_be_applied(tmp_path: Path) -> None:
    journal = Journal.open(str(tmp_path / "j"))
    assert journal.listing().unapplied() == []
    first, second = (new_writer(datetime(2026, 1, d, tzinfo=UTC)) for d in (1, 2))
    for writer in (first, second):
        for number in (1, 2):
            journal.put(entry_name(writer, number), entry_of())
    (tmp_path / "j" / "notes.txt").touch()
    (tmp_path / "j" / f".{entry_name(first, 3)}.entry.{'0' * 32}").touch()
    assert journal.listing().unapplied() == [entry_name(first, 2), entry_name(second, 2)]
    journal.mark_applied(entry_name(first, 2))
    assert journal.listing().unapplied() == [entry_name(second, 2)]
    there, gone = journal.headers([entry_name(first, 2), entry_name(first, 9)])
    assert (there and there.keys, gone) == (entry_of().keys, None)


def test_refused_rows_are_noted_one_after_another(tmp_path: Path) -> None:
    journal = Journal.open(str(tmp_path / "j"))
    name = entry_name(new_writer(), 1)
    journal.put(name, entry_of())
    assert journal.refused(name) == []
    journal.note_refused(name, 0, {3: "no", 1: "nein"})
    journal.note_refused(name, 0, {1: "nein", 3: "no"})
    journal.note_refused(name, 1, {7: "non"})
    assert journal.refused(name) == [{1: "nein", 3: "no"}, {7: "non"}]
    with pytest.raises(IntegrityError, match="refuses other rows"):
        journal.note_refused(name, 1, {8: "non"})
    listing = journal.listing()
    assert journal.refused(name, listing.notes[name]) == [{1: "nein", 3: "no"}, {7: "non"}]
    journal.delete(listing, [name])
    assert list((tmp_path / "j").iterdir()) == []


def test_what_a_deletion_left_is_swept(tmp_path: Path) -> None:
    journal = Journal.open(str(tmp_path / "j"))
    kept, gone = entry_name(new_writer(), 1), entry_name(new_writer(), 1)
    for name in (kept, gone):
        journal.put(name, entry_of())
        journal.mark_applied(name)
        journal.note_refused(name, 0, {1: "no"})
    (tmp_path / "j" / f"{gone}.entry").unlink()
    journal.sweep(journal.listing())
    left = sorted(f.name for f in (tmp_path / "j").iterdir())
    assert left == [f"{kept}{kind}" for kind in (".applied", ".entry", ".refused-0")]


def test_a_journal_within_a_lake_is_no_part_of_it(tmp_path: Path) -> None:
    root = str(tmp_path / "lake")
    journal = Journal.open(journal_root(root, RULES.source))
    journal.put(entry_name(new_writer(), 1), entry_of())
    lake = Lake.open(root)
    assert lake.prepare(run_id="r", if_exists="error") is None
    commit_sales(lake, "r", [("Hogar", "Norte", 5)])
    assert lake.strangers(1) == []
    assert lake.sweep(time.time()) == []
    found = verify(lake)
    assert (found.problems, found.notes) == ((), ())
    assert len(dataset(root, format="parquet").files) == 1
    assert len(journal.listing().entries) == 1


def test_journals_of_sources_have_names_of_their_own() -> None:
    one = journal_root("gs://b/lake/", "pubsub:projects/p/subscriptions/s")
    other = journal_root("gs://b/lake", "pubsub:projects/q/subscriptions/s")
    assert one.startswith("gs://b/lake/_stream/s-")
    assert one != other
    assert journal_root("lake", "x/" + "ñ" * 300).isascii()


def test_a_journal_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError):
        Journal.open(str(tmp_path / "file"))


def test_putting_an_entry_takes_milliseconds(tmp_path: Path) -> None:
    journal = Journal.open(str(tmp_path / "j"))
    entry = entry_of(range(5000))
    took = []
    for number in range(5):
        started = time.perf_counter()
        journal.put(entry_name("20260101T000000000000Z-0", number), entry)
        took.append(time.perf_counter() - started)
    assert np.median(took) < 1


def test_a_deletion_that_is_cut_short_leaves_no_entry_that_seems_not_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.open(str(tmp_path / "j"))
    writer = new_writer()
    names = [entry_name(writer, n) for n in range(1, 4)]
    for name in names:
        journal.put(name, entry_of())
    journal.mark_applied(names[-1])
    steps = 0
    delete = LocalStorage.delete

    def some(storage: LocalStorage, name: str) -> None:
        nonlocal steps
        if not steps:
            raise StorageError("cut short")
        steps -= 1
        delete(storage, name)

    monkeypatch.setattr(LocalStorage, "delete", some)
    for left in (2, 1, 0, 0):
        steps = 1
        listing = journal.listing()
        with suppress(StorageError):
            journal.delete(listing, listing.entries)
        assert len(journal.listing().entries) == left
        assert journal.listing().unapplied() == []
    steps = 1
    journal.sweep(journal.listing())
    assert list((tmp_path / "j").iterdir()) == []

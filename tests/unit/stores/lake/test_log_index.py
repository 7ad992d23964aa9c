"""The index of commits: what is looked up in it is what reading every commit gives."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celes_beam.errors import IntegrityError, StorageError
from celes_beam.stores.lake import commit
from celes_beam.stores.lake import indexes as indexes_module
from celes_beam.stores.lake.commit import CommitLog, Patience
from celes_beam.stores.lake.commits import Commits
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.local_storage import LocalStorage
from celes_beam.stores.lake.log_index import Index
from celes_beam.stores.lake.manifest import DataFile, InputRecord, Manifest
from celes_beam.stores.lake.segments import INDEXES, SEGMENTS, index_name

IMPATIENT = Patience(seconds=0)


@pytest.fixture(scope="module", autouse=True)
def _no_waiting_for_disks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


def lake_of(root: Path, segment_commits: int = 2) -> Lake:
    return Lake(LocalStorage(str(root)), patience=IMPATIENT, segment_commits=segment_commits)


def stage(lake: Lake, run_id: str, files: int = 1, **fields: Any) -> Manifest:
    staging = lake.staging(run_id)
    attempt = staging.rpartition("/")[2]
    described = []
    for number in range(files):
        name = f"{attempt}-{number}.parquet"
        lake.storage.staging_area(staging).path(name).write_bytes(b"row")
        described.append(
            DataFile(
                path=f"p=1/{name}",
                staged=name,
                partition={"p": "1"},
                rows=1,
                bytes=3,
                crc32c="",
                total="1",
            )
        )
    counts = {"rows_read": files, "rows_accepted": files, "total": str(files)}
    draft = {"kind": "append", "started_at": "", "files": tuple(described), "partition_by": ("p",)}
    return Manifest(run_id=run_id, staging=staging, **(draft | counts | fields))


def record(path: str, version: str = "1") -> InputRecord:
    return InputRecord(path=path, size=1, version=version)


def append(lake: Lake, run_id: str, *paths: str) -> Manifest:
    lake.prepare(run_id=run_id, if_exists="append")
    return lake.commit(stage(lake, run_id, inputs=tuple(map(record, paths))))


def overwrite(lake: Lake, run_id: str, *paths: str) -> Manifest:
    return lake.commit(stage(lake, run_id, kind="overwrite", inputs=tuple(map(record, paths))))


def merge(lake: Lake, run_id: str) -> Manifest:
    epoch, snapshot = lake.claim(run_id)
    nothing = {"rows_read": 0, "rows_accepted": 0, "total": "0"}
    retired = tuple(f.path for f in snapshot.files[:2])
    return lake.commit(stage(lake, run_id, kind="compact", epoch=epoch, retired=retired, **nothing))


def same(root: Path) -> Commits:
    """Compare what is looked up with what all commits say; return what was looked up."""
    found, whole = CommitLog(LocalStorage(str(root))).load(), CommitLog(LocalStorage(str(root)))
    read = whole.load_all()
    for what in ("run_ids", "inputs", "live", "retired", "replays", "epoch", "last"):
        assert list_of(getattr(found, what)) == list_of(getattr(read, what)), what
    assert found.overwritten == read.overwritten
    made = {f.path for m in read.manifests for f in m.files}
    assert found.made_among([*made, "other"]) == read.made_among([*made, "other"]) == made
    assert found.manifests == read.manifests
    assert found.superseded == read.superseded
    assert found.undone == read.undone
    asked = [record(i.path, v) for m in read.manifests for i in m.inputs for v in "12"]
    asked.append(record("new"))
    assert found.unread_and_changed(asked) == read.unread_and_changed(asked)
    names = [i.path for i in asked]
    assert found.named(names) == read.named(names) == set(names) - {"new"}
    return found


def list_of(what: Any) -> Any:
    return (
        sorted(what)
        if isinstance(what, frozenset)
        else list(what)
        if isinstance(what, Sequence)
        else what
    )


def indexes(root: Path) -> list[str]:
    return sorted(p.name for p in (root / INDEXES).glob("*.index"))


def test_few_commits_have_no_index(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    append(lake, "a", "x")
    assert indexes(tmp_path) == []
    assert same(tmp_path).index is None


def test_an_index_says_what_its_commits_say(tmp_path: Path) -> None:
    lake = lake_of(tmp_path)
    for number in range(3):
        append(lake, f"a{number}", f"x{number}")
    merge(lake, "m")
    append(lake, "b", "y")
    overwrite(lake, "o", "x1")
    lake.claim("never")
    lake.claim("late")
    append(lake, "c", "z")
    merge(lake, "n")
    append(lake, "d", "v")
    found = same(tmp_path)
    assert found.index is not None
    assert "never" in found.run_ids
    assert len(found.lately) < 3
    assert found.unread_and_changed([record("x0"), record("x1"), record("z")])[0] == [record("x0")]


def test_a_look_reads_what_is_in_no_index_and_lists_no_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = lake_of(tmp_path, 10)
    for number in range(25):
        append(lake, f"r{number}", f"x{number}")
    listed, read = [], []
    real_list, real_read = LocalStorage.list, LocalStorage.read

    def list_(storage: LocalStorage, folder: str = "", **how: Any) -> Iterator[Any]:
        listed.append(folder)
        return real_list(storage, folder, **how)

    def read_(storage: LocalStorage, name: str) -> bytes:
        read.append(name)
        return real_read(storage, name)

    monkeypatch.setattr(LocalStorage, "list", list_)
    monkeypatch.setattr(LocalStorage, "read", read_)
    assert lake_of(tmp_path).unread([record("x3"), record("x24"), record("y")]) == [record("y")]
    assert listed == [INDEXES, f"{SEGMENTS}/00000003"]
    assert sum(name.endswith(".json") for name in read) == 5
    assert read[0] == index_name(2)


def test_old_indexes_go_and_announcements_stay(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, 1)
    for number in range(9):
        append(lake, f"r{number}", f"x{number}")
    assert indexes(tmp_path) == [f"{n:08d}.index" for n in (7, 8, 9)]
    assert len(list((tmp_path / INDEXES).iterdir())) == 6
    assert len(list((tmp_path / SEGMENTS).glob("*/*"))) == 9
    same(tmp_path)


DAMAGES: list[Callable[[bytes], bytes]] = [
    lambda _: b"",
    lambda _: b"celes-index 0001 0000000x 0000000001\n{}",
    lambda d: d[:-1],
    lambda d: d + b"x",
    lambda d: d[:-20] + bytes([d[-20] ^ 1]) + d[-19:],
    lambda d: d[:60] + bytes([d[60] ^ 1]) + d[61:],
    lambda d: d.replace(b"celes-index 0001", b"celes-index 0002", 1),
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("most", [1, 9])
def test_a_damaged_index_is_passed_by(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes], most: int
) -> None:
    lake = lake_of(tmp_path)
    for number in range(5):
        append(lake, f"r{number}", f"x{number}")
    for name in indexes(tmp_path)[-most:]:
        path = tmp_path / INDEXES / name
        path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level(logging.WARNING):
        found = same(tmp_path)
    assert (found.index is None) == (most == 9)
    assert "is not an index of this version" in caplog.text
    assert "it is passed by" in caplog.text
    for number in range(5, 8):
        append(lake_of(tmp_path), f"r{number}", f"x{number}")
    again = same(tmp_path)
    assert again.index is not None
    assert again.index.head.number > 2


def test_an_index_may_be_missing(tmp_path: Path) -> None:
    lake = lake_of(tmp_path)
    for number in range(5):
        append(lake, f"r{number}", f"x{number}")
    (tmp_path / INDEXES / indexes(tmp_path)[-1]).unlink()
    assert same(tmp_path).index is not None
    shutil.rmtree(tmp_path / INDEXES)
    assert same(tmp_path).index is None
    for number in range(5, 9):
        append(lake_of(tmp_path), f"r{number}", f"x{number}")
        same(tmp_path)
    assert same(tmp_path).index is not None


def test_a_lake_of_before_gets_an_index(tmp_path: Path) -> None:
    """Its commits were never announced."""
    lake = Lake.open(str(tmp_path))
    for number in range(4):
        append(lake, f"r{number}", f"x{number}")
    shutil.rmtree(tmp_path / SEGMENTS)
    append(lake_of(tmp_path), "s", "y")
    found = same(tmp_path)
    assert found.index is not None
    assert found.lately == ()


def test_commits_out_of_order_are_read_in_order(tmp_path: Path) -> None:
    """The clock of the machine that commits last is slow."""
    lake = lake_of(tmp_path)
    for number in range(3):
        append(lake, f"r{number}", f"x{number}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit, "now", lambda: "2001-01-01T00:00:00+00:00")
        append(lake, "slow", "y")
    found = same(tmp_path)
    assert found.manifests[0].run_id == "slow"
    assert found.index is not None
    for number in range(3, 6):
        append(lake, f"r{number}", f"x{number}")
    assert same(tmp_path).manifests[0].run_id == "slow"


def test_who_announced_and_has_not_decided_is_looked_for_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, slow = lake_of(tmp_path), lake_of(tmp_path)
    late = stage(slow, "late", inputs=(record("late"),))
    real = LocalStorage.put_if_absent

    def put(storage: LocalStorage, name: str, data: bytes) -> bool:
        if storage is slow.storage and name == "_commits/late.json":
            for number in range(7):
                append(lake, f"r{number}", f"x{number}")
            index = same(tmp_path).index
            assert index is not None
            assert index.head.pending == ("late",)
        return real(storage, name, data)

    monkeypatch.setattr(LocalStorage, "put_if_absent", put)
    slow.commit(late, reprocess=True)
    assert lake.unread([record("late")]) == []
    assert "late" in {m.run_id for m in same(tmp_path).manifests}
    for number in range(7, 10):
        append(lake, f"r{number}", f"x{number}")
    index = same(tmp_path).index
    assert index is not None
    assert index.head.pending == ()
    assert "late" in index.run_ids


def test_a_run_may_decide_between_two_looks_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, slow = lake_of(tmp_path), lake_of(tmp_path)
    for number in range(3):
        append(lake, f"r{number}", f"x{number}")
    late = stage(slow, "late", inputs=(record("late"),))
    read, put = LocalStorage.read, LocalStorage.put_if_absent
    seen: list[list[InputRecord]] = []

    def puts(storage: LocalStorage, name: str, data: bytes) -> bool:
        if storage is not slow.storage or name != "_commits/late.json":
            return put(storage, name, data)
        decided: list[bool] = []

        def read_then_decided(storage: LocalStorage, wanted: str) -> bytes:
            try:
                return read(storage, wanted)
            except StorageError:
                if wanted == name and not decided:
                    decided.append(put(slow.storage, name, data))
                raise

        monkeypatch.setattr(LocalStorage, "read", read_then_decided)
        seen.append(lake.unread([record("late")]))
        monkeypatch.setattr(LocalStorage, "read", read)
        return decided[0]

    monkeypatch.setattr(LocalStorage, "put_if_absent", puts)
    slow.commit(late, reprocess=True)
    assert seen == [[]]
    same(tmp_path)


def test_who_announces_in_a_segment_that_was_closed_does_so_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, slow = lake_of(tmp_path), lake_of(tmp_path)
    late = stage(slow, "late", inputs=(record("late"),))
    real = LocalStorage.put_if_absent

    def put(storage: LocalStorage, name: str, data: bytes) -> bool:
        if storage is slow.storage and name == f"{SEGMENTS}/00000001/late":
            for number in range(4):
                append(lake, f"r{number}", f"x{number}")
        return real(storage, name, data)

    monkeypatch.setattr(LocalStorage, "put_if_absent", put)
    slow.commit(late, reprocess=True)
    assert len(list((tmp_path / SEGMENTS).glob("*/late"))) == 2
    assert lake.unread([record("late")]) == []
    same(tmp_path)


@pytest.mark.parametrize("kill_at", ["closed", "index"])
def test_who_dies_while_it_writes_an_index_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: str
) -> None:
    lake = lake_of(tmp_path)
    for number in range(3):
        append(lake, f"r{number}", f"x{number}")
    before = indexes(tmp_path)
    real = LocalStorage.put_if_absent

    class Killed(BaseException):
        pass

    def put(storage: LocalStorage, name: str, data: bytes) -> bool:
        if name.endswith(f"2.{kill_at}"):
            raise Killed
        return real(storage, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "put_if_absent", put)
        with pytest.raises(Killed):
            append(lake, "r3", "x3")
    assert indexes(tmp_path) == before
    same(tmp_path)
    append(lake_of(tmp_path), "r4", "x4")
    # Who closed the segment may still be writing, for a minute.
    assert (len(indexes(tmp_path)) == 1) == (kill_at == "index")
    monkeypatch.setattr(indexes_module, "CLOSER_SECONDS", 0.0)
    append(lake_of(tmp_path), "r5", "x5")
    assert len(indexes(tmp_path)) == 2
    same(tmp_path)


def test_a_commit_does_not_fail_for_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = LocalStorage.put_if_absent

    def put(storage: LocalStorage, name: str, data: bytes) -> bool:
        if name.endswith(".index"):
            raise StorageError("cannot write: the disk is full")
        return real(storage, name, data)

    monkeypatch.setattr(LocalStorage, "put_if_absent", put)
    lake = lake_of(tmp_path)
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            append(lake, f"r{number}", f"x{number}")
    assert "no index of commits was written, which takes longer: cannot write" in caplog.text
    assert len(same(tmp_path).manifests) == 3


def test_a_commit_that_is_not_published_waits_outside_the_index(tmp_path: Path) -> None:
    lake = lake_of(tmp_path)
    CommitLog(lake.storage).decide(stage(lake, "cut-short", inputs=(record("c"),)))
    log = CommitLog(lake.storage, segment_commits=1)
    log.load()
    log.keep_index()
    found = same(tmp_path)
    assert found.index is not None
    assert found.index.head.pending == ("cut-short",)
    assert [m.run_id for m in found.undone] == ["cut-short"]
    assert lake.recover() == ["cut-short"]
    assert same(tmp_path).undone == ()


def test_decisions_in_an_index_that_are_of_another_version_are_told(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, 1)
    append(lake, "r", "x")
    name = index_name(1)
    index = Index(lake.storage.read(name), name)
    assert [d.run_id for d in index.decisions()] == ["r"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "_unpacked", lambda *_: b'{"decision": "other"}')
        with pytest.raises(IntegrityError, match=r"00000001\.index is not of this version"):
            index.decisions()


@settings(deadline=None, max_examples=60)
@given(
    runs=st.lists(st.sampled_from("aaaaomcsx"), min_size=1, max_size=14),
    every=st.integers(1, 4),
)
def test_whatever_is_committed_is_looked_up_as_it_was_read(
    tmp_path_factory: pytest.TempPathFactory, runs: list[str], every: int
) -> None:
    root = tmp_path_factory.mktemp("lake")
    lake = lake_of(root, every)
    for number, what in enumerate(runs):
        run_id = f"{what}{number}"
        if what == "a":
            append(
                lake, run_id, f"x{number}", f"y{number % 3}"
            ) if number % 3 == number else append(lake, run_id, f"x{number}")
        elif what == "o":
            overwrite(lake, run_id, f"x{number}")
        elif what == "m":
            merge(lake, run_id)
        elif what == "c":
            lake.claim(run_id)
        elif what == "s":
            CommitLog(lake.storage).decide(stage(lake, run_id, inputs=(record(run_id),)))
        else:
            lake = lake_of(root, every)
        same(root)
    shutil.rmtree(root)


def test_verification_tells_of_an_index_that_does_not_say_what_commits_say(tmp_path: Path) -> None:
    lake = lake_of(tmp_path)
    for number in range(5):
        append(lake, f"r{number}", f"x{number}")
    assert Lake.open(str(tmp_path)).index_problems() == []
    path = tmp_path / "_commits" / "r1.json"
    path.unlink()
    (told,) = Lake.open(str(tmp_path)).index_problems()
    assert told.startswith(f"commit r1 is not what {tmp_path}/_commits/index says it is, or is gon")
    assert told.endswith("which is made again")
    shutil.rmtree(tmp_path / INDEXES)
    assert Lake.open(str(tmp_path)).index_problems() == []


def test_verification_tells_of_a_commit_that_was_never_announced(tmp_path: Path) -> None:
    """As a program of before would make it."""
    lake = lake_of(tmp_path)
    for number in range(5):
        append(lake, f"r{number}", f"x{number}")
    for path in (tmp_path / SEGMENTS).glob("*/r4"):
        path.unlink()
    (told,) = Lake.open(str(tmp_path)).index_problems()
    assert told.startswith("commit r4 is not in ")

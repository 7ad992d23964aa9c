from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celes_beam.errors import IntegrityError, LakeConflictError, UsageError
from celes_beam.stores.lake.commit import (
    SEGMENT_COMMITS,
    CommitLog,
    Patience,
    check_run_id,
)
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.local_storage import LocalStorage
from celes_beam.stores.lake.manifest import DataFile, InputRecord, Manifest, Superseded, encode
from celes_beam.stores.lake.publish import publish
from celes_beam.stores.lake.staging_area import StagingArea
from celes_beam.stores.lake.storage import Storage
from celes_beam.stores.lake.stored import StoredFile
from tests.lakes import IMPATIENT

FILE = {
    "path": "p=1/f.parquet",
    "staged": "f",
    "partition": {"p": "1"},
    "rows": 1,
    "bytes": 1,
    "crc32c": "",
    "total": "1.00",
}

# The protocol does not look into files, so here a "data file" is a few rows of text.


@pytest.fixture(scope="module", autouse=True)
def _no_waiting_for_disks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


def stage(lake: Lake, run_id: str, rows: Sequence[str], **fields: Any) -> Manifest:
    staging = lake.staging(run_id)
    name = f"{staging.rpartition('/')[2]}.parquet"
    data = "\n".join(rows).encode()
    lake.storage.staging_area(staging).path(name).write_bytes(data)
    files = (
        DataFile(
            path=f"p=1/{name}",
            staged=name,
            partition={"p": "1"},
            rows=len(rows),
            bytes=len(data),
            crc32c="",
            total=str(len(rows)),
        ),
    )
    counts = {"rows_read": len(rows), "rows_accepted": len(rows), "total": str(len(rows))}
    draft = {"kind": "append", "started_at": "", "files": files}
    return Manifest(run_id=run_id, staging=staging, **(draft | counts | fields))


def visible(root: Path) -> list[str]:
    return sorted(
        row for path in root.glob("p=*/*.parquet") for row in path.read_text().split("\n")
    )


ENDLESS = Patience(clock=lambda: 0.0, sleep=lambda _: None)
"""Waits until the other has decided."""

Run = Callable[[Lake], object]
Model = Callable[[list[str]], list[str]]


def append(run_id: str) -> tuple[Run, Model]:
    def run(lake: Lake) -> None:
        if lake.prepare(run_id=run_id, if_exists="append") is None:
            lake.commit(stage(lake, run_id, [run_id]))

    return run, lambda rows: [*rows, run_id]


class TakenInError(LakeConflictError):
    """The run found its input in the lake, and had nothing to do."""


def append_file(run_id: str, path: str) -> tuple[Run, Model]:
    """An append of one input, of which there is one row."""

    def run(lake: Lake) -> None:
        if lake.prepare(run_id=run_id, if_exists="append") is not None:
            return
        record = InputRecord(path=path, size=1, version="1")
        if not lake.unread([record]):
            raise TakenInError
        lake.commit(stage(lake, run_id, [path], inputs=(record,)))

    return run, lambda rows: [*rows, path]


def overwrite_file(run_id: str, path: str) -> tuple[Run, Model]:
    def run(lake: Lake) -> None:
        record = InputRecord(path=path, size=1, version="1")
        if lake.prepare(run_id=run_id, if_exists="overwrite") is None:
            lake.commit(stage(lake, run_id, [path], kind="overwrite", inputs=(record,)))

    return run, lambda _: [path]


def overwrite(run_id: str) -> tuple[Run, Model]:
    def run(lake: Lake) -> None:
        if lake.prepare(run_id=run_id, if_exists="overwrite") is None:
            lake.commit(stage(lake, run_id, [run_id], kind="overwrite"))

    return run, lambda _: [run_id]


def merge(run_id: str) -> tuple[Run, Model]:
    """A compaction as ``compact`` does it, of text."""

    def run(lake: Lake) -> None:
        if lake.prepare(run_id=run_id, if_exists="append") is not None:
            return
        epoch, snapshot = lake.claim(run_id)
        try:
            texts = [lake.storage.read(f.path).decode() for f in snapshot.files]
        except Exception:
            lake.check_not_superseded(run_id)
            raise
        rows = [row for text in texts for row in text.split("\n")]
        retired = tuple(f.path for f in snapshot.files)
        nothing_read = {"rows_read": 0, "rows_accepted": 0, "total": "0"}
        lake.commit(
            stage(lake, run_id, rows, kind="compact", epoch=epoch, retired=retired, **nothing_read)
        )

    return run, lambda rows: rows


class Killed(BaseException):
    """What a thread dies of when its process would have been killed."""


class SteppedStorage:
    """Stops before each operation until told to go on."""

    def __init__(self, inner: Storage) -> None:
        self.root = inner.root
        self._inner = inner
        self._go = threading.Semaphore(0)
        self._stopped = threading.Semaphore(0)
        self._killed = False
        self.finished = False

    def step(self) -> None:
        """Let one operation happen, and wait until the next one is about to."""
        if not self.finished:
            self._go.release()
            self._stopped.acquire()

    def run(self, body: Callable[[], object]) -> threading.Thread:
        """Run in a thread that stops before its first operation."""

        def target() -> None:
            try:
                body()
            finally:
                self.finished = True
                self._stopped.release()

        thread = threading.Thread(target=target)
        thread.start()
        self._stopped.acquire()
        return thread

    def kill(self) -> None:
        self._killed = True
        while not self.finished:
            self.step()

    def _gate(self) -> None:
        self._stopped.release()
        self._go.acquire()
        if self._killed:
            raise Killed

    def note_missing_root(self) -> None:
        self._inner.note_missing_root()

    def remove_new_root(self) -> None:
        self._inner.remove_new_root()

    def put_if_absent(self, name: str, data: bytes) -> bool:
        self._gate()
        return self._inner.put_if_absent(name, data)

    def read(self, name: str) -> bytes:
        self._gate()
        return self._inner.read(name)

    def open(self, name: str) -> BinaryIO:
        self._gate()
        return self._inner.open(name)

    def exists(self, name: str) -> bool:
        self._gate()
        return self._inner.exists(name)

    def move(self, source: str, target: str) -> None:
        self._gate()
        self._inner.move(source, target)

    def delete(self, name: str) -> None:
        self._gate()
        self._inner.delete(name)

    def delete_folder(self, name: str) -> None:
        self._gate()
        self._inner.delete_folder(name)

    def list(
        self, folder: str = "", *, recursive: bool = True, hidden: bool = True
    ) -> Iterator[StoredFile]:
        self._gate()
        return iter(list(self._inner.list(folder, recursive=recursive, hidden=hidden)))

    def sync(self, names: Iterable[str]) -> None:
        self._inner.sync(names)

    def tidy(self, folder: str) -> None:
        self._gate()
        self._inner.tidy(folder)

    def staging_area(self, folder: str) -> StagingArea:
        return self._inner.staging_area(folder)

    def uri(self, name: str) -> str:
        return self._inner.uri(name)

    @property
    def at_once(self) -> int:
        return self._inner.at_once

    @property
    def moves_by_copy(self) -> bool:
        return self._inner.moves_by_copy


class Contest:
    """Some runs on one lake, each in its thread, moved on step by step.

    They supersede each other without waiting, unless they are told to have all ``patience``, and
    write an index of ``segment_commits`` commits.
    """

    def __init__(
        self,
        root: Path,
        runs: Sequence[tuple[Run, Model]],
        patience: Patience = IMPATIENT,
        segment_commits: int = SEGMENT_COMMITS,
    ) -> None:
        self.root = root
        self.segment_commits = segment_commits
        self.patience = patience
        self.before = visible(root)
        self.models = [model for _, model in runs]
        self.errors: list[BaseException | None] = [None] * len(runs)
        self.storages = [SteppedStorage(LocalStorage(str(root))) for _ in runs]
        self.threads = [
            storage.run(lambda i=i, run=run: self._body(i, run))
            for i, (storage, (run, _)) in enumerate(zip(self.storages, runs, strict=True))
        ]

    def _body(self, index: int, run: Run) -> None:
        try:
            storage, segment = self.storages[index], self.segment_commits
            run(Lake(storage, patience=self.patience, segment_commits=segment))
        except (Exception, Killed) as error:  # noqa: BLE001 - judged by finish and check
            self.errors[index] = error

    def follow(self, schedule: Iterable[int]) -> None:
        for index in schedule:
            self.storages[index].step()

    def finish(self, *, in_turns: bool = False) -> None:
        """Let all come to their end, in order; each must succeed or lose to another."""
        while in_turns and not all(s.finished for s in self.storages):
            for storage in self.storages:
                storage.step()
        for storage, thread in zip(self.storages, self.threads, strict=True):
            while not storage.finished:
                storage.step()
            thread.join()
        for error in self.errors:
            if error is not None and not isinstance(error, (LakeConflictError, Killed)):
                raise error

    def check(self) -> None:
        """The lake must be as if those that succeeded had run one after another."""
        won = [m for m, e in zip(self.models, self.errors, strict=True) if e is None]
        assert won, self.errors
        check_lake(self.root, self.before, won)


def check_lake(root: Path, before: list[str], models: Sequence[Model]) -> None:
    lake = Lake.open(str(root))
    lake.sweep(0)
    allowed = []
    for order in itertools.permutations(models):
        rows = before
        for model in order:
            rows = model(rows)
        allowed.append(sorted(rows))
    assert visible(root) in allowed
    assert lake.snapshot().rows == len(visible(root))
    assert lake.strangers(1) == []
    assert not list((root / "_commits").glob(".*"))
    looked_up, read = CommitLog(lake.storage).load(), CommitLog(lake.storage).load_all()
    assert looked_up.manifests == read.manifests
    assert (looked_up.inputs, looked_up.live) == (read.inputs, read.live)
    assert looked_up.run_ids == read.run_ids


@pytest.fixture
def base(tmp_path: Path) -> Path:
    lake = Lake.open(str(tmp_path / "base"))
    for run_id in ("old-1", "old-2"):
        lake.commit(stage(lake, run_id, [f"{run_id}-{i}" for i in range(2)]))
    return tmp_path / "base"


def steps(base: Path, run: tuple[Run, Model]) -> int:
    """How many storage operations a run takes when nobody is in its way."""
    with tempfile.TemporaryDirectory() as folder:
        root = shutil.copytree(base, Path(folder) / "lake")
        contest = Contest(root, [run])
        taken = 0
        while not contest.storages[0].finished:
            contest.storages[0].step()
            taken += 1
        contest.finish()
    return taken


PAIRS = [
    (merge("a"), overwrite("b")),
    (merge("a"), merge("b")),
    (overwrite("a"), overwrite("b")),
    (append("a"), overwrite("b")),
    (append("a"), merge("b")),
    (append("a"), append("b")),
    (append_file("a", "x"), append_file("b", "y")),
    (append_file("a", "x"), overwrite_file("b", "y")),
    (append_file("a", "x"), merge("b")),
]
PAIR_NAMES = [
    "merge-overwrite",
    "merge-merge",
    "overwrite-overwrite",
    "append-overwrite",
    "append-merge",
    "append-append",
    "append-append of files",
    "append-overwrite of files",
    "append-merge of a file",
]


@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_NAMES)
def test_two_runs_interrupting_each_other_anywhere_leave_a_serial_result(
    base: Path, tmp_path: Path, pair: tuple[tuple[Run, Model], tuple[Run, Model]]
) -> None:
    """The first is interrupted by the second, and the second by the rest of the first."""
    of_first, of_second = (steps(base, run) for run in pair)
    for i, j in itertools.product(range(of_first + 1), range(0, of_second + 1, 4)):
        root = shutil.copytree(base, tmp_path / "lake")
        contest = Contest(root, pair)
        contest.follow([0] * i + [1] * j)
        contest.finish()
        contest.check()
        shutil.rmtree(root)


@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_NAMES)
def test_a_run_killed_anywhere_is_in_nobodys_way_and_can_come_back(
    base: Path, tmp_path: Path, pair: tuple[tuple[Run, Model], tuple[Run, Model]]
) -> None:
    (first, first_model), (second, second_model) = pair
    before = visible(base)
    superseded = 0
    for i in range(steps(base, pair[0]) + 1):
        root = shutil.copytree(base, tmp_path / "lake")
        contest = Contest(root, pair[:1])
        contest.follow([0] * i)
        contest.storages[0].kill()
        contest.finish()
        second(Lake(LocalStorage(str(root)), patience=IMPATIENT))
        won = [first_model, second_model]
        try:
            first(Lake(LocalStorage(str(root)), patience=IMPATIENT))
        except LakeConflictError:
            assert isinstance(CommitLog(LocalStorage(str(root))).decision("a"), Superseded)
            superseded += 1
            won = [second_model]
        check_lake(root, before, won)
        shutil.rmtree(root)
    retiring = first in (PAIRS[0][0][0], PAIRS[1][0][0], PAIRS[2][0][0])
    in_one_chain = retiring or pair in (PAIRS[6], PAIRS[7])
    assert (superseded > 0) == in_one_chain


SAME_FILE = [
    (append_file("a", "x"), append_file("b", "x")),
    (append_file("a", "x"), overwrite_file("b", "x")),
]


@pytest.mark.parametrize("pair", SAME_FILE, ids=["append-append", "append-overwrite"])
@pytest.mark.parametrize("patient", [False, True])
def test_two_runs_of_one_input_take_it_in_once(
    base: Path, tmp_path: Path, pair: tuple[tuple[Run, Model], tuple[Run, Model]], patient: bool
) -> None:
    of_first, of_second = (steps(base, run) for run in pair)
    for i, j in itertools.product(range(of_first + 1), range(0, of_second + 1, 4)):
        root = shutil.copytree(base, tmp_path / "lake")
        contest = Contest(root, pair, ENDLESS if patient else IMPATIENT)
        contest.follow([0] * i + [1] * j)
        contest.finish(in_turns=patient)
        assert visible(root).count("x") == 1
        contest.check()
        shutil.rmtree(root)


@pytest.mark.parametrize("pair", PAIRS[6:], ids=PAIR_NAMES[6:])
def test_appends_of_other_inputs_wait_for_each_other_and_for_no_compaction(
    base: Path, tmp_path: Path, pair: tuple[tuple[Run, Model], tuple[Run, Model]]
) -> None:
    of_first, of_second = (steps(base, run) for run in pair)
    for i, j in itertools.product(range(of_first + 1), range(0, of_second + 1, 4)):
        root = shutil.copytree(base, tmp_path / "lake")
        contest = Contest(root, pair, ENDLESS)
        contest.follow([0] * i + [1] * j)
        contest.finish(in_turns=True)
        assert contest.errors == [None, None]
        contest.check()
        shutil.rmtree(root)


@pytest.mark.parametrize("pair", [PAIRS[0], PAIRS[6]], ids=[PAIR_NAMES[0], PAIR_NAMES[6]])
def test_a_run_killed_anywhere_also_in_writing_an_index_can_come_back(
    base: Path, tmp_path: Path, pair: tuple[tuple[Run, Model], tuple[Run, Model]]
) -> None:
    (first, first_model), (second, second_model) = pair
    before = visible(base)
    indexes = set()
    for i in itertools.count():
        root = shutil.copytree(base, tmp_path / "lake")
        contest = Contest(root, pair[:1], segment_commits=1)
        contest.follow([0] * i)
        finished = contest.storages[0].finished
        contest.storages[0].kill()
        contest.finish()
        indexes.add(len(list(root.glob("_commits/index/*"))))
        second(Lake(LocalStorage(str(root)), patience=IMPATIENT, segment_commits=1))
        won = [first_model, second_model]
        try:
            first(Lake(LocalStorage(str(root)), patience=IMPATIENT, segment_commits=1))
        except LakeConflictError:
            won = [second_model]
        check_lake(root, before, won)
        shutil.rmtree(root)
        if finished:
            break
    assert indexes == {0, 1, 2}


@settings(deadline=None, max_examples=150)
@given(st.lists(st.integers(0, 2), max_size=120), st.sampled_from([1, 2, SEGMENT_COMMITS]))
def test_three_runs_in_any_order_of_steps_leave_a_serial_result(
    schedule: list[int], segment_commits: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "lake"
        lake = Lake.open(str(root))
        for run_id in ("old-1", "old-2"):
            lake.commit(stage(lake, run_id, [run_id]))
        runs = [append_file("a", "x"), overwrite("b"), merge("c")]
        contest = Contest(root, runs, segment_commits=segment_commits)
        contest.follow(schedule)
        contest.finish()
        contest.check()


def test_two_creations_leave_one_lake(tmp_path: Path) -> None:
    def create(run_id: str) -> tuple[Run, Model]:
        def run(lake: Lake) -> None:
            lake.prepare(run_id=run_id, if_exists="error")
            lake.commit(stage(lake, run_id, [run_id], kind="create"))

        return run, lambda _: [run_id]

    pair = create("a"), create("b")
    empty = tmp_path / "empty"
    empty.mkdir()
    for i, j in itertools.product(range(steps(empty, pair[0]) + 1), range(0, 30, 3)):
        root = tmp_path / "lake"
        root.mkdir()
        contest = Contest(root, pair)
        contest.follow([0] * i + [1] * j)
        for storage, thread in zip(contest.storages, contest.threads, strict=True):
            while not storage.finished:
                storage.step()
            thread.join()
        assert len(visible(root)) == 1
        assert sum(e is None for e in contest.errors) == 1
        shutil.rmtree(root)


# Decisions


def test_a_run_is_decided_once(tmp_path: Path) -> None:
    one, other = (Lake.open(str(tmp_path)) for _ in range(2))
    mine, theirs = stage(one, "r", ["mine"]), stage(other, "r", ["theirs"])
    other.commit(theirs)
    with pytest.raises(LakeConflictError, match="run r was committed by another process at 2"):
        one.commit(mine)
    assert visible(tmp_path) == ["theirs"]
    assert not (tmp_path / "_staging").exists()


def test_a_decision_whose_answer_was_lost_is_found_again(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    draft = stage(lake, "r", ["row"])
    decided = CommitLog(lake.storage).decide(draft)
    assert CommitLog(lake.storage).decide(draft) == decided
    assert lake.commit(draft) == decided
    assert lake.commit(draft) == decided
    assert visible(tmp_path) == ["row"]


def test_commits_are_ordered_by_epoch_then_time(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    lake.commit(stage(lake, "z", ["1"]))
    lake.commit(stage(lake, "y", ["2"], kind="overwrite"))
    lake.commit(stage(lake, "x", ["3"]))
    lake.commit(stage(lake, "w", ["4"]))
    lake.commit(stage(lake, "a", ["5"], kind="overwrite"))
    assert [m.run_id for m in lake.runs()] == ["z", "y", "x", "w", "a"]
    assert [m.epoch for m in lake.runs()] == [0, 1, 1, 1, 2]


# Epochs


def test_a_claim_is_used_on_by_its_own_run(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    assert lake.claim("r")[0] == 1
    assert lake.claim("r")[0] == 1
    lake.commit(stage(lake, "r", ["row"], kind="overwrite"))
    assert lake.claim("s")[0] == 2


def test_a_claim_waits_for_a_decision_and_no_longer_than_it_has_patience(tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path))
    time, waits = 0.0, 0

    def sleep(seconds: float) -> None:
        nonlocal time, waits
        time += seconds
        waits += 1
        if waits == 5:
            holder = Lake(storage)
            holder.commit(stage(holder, "quick", ["row"], kind="overwrite"))

    Lake(storage).claim("quick")
    patience = Patience(clock=lambda: time, sleep=sleep)
    assert Lake(storage, patience=patience).claim("next")[0] == 2
    assert waits == 5
    assert Lake(storage, patience=patience).claim("third")[0] == 3
    assert time == pytest.approx(0.25 + 2.0, abs=0.06)
    assert isinstance(CommitLog(storage).decision("next"), Superseded)


def test_a_claim_supersedes_the_undecided_one_before_it(tmp_path: Path) -> None:
    lake = Lake(LocalStorage(str(tmp_path)), patience=IMPATIENT)
    epoch, _ = lake.claim("slow")
    assert lake.claim("fast")[0] == epoch + 1
    log = CommitLog(lake.storage)
    decision = log.decision("slow")
    assert isinstance(decision, Superseded)
    assert decision.by == "fast"
    with pytest.raises(LakeConflictError, match="run slow was superseded by fast: run again"):
        lake.commit(stage(lake, "slow", ["row"], kind="compact", epoch=epoch))
    with pytest.raises(LakeConflictError, match="run slow was superseded by fast"):
        lake.claim("slow")
    with pytest.raises(LakeConflictError, match="run slow was superseded by fast"):
        lake.prepare(run_id="slow", if_exists="append")
    assert visible(tmp_path) == []


# Publishing


def undone(lake: Lake, manifest: Manifest) -> Manifest:
    """Decide without publishing."""
    return CommitLog(lake.storage).decide(manifest)


def test_publishing_again_changes_nothing(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    manifest = lake.commit(stage(lake, "r", ["row"]))
    publish(lake.storage, manifest)
    assert visible(tmp_path) == ["row"]


def test_a_late_publisher_does_not_bring_back_what_was_retired(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    old = lake.commit(stage(lake, "old", ["old"]))
    new = lake.commit(stage(lake, "new", ["new"], kind="overwrite"))
    publish(lake.storage, old)
    publish(lake.storage, new)
    assert visible(tmp_path) == ["new"]


def test_a_retiring_commit_waits_for_what_it_retires_to_be_published(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    old = undone(lake, stage(lake, "old", ["old"]))
    assert visible(tmp_path) == []
    lake.commit(stage(lake, "new", ["new"], kind="overwrite"))
    publish(lake.storage, old)
    assert visible(tmp_path) == ["new"]


def test_a_staged_file_that_is_gone_is_told(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    manifest = undone(lake, stage(lake, "r", ["row"]))
    lake.storage.delete(f"{manifest.staging}/{manifest.files[0].staged}")
    with pytest.raises(IntegrityError, match=r"commit r: p=1/.*\.parquet is gone, and so is _stag"):
        Lake.open(str(tmp_path)).snapshot()


def test_the_rejected_folder_holds_exactly_what_was_committed(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    lake.storage.put_if_absent("_rejected/r/left-by-someone.parquet", b"")
    lake.commit(stage(lake, "r", ["row"]))
    assert not (tmp_path / "_rejected").exists()


def test_many_files_are_committed_by_few_calls_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in staged files is on the disk since they were delivered; folders are few."""
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    lake = Lake.open(str(tmp_path))
    manifest = stage(lake, "r", ["row"])
    files = []
    for number in range(500):
        path = lake.storage.staging_area(manifest.staging).path(f"{number}.parquet")
        path.write_bytes(b"row")
        file = msgspec.structs.replace(
            manifest.files[0], path=f"p=1/{number}.parquet", staged=path.name
        )
        files.append(file)
    many = {"rows_read": 500, "rows_accepted": 500, "total": "500"}
    lake.commit(msgspec.structs.replace(manifest, files=tuple(files), **many))
    assert len(visible(tmp_path)) == 500
    assert len(synced) < 50


def test_a_broken_decision_is_told(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    lake.storage.put_if_absent("_commits/r.json", b'{"decision": "commit", "run_id": 3}')
    with pytest.raises(IntegrityError, match=r"_commits/r\.json is not a commit of this version"):
        lake.snapshot()


def test_a_copied_decision_is_told(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    lake.commit(stage(lake, "one", ["row"]))
    for ending in ("json", "done"):
        shutil.copy(tmp_path / "_commits" / f"one.{ending}", tmp_path / f"_commits/three.{ending}")
    with pytest.raises(IntegrityError, match=r"_commits/three\.json is the commit of run one: it"):
        Lake.open(str(tmp_path)).snapshot()


@pytest.mark.parametrize(
    "changes",
    [
        {"total": "abc"},
        {"total": "1e3"},
        {"total": "NaN"},
        {"files": [{**FILE, "total": "abc"}]},
        {"files": [{**FILE, "min_date": "soon"}]},
        {"files": [{**FILE, "rows": "3"}]},
    ],
)
def test_a_decision_with_garbage_is_told(tmp_path: Path, changes: dict[str, Any]) -> None:
    lake = Lake.open(str(tmp_path))
    decision = msgspec.to_builtins(Manifest(run_id="r", kind="append", started_at="", staging=""))
    data = msgspec.json.encode(decision | changes)
    lake.storage.put_if_absent("_commits/r.json", data)
    with pytest.raises(IntegrityError, match=r"^_commits/r\.json is not a commit of this version"):
        lake.snapshot()


@pytest.mark.parametrize("data", [b"", b"not JSON", b"\xff\xfe\x00", b"[]", b"null"])
def test_a_decision_that_is_no_object_is_told(tmp_path: Path, data: bytes) -> None:
    lake = Lake.open(str(tmp_path))
    lake.storage.put_if_absent("_commits/r.json", data)
    with pytest.raises(IntegrityError, match=r"^_commits/r\.json is not a commit of this version"):
        lake.snapshot()


@pytest.mark.parametrize("holder", [b"../../outside", b"a/b", b"\xff\xfe", b"", b"/tmp/x"])
def test_a_claim_is_not_taken_for_a_path(tmp_path: Path, holder: bytes) -> None:
    lake = Lake(LocalStorage(str(tmp_path / "in" / "lake")), patience=IMPATIENT)
    lake.storage.put_if_absent("_commits/epoch-00000001.claim", holder)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(IntegrityError, match=r"^_commits/epoch-0+1\.claim does not hold a run"):
        lake.claim("r")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_line_feed_after_the_run_of_a_claim_does_no_harm(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    lake.storage.put_if_absent("_commits/epoch-00000001.claim", b"r\n")
    assert lake.claim("r")[0] == 1


def test_a_decision_moves_and_deletes_nothing_outside_its_lake(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("kept")
    lake = Lake.open(str(tmp_path / "lake"))
    decided = Manifest(
        run_id="r", kind="append", started_at="", staging="", retired=("../outside",)
    )
    lake.storage.put_if_absent("_commits/r.json", encode(decided))
    with pytest.raises(IntegrityError, match=r"'\.\./outside' is not a name within the lake"):
        lake.snapshot()
    assert outside.read_text() == "kept"


def test_decisions_are_json_that_says_what_it_is(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    lake.commit(stage(lake, "r", ["row"]))
    content = msgspec.json.decode((tmp_path / "_commits" / "r.json").read_bytes())
    assert content["decision"] == "commit"
    assert content["files"][0]["rows"] == 1


@pytest.mark.parametrize("run_id", ["a", "2024-05-03", "A.b_c-9", "x" * 100])
def test_run_ids_that_can_name_files(run_id: str) -> None:
    check_run_id(run_id)


@pytest.mark.parametrize("run_id", ["", "a/b", "../x", ".hidden", "_x", "x" * 101, "a b", "a\n"])
def test_run_ids_that_cannot(run_id: str) -> None:
    with pytest.raises(UsageError, match="expected a letter or digit"):
        check_run_id(run_id)

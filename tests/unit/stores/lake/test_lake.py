from __future__ import annotations

import os
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from celes_beam.errors import (
    IntegrityError,
    LakeConflictError,
    LakeExistsError,
    StorageError,
    TooManyRejectedError,
    UsageError,
)
from celes_beam.stores.lake.attempt import give_up
from celes_beam.stores.lake.commit import CommitLog
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.local_storage import LocalStorage
from celes_beam.stores.lake.manifest import InputRecord, Manifest
from celes_beam.stores.lake.segments import Segments
from celes_beam.stores.lake.upkeep import LOOK_AGAIN_SECONDS, STALE_SECONDS
from tests.lakes import IMPATIENT, Sale, commit_sales, draft, reject, visible_sales

SALES: list[Sale] = [("Hogar", "Norte", 100), ("Ropa", "Sur", 250), ("Ropa", "Sur", 175)]
PLAIN = [("Norte", 100), ("Sur", 175), ("Sur", 250)]
MONDAY = InputRecord(path="lunes.csv", size=10, version="1")
TUESDAY = InputRecord(path="martes.csv", size=20, version="1")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "lake"))


def root(lake: Lake) -> Path:
    return Path(lake.storage.root)


def put(lake: Lake, name: str) -> Path:
    lake.storage.put_if_absent(name, b"x")
    return Path(lake.storage.uri(name))


# Commits


def test_a_commit_lists_what_was_committed_before_a_few_times_only(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a bucket a listing takes the longer the more has been committed."""
    looks = []
    load = CommitLog.load

    def looked(log: CommitLog) -> Any:
        looks.append(log)
        return load(log)

    monkeypatch.setattr(CommitLog, "load", looked)
    for number, record in enumerate((MONDAY, TUESDAY)):
        looks.clear()
        assert lake.unread_and_changed([record]) == ([record], [])
        lake.prepare(run_id=f"r{number}", if_exists="append", partition_by=("region_de_venta",))
        assert lake.unread([record]) == [record]
        commit_sales(lake, f"r{number}", SALES, inputs=(record,))
        assert len(looks) == 5
    assert visible_sales(root(lake)) == sorted(PLAIN * 2)


def test_a_process_looks_for_strangers_once_an_hour(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lists the whole lake, and a watch commits again and again."""
    commit_sales(lake, "r", SALES)
    lake.prepare(run_id="s", if_exists="append")
    put(lake, "other.parquet")
    lake.prepare(run_id="s", if_exists="append")
    stranger = "holds files that no commit of this lake made .other.parquet."
    with pytest.raises(LakeExistsError, match=stranger):
        Lake.open(lake.storage.root).prepare(run_id="s", if_exists="append")
    later = time.monotonic() + LOOK_AGAIN_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    for _ in range(2):
        with pytest.raises(LakeExistsError, match=stranger):
            lake.prepare(run_id="s", if_exists="append")


def test_a_commit_makes_its_files_visible_and_nothing_else(lake: Lake) -> None:
    manifest = lake.commit(reject(lake, draft(lake, "r", SALES), 2))
    assert visible_sales(root(lake)) == PLAIN
    assert sorted(p.name for p in root(lake).iterdir()) == [
        "_commits",
        "_rejected",
        "region_de_venta=Norte",
        "region_de_venta=Sur",
    ]
    assert [p.name for p in root(lake).glob("_rejected/r/*")] == [
        Path(manifest.rejected_files[0].path).name
    ]
    snapshot = lake.snapshot()
    assert snapshot.files == manifest.files
    assert snapshot.runs == (manifest,)
    assert (snapshot.rows, snapshot.total) == (3, Decimal("5.25"))
    assert snapshot.bytes == sum(p.stat().st_size for p in root(lake).glob("region*/*"))


def test_nothing_is_visible_before_the_commit(lake: Lake) -> None:
    draft(lake, "r", SALES)
    assert visible_sales(root(lake)) == []
    assert lake.snapshot().files == ()
    assert lake.strangers(1) == []


def test_a_lake_that_is_not_there_is_empty_and_stays_not_there(lake: Lake) -> None:
    assert lake.snapshot().files == ()
    assert lake.runs() == []
    assert lake.prepare(run_id="r", if_exists="error") is None
    assert not root(lake).exists()


def test_an_overwrite_retires_all_that_was_there(lake: Lake) -> None:
    commit_sales(lake, "a", SALES)
    commit_sales(lake, "b", SALES)
    manifest = commit_sales(lake, "c", SALES[:1], kind="overwrite")
    assert visible_sales(root(lake)) == PLAIN[:1]
    assert not (root(lake) / "region_de_venta=Sur").exists()
    assert (len(manifest.retired), manifest.replaces) == (4, ("a", "b"))
    assert lake.snapshot().files == manifest.files


def test_readers_keep_what_they_have_open(lake: Lake) -> None:
    manifest = commit_sales(lake, "a", SALES)
    with lake.storage.open(manifest.files[0].path) as file:
        commit_sales(lake, "b", SALES, kind="overwrite")
        assert len(file.read()) == manifest.files[0].bytes


def test_no_rows_are_a_commit_too(lake: Lake) -> None:
    commit_sales(lake, "a", [], kind="create")
    commit_sales(lake, "b", [], kind="overwrite")
    assert visible_sales(root(lake)) == []
    assert lake.prepare(run_id="c", if_exists="error") is None


def test_an_overwrite_without_rows_does_not_replace_rows(lake: Lake) -> None:
    commit_sales(lake, "a", SALES)
    with pytest.raises(LakeExistsError, match=r"no row was read to replace the 3 rows of .*delete"):
        commit_sales(lake, "b", [], kind="overwrite")
    rejected = reject(lake, draft(lake, "c", [], kind="overwrite"), 2)
    with pytest.raises(TooManyRejectedError, match=r"all 2 rows .* were rejected \(2 missing\)"):
        lake.commit(rejected)
    assert visible_sales(root(lake)) == PLAIN
    assert [m.run_id for m in lake.runs()] == ["a"]


def test_a_creation_needs_the_lake_to_be_empty(lake: Lake) -> None:
    late = draft(lake, "late", SALES, kind="create")
    commit_sales(lake, "early", SALES)
    with pytest.raises(LakeConflictError, match="empty when run late began, and now holds 3 rows"):
        lake.commit(late)
    assert visible_sales(root(lake)) == PLAIN


def test_a_commit_cut_short_is_finished_by_any_reader(lake: Lake) -> None:
    CommitLog(lake.storage).decide(draft(lake, "r", SALES))
    assert visible_sales(root(lake)) == []
    assert lake.recover() == ["r"]
    assert lake.recover() == []
    assert visible_sales(root(lake)) == PLAIN


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows_read": 4}, "rows read, and accepted"),
        ({"total": "5.26"}, "the sum of amounts, and that of the files, do not agree: 5.26 and 5"),
    ],
)
def test_a_draft_whose_counts_disagree_is_refused(
    lake: Lake, changes: dict[str, object], message: str
) -> None:
    wrong = msgspec.structs.replace(draft(lake, "r", SALES), **changes)
    with pytest.raises(IntegrityError, match=f"run r: {message}.*; nothing was committed"):
        lake.commit(wrong)
    assert lake.find("r") is None


def first_file(manifest: Manifest, **changes: object) -> Manifest:
    first = msgspec.structs.replace(manifest.files[0], **changes)
    return msgspec.structs.replace(manifest, files=(first, *manifest.files[1:]))


def test_a_staged_file_that_changed_is_refused(lake: Lake) -> None:
    manifest = draft(lake, "r", SALES)
    with pytest.raises(IntegrityError, match=r"was staged with 1 bytes, and has \d"):
        lake.commit(first_file(manifest, bytes=1))
    lake.storage.delete(f"{manifest.staging}/{manifest.files[0].staged}")
    with pytest.raises(IntegrityError, match="was staged, and is gone"):
        lake.commit(manifest)


def test_a_path_is_used_once_and_seen_by_readers(lake: Lake) -> None:
    used = commit_sales(lake, "a", SALES).files[0].path
    with pytest.raises(IntegrityError, match="was used by an earlier commit"):
        lake.commit(first_file(draft(lake, "b", SALES), path=used))
    for path in ("_x/part.parquet", "p=1/.part.parquet", "/part.parquet", "_rejected/c/part"):
        with pytest.raises(IntegrityError, match="is not where readers look for it"):
            lake.commit(first_file(draft(lake, "c", SALES), path=path))


def test_rejected_files_belong_in_the_folder_of_their_run(lake: Lake) -> None:
    manifest = reject(lake, draft(lake, "r", SALES), 1)
    elsewhere = msgspec.structs.replace(manifest.rejected_files[0], path="_rejected/s/part")
    with pytest.raises(IntegrityError, match="_rejected/s/part is not where readers look"):
        lake.commit(msgspec.structs.replace(manifest, rejected_files=(elsewhere,)))


# Preparing


def test_a_run_that_has_committed_is_nothing_to_do(lake: Lake) -> None:
    manifest = commit_sales(lake, "r", SALES)
    for mode in ("error", "append", "overwrite"):
        assert lake.prepare(run_id="r", if_exists=mode) == manifest
    assert lake.find("r") == manifest
    assert lake.find("s") is None


def test_error_mode_refuses_a_lake_with_rows(lake: Lake) -> None:
    commit_sales(lake, "a", SALES)
    with pytest.raises(LakeExistsError, match="already holds a lake of 3 rows: add to it with"):
        lake.prepare(run_id="b", if_exists="error")
    assert lake.prepare(run_id="b", if_exists="append") is None
    assert lake.prepare(run_id="b", if_exists="overwrite") is None


@pytest.mark.parametrize("mode", ["error", "append", "overwrite"])
def test_files_of_others_are_never_mixed_with_ours(lake: Lake, mode: str) -> None:
    commit_sales(lake, "a", SALES)
    put(lake, "region_de_venta=Sur/de-otro.parquet")
    with pytest.raises(LakeExistsError, match=r"no commit of this lake made \(region.*de-otro"):
        lake.prepare(run_id="b", if_exists=mode)


def test_three_strangers_are_named(lake: Lake) -> None:
    for name in "abcde":
        put(lake, name)
    with pytest.raises(LakeExistsError, match=r"\(a, b, c\)"):
        lake.prepare(run_id="r", if_exists="error")


def test_hidden_files_of_others_are_let_be(lake: Lake) -> None:
    put(lake, ".DS_Store")
    put(lake, "_SUCCESS")
    assert lake.prepare(run_id="r", if_exists="error") is None


def test_an_unknown_mode_or_run_id_is_refused(lake: Lake) -> None:
    with pytest.raises(UsageError, match="--if_exists merge: expected one of error, append, over"):
        lake.prepare(run_id="r", if_exists="merge")
    with pytest.raises(UsageError, match=r"run id '\.\./r': expected"):
        lake.prepare(run_id="../r", if_exists="error")


def test_a_worker_with_the_same_attempt_may_decide_between_two_looks(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runners may do a bundle twice at once; what both have staged is one and the same."""
    mine = draft(lake, "r", SALES, inputs=(MONDAY,))
    others = iter([CommitLog(lake.storage)])
    real = CommitLog.claim

    def decided_before_the_claim(log: CommitLog, *how: Any) -> int:
        for other in others:
            other.decide(mine)
        return real(log, *how)

    monkeypatch.setattr(CommitLog, "claim", decided_before_the_claim)
    lake.commit(mine)
    assert visible_sales(root(lake)) == PLAIN
    assert [m.staging for m in lake.runs()] == [mine.staging]


def test_an_append_is_partitioned_like_the_lake(lake: Lake) -> None:
    commit_sales(lake, "a", SALES)
    with pytest.raises(UsageError, match="--partition_by mes,anio: the lake is partitioned by reg"):
        lake.prepare(run_id="b", if_exists="append", partition_by=("mes", "anio"))
    assert lake.prepare(run_id="b", if_exists="append", partition_by=("region_de_venta",)) is None
    assert lake.prepare(run_id="b", if_exists="overwrite", partition_by=()) is None


@pytest.mark.parametrize("inputs", [(), (MONDAY,)])
def test_a_lake_may_come_to_be_partitioned_differently_while_a_run_appends(
    lake: Lake, inputs: tuple[InputRecord, ...]
) -> None:
    lake.prepare(run_id="r", if_exists="append", partition_by=("region_de_venta",))
    late = draft(lake, "r", SALES, inputs=inputs)
    other = draft(lake, "by_month", SALES, kind="overwrite", inputs=inputs and (TUESDAY,))
    files = tuple(
        msgspec.structs.replace(f, path=f"mes=2024-05/{Path(f.path).name}") for f in other.files
    )
    lake.commit(msgspec.structs.replace(other, files=files, partition_by=("mes",)))
    with pytest.raises(UsageError, match="the lake is partitioned by mes; append with"):
        lake.commit(late)
    assert lake.snapshot().rows == len(SALES)
    assert not (root(lake) / "_staging").exists()


def test_a_folder_nobody_may_write_is_told_before_the_work(lake: Lake) -> None:
    root(lake).write_text("in the way")
    with pytest.raises(StorageError, match=r"cannot write .*lake/_staging/r/"):
        lake.staging("r")


# The ledger


def test_inputs_of_commits_count_as_read(lake: Lake) -> None:
    commit_sales(lake, "a", SALES, inputs=(MONDAY,))
    draft(lake, "b", SALES, inputs=(TUESDAY,))
    assert lake.unread([TUESDAY, MONDAY]) == [TUESDAY]


def test_an_overwrite_starts_the_ledger_anew(lake: Lake) -> None:
    commit_sales(lake, "a", SALES, inputs=(MONDAY, TUESDAY))
    commit_sales(lake, "b", SALES, kind="overwrite", inputs=(MONDAY,))
    assert lake.unread([TUESDAY, MONDAY]) == [TUESDAY]
    commit_sales(lake, "c", SALES, inputs=(TUESDAY,))
    assert lake.unread([TUESDAY, MONDAY]) == []


def test_two_workers_with_one_attempt_commit_it_once(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One decides, and is slow to publish, when the other is about to claim its turn."""
    begun = draft(lake, "r", SALES, inputs=(MONDAY,))
    other = Lake.open(lake.storage.root)
    claim = CommitLog.claim

    def decided_meanwhile(log: CommitLog, *given: Any) -> int:
        monkeypatch.setattr(CommitLog, "claim", claim)
        other.decide(begun)
        return claim(log, *given)

    monkeypatch.setattr(CommitLog, "claim", decided_meanwhile)
    assert lake.commit(begun).staging == begun.staging
    assert visible_sales(root(lake)) == PLAIN


def test_an_input_that_another_run_took_in_meanwhile_is_not_taken_in_twice(lake: Lake) -> None:
    mine = draft(lake, "a", SALES, inputs=(MONDAY, TUESDAY))
    commit_sales(lake, "b", SALES, inputs=(TUESDAY,))
    with pytest.raises(LakeConflictError, match=r"martes\.csv was taken into the lake by another"):
        lake.commit(mine)
    assert visible_sales(root(lake)) == PLAIN
    assert not list(root(lake).glob("_staging/a/*"))
    assert not list(root(lake).glob("_commits/inputs-00000002.claim"))
    again = draft(lake, "a", SALES, inputs=(MONDAY, TUESDAY))
    lake.commit(again, reprocess=True)
    assert len(visible_sales(root(lake))) == 6


@pytest.mark.parametrize("change", [{"version": "2"}, {"size": 11}])
def test_an_input_that_changed_is_not_taken_in_twice(lake: Lake, change: dict[str, Any]) -> None:
    commit_sales(lake, "a", SALES, inputs=(MONDAY,))
    newer = msgspec.structs.replace(MONDAY, **change)
    told = r"lunes\.csv was taken into the lake by run a and has changed since: its rows would be"
    with pytest.raises(UsageError, match=told):
        lake.unread([TUESDAY, newer])
    late = draft(lake, "b", SALES, inputs=(newer,))
    with pytest.raises(UsageError, match=told):
        lake.commit(late)
    assert not (root(lake) / late.staging).exists()
    lake.commit(draft(lake, "b", SALES, inputs=(newer,)), reprocess=True)
    assert lake.unread([MONDAY, newer, TUESDAY]) == [TUESDAY]


def test_inputs_that_the_ledger_does_not_name_are_to_be_read(lake: Lake) -> None:
    assert lake.unread([TUESDAY, MONDAY]) == [TUESDAY, MONDAY]
    commit_sales(lake, "a", SALES, inputs=(MONDAY,))
    assert lake.unread([TUESDAY, MONDAY]) == [TUESDAY]
    commit_sales(lake, "b", SALES, kind="overwrite")
    assert lake.unread([msgspec.structs.replace(MONDAY, size=11)]) != []


def test_an_input_of_which_nothing_was_accepted_is_read_again_once_it_is_mended(lake: Lake) -> None:
    barren = msgspec.structs.replace(MONDAY, rows_read=5)
    commit_sales(lake, "a", SALES, inputs=(barren,))
    assert lake.unread([MONDAY]) == []
    mended = msgspec.structs.replace(MONDAY, version="2")
    assert lake.unread([mended]) == [mended]
    commit_sales(lake, "b", SALES, inputs=(mended,))
    with pytest.raises(UsageError, match="taken into the lake by run b and has changed"):
        lake.unread([msgspec.structs.replace(MONDAY, version="3")])


# Sweeping


def age(folder: Path, seconds: float) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - seconds,) * 2)


def test_old_staging_of_undecided_runs_is_swept(lake: Lake) -> None:
    old, fresh = (draft(lake, "r", SALES).staging for _ in range(2))
    age(root(lake) / old, STALE_SECONDS + 10)
    assert lake.sweep(time.time()) == [old]
    assert [p.name for p in root(lake).glob("_staging/r/*")] == [Path(fresh).name]


def test_one_fresh_file_keeps_an_attempt(lake: Lake) -> None:
    staging = draft(lake, "r", SALES).staging
    age(root(lake) / staging, STALE_SECONDS + 10)
    put(lake, f"{staging}/part-late.parquet")
    assert lake.sweep(time.time()) == []


def test_a_run_that_slept_for_days_is_not_swept_while_it_decides(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = draft(lake, "r", SALES, inputs=(MONDAY,))
    age(root(lake) / begun.staging, STALE_SECONDS + 1)
    other = Lake.open(lake.storage.root)
    claim = CommitLog.claim

    def swept_meanwhile(log: CommitLog, *given: Any) -> int:
        assert other.sweep(time.time()) == []
        return claim(log, *given)

    monkeypatch.setattr(CommitLog, "claim", swept_meanwhile)
    lake.commit(begun)
    assert visible_sales(root(lake)) == PLAIN
    assert not (root(lake) / "_staging").exists()


def test_a_sweep_looks_again_at_what_was_stale(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = draft(lake, "r", SALES)
    age(root(lake) / begun.staging, STALE_SECONDS + 1)
    other = Lake.open(lake.storage.root)
    listed = LocalStorage.list

    def decided_after_the_look(storage: LocalStorage, *given: Any, **how: Any) -> Any:
        found = list(listed(storage, *given, **how))
        if storage is other.storage and given == ("_staging",):
            monkeypatch.setattr(LocalStorage, "list", listed)
            lake.decide(begun)
        return iter(found)

    monkeypatch.setattr(LocalStorage, "list", decided_after_the_look)
    assert other.sweep(time.time()) == []
    assert visible_sales(root(lake)) == []
    assert other.snapshot().rows == len(SALES)
    assert visible_sales(root(lake)) == PLAIN


def test_staging_of_decided_runs_is_swept_at_once(lake: Lake) -> None:
    lake = Lake(lake.storage, patience=IMPATIENT)
    commit_sales(lake, "r", SALES)
    late = draft(lake, "r", SALES).staging
    lake.claim("s")
    superseded = draft(lake, "s", SALES).staging
    lake.claim("t")
    assert lake.sweep(time.time()) == sorted([late, superseded])
    assert not (root(lake) / "_staging").exists()


def test_staging_of_a_commit_under_way_is_never_swept(lake: Lake) -> None:
    CommitLog(lake.storage).decide(draft(lake, "r", SALES))
    age(root(lake) / "_staging", STALE_SECONDS + 10)
    assert lake.sweep(time.time()) == []
    assert lake.recover() == ["r"]
    assert visible_sales(root(lake)) == PLAIN


def test_preparing_recovers_and_sweeps(lake: Lake) -> None:
    CommitLog(lake.storage).decide(draft(lake, "a", SALES))
    age(root(lake) / draft(lake, "b", SALES).staging, STALE_SECONDS + 10)
    lake.prepare(run_id="c", if_exists="append")
    assert visible_sales(root(lake)) == PLAIN
    assert not (root(lake) / "_staging").exists()


def test_an_attempt_can_be_discarded_and_leaves_no_folder_behind(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path / "not" / "there"))
    lake.discard(draft(lake, "r", SALES).staging)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moment", ["list", "claim", "announce", "put"])
def test_an_attempt_may_be_discarded_while_a_worker_decides(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Ctrl-C ends the launcher, and its worker goes on for a moment."""
    commit_sales(lake, "before", SALES[:1])
    begun = draft(lake, "r", SALES, inputs=(MONDAY,))
    launcher = Lake.open(lake.storage.root)
    of = {
        "list": (CommitLog, "load"),
        "claim": (CommitLog, "claim"),
        "announce": (Segments, "announce"),
        "put": (CommitLog, "decide"),
    }
    owner, name = of[moment]
    real = getattr(owner, name)

    def interrupted(*given: Any) -> Any:
        monkeypatch.setattr(owner, name, real)
        if moment == "put":
            decided = real(*given)
            give_up(launcher, "r", begun.staging, KeyboardInterrupt())
            return decided
        give_up(launcher, "r", begun.staging, KeyboardInterrupt())
        return real(*given)

    monkeypatch.setattr(owner, name, interrupted)
    lake.commit(begun)
    whole = 1 + len(SALES)
    assert Lake.open(lake.storage.root).snapshot().rows == whole
    assert len(visible_sales(root(lake))) == whole
    assert not (root(lake) / begun.staging).exists()


def test_what_was_there_before_an_attempt_is_there_after_it(lake: Lake) -> None:
    root(lake).mkdir()
    lake.discard(draft(lake, "r", SALES).staging)
    assert list(root(lake).iterdir()) == []
    other = Lake.open(f"{lake.storage.root}-2")
    staging = draft(other, "r", SALES).staging
    put(other, "_notes/of-others")
    other.discard(staging)
    assert [p.name for p in root(other).iterdir()] == ["_notes"]

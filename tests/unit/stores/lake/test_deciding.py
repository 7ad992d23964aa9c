"""An attempt that is given up while a worker of it may be committing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from celes_beam.errors import IntegrityError, LakeConflictError, StorageError
from celes_beam.stores.lake import commit
from celes_beam.stores.lake.attempt import give_up
from celes_beam.stores.lake.commit import CommitLog
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from pipelines import batch
from tests.lakes import Sale, draft, visible_sales

SALES: list[Sale] = [("Hogar", "Norte", 100), ("Ropa", "Sur", 250)]
INTERRUPT = KeyboardInterrupt()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "lake"))


def given_up_before_the_decision(monkeypatch: pytest.MonkeyPatch, root: Path, run_id: str) -> None:
    """As by Ctrl-C in a process whose workers go on, or on a machine that is far away."""
    real = CommitLog.decide

    def decide(log: CommitLog, manifest: Any) -> Any:
        give_up(Lake.open(str(root)), run_id, manifest.staging, INTERRUPT)
        return real(log, manifest)

    monkeypatch.setattr(commit.CommitLog, "decide", decide)


def test_what_a_worker_is_deciding_on_is_not_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "lake"
    given_up_before_the_decision(monkeypatch, root, "r")
    batch.run(["--rows", "200", "-o", str(root), "--run_id", "r", "--progress", "off"])
    found = verify(Lake.open(str(root)))
    assert (found.problems, found.notes) == ((), ())
    assert found.rows + found.rejected_rows == 200
    assert "run r was about to commit, and may do so yet" in caplog.text
    assert not (root / "_staging").exists()


def test_who_comes_to_decide_on_what_is_being_taken_back_is_refused(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = draft(lake, "r", SALES)
    real = type(lake.storage).delete_folder
    late = iter([mine])

    def delete_folder(storage: Any, name: str) -> None:
        for manifest in late:
            with pytest.raises(IntegrityError, match=r"was taken back, .* before it was committed"):
                Lake.open(lake.storage.root).commit(manifest)
        real(storage, name)

    monkeypatch.setattr(type(lake.storage), "delete_folder", delete_folder)
    give_up(lake, "r", mine.staging, INTERRUPT)
    assert next(late, None) is None
    assert not Path(lake.storage.root).exists()


def test_a_decision_that_failed_is_in_nobodys_way(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = draft(lake, "r", SALES)

    def full(log: CommitLog, manifest: Any) -> Any:
        raise StorageError("the disk is full")

    monkeypatch.setattr(CommitLog, "decide", full)
    with pytest.raises(StorageError, match="full"):
        lake.commit(mine)
    give_up(lake, "r", mine.staging, INTERRUPT)
    assert not [*lake.storage.list("_staging")]


def test_what_was_decided_stays(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    mine = draft(lake, "r", SALES)
    lake.decide(mine)
    give_up(lake, "r", mine.staging, INTERRUPT)
    assert "run r is committed all the same" in caplog.text
    assert lake.snapshot().rows == 2
    assert visible_sales(Path(lake.storage.root)) == [("Norte", 100), ("Sur", 250)]
    assert not (Path(lake.storage.root) / "_staging").exists()


def test_another_attempt_that_has_committed_is_told(lake: Lake) -> None:
    mine, theirs = draft(lake, "r", SALES), draft(lake, "r", SALES[:1])
    lake.commit(theirs)
    with pytest.raises(LakeConflictError, match="committed by another process"):
        give_up(lake, "r", mine.staging, INTERRUPT)
    assert not (Path(lake.storage.root) / "_staging").exists()

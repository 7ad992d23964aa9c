"""A commit that was decided is published in steps, by any number of workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from celes_beam.errors import ConfigError, IntegrityError, StorageError
from celes_beam.stores.lake.commit import SEGMENT_COMMITS, CommitLog
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import Manifest
from celes_beam.stores.lake.publish import move, moves_of
from celes_beam.stores.lake.segments import INDEXES, index_name
from celes_beam.stores.lake.verify import verify
from celes_beam.transforms.publish import PublishCommit, _FinishFn, _RetiredFn, _shares
from tests.lakes import commit_sales, draft, reject, visible_sales

OLD = [("Hogar", f"Region {n}", 100) for n in range(7)]
NEW = [("Ropa", f"Region {n}", 250) for n in range(5)]
REJECTED_ROWS = 2


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "lake"))


@pytest.fixture
def decided(lake: Lake) -> Manifest:
    """An overwrite of seven files by five, and one of rejected rows, that nobody has published."""
    commit_sales(lake, "old", OLD)
    return lake.decide(reject(lake, draft(lake, "new", NEW, kind="overwrite"), REJECTED_ROWS))


def publish(lake: Lake, decided: Manifest, workers: int, repeat: int = 0) -> None:
    root = lake.storage.root
    with beam.Pipeline(runner=FnApiRunner(bundle_repeat=repeat)) as pipeline:
        published = (
            pipeline
            | beam.Create([decided], reshuffle=False)
            | PublishCommit(root, workers=workers)
        )
        assert_that(published, equal_to([decided]))


@pytest.mark.parametrize(("workers", "repeat"), [(1, 0), (2, 2), (6, 0)])
def test_all_is_in_place_and_what_was_retired_is_gone(
    lake: Lake, decided: Manifest, workers: int, repeat: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that each has several elements.
    monkeypatch.setattr("celes_beam.transforms.publish._FILES", 2)
    publish(lake, decided, workers, repeat)

    root = Path(lake.storage.root)
    assert visible_sales(root) == sorted((region, cents) for _, region, cents in NEW)
    assert [str(f.relative_to(root)) for f in root.glob("_rejected/*/*")] == [
        f.path for f in decided.rejected_files
    ]
    assert (root / "_commits/new.done").exists()
    assert not (root / "_staging").exists()
    found = verify(lake)
    assert (found.problems, found.notes) == ((), ())


def test_what_another_has_published_meanwhile_is_left_alone(lake: Lake, decided: Manifest) -> None:
    assert lake.recover() == ["new"]
    later = commit_sales(lake, "later", OLD, kind="overwrite")

    publish(lake, decided, 2)

    assert visible_sales(Path(lake.storage.root)) == sorted((r, c) for _, r, c in OLD)
    assert [m.run_id for m in lake.runs()] == ["old", "new", later.run_id]
    assert verify(lake).problems == ()


def test_a_commit_of_which_a_file_is_lost_is_not_marked(lake: Lake, decided: Manifest) -> None:
    staged = Path(lake.storage.root) / decided.staging / decided.files[0].staged
    staged.unlink()

    with pytest.raises(Exception, match=f"{decided.files[0].path} is gone"):
        publish(lake, decided, 2)

    assert not lake.storage.exists("_commits/new.done")


@pytest.mark.parametrize("moved", [[], [3, 2], [3, 4]])
def test_nothing_is_deleted_before_all_is_in_place(
    lake: Lake, decided: Manifest, moved: list[int]
) -> None:
    retired = _RetiredFn(lake.storage.root, 2)

    with pytest.raises(IntegrityError, match=r"files were moved, of 6: the next look at .* finish"):
        list(retired.process((decided.run_id, moved)))


@pytest.mark.parametrize("retired", [[], [6], [4, 4]])
def test_a_commit_of_which_a_step_is_missing_is_not_marked(
    lake: Lake, decided: Manifest, retired: list[int]
) -> None:
    finish = _FinishFn(lake.storage.root)

    with pytest.raises(IntegrityError, match=r"were deleted, of 7: the next look at .* finishes"):
        list(finish.process((decided.run_id, retired)))

    assert not lake.storage.exists("_commits/new.done")
    assert lake.recover() == ["new"]


def test_a_decision_that_is_gone_is_told(lake: Lake, decided: Manifest) -> None:
    with pytest.raises(IntegrityError, match="run other was decided, and is not among"):
        list(_FinishFn(lake.storage.root).process(("other", [7])))


def test_a_commit_without_files_is_marked(lake: Lake) -> None:
    decided = lake.decide(draft(lake, "empty", []))
    publish(lake, decided, 3)
    assert lake.storage.exists("_commits/empty.done")
    assert not list(lake.storage.list("_staging"))


def test_who_finishes_writes_the_index_of_many_commits(lake: Lake) -> None:
    for number in range(SEGMENT_COMMITS - 1):
        commit_sales(lake, f"r{number}", OLD[:1])
    assert not list(lake.storage.list(INDEXES))

    publish(lake, lake.decide(draft(lake, "last", OLD[:1])), 2)

    assert lake.storage.exists(index_name(1))
    assert Lake.open(lake.storage.root).snapshot().rows == SEGMENT_COMMITS
    assert lake.index_problems() == []


def test_a_commit_does_not_fail_for_a_look_after_it(
    lake: Lake, decided: Manifest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def look(_: object) -> Any:
        raise StorageError("cannot list: the network is gone")

    with monkeypatch.context() as broken:
        broken.setattr(CommitLog, "load", look)
        retired = [len(decided.retired)]
        move(lake.storage, decided.run_id, moves_of(decided))
        list(_FinishFn(lake.storage.root).process((decided.run_id, retired)))

    assert "no index of commits was written, which takes longer: cannot list" in caplog.text
    assert lake.storage.exists("_commits/new.done")


@pytest.mark.parametrize(("files", "workers"), [(0, 6), (1, 6), (7, 3), (1_000, 6), (1_537, 1)])
def test_shares_are_even_and_hold_each_file_once(files: int, workers: int) -> None:
    shares: dict[int, list[int]] = {}
    for share, some in _shares(range(files), workers):
        assert (files > 0) <= len(some) <= 256
        shares.setdefault(share, []).extend(some)

    assert sorted(n for share in shares.values() for n in share) == list(range(files))
    # One of none, too: the steps after it are to be done.
    assert len(shares) == (min(files, workers) or 1)
    sizes = [len(share) for share in shares.values()]
    assert max(sizes) - min(sizes) <= 256


def test_no_workers_are_refused() -> None:
    with pytest.raises(ConfigError, match="workers is 0: expected 1 or more"):
        PublishCommit("lake", workers=0)

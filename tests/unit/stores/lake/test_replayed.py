"""Lists of replayed rows: two commits never have a row in common, however they race."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
import pytest

from celes_beam.errors import IntegrityError, LakeConflictError, StorageError
from celes_beam.stores.lake.history import history
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.local_storage import LocalStorage
from celes_beam.stores.lake.manifest import Manifest, Replayed
from celes_beam.stores.lake.publish import publish
from celes_beam.stores.lake.replayed import read_lists, replayed_before, stage_list
from tests.lakes import commit_sales, draft

SALE = ("Hogar", "Norte", 100)


def replay_of(lake: Lake, run_id: str, rows: range, *, epoch: int = 0) -> Manifest:
    """Stage a replay that accepts all of some rows."""
    begun = draft(lake, run_id, [SALE] * len(rows))
    lists = [np.array([f"{row:016}".encode() for row in rows], "S16")]
    area = lake.storage.staging_area(begun.staging)
    files = (stage_list(area, run_id, lists),)
    replayed = Replayed(
        source="x", files=files, by_reason={"missing": len(rows)}, rules="r", epoch=epoch
    )
    return msgspec.structs.replace(begun, replayed=replayed)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "lake"))


def test_what_was_replayed_is_known_from_then_on(lake: Lake) -> None:
    decided = lake.commit(replay_of(lake, "r1", range(5)))
    (identities,) = read_lists(lake.storage, decided)
    assert len(identities) == 5
    assert replayed_before(lake.storage, lake.runs()).holds(identities).all()
    assert decided.replayed is not None
    assert decided.replayed.files[0].path.startswith("_replayed/r1/")
    assert history(lake.commits())[-1].origin == "5 rejected rows of x replayed"


def test_a_list_is_read_before_it_is_in_its_place(lake: Lake) -> None:
    (identities,) = read_lists(lake.storage, replay_of(lake, "r1", range(3)))
    assert identities.tolist() == [b"%016d" % n for n in range(3)]


def test_a_list_may_come_to_its_place_between_two_looks(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided = lake.decide(replay_of(lake, "r1", range(3)))
    open_ = LocalStorage.open

    def published_after_the_look(storage: LocalStorage, name: str) -> BinaryIO:
        try:
            return open_(storage, name)
        except StorageError:
            publish(lake.storage, decided)
            raise

    monkeypatch.setattr(LocalStorage, "open", published_after_the_look)
    (identities,) = read_lists(LocalStorage(lake.storage.root), decided)
    assert len(identities) == 3


def test_a_row_in_common_is_a_conflict(lake: Lake) -> None:
    first, second = replay_of(lake, "r1", range(5)), replay_of(lake, "r2", range(4, 8))
    other = replay_of(lake, "r3", range(8, 9))
    lake.commit(first)
    with pytest.raises(LakeConflictError, match="1 of the 4 rows that run r2 replays"):
        lake.commit(second)
    lake.commit(other)
    assert lake.snapshot().rows == 6


def test_an_overwrite_meanwhile_is_a_conflict(lake: Lake) -> None:
    begun = replay_of(lake, "r2", range(5))
    overwrite = commit_sales(lake, "r1", [SALE], kind="overwrite")
    with pytest.raises(LakeConflictError, match="the lake was overwritten"):
        lake.commit(begun)
    assert lake.commit(replay_of(lake, "r3", range(5), epoch=overwrite.epoch)).rows == 5


def test_counts_must_agree(lake: Lake) -> None:
    begun = replay_of(lake, "r1", range(5))
    assert begun.replayed is not None
    wrong = msgspec.structs.replace(begun.replayed, by_reason={"missing": 4})
    with pytest.raises(IntegrityError, match="rows replayed, and their reasons"):
        lake.commit(msgspec.structs.replace(begun, replayed=wrong))


@pytest.mark.parametrize("turn", range(3))
def test_of_many_at_once_one_takes_a_row(tmp_path: Path, turn: int) -> None:
    root = str(tmp_path / f"lake{turn}")
    drafts = [replay_of(Lake.open(root), f"r{n}", range(n, n + 2)) for n in range(8)]

    def commit(begun: Manifest) -> bool:
        try:
            Lake.open(root).commit(begun)
        except LakeConflictError:
            return False
        return True

    with ThreadPoolExecutor(len(drafts)) as pool:
        list(pool.map(commit, drafts))
    lake = Lake.open(root)
    taken = [
        identity for m in lake.runs() for some in read_lists(lake.storage, m) for identity in some
    ]
    assert len(taken) == len(set(taken)) == lake.snapshot().rows > 0

from __future__ import annotations

from pathlib import Path

import pytest

from celes_beam.errors import UsageError
from celes_beam.stores.lake.storage import open_storage


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("gs://", "expected gs://BUCKET"),
        ("gs://bucket//lake", "expected gs://BUCKET"),
        ("s3://bucket/lake", "expected a local folder, or gs://BUCKET"),
        ("gs:/bucket/lake", "expected a local folder, or gs://BUCKET"),
        ("", "empty text"),
        ("  ", "empty text"),
    ],
)
def test_roots_that_hold_no_lake(root: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_storage(root)


def test_a_file_is_no_root(tmp_path: Path) -> None:
    (tmp_path / "ventas.csv").touch()
    with pytest.raises(UsageError, match=r"ventas\.csv is a file: a lake is a folder"):
        open_storage(str(tmp_path / "ventas.csv"))


def test_a_root_may_vanish_between_two_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever made it takes it away again when nothing was committed."""
    root = tmp_path / "lake"
    root.mkdir()
    exists = Path.exists

    def vanishes(path: Path) -> bool:
        there = exists(path)
        if there and path == root:
            root.rmdir()
        return there

    monkeypatch.setattr(Path, "exists", vanishes)
    assert open_storage(str(root)).root == str(root)


def test_a_relative_root_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = open_storage("lake")
    monkeypatch.chdir("/")
    assert storage.root == "lake"
    assert storage.staging_area("a/b").folder == str(tmp_path / "lake" / "a" / "b")

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from celes_beam.errors import StorageError
from celes_beam.stores.lake.local_files import storage_errors
from celes_beam.stores.lake.local_storage import LocalStorage

PARTIAL = f".r.json.{'0' * 32}"


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(str(tmp_path / "lake"))


def names(storage: LocalStorage, folder: str = "", **how: bool) -> list[str]:
    return [f.name for f in storage.list(folder, **how)]


def put(storage: LocalStorage, *files: str) -> None:
    for name in files:
        assert storage.put_if_absent(name, name.encode())


# put_if_absent


def test_only_the_first_put_counts(storage: LocalStorage) -> None:
    assert storage.put_if_absent("_commits/r.json", b"first")
    assert not storage.put_if_absent("_commits/r.json", b"second")
    assert storage.read("_commits/r.json") == b"first"
    assert names(storage) == ["_commits/r.json"]


def test_many_threads_putting_have_one_winner(storage: LocalStorage) -> None:
    start = threading.Barrier(8)
    won: list[int] = []

    def racer(me: int) -> None:
        start.wait()
        if storage.put_if_absent("r.json", str(me).encode()):
            won.append(me)

    threads = [threading.Thread(target=racer, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert storage.read("r.json") == str(won[0]).encode()
    assert names(storage) == ["r.json"]


def test_a_put_that_meets_a_target_just_made_loses(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(storage, "other")
    fsync = os.fsync

    def another_puts_and_tidies(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        put(storage, "r.json")
        storage.tidy("")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", another_puts_and_tidies)
    assert not storage.put_if_absent("r.json", b"mine")
    assert storage.read("r.json") == b"r.json"
    assert names(storage) == ["other", "r.json"]


def test_a_put_leaves_nothing_when_the_disk_is_full(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(storage, "other")

    def full(_: int) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        StorageError, match=r"cannot write .*r\.json: No space left on device; make"
    ):
        storage.put_if_absent("r.json", b"mine")
    assert names(storage) == ["other"]


def test_what_killed_puts_left_is_tidied_once_it_is_dead(storage: LocalStorage) -> None:
    put(storage, f"c/{PARTIAL}", "c/.hidden", "c/r.other")
    partial = Path(storage.uri(f"c/{PARTIAL}"))
    storage.tidy("c")
    assert partial.exists(), "its process may be alive"
    put(storage, "c/r.json")
    storage.tidy("c")
    assert names(storage) == ["c/.hidden", "c/r.json", "c/r.other"]


def test_a_partial_of_yesterday_is_dead(storage: LocalStorage) -> None:
    put(storage, f"c/{PARTIAL}")
    yesterday = time.time() - 90_000
    os.utime(storage.uri(f"c/{PARTIAL}"), (yesterday, yesterday))
    storage.tidy("c")
    assert names(storage) == []
    storage.tidy("not there")


# Moving and deleting


def test_move_makes_folders_and_can_be_repeated(storage: LocalStorage) -> None:
    put(storage, "_staging/r/a")
    storage.move("_staging/r/a", "region=Norte/mes=2024-05/a")
    storage.move("_staging/r/a", "region=Norte/mes=2024-05/a")
    assert names(storage) == ["region=Norte/mes=2024-05/a"]
    assert not storage.exists("_staging/r/a")


def test_move_of_nothing_fails(storage: LocalStorage) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*lake/b: No such file"):
        storage.move("a", "b")


def test_move_makes_a_folder_again_that_another_process_removed(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(storage, "a")
    rename = os.rename
    calls = []

    def folder_vanishes(source: str, target: str) -> None:
        calls.append(target)
        if len(calls) == 2:
            Path(target).parent.rmdir()
        rename(source, target)

    monkeypatch.setattr(os, "rename", folder_vanishes)
    storage.move("a", "p=1/a")
    assert names(storage) == ["p=1/a"]
    assert len(calls) == 3


def test_another_process_may_move_it_between_two_looks(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(storage, "a")
    another = LocalStorage(storage.root)
    moves = iter([another.move])

    def moved_after_the_look(self: LocalStorage, name: str) -> bool:
        there = Path(self.uri(name)).exists()
        if self is storage:
            for move in moves:
                move("a", "p=1/a")
        return there

    monkeypatch.setattr(LocalStorage, "exists", moved_after_the_look)
    storage.move("a", "p=1/a")
    monkeypatch.undo()
    assert names(storage) == ["p=1/a"]


def test_a_folder_may_vanish_while_it_is_made(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process makes it and, once its file has gone, removes it, all between two looks."""
    put(storage, "a", "p=1/b")
    is_dir = Path.is_dir
    vanishing = [Path(storage.uri("p=1")), Path(storage.uri("q=1"))]

    def vanishes(path: Path) -> bool:
        if path in vanishing:
            vanishing.remove(path)
            Path(path, "b").unlink(missing_ok=True)
            path.rmdir()
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", vanishes)
    assert storage.put_if_absent("p=1/c", b"")
    rename = os.rename

    def made_by_another(source: str, target: str) -> None:
        monkeypatch.setattr(os, "rename", rename)
        Path(target).parent.mkdir()
        raise FileNotFoundError(errno.ENOENT, "gone")

    monkeypatch.setattr(os, "rename", made_by_another)
    storage.move("a", "q=1/a")
    assert vanishing == []
    assert names(storage) == ["p=1/c", "q=1/a"]


def test_a_put_is_done_again_when_its_folder_is_deleted_meanwhile(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two runs with one id the first to commit deletes the staging of both."""
    put(storage, "other")
    fsync = os.fsync

    def staging_is_deleted(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        storage.delete_folder("_staging/r")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", staging_is_deleted)
    assert storage.put_if_absent("_staging/r/1/.started", b"now")
    assert storage.read("_staging/r/1/.started") == b"now"
    assert names(storage) == ["_staging/r/1/.started", "other"]


def test_delete_takes_empty_folders_along_but_not_the_root(storage: LocalStorage) -> None:
    put(storage, "p=1/q=1/a", "p=1/b")
    storage.delete("p=1/q=1/a")
    assert names(storage) == ["p=1/b"]
    assert not Path(storage.uri("p=1/q=1")).exists()
    storage.delete("p=1/b")
    storage.delete("p=1/b")
    assert not Path(storage.uri("p=1")).exists()
    assert Path(storage.uri("")).is_dir()


def test_delete_folder_can_be_repeated(storage: LocalStorage) -> None:
    put(storage, "_staging/r/1/p/a", "_staging/r/1/b", "_staging/s/1/c")
    storage.delete_folder("_staging/r")
    storage.delete_folder("_staging/r")
    assert names(storage) == ["_staging/s/1/c"]
    storage.delete_folder("_staging/s")
    assert not Path(storage.uri("_staging")).exists()


# Listing, reading, writing


def test_list_tells_names_sizes_and_times(storage: LocalStorage) -> None:
    put(storage, "b/2", "b/1", "a")
    os.utime(storage.uri("a"), (5, 7.5))
    first, *rest = storage.list()
    assert (first.name, first.size, first.modified) == ("a", 1, 7.5)
    assert [f.name for f in rest] == ["b/1", "b/2"]
    assert names(storage, recursive=False) == ["a"]
    assert names(storage, "b") == ["b/1", "b/2"]
    assert names(storage, "c") == []


def test_hidden_names_can_be_left_out_with_all_under_them(storage: LocalStorage) -> None:
    put(storage, "_commits/r.json", ".git/HEAD", "p=1/_x", "p=1/a", ".DS_Store")
    assert names(storage, hidden=False) == ["p=1/a"]


def test_links_are_not_followed(storage: LocalStorage, tmp_path: Path) -> None:
    put(storage, "a")
    Path(storage.uri("loop")).symlink_to(tmp_path / "lake")
    assert names(storage) == ["a", "loop"]


def test_a_staged_file_is_read_back(storage: LocalStorage) -> None:
    storage.staging_area("p").path("a").write_bytes(b"abc")
    with storage.open("p/a") as file:
        assert file.read() == b"abc"
    storage.sync(["p/a", "gone"])


@pytest.mark.parametrize("method", ["read", "open"])
def test_what_is_missing_is_named(storage: LocalStorage, method: str) -> None:
    with pytest.raises(StorageError, match=r"cannot read .*lake/a: No such file or directory"):
        getattr(storage, method)("a")


def test_a_folder_nobody_may_write_is_named() -> None:
    expected = r"cannot write /lake: Read-only .*; choose a folder"
    with pytest.raises(StorageError, match=expected), storage_errors("write", "/lake"):
        raise OSError(errno.EROFS, "Read-only file system")


def test_a_file_in_the_way_of_a_folder_is_named(storage: LocalStorage) -> None:
    put(storage, "a")
    with pytest.raises(StorageError, match=r"cannot write .*lake/a/b: "):
        storage.put_if_absent("a/b", b"")
    with pytest.raises(StorageError, match=r"cannot list .*lake/a: Not a directory"):
        names(storage, "a")


# Other file systems, and links to them


@pytest.fixture
def other_disk() -> Iterator[Path]:
    """A folder of another file system than that of ``tmp_path``."""
    try:
        folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    except OSError:
        pytest.skip("no second file system here")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def linked(storage: LocalStorage, other_disk: Path) -> LocalStorage:
    """A lake whose folder ``p=1`` is a link to another disk."""
    root = Path(storage.root)
    root.mkdir()
    if root.stat().st_dev == other_disk.stat().st_dev:
        pytest.skip("no second file system here")
    (root / "p=1").symlink_to(other_disk)
    return storage


def test_a_file_moves_to_another_file_system(linked: LocalStorage, other_disk: Path) -> None:
    put(linked, "_staging/a.staged")
    assert not linked.moves_by_copy
    killed = other_disk / f".part.parquet.{'0' * 32}"
    killed.write_bytes(b"half")

    linked.move("_staging/a.staged", "p=1/part.parquet")
    linked.move("_staging/a.staged", "p=1/part.parquet")

    assert linked.read("p=1/part.parquet") == b"_staging/a.staged"
    assert names(linked) == ["p=1/part.parquet"]
    assert [path.name for path in other_disk.iterdir()] == ["part.parquet"]
    assert linked.moves_by_copy, "so a publisher looks for what a slow copy brought back"


def test_a_copy_to_another_file_system_that_is_full_leaves_the_source_and_no_half(
    linked: LocalStorage, other_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(linked, "_staging/a.staged")

    def full(_: int) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device; make room"):
        linked.move("_staging/a.staged", "p=1/part.parquet")

    assert names(linked) == ["_staging/a.staged"]
    assert not list(other_disk.iterdir())


def test_a_folder_that_is_a_link_is_listed_and_stays_when_it_is_empty(
    linked: LocalStorage, other_disk: Path
) -> None:
    (other_disk / "part.parquet").write_bytes(b"rows")
    assert names(linked, hidden=False) == ["p=1/part.parquet"]

    linked.delete("p=1/part.parquet")

    assert names(linked) == []
    assert (Path(linked.root) / "p=1").is_symlink()


def test_links_that_lead_back_are_not_followed(storage: LocalStorage) -> None:
    put(storage, "a/x", "b/y")
    root = Path(storage.root)
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "to_b").symlink_to(root / "b")
    (root / "b" / "to_a").symlink_to(root / "a")

    found = names(storage)

    assert {"a/x", "b/y", "a/up", "a/to_b/y"} <= set(found)
    assert len(found) < 20

"""What a lake asks of its storage, from objects of a bucket."""

from __future__ import annotations

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from celes_beam.errors import IntegrityError, StorageError, UsageError
from celes_beam.stores.cloud.clients import STORAGE_CONNECTIONS, storage_client
from celes_beam.stores.inputs import gcs_files
from celes_beam.stores.inputs.files import list_inputs
from celes_beam.stores.lake import gcs_storage
from celes_beam.stores.lake.gcs_storage import GcsStorage
from celes_beam.stores.lake.measure import checksum
from celes_beam.stores.lake.storage import open_storage
from tests.faults import FaultProxy, nth


@pytest.fixture
def storage(bucket: Any) -> GcsStorage:
    return GcsStorage(f"gs://{bucket.name}/lake")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of the writers, of this test alone."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def names(storage: GcsStorage, folder: str = "", **how: bool) -> list[str]:
    return [f.name for f in storage.list(folder, **how)]


def put(storage: GcsStorage, *files: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda name: storage.put_if_absent(name, name.encode()), files))


def test_a_bucket_is_opened_by_its_url(bucket: Any) -> None:
    assert isinstance(open_storage(f"gs://{bucket.name}/lake/"), GcsStorage)


def test_many_threads_putting_have_one_winner(storage: GcsStorage) -> None:
    start = threading.Barrier(8)

    def race(number: int) -> bool:
        start.wait()
        return storage.put_if_absent("_commits/r.json", b"%d" % number)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(race, range(8)))
    assert won.count(True) == 1
    assert storage.read("_commits/r.json") == b"%d" % won.index(True)


@pytest.mark.parametrize(("there", "ours"), [(None, True), (b"other", False)])
def test_a_lost_answer_does_not_change_who_won(
    storage: GcsStorage,
    storage_server: Any,
    monkeypatch: pytest.MonkeyPatch,
    there: bytes | None,
    ours: bool,
) -> None:
    if there is not None:
        assert storage.put_if_absent("a", there)
    with FaultProxy(storage_server.address) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        lost = proxy.add("lose_answer", nth(1), method="POST", path="^/upload/")
        assert storage.put_if_absent("a", b"mine") is ours
    assert lost.happened == 1
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{storage_server.address}")
    assert storage.read("a") == (there or b"mine")


def test_move_can_be_repeated(storage: GcsStorage) -> None:
    put(storage, "s/a")
    storage.move("s/a", "p=1/a")
    storage.move("s/a", "p=1/a")
    assert names(storage) == ["p=1/a"]
    assert storage.read("p=1/a") == b"s/a"


def test_move_of_nothing_fails(storage: GcsStorage) -> None:
    with pytest.raises(StorageError, match="neither is there"):
        storage.move("s/a", "a")


def test_deletions_can_be_repeated_and_spare_what_is_beside(storage: GcsStorage) -> None:
    put(storage, "s/a", "s/b/c", "s2/a", "a")
    for _ in range(2):
        storage.delete("a")
        storage.delete_folder("s")
        assert names(storage) == ["s2/a"]
    assert not storage.exists("a")


def test_list_is_in_order_and_tells_sizes_and_checksums(storage: GcsStorage, bucket: Any) -> None:
    put(storage, "b", "a/2", "a/1", "a-/1")
    bucket.blob("lake2/a").upload_from_string(b"beside")
    bucket.blob("lake/folder/").upload_from_string(b"")
    found = list(storage.list())
    assert [f.name for f in found] == ["a-/1", "a/1", "a/2", "b"]
    assert [f.size for f in found] == [4, 3, 3, 1]
    assert found[3].crc32c == bucket.get_blob("lake/b").crc32c
    assert names(storage, recursive=False) == ["b"]
    assert names(storage, "a") == ["a/1", "a/2"]


def test_hidden_names_can_be_left_out_with_all_under_them(storage: GcsStorage) -> None:
    put(storage, ".a", "A", "_a", "_c/b", "b/_c", "b/.c/d", "b/c", "Z/a", "a", "`")
    assert names(storage, hidden=False) == ["A", "Z/a", "`", "a", "b/c"]
    assert names(storage, hidden=False, recursive=False) == ["A", "`", "a"]
    assert names(storage, "b", hidden=False) == ["b/c"]


def test_more_names_than_a_page_holds_are_listed(storage: GcsStorage) -> None:
    expected = [f"a/{number:04d}" for number in range(1100)]
    put(storage, *expected)
    assert names(storage) == expected


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b"])
def test_names_outside_are_refused(storage: GcsStorage, name: str) -> None:
    for act in (storage.read, storage.delete, storage.exists, storage.open):
        with pytest.raises(IntegrityError, match="not a name within the lake"):
            act(name)


@pytest.mark.parametrize("method", ["read", "open"])
def test_what_is_missing_is_named(storage: GcsStorage, method: str) -> None:
    with pytest.raises(StorageError, match=r"cannot read gs://.*/lake/a: it is not there"):
        getattr(storage, method)("a")


@pytest.mark.usefixtures("bucket")
def test_a_missing_bucket_is_told_with_a_remedy() -> None:
    with pytest.raises(UsageError, match="there is no bucket no-such-bucket-here: make a private"):
        names(GcsStorage("gs://no-such-bucket-here/lake"))


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with path.open("rb") as file:
        return checksum(file)[1]


def test_a_staged_file_is_delivered_and_read_back(storage: GcsStorage, temporary: Path) -> None:
    area = storage.staging_area("_staging/r/1")
    crc32c = write(area.path("p=1/a"), b"abc")
    area.deliver("p=1/a", size=3, crc32c=crc32c)
    assert [f.crc32c for f in storage.list("_staging/r/1")] == [crc32c]
    with storage.open("_staging/r/1/p=1/a") as file:
        assert file.seek(1) == 1
        assert file.read() == b"bc"
    assert not list(temporary.iterdir())


def test_a_file_that_changed_on_its_way_is_refused(storage: GcsStorage, temporary: Path) -> None:
    area = storage.staging_area("_staging/r/1")
    crc32c = write(area.path("a"), b"abc")
    write(area._path("a"), b"abd")
    with pytest.raises(StorageError, match=r"arrived with the checksum .*; nothing was committed"):
        area.deliver("a", size=3, crc32c=crc32c)
    assert not list(temporary.iterdir())


@pytest.mark.usefixtures("bucket")
def test_a_delivery_that_fails_leaves_nothing_here(temporary: Path) -> None:
    area = GcsStorage("gs://no-such-bucket-here/lake").staging_area("_staging/r/1")
    crc32c = write(area.path("a"), b"abc")
    with pytest.raises(UsageError, match="no-such-bucket-here"):
        area.deliver("a", size=3, crc32c=crc32c)
    area.path("b").write_bytes(b"")
    area.abandon("b")
    assert not list(temporary.iterdir())


def test_listings_are_paged_and_one_page_is_held_at_a_time(
    storage: GcsStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a million objects, too: whoever wants the first has it after one answer."""
    files = [f"p={n % 7}/{n:05d}.csv" for n in range(600)]
    with ThreadPoolExecutor(STORAGE_CONNECTIONS) as pool:
        assert all(pool.map(lambda name: storage.put_if_absent(name, b""), files))
    answers = []
    client = storage_client()
    ask = client._connection.api_request

    def counted(**how: Any) -> Any:
        answers.append(how)
        return ask(**how)

    monkeypatch.setattr(client._connection, "api_request", counted)
    monkeypatch.setattr(gcs_storage, "PAGE_OBJECTS", 50)
    monkeypatch.setattr(gcs_files, "PAGE_OBJECTS", 50)
    listing = storage.list()
    assert next(listing).name == min(files)
    assert len(answers) == 1
    assert [f.name for f in listing] == sorted(files)[1:]
    assert len(answers) == 12
    answers.clear()
    found = list_inputs([storage.root])
    assert [f.path for f in found] == [storage.uri(name) for name in sorted(files)]
    assert 12 <= len(answers) < 20

"""Lakes in a bucket, and processes that are killed, race each other, or come late.

Right is: every row once, exact sums, and no visible object that no commit made.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from celes_beam.contract import COLUMN_NAMES
from celes_beam.stores.lake.commit import CommitLog
from celes_beam.stores.lake.gcs_storage import GcsStorage
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import InputRecord, Manifest
from celes_beam.stores.lake.publish import publish
from celes_beam.stores.lake.storage import open_storage
from celes_beam.stores.lake.verify import verify
from pipelines import aggregate, batch
from tests.faults import Fault, FaultProxy

HEADER = ",".join(COLUMN_NAMES).encode() + b"\n"
AMOUNT = Decimal("1.25")
PATIENCE = 90.0
QUIET = ["--progress", "off"]
GENERATED = ["--rows", "2000", *QUIET]


@pytest.fixture
def root(bucket: Any) -> str:
    return f"gs://{bucket.name}/lake"


def csv(path: Path, first: int, count: int) -> str:
    lines = (b"%d,2024-05-03,1.25,Hogar,Norte\n" % n for n in range(first, first + count))
    path.write_bytes(HEADER + b"".join(lines))
    return str(path)


def check(root: str, rows: int, total: Decimal | None = None) -> Lake:
    lake = Lake.open(root)
    snapshot = lake.snapshot()
    assert snapshot.rows == rows
    assert snapshot.total == (AMOUNT * rows if total is None else total)
    found = verify(lake)
    assert (found.problems, found.rows) == ((), rows)
    visible = [f.name for f in lake.storage.list(hidden=False)]
    assert sorted(visible) == sorted(f.path for f in snapshot.files)
    assert lake.strangers(1) == []
    return lake


def start(*arguments: str, module: str = "pipelines.batch") -> subprocess.Popen[str]:
    line = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ)
    )


def end(*processes: subprocess.Popen[str]) -> list[int]:
    """Wait for processes; none may end in a traceback."""
    codes = []
    for process in processes:
        said, _ = process.communicate(timeout=PATIENCE)
        assert "Traceback" not in said, said
        codes.append(process.returncode)
    return codes


# Killed


class KillingProxy(FaultProxy):
    """Kills a process when its n-th request comes, before the server hears of it."""

    def __init__(self, upstream: str, at: int) -> None:
        super().__init__(upstream)
        self.at = at
        self.victim: subprocess.Popen[str] | None = None

    def fate_of(self, method: str, path: str) -> Fault | None:
        fate = super().fate_of(method, path)
        if len(self.requests) >= self.at:
            assert self.victim is not None
            self.victim.kill()
            return Fault("drop")
        return fate


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Decimal]:
    lake = str(tmp_path_factory.mktemp("undisturbed") / "lake")
    batch.run([*GENERATED, "-o", lake])
    snapshot = Lake.open(lake).snapshot()
    return snapshot.rows, snapshot.total


def test_killed_at_any_request_the_same_run_id_ends_right(
    bucket: Any,
    storage_server: Any,
    monkeypatch: pytest.MonkeyPatch,
    undisturbed: tuple[int, Decimal],
) -> None:
    direct = f"http://{storage_server.address}"
    decided = set()
    for at in (3, 10, 17, 24, 31, 38):
        lake = f"gs://{bucket.name}/killed-{at}"
        run = [*GENERATED, "-o", lake, "--run_id", "r"]
        proxy = KillingProxy(storage_server.address, at)
        with proxy:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
            proxy.victim = start(*run)
            end(proxy.victim)
            assert proxy.victim.returncode == -9, f"{len(proxy.requests)} requests"
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", direct)
        decided.add(Lake.open(lake).find("r") is not None)
        batch.run(run)
        assert len(check(lake, *undisturbed).runs()) == 1
    assert decided == {False, True}


# Racing


def test_two_appends_of_one_file_take_it_in_once(root: str, tmp_path: Path) -> None:
    file = csv(tmp_path / "a.csv", 1, 100)
    flags = ["-i", file, "-o", root, "--if_exists", "append", *QUIET]
    codes = end(start(*flags), start(*flags))
    assert 0 in codes
    check(root, 100)


def test_appends_of_different_files_are_both_there(root: str, tmp_path: Path) -> None:
    files = [csv(tmp_path / "a.csv", 1, 100), csv(tmp_path / "b.csv", 101, 50)]
    codes = end(*(start("-i", file, "-o", root, "--if_exists", "append", *QUIET) for file in files))
    assert codes == [0, 0]
    assert len(check(root, 150).runs()) == 2


def test_an_overwrite_and_an_append_end_in_one_of_two_orders(root: str, tmp_path: Path) -> None:
    files = [csv(tmp_path / "a.csv", 1, 100), csv(tmp_path / "b.csv", 101, 50)]
    batch.run(["-i", csv(tmp_path / "old.csv", 1000, 7), "-o", root, *QUIET])
    codes = end(
        start("-i", files[0], "-o", root, "-f", *QUIET),
        start("-i", files[1], "-o", root, "--if_exists", "append", *QUIET),
    )
    assert codes == [0, 0]
    rows = Lake.open(root).snapshot().rows
    assert rows in {100, 150}
    check(root, rows)


def test_a_compaction_does_not_bring_back_what_an_overwrite_replaces(
    root: str, tmp_path: Path
) -> None:
    for number in range(3):
        file = csv(tmp_path / f"result-{number}", 1 + 10 * number, 10)
        batch.run(["-i", file, "-o", root, "--if_exists", "append", *QUIET])
    overwrite = start("-i", csv(tmp_path / "new.csv", 1000, 70), "-o", root, "-f", *QUIET)
    compaction = start("lake", "compact", root, module="celes_beam.cli")
    # One of the two may be superseded.
    assert end(compaction)[0] in {0, 1}
    assert end(overwrite) == [0]
    check(root, 70)


# Late


@dataclass
class Late:
    """Storage whose copy of a staged file arrives after all else that happened meanwhile."""

    storage: GcsStorage
    meanwhile: Callable[[], object]
    late: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.storage, name)

    def move(self, source: str, target: str) -> None:
        copied = self.storage.read(source)
        self.meanwhile()
        assert not self.storage.exists(target)
        assert self.storage.put_if_absent(target, copied)
        self.late += 1


@pytest.fixture
def unpublished(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake with one commit that is decided, and not published yet."""
    with monkeypatch.context() as patched:
        patched.setattr("celes_beam.stores.lake.lake.publish", lambda *_: None)
        batch.run(["-i", csv(tmp_path / "a.csv", 1, 10), "-o", root, "--run_id", "late", *QUIET])
    return Lake.open(root)


def test_a_late_copy_does_not_bring_back_what_was_replaced(
    unpublished: Lake, root: str, tmp_path: Path
) -> None:
    new = csv(tmp_path / "b.csv", 100, 5)
    manifest = unpublished.find("late")
    assert manifest is not None
    assert len(manifest.files) == 1
    late = Late(GcsStorage(root), lambda: batch.run(["-i", new, "-o", root, "-f", *QUIET]))
    publish(late, manifest)
    assert late.late == 1
    check(root, 5)


def test_the_next_run_deletes_what_a_killed_late_copy_left(
    unpublished: Lake, root: str, tmp_path: Path
) -> None:
    old = next(f.path for m in unpublished.runs() for f in m.files)
    content = unpublished.storage.read(old)
    batch.run(["-i", csv(tmp_path / "b.csv", 100, 5), "-o", root, "-f", *QUIET])
    assert unpublished.storage.put_if_absent(old, content)
    new = csv(tmp_path / "c.csv", 200, 5)
    batch.run(["-i", new, "-o", root, "--if_exists", "append", *QUIET])
    assert not unpublished.storage.exists(old)
    check(root, 10)


# Whole pipelines


def test_rejected_rows_are_beside_the_lake(root: str, tmp_path: Path) -> None:
    file = Path(csv(tmp_path / "a.csv", 1, 10))
    file.write_bytes(file.read_bytes() + b"broken row\n")
    batch.run(["-i", str(file), "-o", root, *QUIET])
    lake = check(root, 10)
    assert [m.rows_rejected for m in lake.runs()] == [1]
    rejected = [f.name for f in lake.storage.list("_rejected")]
    assert rejected == [f.path for m in lake.runs() for f in m.rejected_files]
    assert len(rejected) == 1


def test_a_lake_in_a_bucket_aggregates_as_one_in_a_folder(root: str, tmp_path: Path) -> None:
    results = []
    for number, lake in enumerate((root, str(tmp_path / "lake"))):
        batch.run([*GENERATED, "-o", lake])
        output = tmp_path / f"result-{number}"
        assert aggregate.main(["-i", lake, "-o", str(output), *QUIET]) == 0
        files = sorted(f for f in output.rglob("*.csv") if f.is_file())
        results.append([f.read_text() for f in files])
    assert results[0]
    assert results[0] == results[1]


def test_an_index_of_commits_in_a_bucket(bucket: Any, root: str) -> None:
    def lake() -> Lake:
        return Lake(open_storage(root), segment_commits=2)

    records = [InputRecord(path=f"{n}.csv", size=1, version="1") for n in range(5)]
    for number, record in enumerate(records):
        run = lake()
        staging = run.staging(f"r{number}")
        run.commit(
            Manifest(
                run_id=f"r{number}",
                kind="append",
                started_at="",
                staging=staging,
                inputs=(record,),
            )
        )
    found = CommitLog(open_storage(root)).load()
    assert found.index is not None
    assert [m.run_id for m in found.lately] == ["r4"]
    assert found.manifests == CommitLog(open_storage(root)).load_all().manifests
    new = InputRecord(path="new.csv", size=1, version="1")
    assert lake().unread([*records, new]) == [new]
    kept = [b.name for b in bucket.list_blobs(prefix="lake/_commits/index/")]
    assert [name.rpartition("/")[2] for name in kept] == [
        "00000001.closed",
        "00000001.index",
        "00000002.closed",
        "00000002.index",
    ]

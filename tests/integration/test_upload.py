"""``celes-beam upload`` against local servers of Cloud Storage's protocol."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celes_beam.cli import main
from celes_beam.errors import InputError, IntegrityError, StorageError, UsageError
from celes_beam.stores.cloud.buckets import find_bucket, look_at_privacy
from celes_beam.stores.cloud.clients import storage_client
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.measure import measure_file
from celes_beam.stores.upload.upload import Destination, prepare, upload
from tests.faults import FaultProxy
from tests.lakes import Sale, commit_sales

SALES: list[Sale] = [("Hogar", "Norte", 1050), ("Ropa", "Sur", 2), ("Hogar", "Norte", 7)]
LARGE = 9 * 2**20
"""Bytes of a file that is sent in a session of its own, since it is too large for one request."""


@pytest.fixture
def name(storage_server: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    for key, value in storage_server.environment.items():
        monkeypatch.setenv(key, value)
    return f"up-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "ventas"
    for part in ("region=Norte/a", "region=Norte/b", "region=Sur/a", "c"):
        write(root / f"{part}.parquet")
    (root / "_commitments").mkdir()
    for stranger in ("_commitments/x.parquet", ".hidden.parquet", "notes.txt"):
        (root / stranger).write_bytes(b"x")
    return root


def write(path: Path, size: int = 1000, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(seed).bytes(size)
    pq.write_table(pa.table({"x": [data]}), path, compression="none", write_statistics=False)
    return path


def make_lake(root: Path) -> Path:
    lake = Lake.open(str(root))
    commit_sales(lake, "uno", SALES)
    commit_sales(lake, "dos", SALES, kind="overwrite")
    return root


def objects(bucket: str) -> dict[str, tuple[int, str]]:
    return {b.name: (b.size, b.crc32c) for b in storage_client().list_blobs(bucket)}


def generations(bucket: str) -> dict[str, int]:
    return {b.name: b.generation for b in storage_client().list_blobs(bucket)}


def on_disk(root: Path, *names: str, prefix: str = "") -> dict[str, tuple[int, str]]:
    return {prefix + name: measure_file(root / name) for name in names}


FILES = ("c.parquet", "region=Norte/a.parquet", "region=Norte/b.parquet", "region=Sur/a.parquet")


def test_a_folder_is_sent_with_its_names_and_nothing_else(name: str, folder: Path) -> None:
    done = upload(str(folder), name, prefix="/v/2024/")
    assert done.made_bucket
    assert objects(name) == on_disk(folder, *FILES, prefix="v/2024/")
    assert {(s.name, s.size, s.crc32c) for s in done.sent} == {
        (n, *about) for n, about in objects(name).items()
    }
    assert {s.name: s.generation for s in done.sent} == generations(name)


def test_one_file_is_sent_by_its_name(name: str, folder: Path) -> None:
    upload(str(folder / FILES[1]), name)
    assert objects(name) == on_disk(folder / "region=Norte", "a.parquet")


def test_a_large_file_and_many_small_ones_arrive_whole(name: str, tmp_path: Path) -> None:
    write(tmp_path / "in/large.parquet", 2 * LARGE)
    for i in range(100):
        write(tmp_path / f"in/{i:03}.parquet", 5000, seed=i)
    heard: list[int] = []
    done = prepare(str(tmp_path / "in"), Destination(name, workers=4)).run(on_bytes=heard.append)
    names = sorted(p.name for p in (tmp_path / "in").iterdir())
    assert objects(name) == on_disk(tmp_path / "in", *names)
    assert sum(s.size for s in done.sent) <= sum(heard) <= sum(s.size for s in done.sent) * 1.2


def test_again_only_what_is_missing_or_differs_is_sent(name: str, folder: Path) -> None:
    upload(str(folder), name)
    before = generations(name)
    again = upload(str(folder), name)
    assert (again.sent, len(again.plan.same)) == ((), 4)
    assert generations(name) == before

    size = (folder / FILES[0]).stat().st_size
    write(folder / FILES[0], seed=1)
    assert (folder / FILES[0]).stat().st_size == size
    storage_client().bucket(name).blob(FILES[1]).delete()
    again = upload(str(folder), name)
    assert [s.name for s in again.sent] == list(FILES[:2])
    assert again.plan.replaced == 1
    after = generations(name)
    assert objects(name) == on_disk(folder, *FILES)
    assert {n: g for n, g in after.items() if n in FILES[2:]} == {n: before[n] for n in FILES[2:]}


def test_error_stops_before_anything_is_sent(name: str, folder: Path) -> None:
    upload(str(folder / FILES[0]), name)
    write(folder / FILES[0], seed=1)
    before = objects(name)
    with pytest.raises(UsageError, match=r"1 objects are there with another content: c\.parquet"):
        upload(str(folder), name, if_exists="error")
    assert objects(name) == before


def test_error_has_nothing_against_the_same_content(name: str, folder: Path) -> None:
    upload(str(folder / FILES[0]), name)
    done = upload(str(folder), name, if_exists="error")
    assert (len(done.sent), len(done.plan.same)) == (3, 1)


def test_overwrite_sends_all_again(name: str, folder: Path) -> None:
    upload(str(folder), name)
    before = generations(name)
    assert len(upload(str(folder), name, if_exists="overwrite").sent) == 4
    assert all(generations(name)[n] > g for n, g in before.items())


def test_a_dry_run_changes_nothing(name: str, folder: Path) -> None:
    done = upload(str(folder), name, dry_run=True)
    assert (done.made_bucket, len(done.plan.send), done.sent) == (True, 4, ())
    assert find_bucket(name) is None


def test_an_object_written_meanwhile_is_not_overwritten(name: str, folder: Path) -> None:
    storage_client().create_bucket(name)
    blob = storage_client().bucket(name).blob(FILES[0])
    ready = prepare(str(folder / FILES[0]), Destination(name))

    from celes_beam.stores.upload.plan import Plan, Transfer
    from celes_beam.stores.upload.send import Sender

    blob.upload_from_string(b"theirs")
    plan = Plan((Transfer(ready.sources.files[0], FILES[0]),))
    with pytest.raises(StorageError, match="written or deleted by someone else since it was liste"):
        Sender(name).send(plan.send)
    assert blob.download_as_bytes() == b"theirs"

    listed = int(blob.generation)
    blob.upload_from_string(b"theirs too")
    plan = Plan((Transfer(ready.sources.files[0], FILES[0], listed),))
    with pytest.raises(StorageError, match="written or deleted by someone else since it was liste"):
        Sender(name).send(plan.send)
    assert blob.download_as_bytes() == b"theirs too"


def test_of_a_lake_the_committed_files_are_sent(name: str, tmp_path: Path) -> None:
    root = make_lake(tmp_path / "lake")
    committed = [f.path for f in Lake.open(str(root)).snapshot().files]
    write(root / "region_de_venta=Norte/stranger.parquet")
    done = upload(str(root), name, prefix="lake")
    assert objects(name) == on_disk(root, *committed, prefix="lake/")
    assert done.sources.left_out == ("region_de_venta=Norte/stranger.parquet",)
    assert any("belong to no commit and were not sent" in note for note in done.notes)


def test_a_lake_s_file_that_is_not_as_committed_does_not_stay(name: str, tmp_path: Path) -> None:
    root = make_lake(tmp_path / "lake")
    bad = root / Lake.open(str(root)).snapshot().files[0].path
    data = bytearray(bad.read_bytes())
    data[len(data) // 2] ^= 1
    bad.write_bytes(data)
    with pytest.raises(IntegrityError, match="is not as it was committed: its checksum is another"):
        upload(str(root), name)
    assert bad.relative_to(root).as_posix() not in objects(name)


def test_objects_of_no_file_are_told(name: str, folder: Path) -> None:
    upload(str(folder), name)
    (folder / FILES[3]).unlink()
    (note,) = [n for n in upload(str(folder), name).notes if "come from no file" in n]
    assert note.startswith("1 more Parquet objects in gs://")
    assert FILES[3] in note


def test_a_lake_in_the_bucket_is_left_alone(name: str, folder: Path) -> None:
    bucket = storage_client().create_bucket(name)
    bucket.blob("lakes/one/_commits/a.json").upload_from_string(b"{}")
    for prefix in ("lakes/one", "lakes/one/region_de_venta=Norte"):
        with pytest.raises(UsageError, match="holds a lake, whose files count only as its commits"):
            upload(str(folder), name, prefix=prefix)
    with pytest.raises(UsageError, match=rf"gs://{name}/lakes/one/ holds a lake"):
        upload(str(folder / "c.parquet"), name, prefix="lakes/one")
    assert len(upload(str(folder), name, prefix="lakes/two").sent) == 4
    assert len(upload(str(folder), name, prefix="lakes").sent) == 4
    bucket.blob("lakes/region=Sur/_commits/a.json").upload_from_string(b"{}")
    with pytest.raises(UsageError, match=rf"gs://{name}/lakes/region=Sur/ holds a lake"):
        upload(str(folder), name, prefix="lakes")
    bucket.blob("_commits/a.json").upload_from_string(b"{}")
    for prefix in ("", "lakes/three"):
        with pytest.raises(UsageError, match=rf"gs://{name}/ holds a lake"):
            upload(str(folder), name, prefix=prefix)


def test_a_file_that_changes_while_it_is_sent_does_not_stay(name: str, folder: Path) -> None:
    ready = prepare(str(folder), Destination(name, workers=1))
    (folder / FILES[2]).write_bytes((folder / FILES[2]).read_bytes() + b"more")
    with pytest.raises(InputError, match=r"b\.parquet changed while it was sent, when it had"):
        ready.run()
    assert FILES[2] not in objects(name)


def test_a_file_that_is_gone_is_told(name: str, folder: Path) -> None:
    ready = prepare(str(folder), Destination(name))
    (folder / FILES[2]).unlink()
    with pytest.raises(InputError, match=r"b\.parquet is gone or cannot be read any more"):
        ready.run()


def test_the_command_prints_and_writes_what_it_did(
    name: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "s.json"
    flags = ["-n", name, "-w", "2", "--prefix", "v", "--summary_json", str(summary)]
    assert main(["upload", str(folder), *flags]) == 0
    out, err = capsys.readouterr()
    assert f"Bucket gs://{name} was made" in out
    assert f"Uploaded to gs://{name}/v/" in out
    assert "this server keeps no settings of buckets" in err
    told = json.loads(summary.read_text())
    assert (told["files"], told["sent"], told["same"], told["made_bucket"]) == (4, 4, 0, True)
    assert [o["name"] for o in told["objects"]] == [f"v/{n}" for n in FILES]


def test_an_interrupted_upload_is_safe_to_run_again(
    name: str, storage_server: Any, tmp_path: Path
) -> None:
    root = tmp_path / "many"
    for i in range(40):
        write(root / f"{i:02}.parquet", 200_000, seed=i)
    command = [sys.executable, "-m", "celes_beam.cli", "upload", str(root), "-n", name, "-w", "2"]
    with FaultProxy(storage_server.address) as proxy:
        slow = proxy.add("delay", method="POST", path="uploadType", seconds=0.2)
        environment = {**os.environ, "STORAGE_EMULATOR_HOST": proxy.url}
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as run:
            end = time.monotonic() + 60
            while slow.happened < 6 and time.monotonic() < end:
                time.sleep(0.01)
            stopped = time.monotonic()
            run.send_signal(signal.SIGINT)
            _, err = run.communicate(timeout=30)
    assert (run.returncode, err.splitlines()[-1]) == (
        130,
        "celes-beam: interrupted; it is safe to run it again",
    )
    assert time.monotonic() - stopped < 10
    assert "Traceback" not in err
    arrived = objects(name)
    assert 0 < len(arrived) < 40
    assert len(upload(str(root), name).sent) == 40 - len(arrived)
    assert objects(name) == on_disk(root, *(f"{i:02}.parquet" for i in range(40)))


@pytest.fixture
def kept(settings_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", settings_server)
    return f"up-{uuid.uuid4().hex[:12]}"


def open_to_all(name: str) -> None:
    bucket = storage_client().create_bucket(name)
    policy = bucket.get_iam_policy(requested_policy_version=3)
    policy.bindings.append({"role": "roles/storage.objectViewer", "members": {"allUsers"}})
    bucket.set_iam_policy(policy)


def test_a_new_bucket_is_private(kept: str, folder: Path) -> None:
    done = upload(str(folder), kept)
    assert done.notes == ()
    privacy = look_at_privacy(find_bucket(kept))
    assert (privacy.enforced, privacy.uniform) == (True, True)


def test_a_public_bucket_is_refused_unless_told_otherwise(
    kept: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_to_all(kept)
    assert main(["upload", str(folder), "-n", kept]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"gs://{kept} is public (allUsers has roles/storage.objectViewer)" in line
    assert objects(kept) == {}
    assert main(["upload", str(folder), "-n", kept, "--allow_public"]) == 0
    assert len(objects(kept)) == 4


def test_a_bucket_elsewhere_is_refused(kept: str, folder: Path) -> None:
    storage_client().create_bucket(kept)
    with pytest.raises(UsageError, match="is in US, not in EU: a bucket cannot be moved"):
        upload(str(folder), kept, location="EU")
    assert len(upload(str(folder), kept, location="us").sent) == 4

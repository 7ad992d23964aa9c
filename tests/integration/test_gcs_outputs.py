"""Data sets and results that go to a bucket, against a real server of its protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celes_beam.errors import (
    ConfigError,
    InputError,
    LakeConflictError,
    LakeExistsError,
    StorageError,
    UsageError,
)
from celes_beam.local.processes import Server
from celes_beam.stores.cloud.deliver import deliver_file
from celes_beam.stores.datasets import gcs_claim, gcs_output
from celes_beam.stores.datasets.gcs_output import CLAIM, GcsOutput
from celes_beam.stores.inputs.files import list_inputs
from celes_beam.stores.lake.measure import measure_file
from celes_beam.stores.results.gcs_result_folder import GcsResultFolder
from pipelines import aggregate, batch, generate
from tests.faults import FaultProxy, every

PATIENCE = 60
UPLOAD = "/upload/"
QUIET = ["--progress", "off"]
RESULT = ["by_category.csv", "by_category.parquet", "by_region.csv", "by_region.parquet"]
TOP = ["top.csv", "top.parquet"]


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made, in this test alone."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def names(bucket: Any, below: str = "") -> list[str]:
    return [b.name.removeprefix(below) for b in bucket.list_blobs(prefix=below)]


def put(bucket: Any, *objects: str) -> None:
    for name in objects:
        bucket.blob(name).upload_from_string(b"x")


def make(output: str, *flags: str, rows: int = 3000) -> generate.DatasetSummary:
    return generate.run(["-o", output, "--rows", str(rows), *flags, *QUIET])


def content(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def content_of(bucket: Any, below: str) -> dict[str, bytes]:
    blobs = bucket.list_blobs(prefix=below)
    return {b.name.removeprefix(below): b.download_as_bytes() for b in blobs}


def lake_of(folder: Path | str, tmp_path: Path, rows: int = 3000) -> str:
    source = tmp_path / f"source-{rows}.csv"
    make(str(source), "-f", rows=rows)
    batch.run(["-i", str(source), "-o", str(folder), *QUIET])
    return str(folder)


def test_one_file_is_one_object_and_holds_what_a_disk_would(
    bucket: Any, tmp_path: Path, scratch: Path
) -> None:
    for name in ("v.csv", "deep/v.parquet"):
        here, there = tmp_path / Path(name).name, f"gs://{bucket.name}/{name}"
        summary = make(there, "--batch_rows", "700")
        assert summary.to_dict()["output"] == there
        make(str(here), "--batch_rows", "700")
        blob = bucket.get_blob(name)
        assert blob.download_as_bytes() == here.read_bytes()
        assert blob.size == summary.to_dict()["bytes"]
    assert names(bucket) == ["deep/v.parquet", "v.csv"]
    assert list(scratch.glob(".*")) == []


def test_one_file_is_replaced_only_when_asked(bucket: Any) -> None:
    output = f"gs://{bucket.name}/v.csv"
    make(output)
    with pytest.raises(LakeExistsError, match=f"{output} is there already: .* -f"):
        make(output)
    make(output, "-f", rows=7)
    assert bucket.blob("v.csv").download_as_bytes().count(b"\n") == 8


def test_a_folder_of_shards_is_replaced_whole(bucket: Any, tmp_path: Path, scratch: Path) -> None:
    output = f"gs://{bucket.name}/in/ventas/"
    make(output, "--shards", "4")
    make(str(tmp_path / "ventas"), "--shards", "4")
    expected = content(tmp_path / "ventas")
    assert content_of(bucket, "in/ventas/") == {**expected, "_SUCCESS": b""}
    assert len(list_inputs([output])) == 4
    with pytest.raises(LakeExistsError, match="holds a data set of 4 files"):
        make(output)
    make(output, "-f", "--shards", "2", "--format", "parquet")
    assert names(bucket, "in/ventas/") == [
        "_SUCCESS",
        "ventas-00000-of-00002.parquet",
        "ventas-00001-of-00002.parquet",
    ]
    assert list(scratch.glob(".*")) == []


def test_what_others_put_there_stays(bucket: Any) -> None:
    put(bucket, "mine/notes.txt", "file", "v.csv/ventas-00000-of-00001.csv")
    place = f"gs://{bucket.name}"
    for output, what in (
        ("mine", "holds files of others, such as notes.txt"),
        ("file", "file is an object, not a folder"),
        ("v.csv", "v.csv is a folder, not a file"),
    ):
        with pytest.raises(LakeExistsError, match=what):
            make(f"{place}/{output}", "-f")
    with pytest.raises(LakeExistsError, match="holds files of others, such as file"):
        make(place, "-f")
    assert names(bucket) == ["file", "mine/notes.txt", "v.csv/ventas-00000-of-00001.csv"]


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("output", ["v.csv", "v"])
def test_a_bucket_that_is_not_there_is_told_in_one_line(
    output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main(["-o", f"gs://no-such-bucket/{output}", "--rows", "5", *QUIET]) == 2
    said = capsys.readouterr().err.strip()
    assert "there is no bucket no-such-bucket: make a private one" in said
    assert "\n" not in said


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("output", ["v.csv", "v"])
def test_what_is_not_allowed_is_told_in_one_line(
    bucket: Any,
    storage_server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    method: str,
    output: str,
) -> None:
    with FaultProxy(storage_server.address) as proxy:
        proxy.add("answer", method=method, status=403)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        assert generate.main(["-o", f"gs://{bucket.name}/{output}", "--rows", "5", *QUIET]) == 2
    said = capsys.readouterr().err.strip()
    assert "not allowed" in said
    assert "grant roles/storage.objectUser on it" in said
    assert "\n" not in said


def test_workers_elsewhere_are_refused(bucket: Any, tmp_path: Path) -> None:
    place = f"gs://{bucket.name}"
    lake = lake_of(tmp_path / "lake", tmp_path, rows=50)
    flags = ["--runner", "FlinkRunner", *QUIET]
    with pytest.raises(ConfigError, match="--runner FlinkRunner may not see: use --runner Direct"):
        make(f"{place}/v.csv", *flags)
    with pytest.raises(ConfigError, match="--runner FlinkRunner may not see: use --runner Direct"):
        aggregate.run(["-i", lake, "-o", f"{place}/result", *flags])
    assert names(bucket) == []
    with pytest.raises(UsageError, match=r"expected gs://BUCKET"):
        make("gs:///v.csv", *flags)


def test_a_result_is_what_a_disk_would_hold(bucket: Any, tmp_path: Path, scratch: Path) -> None:
    lake = lake_of(f"gs://{bucket.name}/lake", tmp_path)
    output = f"gs://{bucket.name}/out/result/"
    flags = ["-i", lake, "--top", "5", "--write_sorted", *QUIET]
    aggregate.run([*flags, "-o", output])
    aggregate.run([*flags, "-o", str(tmp_path / "result")])
    there = content_of(bucket, "out/result/")
    assert there == content(tmp_path / "result")
    assert sorted(there) == sorted([*RESULT, *TOP, "result.json", "sorted/part-00000.parquet"])
    parts = pq.read_table(pa.BufferReader(there["sorted/part-00000.parquet"]))
    assert parts.num_rows == json.loads(there["result.json"])["rows"] == 3000
    with pytest.raises(LakeExistsError, match=r"holds a result: .*-f"):
        aggregate.run([*flags, "-o", output])
    aggregate.run(["-i", lake, "-f", "-o", output, *QUIET])
    assert names(bucket, "out/result/") == [*RESULT, "result.json"]
    assert list(scratch.glob(".*")) == []


def test_a_result_replaces_results_alone_and_stays_out_of_its_input(
    bucket: Any, tmp_path: Path
) -> None:
    place = f"gs://{bucket.name}"
    lake = lake_of(f"{place}/lakes/a", tmp_path, rows=50)
    put(bucket, "out/by_region.csv", "out/mine", "broken/result.json")
    for output, error, what in (
        ("lakes", ConfigError, "holds the input"),
        ("lakes/a/", ConfigError, "holds the input"),
        ("lakes/a/out", ConfigError, "inside the input"),
        ("out", LakeExistsError, "no aggregation wrote, such as mine"),
        ("broken", LakeExistsError, "no aggregation wrote, such as result.json"),
    ):
        with pytest.raises(error, match=what):
            aggregate.run(["-i", lake, "-o", f"{place}/{output}", "-f", *QUIET])
    aggregate.run(["-i", lake, "-o", f"{place}/lakes/a/_results", *QUIET])
    assert names(bucket, "lakes/a/_results/") == [*RESULT, "result.json"]


def failing(name: str) -> Any:
    """A ``deliver_file`` that cannot deliver ``name``, and delivers all others."""

    def deliver(path: Path, bucket: str, key: str, **how: Any) -> None:
        if key.endswith(name):
            raise StorageError("the bucket failed")
        deliver_file(path, bucket, key, **how)

    return deliver


def test_what_fails_halfway_is_not_taken_for_finished(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, scratch: Path
) -> None:
    output = f"gs://{bucket.name}/v/"
    with monkeypatch.context() as patched:
        patched.setattr(gcs_output, "deliver_file", failing("-00002-of-00003.csv"))
        with pytest.raises(StorageError, match="the bucket failed"):
            make(output, "--shards", "3")
        assert names(bucket) == []
    make(output, "--shards", "2")
    with monkeypatch.context() as patched:
        patched.setattr(gcs_output, "deliver_file", failing("-00002-of-00003.csv"))
        with pytest.raises(StorageError, match="the bucket failed"):
            make(output, "-f", "--shards", "3")
    assert "v/_SUCCESS" not in names(bucket)
    assert f"v/{CLAIM}" not in names(bucket)
    assert {f"v/ventas-0000{i}-of-00002.csv" for i in range(2)} <= set(names(bucket))
    make(output, "-f", "--shards", "3")
    assert len(names(bucket)) == 4
    assert list(scratch.glob(".*")) == []


def test_answers_that_are_lost_do_no_harm(
    bucket: Any, storage_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = f"gs://{bucket.name}/v"
    with FaultProxy(storage_server.address) as proxy:
        proxy.add("lose_answer", every(2), method="POST", path=UPLOAD)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        make(f"{output}/v.csv")
        make(f"{output}/folder", "--shards", "3")
        assert proxy.count("POST", UPLOAD) > 6
    assert len(names(bucket, "v/folder/")) == 4
    assert bucket.blob("v/folder/_SUCCESS").exists()
    assert bucket.blob("v/v.csv").download_as_bytes().count(b"\n") == 3001


def test_what_a_killed_run_left_is_told_and_mended(
    bucket: Any, storage_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = f"gs://{bucket.name}/v"
    put(bucket, "v/_SUCCESS", "v/ventas-00000-of-00001.csv")
    argv = ["-m", "pipelines.generate", "-f", "-o", output, "--rows", "3000", "--shards", "9"]
    with FaultProxy(storage_server.address) as proxy:
        # The claim and two shards arrive; the rest is tried again and again.
        proxy.add("drop", lambda n: n > 3, method="POST", path=UPLOAD)
        environment = {**os.environ, "STORAGE_EMULATOR_HOST": proxy.url}
        with subprocess.Popen([sys.executable, *argv, *QUIET], env=environment) as process:
            try:
                end = time.monotonic() + PATIENCE
                while sum(name.endswith("-of-00009.csv") for name in names(bucket)) < 2:
                    assert process.poll() is None
                    assert time.monotonic() < end
                    time.sleep(0.05)
            finally:
                process.kill()
    assert f"v/{CLAIM}" in names(bucket)
    assert "v/_SUCCESS" not in names(bucket)
    with pytest.raises(LakeExistsError, match=f"gcloud storage rm {output}/{CLAIM}"):
        make(output, "-f")
    # Ten minutes later.
    monkeypatch.setattr(gcs_claim, "STALE_SECONDS", 0.0)
    with pytest.raises(LakeExistsError, match="holds a data set of"):
        make(output)
    make(output, "-f", "--shards", "1")
    assert names(bucket) == ["v/_SUCCESS", "v/ventas-00000-of-00001.csv"]


def test_a_run_that_was_taken_for_killed_leaves_alone_what_is_not_its_own(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = GcsOutput(f"gs://{bucket.name}/v", "last")
    files = {name: tmp_path / name for name in ("a", "b")}
    for path in files.values():
        path.write_text("slow")
    delivered = []

    def deliver(path: Path, *where: str, **how: Any) -> None:
        deliver_file(path, *where, **how)
        delivered.append(path)
        if len(delivered) == 2:
            with monkeypatch.context() as patched:
                patched.setattr(gcs_claim, "STALE_SECONDS", 0.0)
                patched.setattr(gcs_output, "deliver_file", deliver_file)
                (tmp_path / "new").write_text("new")
                output.publish({"a": tmp_path / "new"}, b"new", lambda names: None)

    monkeypatch.setattr(gcs_output, "AT_ONCE", 1)
    monkeypatch.setattr(gcs_output, "deliver_file", deliver)
    with pytest.raises(LakeConflictError, match="taken over by another run"):
        output.publish(files, b"slow", lambda names: None)
    assert content_of(bucket, "v/") == {"a": b"new", "last": b"new"}


def test_a_claim_is_renewed_as_long_as_it_is_held(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcs_claim, "RENEW_SECONDS", 0.01)
    claim = gcs_claim.Claim(f"gs://{bucket.name}/v/{CLAIM}")
    assert claim.take()
    seen: set[int] = set()
    end = time.monotonic() + PATIENCE
    while len(seen) < 3:
        seen.add(bucket.get_blob(f"v/{CLAIM}").generation)
        assert time.monotonic() < end
    assert claim.holds()
    assert not gcs_claim.Claim(claim.url).take()
    claim.release()
    assert names(bucket) == []


def test_of_runs_at_once_one_writes_all(bucket: Any, tmp_path: Path) -> None:
    output = GcsOutput(f"gs://{bucket.name}/v", "last")
    begin = threading.Barrier(4)

    def run(number: int) -> bool:
        paths = {f"{i}": tmp_path / f"{number}-{i}" for i in range(5)}
        for path in paths.values():
            path.write_text(str(number))
        begin.wait(10)
        try:
            output.publish(paths, str(number).encode(), refuse_any)
        except LakeExistsError:
            return False
        return True

    def refuse_any(found: Any) -> None:
        if found:
            raise LakeExistsError("there is something")

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(run, range(4)))
    assert won.count(True) == 1
    assert content_of(bucket, "v/") == {
        name: str(won.index(True)).encode() for name in ("0", "1", "2", "3", "4", "last")
    }


def test_a_result_may_be_taken_away_between_two_looks(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = GcsResultFolder(f"gs://{bucket.name}/result")
    put(bucket, "result/by_category.csv", "result/result.json")
    others = iter([gcs_claim.Claim(f"{folder.output}/{CLAIM}")])
    real = GcsOutput.read

    def replaced_before_the_read(output: GcsOutput, name: str) -> bytes:
        for other in others:
            assert other.take()
            bucket.blob("result/result.json").delete()
            claims.append(other)
        return real(output, name)

    claims: list[gcs_claim.Claim] = []
    monkeypatch.setattr(GcsOutput, "read", replaced_before_the_read)
    try:
        with pytest.raises(LakeExistsError, match="is being written by another run"):
            folder.check("lake", overwrite=True)
    finally:
        for claim in claims:
            claim.release()
    assert claims


def test_an_object_that_came_meanwhile_stays(bucket: Any, tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    path.write_bytes(b"ours")
    bucket.blob("v.csv").upload_from_string(b"theirs")
    with pytest.raises(LakeExistsError, match="put there meanwhile by another"):
        deliver_file(path, bucket.name, "v.csv", crc32c=measure_file(path)[1], if_absent=True)
    assert bucket.blob("v.csv").download_as_bytes() == b"theirs"
    bucket.blob("v.csv").upload_from_string(b"ours")
    # As after a lost answer: the object holds what was to be put there.
    deliver_file(path, bucket.name, "v.csv", crc32c=measure_file(path)[1], if_absent=True)


def test_a_lake_in_a_bucket_is_no_input(bucket: Any, tmp_path: Path) -> None:
    place = f"gs://{bucket.name}"
    lake = lake_of(f"{place}/in/lake", tmp_path, rows=50)
    part = next(n for n in names(bucket, "in/") if n.endswith(".parquet"))
    folder = part.rpartition("/")[0]
    for pattern in ("in", "in/lake", f"in/{part}", f"in/{folder}/*", "in/la*", "**/*.parquet"):
        with pytest.raises(InputError, match=rf"{lake} is a lake: .*gcloud storage cp -r {lake} "):
            list_inputs([f"{place}/{pattern}"])
    put(bucket, "in/a.csv", "in/lake2/b.csv")
    assert len(list_inputs([f"{place}/in/a.csv", f"{place}/in/lake2"])) == 2
    with pytest.raises(InputError, match=f"is in the output {place}/in/lake2"):
        list_inputs([f"{place}/in/lake2"], f"{place}/in/lake2/")
    assert list_inputs([f"{place}/in/lake2"], f"{place}/in/lake")


def test_a_bucket_that_is_a_lake_is_no_input(bucket: Any) -> None:
    put(bucket, "_commits/x.json", "a/b.csv")
    for pattern in ("", "/a", "/a/b.csv", "/*/*.csv"):
        with pytest.raises(InputError, match=f"gs://{bucket.name} is a lake"):
            list_inputs([f"gs://{bucket.name}{pattern}"])

"""Uploads through a proxy that drops, resets, delays, refuses and damages what passes."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celes_beam.cli import main
from celes_beam.errors import IntegrityError, StorageError, UsageError
from celes_beam.stores.upload import send
from celes_beam.stores.upload.upload import Destination, Uploaded, prepare
from tests.faults import FaultProxy, always, at_random, every, nth
from tests.integration.test_upload import LARGE, objects, on_disk, write

SMALL_FILES = 12
DATA = {"method": "POST|PUT", "path": "^/upload/"}
WHOLE = {"method": "POST", "path": "uploadType=multipart"}
PIECES = {"method": "PUT", "path": "upload_id="}


# Google's clients leave sockets of lost answers to the collector, which is to find them here.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.usefixtures("sockets_collected"),
]


@pytest.fixture
def proxy(storage_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    # Pauses grow from here; how they grow is the library's.
    monkeypatch.setattr(send, "FIRST_PAUSE_SECONDS", 0.02)
    with FaultProxy(storage_server.address) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        yield proxy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("in") / "ventas"
    for i in range(SMALL_FILES):
        write(root / f"{i:02}.parquet", 50_000, seed=i)
    # Two sessions of more than one piece.
    write(root / "large-1.parquet", 2 * LARGE, seed=98)
    write(root / "large-2.parquet", 2 * LARGE, seed=99)
    return root


def run(folder: Path, name: str, **settings: Any) -> Uploaded:
    return prepare(str(folder), Destination(name, workers=4, **settings)).run()


def everything(folder: Path) -> dict[str, tuple[int, str]]:
    return on_disk(folder, *sorted(p.name for p in folder.iterdir()))


def new_name() -> str:
    return f"f-{uuid.uuid4().hex[:12]}"


@pytest.mark.parametrize("how", ["drop", "reset", "half", "cut", "lose_answer", "damage"])
@pytest.mark.parametrize("requests", [WHOLE, PIECES], ids=["whole", "pieces"])
def test_what_is_lost_on_the_way_is_sent_again(
    proxy: FaultProxy, folder: Path, how: Any, requests: dict[str, str]
) -> None:
    fault = proxy.add(how, nth(1, 3), **requests)
    name = new_name()
    done = run(folder, name)
    proxy.clear()
    assert fault.happened
    assert objects(name) == everything(folder)
    assert len(done.sent) == len(everything(folder))
    assert run(folder, name).sent == ()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_service_that_is_busy_is_asked_again(
    proxy: FaultProxy, folder: Path, status: int
) -> None:
    fault = proxy.add("answer", every(3), status=status, retry_after=0, path="/storage/")
    name = new_name()
    run(folder, name)
    proxy.clear()
    assert fault.happened > 4
    assert objects(name) == everything(folder)


@pytest.mark.parametrize("seed", range(4))
def test_a_bad_network_is_borne(proxy: FaultProxy, folder: Path, seed: int) -> None:
    # Of a piece that is sent again, for its answer was lost, the server may make an object twice as
    # long, which then is one of somebody else's: Cloud Storage goes by the piece's range.
    unheard = dict.fromkeys(("cut", "lose_answer"), r"/storage/(?!.*upload_id=)")
    faults = [
        proxy.add(how, at_random(0.06, seed * 10 + i), path=unheard.get(how, "/storage/"))
        for i, how in enumerate(("drop", "reset", "half", "cut", "lose_answer", "answer"))
    ]
    name = new_name()
    run(folder, name)
    proxy.clear()
    assert sum(f.happened for f in faults) > 1
    assert objects(name) == everything(folder)
    assert run(folder, name).sent == ()


def test_a_replacement_whose_answer_is_lost_is_no_conflict(
    proxy: FaultProxy, tmp_path: Path
) -> None:
    name = new_name()
    write(tmp_path / "in/a.parquet", seed=1)
    run(tmp_path / "in", name)
    write(tmp_path / "in/a.parquet", seed=2)
    fault = proxy.add("lose_answer", nth(1), **WHOLE)
    done = run(tmp_path / "in", name)
    assert (fault.happened, done.plan.replaced, len(done.sent)) == (1, 1, 1)
    assert objects(name) == on_disk(tmp_path / "in", "a.parquet")


def test_a_bucket_whose_answer_is_lost_is_made_once(proxy: FaultProxy, folder: Path) -> None:
    fault = proxy.add("lose_answer", nth(1), method="POST", path="/storage/v1/b[?]")
    name = new_name()
    run(folder, name)
    assert fault.happened == 1
    assert objects(name) == everything(folder)


def test_a_slow_service_is_waited_for(proxy: FaultProxy, folder: Path) -> None:
    fault = proxy.add("delay", every(4), seconds=0.3, **DATA)
    name = new_name()
    run(folder, name)
    assert fault.happened
    assert objects(name) == everything(folder)


def test_pauses_grow_between_tries(
    proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send, "FIRST_PAUSE_SECONDS", 0.2)
    write(tmp_path / "a.parquet")
    proxy.add("answer", nth(1, 2, 3, 4), status=503, **WHOLE)
    name = new_name()
    started = time.monotonic()
    run(tmp_path, name)
    # Each pause is drawn from between nothing and its length, at most 0.2, 0.4, 0.8 and 1.6 s.
    assert time.monotonic() - started < 8
    assert proxy.count(**WHOLE) == 5
    assert objects(name) == on_disk(tmp_path, "a.parquet")


def test_a_service_that_stays_down_ends_with_one_line(proxy: FaultProxy, folder: Path) -> None:
    name = new_name()
    proxy.add("answer", always, status=503, **DATA)
    with pytest.raises(StorageError, match=rf"cannot upload gs://{name}/.*503.*; run it again"):
        run(folder, name, patience=1.0)
    proxy.clear()
    run(folder, name)
    assert objects(name) == everything(folder)


def test_what_arrived_before_the_end_is_not_sent_again(proxy: FaultProxy, folder: Path) -> None:
    name = new_name()
    down = proxy.add("answer", lambda n: n > 8, status=503, **WHOLE)
    with pytest.raises(StorageError):
        run(folder, name, patience=1.0)
    assert down.happened
    proxy.clear()
    arrived = objects(name)
    assert 0 < len(arrived) < len(everything(folder))
    assert len(run(folder, name).sent) == len(everything(folder)) - len(arrived)
    assert objects(name) == everything(folder)


def test_damage_each_time_is_told_and_leaves_nothing(proxy: FaultProxy, tmp_path: Path) -> None:
    name = new_name()
    write(tmp_path / "a.parquet", 50_000)
    proxy.add("damage", always, **WHOLE)
    with pytest.raises((IntegrityError, UsageError), match=r"gs://.*a\.parquet"):
        run(tmp_path, name)
    proxy.clear()
    assert objects(name) == {}


def test_a_missing_permission_is_one_line(
    proxy: FaultProxy, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = b'{"error": {"message": "x@y does not have storage.objects.create access"}}'
    fault = proxy.add("answer", always, status=403, body=refusal, **DATA)
    assert main(["upload", str(folder), "-n", new_name(), "--progress", "off"]) == 2
    (line,) = [n for n in capsys.readouterr().err.splitlines() if not n.startswith("note: ")]
    assert "does not have storage.objects.create access" in line
    assert "grant roles/storage.objectUser" in line
    assert fault.happened <= len(everything(folder))


def test_a_key_that_may_not_be_used_is_one_line(
    proxy: FaultProxy, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"
    refusal = b'{"error": {"message": "Permission denied on Cloud KMS key."}}'
    proxy.add("answer", always, status=403, body=refusal, **DATA)
    assert main(["upload", str(folder), "-n", new_name(), "--kms_key", key]) == 2
    (line,) = [n for n in capsys.readouterr().err.splitlines() if not n.startswith("note: ")]
    assert f"gcloud storage service-agent --authorize-cmek={key}" in line
    assert "Permission denied on Cloud KMS key." in line


def test_a_bucket_name_of_somebody_else_is_one_line(proxy: FaultProxy, folder: Path) -> None:
    name = new_name()
    proxy.add("answer", always, method="POST", path="/storage/v1/b[?]", status=409)
    proxy.add("answer", nth(1), method="GET", path=f"/b/{name}", status=404)
    proxy.add("answer", always, method="GET", path=f"/b/{name}", status=403)
    with pytest.raises(UsageError, match=f"bucket {name} belongs to somebody else"):
        run(folder, name)


def test_the_key_goes_with_every_request(proxy: FaultProxy, folder: Path) -> None:
    name = new_name()
    run(folder, name, kms_key="projects/p/locations/eu/keyRings/r/cryptoKeys/k")
    started = r"uploadType=(multipart|resumable)&"
    assert proxy.count("POST", f"{started}kmsKeyName=") == len(everything(folder))
    assert proxy.count("POST", f"{started}.*ifGenerationMatch=0") == len(everything(folder))

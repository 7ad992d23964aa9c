"""``celes-beam doctor`` against the local cloud, where all is well and where it is not."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from celes_beam import cli
from celes_beam.doctor.account import SERVICES
from celes_beam.stores.cloud.buckets import make_private_bucket
from celes_beam.stores.cloud.clients import (
    LOCAL_PROJECT,
    bigquery_client,
    publisher_client,
    storage_client,
    subscriber_client,
)
from tests.bucket_settings import start_settings_server
from tests.cloud import fresh_name

ROWS = b"id\n1\n"


class Doctor:
    """Runs ``celes-beam doctor`` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.code = 0

    def __call__(self, *flags: str) -> dict[str, Any]:
        """The checks by their names; of those with one name, the first."""
        self.code = cli.main(("doctor", *flags, "--json"))
        out, err = self._capsys.readouterr()
        assert err == ""
        content = json.loads(out)
        assert content["ok"] is (self.code == 0)
        return {check["name"]: check for check in reversed(content["checks"])}

    def text(self, *flags: str) -> list[str]:
        self.code = cli.main(("doctor", *flags))
        out, err = self._capsys.readouterr()
        assert err == ""
        return out.splitlines()


@pytest.fixture
def doctor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Doctor:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    return Doctor(capsys)


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address that is taken, and where nobody listens."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{silent.getsockname()[1]}"


def test_all_is_well(doctor: Doctor, bucket: Any, dataset: str, pubsub: str) -> None:
    bucket.blob("in/a.csv").upload_from_string(ROWS)
    topic = f"projects/{LOCAL_PROJECT}/topics/{fresh_name('t')}"
    subscription = f"projects/{LOCAL_PROJECT}/subscriptions/{fresh_name('s')}"
    with publisher_client() as client:
        client.create_topic(request={"name": topic})
    with subscriber_client() as client:
        client.create_subscription(request={"name": subscription, "topic": topic})
    flags = (
        *("--input", f"gs://{bucket.name}/in/*.csv", "--output", f"gs://{bucket.name}/lake"),
        *("--bigquery_table", f"{dataset}.ventas", "--topic", topic),
        *("--subscription", subscription),
    )
    checks = doctor(*flags)
    assert doctor.code == 0, checks
    assert {check["state"] for check in checks.values()} <= {"ok", "not checked"}
    assert checks["credentials"]["said"].startswith("none needed")
    assert checks[f"input gs://{bucket.name}/in/*.csv: files"]["said"].endswith("in/a.csv")
    output = checks[f"output gs://{bucket.name}/lake: permissions"]
    assert output["state"] == "not checked"
    assert "not checked here" in output["said"]
    assert "a run makes it, in US" in checks[f"table {dataset}.ventas"]["said"]
    assert topic in checks[f"subscription {subscription}"]["said"]

    lines = doctor.text(*flags)
    assert doctor.code == 0
    assert lines[0].startswith("ok           Python: ")
    assert lines[-1].endswith("not checked")
    assert f"{len(lines) - 1} checks" in lines[-1]


def test_a_dataset_elsewhere_than_the_bucket_is_a_warning(
    doctor: Doctor, bucket: Any, dataset: str
) -> None:
    from google.cloud import bigquery

    client = bigquery_client(LOCAL_PROJECT)
    made = bigquery.Dataset(dataset.replace(":", "."))
    made.location = "asia-east1"
    client.create_dataset(made)
    schema = [bigquery.SchemaField("id", "INT64")]
    client.create_table(bigquery.Table(f"{made.project}.{made.dataset_id}.ventas", schema))
    table = f"{dataset}.ventas"
    checks = doctor("--output", f"gs://{bucket.name}/lake", "--bigquery_table", table)
    assert doctor.code == 0, checks
    assert "is there, in asia-east1" in checks[f"table {table}"]["said"]
    location = checks[f"table {table}: location"]
    assert location["state"] == "warning"
    assert "--bigquery_location" in location["remedy"]


def test_missing_buckets_and_objects_fail(doctor: Doctor, bucket: Any) -> None:
    missing = fresh_name("missing")
    checks = doctor(
        *("--input", f"gs://{missing}/a.csv", f"gs://{bucket.name}/none/"),
        *("--output", f"gs://{missing}/lake"),
    )
    assert doctor.code == 1
    read = checks[f"input gs://{missing}/a.csv"]
    assert (read["state"], read["said"]) == ("failed", f"there is no bucket gs://{missing}")
    written = checks[f"output gs://{missing}/lake"]
    assert written["state"] == "failed"
    assert written["remedy"].startswith(f"gcloud storage buckets create gs://{missing}")
    assert checks[f"input gs://{bucket.name}/none/: files"]["state"] == "failed"


def test_what_only_begins_alike_is_not_taken_for_a_folder(doctor: Doctor, bucket: Any) -> None:
    bucket.blob("in2/a.csv").upload_from_string("x")
    bucket.blob("in-a.csv").upload_from_string("x")
    place = f"gs://{bucket.name}"
    checks = doctor("--input", f"{place}/in", f"{place}/in2")
    assert checks[f"input {place}/in: files"]["state"] == "failed"
    assert checks[f"input {place}/in2: files"]["said"].endswith("in2/a.csv")


def test_names_that_are_none_fail_and_the_rest_is_checked(
    doctor: Doctor, bucket: Any, dataset: str, pubsub: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(ROWS)
    checks = doctor(
        *("--input", "gs://NO_BUCKET/a.csv", "--output", str(tmp_path / "file" / "lake")),
        *("--bigquery_table", "ventas", "--topic", "ventas"),
        *("--subscription", "projects/p/subscriptions/x"),
    )
    assert doctor.code == 1
    for name, said in {
        "input gs://NO_BUCKET/a.csv": "expected 3 to 63",
        f"output {tmp_path / 'file' / 'lake'}": "is no folder",
        "table ventas": "expected PROJECT:DATASET.TABLE",
        "topic ventas": "expected projects/PROJECT/topics/NAME",
        "subscription projects/p/subscriptions/x": "expected projects/PROJECT/subscriptions/NAME",
    }.items():
        assert checks[name]["state"] == "failed"
        assert said in checks[name]["said"]


def test_missing_topics_and_subscriptions_fail(doctor: Doctor, pubsub: str) -> None:
    topic = f"projects/{LOCAL_PROJECT}/topics/{fresh_name('t')}"
    subscription = f"projects/{LOCAL_PROJECT}/subscriptions/{fresh_name('s')}"
    checks = doctor("--topic", topic, "--subscription", subscription)
    assert doctor.code == 1
    assert checks[f"topic {topic}"]["remedy"] == f"gcloud pubsub topics create {topic}"
    assert checks[f"subscription {subscription}"]["said"] == "there is no such subscription"


def test_subscriptions_of_other_and_deleted_topics_fail(doctor: Doctor, pubsub: str) -> None:
    topic = f"projects/{LOCAL_PROJECT}/topics/{fresh_name('t')}"
    subscription = f"projects/{LOCAL_PROJECT}/subscriptions/{fresh_name('s')}"
    with publisher_client() as client:
        client.create_topic(request={"name": topic})
        with subscriber_client() as reader:
            reader.create_subscription(request={"name": subscription, "topic": topic})
        checks = doctor("--topic", f"{topic}-other", "--subscription", subscription)
        assert f"belongs to {topic}" in checks[f"subscription {subscription}"]["said"]
        client.delete_topic(request={"topic": topic})
    checks = doctor("--subscription", subscription)
    assert doctor.code == 1
    assert "its topic was deleted" in checks[f"subscription {subscription}"]["said"]


def test_nobody_listens(doctor: Doctor, nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{nobody}")
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", f"http://{nobody}")
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", nobody)
    topic = f"projects/{LOCAL_PROJECT}/topics/ventas"
    start = time.monotonic()
    checks = doctor(
        *("--output", "gs://some-bucket/lake", "--topic", topic),
        *("--bigquery_table", f"{LOCAL_PROJECT}:d.t"),
    )
    assert time.monotonic() - start < 30
    assert doctor.code == 1
    for service in ("Cloud Storage", "BigQuery", "Pub/Sub"):
        assert "nobody listens" in checks[f"local {service}"]["said"]
    for name in ("output gs://some-bucket/lake", f"topic {topic}", f"table {LOCAL_PROJECT}:d.t"):
        assert checks[name]["state"] == "failed"
        assert "does not answer at" in checks[name]["said"]
        assert "celes-beam local up" in checks[name]["remedy"]


def test_a_server_that_takes_connections_and_says_nothing(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from celes_beam.doctor import bucket_access, examine

    look = examine.within_deadline
    monkeypatch.setattr(examine, "within_deadline", lambda *a, **more: look(*a, 1.0, **more))
    assert bucket_access.REQUEST_SECONDS > 1
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{silent.getsockname()[1]}")
        checks = doctor("--output", "gs://some-bucket/lake")
    assert doctor.code == 1
    said = checks["output gs://some-bucket/lake"]["said"]
    assert said == "nobody answered within 1 s"


def test_google_without_credentials(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in SERVICES.values():
        monkeypatch.delenv(variable, raising=False)
    topic = "projects/some-project/topics/ventas"
    subscription = "projects/some-project/subscriptions/ventas"
    checks = doctor(
        *("--input", "gs://some-bucket/a.csv", "--bigquery_table", "some-project:d.t"),
        *("--topic", topic, "--subscription", subscription),
    )
    assert doctor.code == 1
    assert checks["credentials"]["state"] == "failed"
    for name in (
        "input gs://some-bucket/a.csv",
        "table some-project:d.t",
        f"topic {topic}",
        f"subscription {subscription}",
    ):
        assert checks[name]["state"] == "failed"
        assert "gcloud auth application-default login" in checks[name]["said"]


def test_one_local_service_of_two_is_told(
    doctor: Doctor, bucket: Any, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    table = f"{dataset}.ventas"
    checks = doctor("--output", f"gs://{bucket.name}/lake", "--bigquery_table", table)
    assert doctor.code == 1
    assert checks[f"table {table}: location"]["state"] == "failed"
    assert checks[f"table {table}: location"]["remedy"] == "set both, or none"


@pytest.fixture(scope="module")
def settings_server() -> Iterator[str]:
    with start_settings_server() as address:
        yield address


def test_buckets_that_keep_settings_are_asked_whether_they_are_private(
    doctor: Doctor, settings_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", settings_server)
    private, open_to_change = fresh_name("b"), fresh_name("b")
    make_private_bucket(private)
    made = storage_client().create_bucket(open_to_change)
    made.iam_configuration.uniform_bucket_level_access_enabled = True
    made.patch()
    check = doctor("--output", f"gs://{private}")[f"output gs://{private}: private"]
    assert (check["state"], check["said"]) == ("ok", "public access prevention is enforced")
    name = f"output gs://{open_to_change}"
    assert doctor("--output", f"gs://{open_to_change}")[f"{name}: private"]["state"] == "warning"


class _Permissions(BaseHTTPRequestHandler):
    """Says no to whoever looks at a bucket, and which permissions on it there are.

    No local service of Google's has permissions.
    """

    granted: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        if "/iam/testPermissions" in self.path:
            self._answer(200, {"permissions": self.granted})
        elif "/o?" in self.path:
            self._answer(200, {"items": [{"name": "in/a.csv"}]})
        else:
            self._answer(403, {"error": {"code": 403, "message": "no storage.buckets.get"}})

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def test_whoever_may_not_see_the_bucket_may_still_read_it(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Permissions)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(_Permissions, "granted", ["storage.objects.get", "storage.objects.list"])
    try:
        read = doctor("--input", "gs://some-bucket/in")
        assert doctor.code == 0, read
        written = doctor("--output", "gs://some-bucket/lake")
        assert doctor.code == 1
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert read["input gs://some-bucket/in"]["state"] == "warning"
    assert read["input gs://some-bucket/in: permissions"]["state"] == "ok"
    assert read["input gs://some-bucket/in: files"]["state"] == "ok"
    lacking = written["output gs://some-bucket/lake: permissions"]
    assert lacking["state"] == "failed"
    assert "storage.objects.create" in lacking["said"]
    assert lacking["remedy"] == "grant it roles/storage.objectUser on gs://some-bucket"

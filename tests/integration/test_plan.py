"""``celes-beam plan`` against the local cloud: what it finds there, and what it cannot ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from celes_beam import cli
from celes_beam.stores.cloud.clients import LOCAL_PROJECT, publisher_client, subscriber_client
from pipelines import batch
from tests.cloud import fresh_name

HEADER = "id_cliente,fecha_de_transaccion,cantidad_de_venta,categoria_de_producto,region_de_venta\n"
ROW = "7,2024-05-03T10:00:00Z,12.50,Hogar,Norte\n"
JOB = (
    f"--project={LOCAL_PROJECT}",
    "--region=us-central1",
    "--temp_location=gs://staging/temp",
    "--image=us-central1-docker.pkg.dev/p/celes-beam/celes-beam:1",
    "--subnetwork=regions/us-central1/subnetworks/celes-dataflow",
    "--service_account=celes-worker@celes-dev.iam.gserviceaccount.com",
    "--machine_type=n2-standard-2",
    "--max_workers=5",
)


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


def plan(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = cli.main(("plan", *flags, *JOB, "--json"))
    return code, json.loads(capsys.readouterr().out)


def test_files_of_a_bucket_are_counted_and_those_in_the_lake_are_not(
    bucket: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    place, lake = f"gs://{bucket.name}/in/", f"gs://{bucket.name}/lake"
    bucket.blob("in/monday.csv").upload_from_string(HEADER + ROW * 1_000)
    flags = ("batch", "--input", place, "--output", lake, "--if_exists", "append")
    code, told = plan(capsys, *flags)
    assert code == 0, told["checks"]
    size = len(HEADER) + 1_000 * len(ROW)
    assert told["reads"] == {"files": 1, "bytes": size, "files_in_lake_already": 0}
    assert told["cost"]["lines"]
    names = {check["name"]: check for check in told["checks"]}
    assert names["Google"]["state"] == "not checked"
    assert names[f"output {lake}"]["state"] in ("ok", "warning")

    assert batch.main(["--input", place, "--output", lake, "--progress", "off"]) == 0
    bucket.blob("in/tuesday.csv").upload_from_string(HEADER + ROW)
    _, told = plan(capsys, *flags)
    assert told["reads"] == {
        "files": 1,
        "bytes": len(HEADER) + len(ROW),
        "files_in_lake_already": 1,
    }


def test_a_bucket_that_is_missing_fails_and_the_plan_is_told_all_the_same(
    bucket: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    none = fresh_name("none")
    flags = ("batch", "--input", f"gs://{none}/in/", "--output", f"gs://{bucket.name}/lake")
    code, told = plan(capsys, *flags)
    assert code == 1
    failed = [check["name"] for check in told["checks"] if check["state"] == "failed"]
    assert "files" in failed
    assert told["cost"] is None
    assert told["reads"]["files"] is None


@pytest.fixture
def subscription(pubsub: str) -> str:
    name = fresh_name("s")
    topics = [f"projects/{LOCAL_PROJECT}/topics/{name}{end}" for end in ("", "-dead")]
    path = f"projects/{LOCAL_PROJECT}/subscriptions/{name}"
    with publisher_client() as client:
        for topic in topics:
            client.create_topic(request={"name": topic})
    with subscriber_client() as client:
        client.create_subscription(request={"name": path, "topic": topics[0]})
    return path


def stream_flags(path: str) -> tuple[str, ...]:
    dead = path.replace("/subscriptions/", "/topics/") + "-dead"
    output = "gs://lake/v"
    return ("streaming", "--subscription", path, "--dead_letter_topic", dead, "--output", output)


def test_a_subscription_is_looked_at(
    bucket: Any, subscription: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*stream_flags(subscription)]
    flags[-1] = f"gs://{bucket.name}/lake"
    code, told = plan(capsys, *flags, "--rate", "10")
    assert code == 0, told["checks"]
    assert told["reads"] == {
        "subscription": subscription,
        "backlog_messages": None,
        "oldest_seconds": None,
    }
    assert any(check["name"].endswith("-dead") for check in told["checks"])


def test_a_dead_letter_policy_is_refused(
    bucket: Any, subscription: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = subscription.replace("/subscriptions/", "/topics/") + "-dead"
    with subscriber_client() as client:
        client.delete_subscription(request={"subscription": subscription})
        client.create_subscription(
            request={
                "name": subscription,
                "topic": dead.removesuffix("-dead"),
                "dead_letter_policy": {"dead_letter_topic": dead, "max_delivery_attempts": 5},
            }
        )
    flags = [*stream_flags(subscription)]
    flags[-1] = f"gs://{bucket.name}/lake"
    code, told = plan(capsys, *flags)
    assert code == 2
    (refused,) = told["refused"]
    assert "dead-letter policy" in refused["said"]
    assert "--clear-dead-letter-policy" in refused["remedy"]

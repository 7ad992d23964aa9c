"""What Dataflow receives: the jobs of the real DataflowRunner, with no Google anywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from apache_beam.portability.api import beam_runner_api_pb2

from pipelines import batch
from tests.cloud import fresh_dataset
from tests.deploy.launches import IMAGE, KEY, SUBNETWORK, WORKER, Launcher
from tests.deploy.standin import REGION
from tests.topics import Topic

NAMES = Path(__file__).parent / "transform_names"
HEADER = "id_cliente,fecha_de_transaccion,cantidad_de_venta,categoria_de_producto,region_de_venta\n"
GOOD, BAD = "1,2024-05-03,10.00,Hogar,Norte\n", "x,2024-05-03,1.00,Hogar,Sur\n"


@pytest.fixture(scope="module")
def lake(launcher: Launcher) -> str:
    """A lake in the bucket that has a row, and a rejected one; one more file is new."""
    bucket = launcher.bucket
    bucket.blob("in/old.csv").upload_from_string(HEADER + GOOD + BAD)
    where = f"gs://{bucket.name}/lake"
    batch.run(["-i", f"gs://{bucket.name}/in/old.csv", "-o", where, "--progress", "off"])
    bucket.blob("in/new.csv").upload_from_string(HEADER + GOOD)
    return where


def parameters(name: str, launcher: Launcher, lake: str) -> list[str]:
    """Those of a template, as a launcher gives them: always --name=value."""
    table = f"--bigquery_table={fresh_dataset()}.ventas"
    if name == "batch":
        files = f"gs://{launcher.bucket.name}/in/old.csv,gs://{launcher.bucket.name}/in/n*.csv"
        append = ["--if_exists=append", "--reprocess=false", "--bad_files=set_aside"]
        return [f"--input={files}", f"--output={lake}", *append, table]
    if name == "replay":
        return [f"--from={lake}", "--reason=unparseable,unknown", "--again=true", table]
    subscription = f"--subscription={Topic.make().subscription}"
    lake_of_stream = f"--output=gs://{launcher.bucket.name}/stream"
    return [subscription, lake_of_stream, "--delivery=exactly_once", table]


@pytest.fixture(scope="module", params=["batch", "streaming", "replay"])
def launched(
    request: pytest.FixtureRequest, launcher: Launcher, lake: str
) -> tuple[str, dict[str, Any]]:
    """A template's name, and the job of its launch."""
    return request.param, launcher.flex(request.param, *parameters(request.param, launcher, lake))


def check(name: str, job: dict[str, Any]) -> None:
    environment = job["environment"]
    (pool,) = environment["workerPools"]
    options = environment["sdkPipelineOptions"]["options"]
    is_stream = name == "streaming"
    assert job["name"] == f"celes-{name}"
    assert job["type"] in (("JOB_TYPE_STREAMING", 2) if is_stream else ("JOB_TYPE_BATCH", 1))
    assert options["streaming"] is is_stream
    assert job["labels"] == {"env": "test", "team": "data"}
    assert environment["serviceKmsKeyName"] == KEY
    assert environment["serviceAccountEmail"] == WORKER
    assert environment["serviceOptions"] == ["enable_secure_boot"]
    assert environment["tempStoragePrefix"].startswith("storage.googleapis.com/jobs-")
    assert pool["machineType"] == "n2d-standard-4"
    assert pool["numWorkers"] == 2
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 7
    assert pool["ipConfiguration"] in ("WORKER_IP_PRIVATE", 2)
    assert pool["subnetwork"] == SUBNETWORK
    images = {image["containerImage"] for image in pool["sdkHarnessContainerImages"]}
    assert images == {IMAGE}
    # Nothing of ours is staged: it is in the image, all of it. Beam adds a list for diagnosis.
    staged = {package["name"] for package in pool.get("packages", [])}
    assert staged <= {"submission_environment_dependencies.txt"}
    assert not options.get("save_main_session")
    # A streaming job runs in Streaming Engine, where it can be updated without its state moving.
    assert ("enable_streaming_engine" in environment.get("experiments", [])) is is_stream


def test_a_launch_writes_the_job_that_was_asked_for(
    launched: tuple[str, dict[str, Any]], launcher: Launcher
) -> None:
    name, job = launched

    check(name, job)
    for environment in launcher.pipeline(job).components.environments.values():
        docker = beam_runner_api_pb2.DockerPayload.FromString(environment.payload)
        assert docker.container_image == IMAGE


def test_its_transforms_have_the_names_by_which_an_update_knows_them(
    launched: tuple[str, dict[str, Any]], launcher: Launcher
) -> None:
    """Renamed on purpose? Write the new names there; a running stream cannot be updated then.

    Some are Beam's own, of lambdas on a line of its code: a new Beam may rename them.
    """
    name, job = launched
    kept = NAMES / f"{name}.txt"

    assert launcher.names(job) == kept.read_text().splitlines(), f"see {kept}"


def test_a_launch_with_nothing_to_do_still_writes_a_job(launcher: Launcher, lake: str) -> None:
    old = f"--input=gs://{launcher.bucket.name}/in/old.csv"

    job = launcher.flex("batch", old, f"--output={lake}", "--if_exists=append")

    check("batch", job)
    names = launcher.names(job)
    assert any(n.startswith("End/Tell") for n in names)
    assert not any(n.startswith(("Stage", "End/Load")) for n in names)


def test_a_pipeline_that_is_started_by_hand_returns_with_the_id_of_its_job(
    launcher: Launcher, lake: str
) -> None:
    job = launcher.direct(
        "pipelines.batch", "batch", "--rows", "1e6", "-o", f"gs://{launcher.bucket.name}/by_hand"
    )

    check("batch", job)
    assert "2026-11-24_00_00_00-" in job["said"]
    said = " ".join(job["said"].split())
    assert re.search(rf"gcloud dataflow jobs show 2026\S+ --region {REGION}", said)

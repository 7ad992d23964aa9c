"""What gcloud asks of Dataflow when ``celes-beam deploy run`` launches a template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from celes_beam.cli import main
from celes_beam.commands.template_flags import chosen_pipeline
from tests.cloud import INSTALL_SDK
from tests.deploy.launches import IMAGE, KEY, SUBNETWORK, WORKER
from tests.deploy.standin import PROJECT, REGION, dataflow_stand_in
from tests.tools import need_tool

LAKE, TABLE = "gs://celes-dev-celes-lake/ventas", "celes-dev:ventas.ventas"
SUBSCRIPTION = f"projects/{PROJECT}/subscriptions/ventas-celes-beam"
GIVEN = {
    "batch": {
        "input": "gs://celes-dev-celes-landing/2026/*.csv,gs://celes-dev-celes-landing/2025/",
        "output": LAKE,
        "if_exists": "append",
        "bigquery_table": TABLE,
        # What shells and gcloud's own lists give a meaning.
        "regions": "Norte y Sur,~|;!,'Este' \"$HOME\" ^:^",
        "columns": "id_cliente=id=cliente,cantidad_de_venta=Importe €",
    },
    "streaming": {"subscription": SUBSCRIPTION, "bigquery_table": TABLE, "output": LAKE},
    "replay": {"from": LAKE, "reason": "missing,unknown", "again": "true"},
}


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    need_tool("gcloud", INSTALL_SDK)

    def run(name: str, *more: str) -> tuple[str, dict[str, Any]]:
        staging = f"gs://{PROJECT}-celes-staging"
        settings = [part for k, v in GIVEN[name].items() for part in ("--set", f"{k}={v}")]
        with dataflow_stand_in() as dataflow:
            for variable, value in {
                "CLOUDSDK_CONFIG": str(tmp_path),
                "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
                "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
                "CLOUDSDK_API_ENDPOINT_OVERRIDES_DATAFLOW": f"{dataflow.url}/",
            }.items():
                monkeypatch.setenv(variable, value)
            code = main(
                [
                    *("deploy", "run", name, "--template", f"{staging}/templates/{name}.json"),
                    *("--image", IMAGE, "--project", PROJECT, "--region", REGION, *settings),
                    *("--service_account", WORKER, "--subnetwork", SUBNETWORK),
                    *("--dataflow_kms_key", KEY, "--temp_location", f"{staging}/temp"),
                    *("--staging_location", f"{staging}/staging"),
                    *("--machine_type", "n2d-standard-4", "--num_workers", "2"),
                    *("--max_workers", "7", "--label", "team=data", *more),
                ]
            )
        assert code == 0
        ((path, body),) = dataflow.asked
        return path, body["launchParameter"]

    return run


@pytest.mark.parametrize("name", list(GIVEN))
def test_a_launch_asks_for_what_was_given(launch: Any, name: str) -> None:
    more = ["--update"] if name == "streaming" else []

    path, asked = launch(name, *more)

    assert path.startswith(f"/v1b3/projects/{PROJECT}/locations/{REGION}/flexTemplates:launch")
    assert asked["jobName"] == f"celes-{name}"
    assert asked["containerSpecGcsPath"].endswith(f"/templates/{name}.json")
    assert asked["parameters"] == GIVEN[name] | {"sdk_container_image": IMAGE}
    assert asked.get("update", False) is (name == "streaming")
    environment = asked["environment"]
    assert environment.pop("enableStreamingEngine", False) is (name == "streaming")
    staging = f"gs://{PROJECT}-celes-staging"
    wanted = {
        "serviceAccountEmail": WORKER,
        "subnetwork": SUBNETWORK,
        "kmsKeyName": KEY,
        "ipConfiguration": "WORKER_IP_PRIVATE",
        "tempLocation": f"{staging}/temp",
        "stagingLocation": f"{staging}/staging",
        "machineType": "n2d-standard-4",
        "numWorkers": 2,
        "maxWorkers": 7,
        "additionalUserLabels": {"team": "data"},
    }
    assert {k: environment.get(k) for k in wanted} == wanted
    flags = [f"--{k}={v}" for k, v in asked["parameters"].items()]
    assert chosen_pipeline(flags)[0] == name

"""What must hold of all that is planned: private, encrypted, and no right that is not needed."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from celes_beam import cli
from celes_beam.transforms.load import _tell
from tests.infra.grants import planned_grants
from tests.infra.terraform import EVERYTHING, INFRA, Planned
from tests.tools import ROOT

pytestmark = pytest.mark.infra

PRIMITIVE = {"roles/owner", "roles/editor", "roles/viewer", "roles/browser"}
# Roles that Google lets nobody give on less than a project, and why they are needed.
FOR_A_PROJECT = {
    "roles/dataflow.worker": "a job of Dataflow is no resource that roles are given on",
    "roles/dataflow.developer": "nor is the launch of one",
    "roles/bigquery.jobUser": "jobs of BigQuery belong to a project",
}
KEY_OF = {
    "google_storage_bucket": ("encryption", "default_kms_key_name", "storage"),
    "google_pubsub_topic": (None, "kms_key_name", "pubsub"),
    "google_bigquery_dataset": ("default_encryption_configuration", "kms_key_name", "bigquery"),
    "google_bigquery_table": ("encryption_configuration", "kms_key_name", "bigquery"),
    "google_artifact_registry_repository": (None, "kms_key_name", "registry"),
    "google_dataflow_flex_template_job": (None, "kms_key_name", "dataflow"),
}
# Kinds without rows of anybody's, or whose rows are those of another.
KEYLESS = {
    "google_billing_budget",
    "google_cloud_scheduler_job",
    "google_compute_firewall",
    "google_compute_network",
    "google_compute_route",
    "google_compute_subnetwork",
    "google_dns_managed_zone",
    "google_dns_record_set",
    "google_iam_workload_identity_pool",
    "google_iam_workload_identity_pool_provider",
    "google_kms_crypto_key",
    "google_kms_key_ring",
    "google_logging_metric",
    "google_monitoring_alert_policy",
    "google_monitoring_dashboard",
    "google_monitoring_notification_channel",
    "google_project_iam_audit_config",
    "google_project_service",
    "google_project_service_identity",
    "google_pubsub_subscription",
    "google_service_account",
}
REGION = EVERYTHING["region"]


def of_kind(planned: list[Planned], kind: str) -> Iterator[dict[str, Any]]:
    found = [resource.values for resource in planned if resource.kind == kind]
    assert found, f"no {kind} is planned"
    yield from found


def launch(planned: list[Planned]) -> dict[str, Any]:
    (job,) = of_kind(planned, "google_cloud_scheduler_job")
    (target,) = job["http_target"]
    body: dict[str, Any] = json.loads(base64.b64decode(target["body"]))["launchParameter"]
    return body


def test_no_bucket_is_public(planned: list[Planned]) -> None:
    for bucket in of_kind(planned, "google_storage_bucket"):
        assert bucket["public_access_prevention"] == "enforced", bucket["name"]
        assert bucket["uniform_bucket_level_access"] is True, bucket["name"]
        assert not bucket["website"], bucket["name"]
        assert not bucket["force_destroy"], bucket["name"]


def test_nothing_is_granted_to_the_whole_world(planned: list[Planned]) -> None:
    for resource in planned:
        text = json.dumps(resource.values)
        assert "allUsers" not in text, resource.address
        assert "allAuthenticatedUsers" not in text, resource.address


def test_every_store_has_its_key(planned: list[Planned]) -> None:
    kinds = {resource.kind for resource in planned if "_iam_member" not in resource.kind}
    assert kinds == {*KEY_OF, *KEYLESS}, "is it a store? Then say which key it has"
    ring = f"projects/{EVERYTHING['project']}/locations/{REGION}/keyRings/celes/cryptoKeys"
    for kind, (block, field, key) in KEY_OF.items():
        for store in of_kind(planned, kind):
            if store.get("view"):
                continue
            holder = store if block is None else store[block][0]
            assert holder[field] == f"{ring}/{key}", store


def test_keys_are_rotated_and_kept(planned: list[Planned]) -> None:
    for key in of_kind(planned, "google_kms_crypto_key"):
        assert 0 < int(key["rotation_period"].removesuffix("s")) <= 90 * 86_400, key["name"]
        assert int(key["destroy_scheduled_duration"].removesuffix("s")) >= 30 * 86_400, key["name"]
    assert "prevent_destroy = true" in (INFRA / "kms.tf").read_text()


def test_every_key_has_an_agent_and_no_one_else(planned: list[Planned]) -> None:
    grants = list(of_kind(planned, "google_kms_crypto_key_iam_member"))
    keys = {key["name"] for key in of_kind(planned, "google_kms_crypto_key")}
    assert {grant["crypto_key_id"].rsplit("/", 1)[1] for grant in grants} == keys
    for grant in grants:
        assert grant["role"] == "roles/cloudkms.cryptoKeyEncrypterDecrypter"
        number = EVERYTHING["project_number"]
        assert f"-{number}@" in grant["member"]
        assert "celes" not in grant["member"]


def test_everything_is_in_one_region(planned: list[Planned]) -> None:
    for kind in (
        "google_storage_bucket",
        "google_bigquery_dataset",
        "google_kms_key_ring",
        "google_artifact_registry_repository",
    ):
        for found in of_kind(planned, kind):
            assert found["location"] == REGION, kind
    for topic in of_kind(planned, "google_pubsub_topic"):
        (policy,) = topic["message_storage_policy"]
        assert policy["allowed_persistence_regions"] == [REGION], topic["name"]


def test_no_primitive_role(planned: list[Planned]) -> None:
    for grant in planned_grants(planned):
        assert grant.role not in PRIMITIVE, grant
        assert not grant.role.endswith((".admin", "Admin")), grant


def test_a_role_of_the_project_is_one_that_no_resource_has(planned: list[Planned]) -> None:
    given = {grant.role for grant in planned_grants(planned) if grant.on == "project"}
    assert given == set(FOR_A_PROJECT)


def test_nothing_takes_the_rights_of_others_away(planned: list[Planned]) -> None:
    for resource in planned:
        # Bindings and policies replace grants that somebody else has made.
        assert not resource.kind.endswith(("_iam_binding", "_iam_policy")), resource.address


def test_no_account_has_a_key(planned: list[Planned]) -> None:
    assert not [r.address for r in planned if r.kind == "google_service_account_key"]
    for path in INFRA.rglob("*.tf"):
        text = path.read_text()
        assert "service_account_key" not in text, path.name
        assert "private_key" not in text, path.name


def test_accounts_are_four_and_each_has_rights(planned: list[Planned]) -> None:
    names = {account["account_id"] for account in of_kind(planned, "google_service_account")}
    assert names == {"celes-worker", "celes-launcher", "celes-scheduler", "celes-reader"}
    assert {f"`{name}`" for name in names} <= {grant.who for grant in planned_grants(planned)}


def test_the_reader_sees_no_rejected_row(planned: list[Planned]) -> None:
    reader = {g.on for g in planned_grants(planned) if g.who == "`celes-reader`"}
    assert "table `ventas`" in reader
    assert "table `ventas_rechazadas`" not in reader
    rows = {g.role for g in planned_grants(planned) if g.on == "dataset `ventas`"}
    assert rows == {"roles/bigquery.dataEditor", "roles/bigquery.metadataViewer"}


def test_nobody_can_destroy_what_was_rejected(planned: list[Planned]) -> None:
    """No job pulls from there; whoever replays messages does so as who they are."""
    subscriptions = {s["name"] for s in of_kind(planned, "google_pubsub_subscription")}
    assert "ventas-rechazadas-replay" in subscriptions
    pulled = {g.on for g in planned_grants(planned) if g.on.startswith("subscription")}
    assert pulled == {"subscription `ventas-celes-beam`"}


def test_no_job_changes_what_runs_next(planned: list[Planned]) -> None:
    conditions = {
        (grant["member"].split("@")[0], grant["bucket"]): grant["condition"]
        for grant in of_kind(planned, "google_storage_bucket_iam_member")
    }
    bucket = f"{EVERYTHING['project']}-celes-staging"
    templates = f'resource.name.startsWith("projects/_/buckets/{bucket}/objects/templates/")'
    (worker,) = conditions["serviceAccount:celes-worker", bucket]
    assert worker["expression"] == f"!{templates}"
    (scheduler,) = conditions["serviceAccount:celes-scheduler", bucket]
    assert scheduler["expression"] == templates
    writers = {
        grant.who
        for grant in planned_grants(planned)
        if grant.on == "repository `celes-beam`"
        if grant.role == "roles/artifactregistry.writer"
    }
    assert writers == {"`celes-launcher`"}


def test_a_dataset_is_not_for_all_who_see_the_project(planned: list[Planned]) -> None:
    (dataset,) = of_kind(planned, "google_bigquery_dataset")
    assert [entry["special_group"] for entry in dataset["access"]] == ["projectOwners"]


def test_workers_reach_each_other_and_google_alone(planned: list[Planned]) -> None:
    (network,) = of_kind(planned, "google_compute_network")
    assert network["auto_create_subnetworks"] is False
    assert network["delete_default_routes_on_create"] is True
    (subnet,) = of_kind(planned, "google_compute_subnetwork")
    assert subnet["private_ip_google_access"] is True
    (route,) = of_kind(planned, "google_compute_route")
    assert route["dest_range"] == "199.36.153.8/30"
    rules = list(of_kind(planned, "google_compute_firewall"))
    for rule in rules:
        if rule["direction"] == "INGRESS":
            assert not rule["source_ranges"], rule["name"]
            assert rule["source_tags"] == rule["target_tags"] == ["dataflow"]
            assert rule["allow"] == [{"protocol": "tcp", "ports": ["12345-12346"]}]
        elif rule["allow"]:
            assert rule["destination_ranges"] != ["0.0.0.0/0"], rule["name"]
    (last,) = (rule for rule in rules if rule["deny"])
    assert last["direction"] == "EGRESS"
    assert last["destination_ranges"] == ["0.0.0.0/0"]
    assert last["priority"] > max(rule["priority"] or 1000 for rule in rules if rule["allow"])


def test_names_of_google_lead_to_private_addresses(planned: list[Planned]) -> None:
    zones = {zone["dns_name"] for zone in of_kind(planned, "google_dns_managed_zone")}
    assert zones == {"googleapis.com.", "pkg.dev.", "gcr.io."}
    records = list(of_kind(planned, "google_dns_record_set"))
    for record in records:
        if record["type"] == "A":
            assert record["rrdatas"] == [f"199.36.153.{n}" for n in range(8, 12)]
    named = {record["name"] for record in records if record["type"] == "CNAME"}
    assert named == {f"*.{zone}" for zone in zones}


def test_jobs_are_private_encrypted_and_run_as_the_worker(planned: list[Planned]) -> None:
    environment = launch(planned)["environment"]
    (stream,) = of_kind(planned, "google_dataflow_flex_template_job")
    for name, given in (
        ("serviceAccountEmail", stream["service_account_email"]),
        ("ipConfiguration", stream["ip_configuration"]),
        ("subnetwork", stream["subnetwork"]),
        ("kmsKeyName", stream["kms_key_name"]),
        ("sdkContainerImage", stream["parameters"]["sdk_container_image"]),
        ("tempLocation", stream["temp_location"]),
        ("stagingLocation", stream["staging_location"]),
    ):
        assert environment[name] == given, name
    assert environment["ipConfiguration"] == "WORKER_IP_PRIVATE"
    assert environment["serviceAccountEmail"].startswith("celes-worker@")
    assert environment["subnetwork"] == f"regions/{REGION}/subnetworks/celes-dataflow"


def test_launcher_and_workers_are_of_one_version(planned: list[Planned]) -> None:
    version = EVERYTHING["image_version"]
    folder = f"gs://{EVERYTHING['project']}-celes-staging/templates/{version}"
    (stream,) = of_kind(planned, "google_dataflow_flex_template_job")
    batch = launch(planned)
    assert stream["container_spec_gcs_path"] == f"{folder}/streaming.json"
    assert batch["containerSpecGcsPath"] == f"{folder}/batch.json"
    images = (
        stream["parameters"]["sdk_container_image"],
        batch["environment"]["sdkContainerImage"],
    )
    for image in images:
        assert image.endswith(f"/celes-beam/celes-beam:{version}")


def test_an_apply_without_a_change_leaves_the_stream_alone() -> None:
    """The provider reads nothing of these from a job in Python; max_workers replaces the job."""
    text = (INFRA / "dataflow.tf").read_text()
    ignored = re.search(r"ignore_changes = \[(.*?)\]", text, re.DOTALL)
    assert ignored is not None
    assert {name.strip(" ,") for name in ignored[1].split()} == {
        *("machine_type", "max_workers", "network", "num_workers"),
        *("sdk_container_image", "staging_location", "subnetwork", "temp_location"),
    }


def test_jobs_are_given_what_their_templates_have(planned: list[Planned]) -> None:
    (stream,) = of_kind(planned, "google_dataflow_flex_template_job")
    for name, given in (
        ("batch", launch(planned)["parameters"]),
        ("streaming", stream["parameters"]),
    ):
        described = json.loads((ROOT / "templates" / f"{name}.json").read_text())
        parameters = {p["name"]: p for p in described["parameters"]}
        assert set(given) <= set(parameters), name
        needed = {p for p, about in parameters.items() if not about.get("isOptional")}
        assert needed <= set(given), name
        for parameter, value in given.items():
            choices = [c["value"] for c in parameters[parameter].get("enumOptions", [])]
            assert not choices or value in choices, parameter
            for pattern in parameters[parameter].get("regexes", []):
                assert re.fullmatch(pattern, value), parameter


def test_dataflow_refuses_a_dead_letter_policy(planned: list[Planned]) -> None:
    for subscription in of_kind(planned, "google_pubsub_subscription"):
        assert not subscription["dead_letter_policy"], subscription["name"]
        (policy,) = subscription["expiration_policy"]
        assert policy["ttl"] == "", subscription["name"]


def test_rows_are_not_thrown_away_by_mistake(planned: list[Planned]) -> None:
    for table in of_kind(planned, "google_bigquery_table"):
        assert bool(table["deletion_protection"]) is not bool(table["view"]), table["table_id"]
    buckets = {b["name"].split("-celes-")[1]: b for b in of_kind(planned, "google_storage_bucket")}
    assert buckets["landing"]["versioning"] == [{"enabled": True}]
    seconds = {n: b["soft_delete_policy"] for n, b in buckets.items() if b["soft_delete_policy"]}
    assert seconds["lake"][0]["retention_duration_seconds"] == 7 * 86_400
    assert seconds["staging"][0]["retention_duration_seconds"] == 0
    for rule in buckets["staging"]["lifecycle_rule"] + buckets["lake"]["lifecycle_rule"]:
        if rule["action"][0]["type"] == "Delete":
            assert rule["condition"][0]["matches_prefix"] == ["temp/"]


def test_all_that_goes_wrong_has_an_alert(planned: list[Planned]) -> None:
    policies = {p["display_name"]: p for p in of_kind(planned, "google_monitoring_alert_policy")}
    text = json.dumps(list(policies.values()))
    for metric in (
        "job/system_lag",
        "subscription/oldest_unacked_message_age",
        "job/is_failed",
        "user_celes_batch_rejected_sum",
        "rows_rejected",
        "topic_send_message_operation_count",
        "user_celes_launch_failed",
    ):
        assert metric in text, metric
    for name, policy in policies.items():
        assert policy["documentation"][0]["content"], name


def test_a_first_apply_and_a_query_find_the_metrics_that_are_made_of_logs(
    planned: list[Planned],
) -> None:
    """A filter fails while such a metric is new, and PromQL until it knows the kind of resource."""
    (dashboard,) = of_kind(planned, "google_monitoring_dashboard")
    policies = list(of_kind(planned, "google_monitoring_alert_policy"))
    conditions = [condition for policy in policies for condition in policy["conditions"]]
    for condition in conditions:
        for threshold in condition["condition_threshold"]:
            assert "logging.googleapis.com/user" not in threshold["filter"]
    text = json.dumps([policies, json.loads(dashboard["dashboard_json"])])
    found = re.findall(r"logging_googleapis_com:user_celes_\w+(.{0,22})", text)
    assert len(found) > 6
    assert {after[:22] for after in found} == {'{monitored_resource=\\"'}
    for query in (q for c in conditions for q in c["condition_prometheus_query_language"]):
        assert query["disable_metric_validation"] is True


def test_the_plan_of_its_jobs_refuses_nothing_and_doubts_nothing(
    planned: list[Planned], capsys: pytest.CaptureFixture[str]
) -> None:
    """What infra/ launches is what `celes-beam plan` would let through."""
    batch = launch(planned)
    (stream,) = of_kind(planned, "google_dataflow_flex_template_job")
    environment = batch["environment"]
    place = {
        "project": EVERYTHING["project"],
        "region": REGION,
        "image": environment["sdkContainerImage"],
        "service_account": environment["serviceAccountEmail"],
        "subnetwork": environment["subnetwork"],
        "dataflow_kms_key": environment["kmsKeyName"],
        "temp_location": environment["tempLocation"],
        "staging_location": environment["stagingLocation"],
        "machine_type": environment["machineType"],
        "max_workers": environment["maxWorkers"],
    }
    for kind, parameters in (("batch", batch["parameters"]), ("streaming", stream["parameters"])):
        flags = [f"--{name}={value}" for name, value in {**place, **parameters}.items()]
        code = cli.main(
            ["plan", kind, *flags, "--bigquery_location", REGION, "--offline", "--json"]
        )
        said = capsys.readouterr()
        assert code == 0, said.out + said.err
        assert [check for check in json.loads(said.out)["checks"] if check["remedy"]] == []


def test_figures_of_a_batch_are_read_from_the_line_that_it_writes(
    planned: list[Planned], caplog: pytest.LogCaptureFixture
) -> None:
    figures = {"read": 110, "accepted": 100, "rejected": 10}
    rows = {f"rows_{name}": count for name, count in figures.items()}
    manifest: Any = SimpleNamespace(
        run_id="nightly", **rows, files=(), bytes=1, total=2, refused_inputs=()
    )
    with caplog.at_level("INFO"):
        _tell(manifest)
    (line,) = caplog.messages
    metrics = {m["name"]: m for m in of_kind(planned, "google_logging_metric")}
    for figure, count in figures.items():
        metric = metrics[f"celes_batch_{figure}"]
        pattern = re.fullmatch(
            r'REGEXP_EXTRACT\(jsonPayload\.message, "(.*)"\)', metric["value_extractor"]
        )
        assert pattern is not None
        assert re.findall(pattern[1], line) == [str(count)]
        start = re.search(r'jsonPayload\.message=~"(.*?)"', metric["filter"])
        assert start is not None
        assert re.search(start[1], line)


def test_the_dashboard_is_json_with_every_name_put_in(planned: list[Planned]) -> None:
    (dashboard,) = of_kind(planned, "google_monitoring_dashboard")
    shown = json.loads(dashboard["dashboard_json"])
    assert "${" not in dashboard["dashboard_json"]
    tiles = shown["mosaicLayout"]["tiles"]
    places = {(tile["xPos"], tile["yPos"]) for tile in tiles}
    assert len(places) == len(tiles)
    assert "ventas-celes-beam" in dashboard["dashboard_json"]


def test_accesses_are_logged(planned: list[Planned]) -> None:
    logged = {c["service"]: c for c in of_kind(planned, "google_project_iam_audit_config")}
    assert {"storage.googleapis.com", "pubsub.googleapis.com"} <= set(logged)
    for service, config in logged.items():
        kinds = {entry["log_type"] for entry in config["audit_log_config"]}
        assert kinds == {"ADMIN_READ", "DATA_READ", "DATA_WRITE"}, service

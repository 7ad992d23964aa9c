"""terraform itself: layout, names and types, its own tests, and messages about wrong variables."""

from __future__ import annotations

import re

import pytest

from tests.infra.terraform import EVERYTHING, FROM_REGISTRY, GIVEN, Planned, Workspace

pytestmark = pytest.mark.infra

WRONG = {
    "project": ("My Project", "gcloud projects list"),
    "project_number": ("my-sales-1234", "digits alone"),
    "region": ("europe-west1-b", "expected one region"),
    "labels": ({"Team": "Sales"}, "a key begins with a letter"),
    "worker_cidr": ("8.8.8.0/24", "expected a private range"),
    "key_rotation_days": (0, "between 1 and 90"),
    "landing_delete_after_days": (-1, "or 0 to keep all files"),
    "publishers": (["allUsers"], "let in the whole world"),
    "uploaders": (["someone@example.com"], "each is group:"),
    "launchers": (["allAuthenticatedUsers"], "let in the whole world"),
    "report_viewers": (["domain:example.com"], "each is group:"),
    "report_editors": (["allUsers"], "let in the whole world"),
    "github_repository": ("https://github.com/a/b", "expected OWNER/NAME"),
    "image_version": ("latest", "nobody can tell which code ran"),
    "batch_schedule": ("every night", "five fields of cron"),
    "batch_time_zone": ("CET+1", 'such as "America/Bogota"'),
    "live_windows": ("1.5m", "expected whole seconds"),
    "worker_machine_type": ("big", 'such as "n2-standard-2"'),
    "max_workers": (0, "between 1 and 1000"),
    "alert_emails": (["nobody"], "at most 16, and each is an address"),
    "max_system_lag_seconds": (1, "expected 60 or more"),
    "max_backlog_seconds": (1, "expected 60 or more"),
    "max_rejected_share": (5, "such as 0.05 for 5%"),
    "max_hours_without_data": (48, "looks back no further"),
    "billing_account": ("mine", "gcloud billing accounts list"),
    "monthly_budget": (0, "a whole amount of 1 or more"),
}


def test_files_are_laid_out(workspace: Workspace) -> None:
    done = workspace.run("fmt", "-check", "-recursive", "-diff")
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_fit_the_schema_of_google(workspace: Workspace) -> None:
    done = workspace.run("validate", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stdout


def test_own_tests_of_terraform(workspace: Workspace) -> None:
    done = workspace.run("test", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in done.stdout


def test_the_least_that_has_to_be_said(workspace: Workspace) -> None:
    kinds = {resource.kind for resource in workspace.plan(dict(GIVEN))}
    assert "google_bigquery_table" in kinds
    assert not kinds & {"google_cloud_scheduler_job", "google_dataflow_flex_template_job"}


def test_the_example_can_be_planned_as_it_is_and_with_all_of_it(workspace: Workspace) -> None:
    example = workspace.folder / "terraform.tfvars.example"
    whole = workspace.folder / "whole.tfvars"
    text = re.sub(r"^# (?=\w+ += )", "", example.read_text(), flags=re.MULTILINE)
    whole.write_text(text, encoding="utf-8")
    assert text.count(" = ") > example.read_text().count("\n# ")
    for path in (example, whole):
        done = workspace.run("plan", "-input=false", "-no-color", f"-var-file={path.name}")
        assert done.returncode == 0, done.stdout + done.stderr


def test_wrong_variables_are_told_with_what_was_expected(workspace: Workspace) -> None:
    said = workspace.refused({name: wrong for name, (wrong, _) in WRONG.items()})
    for name, (wrong, expected) in WRONG.items():
        assert expected in said, name
        if isinstance(wrong, str | int):
            assert f"{name} = " in said, name
    assert "Invalid value for input variable" not in said


def test_no_more_are_told_than_monitoring_takes(workspace: Workspace) -> None:
    emails = [f"a{number}@example.com" for number in range(17)]
    assert "at most 16" in workspace.refused({**GIVEN, "alert_emails": emails})


def test_a_range_is_told_by_its_first_address(workspace: Workspace) -> None:
    assert "by its first address" in workspace.refused({**GIVEN, "worker_cidr": "10.20.0.5/24"})


def test_nothing_is_no_value_where_something_is_needed(workspace: Workspace) -> None:
    """`null` is the default of what has one, instead of an error from within a check of ours."""
    assert "project" in workspace.refused({**GIVEN, "project": None})
    text = (workspace.folder / "variables.tf").read_text()
    names = [block.split('"', 1)[0] for block in text.split('variable "')[1:]]
    nothing = dict.fromkeys(name for name in names if name not in GIVEN)
    assert workspace.plan({**GIVEN, **nothing})


def test_every_variable_that_can_be_wrong_is_tried(workspace: Workspace) -> None:
    text = (workspace.folder / "variables.tf").read_text()
    blocks = text.split('variable "')[1:]
    validated = {block.split('"', 1)[0] for block in blocks if "validation {" in block}
    # `streaming` needs an image, which plan.tftest.hcl tries.
    assert validated == {*WRONG, "streaming"}
    assert {block.split('"', 1)[0] for block in blocks} == validated


def test_every_variable_that_makes_something_is_in_the_plan(planned: list[Planned]) -> None:
    kinds = {resource.kind for resource in planned}
    assert {
        "google_billing_budget",
        "google_cloud_scheduler_job",
        "google_dataflow_flex_template_job",
        "google_iam_workload_identity_pool_provider",
        "google_monitoring_notification_channel",
    } <= kinds
    assert EVERYTHING["streaming"]


@pytest.mark.skipif(FROM_REGISTRY, reason="about the stand-in")
@pytest.mark.parametrize(
    ("file", "line", "wrong", "said"),
    [
        ("storage.tf", "location                    = var.region", "place = var.region", "place"),
        ("pubsub.tf", "ack_deadline_seconds       = 60", 'ack_deadline_seconds = "soon"', "number"),
        ("bigquery.tf", "time_partitioning {", "day_partitioning {", "day_partitioning"),
        ("dataflow.tf", "provider = google-beta", "", "google_dataflow_flex_template_job"),
    ],
)
def test_what_google_does_not_know_is_found(
    own_workspace: Workspace, file: str, line: str, wrong: str, said: str
) -> None:
    path = own_workspace.folder / file
    text = path.read_text()
    assert line in text
    path.write_text(text.replace(line, wrong, 1))
    done = own_workspace.run("validate", "-no-color")
    assert done.returncode == 1
    assert said in done.stderr + done.stdout

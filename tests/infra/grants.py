"""The grants of a plan, and those that ``docs/security.md`` tells of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.infra.terraform import EVERYTHING, Planned
from tests.tools import ROOT

SECURITY = ROOT / "docs" / "security.md"
_ON = {
    "google_project_iam_member": ("project", None),
    "google_storage_bucket_iam_member": ("bucket", "bucket"),
    "google_pubsub_topic_iam_member": ("topic", "topic"),
    "google_pubsub_subscription_iam_member": ("subscription", "subscription"),
    "google_bigquery_dataset_iam_member": ("dataset", "dataset_id"),
    "google_bigquery_table_iam_member": ("table", "table_id"),
    "google_artifact_registry_repository_iam_member": ("repository", "repository"),
    "google_service_account_iam_member": ("account", "service_account_id"),
    "google_kms_crypto_key_iam_member": ("key", "crypto_key_id"),
}
# Who the variables name, as the table does.
_NAMED = {
    who: f"`{name}`"
    for name in ("publishers", "uploaders", "launchers", "report_viewers", "report_editors")
    for who in EVERYTHING[name]
}
_AGENTS = {
    "gs-project-accounts": "Cloud Storage's agent",
    "gcp-sa-pubsub": "Pub/Sub's agent",
    "bigquery-encryption": "BigQuery's agent",
    "dataflow-service-producer-prod": "Dataflow's agent",
    "compute-system": "Compute Engine's agent",
    "gcp-sa-artifactregistry": "Artifact Registry's agent",
}
_ROW = re.compile(r"^\|(?P<cells>.+)\|$", re.M)


class Grant(NamedTuple):
    """Who has which role on what, in the words of the table."""

    who: str
    role: str
    on: str


def planned_grants(planned: Sequence[Planned]) -> set[Grant]:
    """The grants of a plan; an IAM resource of a kind that is not known here is an error."""
    found = set()
    for resource in planned:
        if "_iam_" not in resource.kind or resource.kind.startswith("google_iam_"):
            continue
        if resource.kind == "google_project_iam_audit_config":
            continue
        found.add(Grant(_who(resource.values["member"]), resource.values["role"], _on(resource)))
    return found


def documented_grants() -> dict[Grant, tuple[str, str]]:
    """Why each grant of the table is there, and what breaks without it."""
    section = SECURITY.read_text(encoding="utf-8").split("## Who may do what", 1)[1]
    found: dict[Grant, tuple[str, str]] = {}
    for row in _ROW.finditer(section.split("\n## ", 1)[0]):
        cells = [cell.strip() for cell in row["cells"].split("|")]
        if len(cells) != 5 or not cells[1].startswith("`roles/"):
            continue
        who, role, on, why, without = cells
        # Several names of one kind share a row.
        kind, names = on.split(" ", 1) if " " in on else (on, "")
        for name in re.findall(r"`[^`]+`", names) or [""]:
            grant = Grant(who, role.strip("`"), f"{kind} {name}".strip())
            assert grant not in found, f"twice in {SECURITY.name}: {grant}"
            found[grant] = (why, without)
    return found


def _on(resource: Planned) -> str:
    kind, field = _ON[resource.kind]
    if field is None:
        return kind
    name = str(resource.values[field]).rsplit("/", maxsplit=1)[-1]
    name = name.split("@", maxsplit=1)[0].removeprefix(f"{EVERYTHING['project']}-")
    return f"{kind} `{name}`"


def _who(member: Any) -> str:
    text = str(member)
    if text in _NAMED:
        return _NAMED[text]
    if text.startswith("principalSet://iam.googleapis.com/"):
        return "`github_repository`"
    account, _, domain = text.removeprefix("serviceAccount:").partition("@")
    agent = _AGENTS.get(domain.split(".", maxsplit=1)[0])
    return agent or f"`{account}`"

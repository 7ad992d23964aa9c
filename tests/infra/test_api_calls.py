"""Each request that the code makes of Google needs a permission, and a job's account has it.

Which role holds what is Google's to say: the excerpt below is of what IAM's own API told in August
2026, as the public repository darkbitio/gcp-iam-role-permissions keeps it.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache

import pytest

from tests.infra.grants import planned_grants
from tests.infra.terraform import Planned
from tests.tools import ROOT

READ, WRITE = "storage.objects.get", "storage.objects.create"
LANDING, LAKE = "bucket `celes-landing`", "bucket `celes-lake`"
DATASET, PROJECT = "dataset `ventas`", "project"
SUBSCRIPTION, DEAD = "subscription `ventas-celes-beam`", "topic `ventas-rechazadas`"
ROWS = "bigquery.tables.updateData"
JOB = "bigquery.jobs.create"
CALLS: dict[str, tuple[tuple[str, str], ...]] = {
    "append_rows": ((ROWS, DATASET),),
    "create_table": (("bigquery.tables.create", DATASET),),
    "create_write_stream": ((ROWS, DATASET),),
    "delete": (("storage.objects.delete", LAKE),),
    "download_as_bytes": ((READ, LAKE),),
    "exists": ((READ, LAKE),),
    "finalize_write_stream": ((ROWS, DATASET),),
    "get_dataset": (("bigquery.datasets.get", DATASET),),
    # Whoever has started a job may look at it.
    "get_job": ((JOB, PROJECT),),
    "get_subscription": (("pubsub.subscriptions.get", SUBSCRIPTION),),
    "get_table": (("bigquery.tables.get", DATASET),),
    "get_topic": (("pubsub.topics.get", DEAD),),
    "list_blobs": (("storage.objects.list", LANDING), ("storage.objects.list", LAKE)),
    "list_topic_subscriptions": (("pubsub.topics.get", DEAD),),
    "load_table_from_file": ((JOB, PROJECT), (ROWS, DATASET)),
    "load_table_from_uri": ((JOB, PROJECT), (ROWS, DATASET), (READ, LAKE)),
    "publish": (("pubsub.topics.publish", DEAD),),
    # Dataflow does both with this account, by a source of its own.
    "acknowledge": (("pubsub.subscriptions.consume", SUBSCRIPTION),),
    "pull": (("pubsub.subscriptions.consume", SUBSCRIPTION),),
    "modify_ack_deadline": (("pubsub.subscriptions.consume", SUBSCRIPTION),),
    "query": ((JOB, PROJECT), ("bigquery.tables.getData", DATASET)),
    "reload": ((READ, LAKE),),
    "rewrite": ((READ, LAKE), (WRITE, LAKE)),
    "to_arrow_iterable": ((JOB, PROJECT),),
    "update_table": (("bigquery.tables.update", DATASET),),
    "upload_from_filename": ((WRITE, LAKE),),
    "upload_from_string": ((WRITE, LAKE),),
}
ELSEWHERE = {
    "create_bucket": "celes-beam upload",
    "create_dataset": "infra/ has made it",
    "create_subscription": "--topic, which no template has",
    "create_topic": "where Pub/Sub is a stand-in",
    "download_as_text": "pipelines.aggregate and generate, with results in a bucket",
    "get_blob": "celes-beam upload, and results in a bucket",
    "get_iam_policy": "celes-beam upload",
    "list_jobs": "where BigQuery is a stand-in",
    "lookup_bucket": "celes-beam upload",
    "patch": "celes-beam upload",
}
"""Requests that no job of Dataflow makes, and what makes them."""
NO_REQUEST = {"batch", "blob", "bucket", "dataset"} | {
    # Those of files, threads and dictionaries have these names as well.
    *("cancel", "close", "done", "open", "result", "running", "seek", "update"),
}
STAGING, ACT_AS = "bucket `celes-staging`", ("iam.serviceAccounts.actAs", "account `celes-worker`")
OTHERS: dict[str, tuple[tuple[str, str], ...]] = {
    # Beam looks at the bucket before it stages a job, and workers at their job.
    "`celes-worker`": (
        *(("storage.buckets.get", PROJECT), ("dataflow.jobs.get", PROJECT)),
        *((READ, STAGING), (WRITE, STAGING), (READ, LANDING)),
    ),
    "`celes-launcher`": (
        *(("dataflow.jobs.create", PROJECT), ("dataflow.jobs.updateContents", PROJECT)),
        *(("dataflow.jobs.cancel", PROJECT), ACT_AS, (READ, STAGING), (WRITE, STAGING)),
    ),
    "`celes-scheduler`": (("dataflow.jobs.create", PROJECT), ACT_AS, (READ, STAGING)),
    "`celes-reader`": (
        *((JOB, PROJECT), ("bigquery.tables.list", DATASET)),
        *(("bigquery.tables.getData", f"table `{name}`") for name in ("ventas", "ventas_por_dia")),
    ),
}
"""What is asked for by Beam, gcloud, Cloud Scheduler and Looker Studio."""
ROLES = {
    "roles/dataflow.worker": {"dataflow.jobs.get", "storage.buckets.get", READ, WRITE},
    "roles/dataflow.developer": {
        *("dataflow.jobs.create", "dataflow.jobs.updateContents", "dataflow.jobs.cancel"),
    },
    "roles/iam.serviceAccountUser": {"iam.serviceAccounts.actAs"},
    "roles/bigquery.metadataViewer": {"bigquery.tables.get", "bigquery.tables.list"},
    "roles/bigquery.dataViewer": {"bigquery.tables.get", "bigquery.tables.getData"},
    "roles/storage.objectViewer": {READ, "storage.objects.list"},
    "roles/storage.objectUser": {
        *(READ, WRITE, "storage.objects.list", "storage.objects.delete"),
    },
    "roles/bigquery.jobUser": {JOB},
    "roles/bigquery.dataEditor": {
        *("bigquery.datasets.get", "bigquery.tables.create", "bigquery.tables.get"),
        *("bigquery.tables.getData", "bigquery.tables.update", ROWS),
    },
    "roles/pubsub.subscriber": {"pubsub.subscriptions.consume"},
    "roles/pubsub.viewer": {"pubsub.subscriptions.get", "pubsub.topics.get"},
    "roles/pubsub.publisher": {"pubsub.topics.publish"},
}


@cache
def methods_of_google() -> frozenset[str]:
    from google.cloud import bigquery, storage
    from google.cloud.bigquery.table import RowIterator
    from google.cloud.bigquery_storage_v1 import BigQueryWriteClient
    from google.pubsub_v1 import PublisherClient, SubscriberClient

    classes = (
        *(storage.Client, storage.Bucket, storage.Blob, BigQueryWriteClient),
        *(bigquery.Client, bigquery.LoadJob, bigquery.QueryJob, RowIterator),
        *(PublisherClient, SubscriberClient),
    )
    members = (m for one in classes for m in inspect.getmembers(one, callable))
    return frozenset(name for name, _ in members if not name.startswith("_"))


def called() -> Iterator[str]:
    """Names of Google's methods in what a job is made of."""
    for folder in ("celes_beam/stores", "celes_beam/transforms", "pipelines"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and node.attr in methods_of_google():
                    yield node.attr


def test_every_request_is_known() -> None:
    found = set(called()) - NO_REQUEST

    assert found - CALLS.keys() == set(ELSEWHERE), "which permission does it need, and on what?"
    assert found >= CALLS.keys(), "no longer made"


@pytest.mark.infra
def test_each_account_may_do_what_it_is_for(planned: list[Planned]) -> None:
    for who, others in OTHERS.items():
        needed = others if who != "`celes-worker`" else {*others, *_of_jobs()}
        granted = [(g.role, g.on) for g in planned_grants(planned) if g.who == who]
        for permission, on in needed:
            holds = [role for role, where in granted if where == on and permission in ROLES[role]]
            assert holds, (who, permission, on)


@pytest.mark.infra
def test_no_role_is_there_for_nothing(planned: list[Planned]) -> None:
    """But for those of the registry, which machines and docker ask for themselves."""
    for grant in planned_grants(planned):
        if grant.who in OTHERS and not grant.role.startswith("roles/artifactregistry."):
            needed = {*OTHERS[grant.who], *(_of_jobs() if grant.who == "`celes-worker`" else ())}
            used = {p for p, on in needed if on == grant.on or grant.on.startswith("table")}
            assert ROLES[grant.role] & used, grant


def _of_jobs() -> set[tuple[str, str]]:
    return {one for calls in CALLS.values() for one in calls}

"""The BigQuery table that a run would load: its dataset, location and permissions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from celes_beam.doctor.account import unanswered
from celes_beam.doctor.bucket_access import BucketUse, location_of, permissions_check
from celes_beam.doctor.check import REQUEST_SECONDS, Check, State
from celes_beam.errors import StorageError
from celes_beam.stores.cloud.clients import (
    BIGQUERY_EMULATOR,
    STORAGE_EMULATOR,
    bigquery_client,
    bigquery_is_emulated,
)
from celes_beam.stores.cloud.failures import cloud_errors
from celes_beam.stores.warehouse.table_name import TableName, parse_table_name
from celes_beam.stores.warehouse.tables import DEFAULT_LOCATION

_NEEDS = "roles/bigquery.dataEditor and roles/bigquery.jobUser"
_TABLE = ("bigquery.tables.get", "bigquery.tables.getData", "bigquery.tables.updateData")


def check_table(text: str, buckets: Sequence[BucketUse]) -> Iterator[Check]:
    """Whether dataset and table are there or would be made, near the buckets, and may be used.

    Raises ``ConfigError`` for a name that is none.
    """
    table = parse_table_name(text)
    name = f"table {table}"
    place = f"dataset {table.project}:{table.dataset}"
    try:
        with cloud_errors("look at", place, needs=_NEEDS):
            client = bigquery_client(table.project)
            dataset = _found(client.get_dataset, f"{table.project}.{table.dataset}")
    except StorageError as error:
        yield unanswered(name, "BigQuery", error)
        return
    location = (dataset.location if dataset else None) or DEFAULT_LOCATION
    if dataset is None:
        said = f"{place} is not there: a run makes it, in {location} without --bigquery_location"
        yield Check(name, State.OK, said)
    else:
        yield Check(name, State.OK, f"{place} is there, in {location}")
        yield from _table(client, table, name)
    yield from _locations(name, location.upper(), buckets)
    yield _jobs(client, f"{name}: jobs")


def _table(client: Any, table: TableName, name: str) -> Iterator[Check]:
    with cloud_errors("look at", f"table {table}", needs=_NEEDS):
        found = _found(client.get_table, table.path)
    if found is None:
        yield Check(name, State.OK, "the table is not there: a run makes it")
        return
    yield Check(name, State.OK, f"the table is there, {found.num_rows or 0:,} rows")
    from google.api_core import exceptions  # noqa: PLC0415 - slow to import: not for --help

    with cloud_errors("ask for permissions on", f"table {table}"):
        try:
            answer = client.test_iam_permissions(
                found, list(_TABLE), timeout=REQUEST_SECONDS, retry=None
            )
        except (exceptions.NotFound, exceptions.MethodNotImplemented, exceptions.MethodNotAllowed):
            if not bigquery_is_emulated():
                raise
            said = "not checked here: the local BigQuery has no permissions"
            yield Check(f"{name}: permissions", State.NOT_CHECKED, said)
            return
    granted = answer.get("permissions", ())
    role = f"roles/bigquery.dataEditor on {table}"
    yield permissions_check(f"{name}: permissions", _TABLE, granted, role)


def _jobs(client: Any, name: str) -> Check:
    from google.cloud import bigquery  # noqa: PLC0415 - slow to import: not for --help

    # A dry run is allowed to whoever may run jobs, and costs nothing.
    plan = bigquery.QueryJobConfig(dry_run=True, use_query_cache=False)
    needs = f"roles/bigquery.jobUser in project {client.project}"
    with cloud_errors("run jobs in", f"project {client.project}", needs=needs):
        client.query(
            "SELECT 1", job_config=plan, timeout=REQUEST_SECONDS, retry=None, job_retry=None
        )
    return Check(name, State.OK, f"the account in use may run them in project {client.project}")


def _locations(name: str, dataset: str, buckets: Sequence[BucketUse]) -> Iterator[Check]:
    # A local service and one of Google's are never at one place.
    if bool(os.environ.get(STORAGE_EMULATOR)) != bool(os.environ.get(BIGQUERY_EMULATOR)):
        if buckets:
            said = (
                f"one of {STORAGE_EMULATOR} and {BIGQUERY_EMULATOR} is set: BigQuery does not see "
                "what is written to the bucket"
            )
            yield Check(f"{name}: location", State.FAILED, said, "set both, or none")
        return
    for use in buckets:
        bucket = location_of(use)
        if not bucket:
            continue
        place = f"{use.url} is in {bucket}, the dataset in {dataset}"
        if loads_from(dataset, bucket):
            yield Check(f"{name}: location", State.OK, place)
        else:
            remedy = f"keep both at one place: --bigquery_location {bucket} for a new dataset"
            said = f"{place}: BigQuery may refuse to load from there"
            yield Check(f"{name}: location", State.WARNING, said, remedy)


def loads_from(dataset: str, bucket: str) -> bool:
    """Whether a dataset surely loads from a bucket, given both locations in capitals.

    A dataset in US loads from anywhere, one in EU from the regions of Europe in it too, and one
    elsewhere from the same place.
    """
    outside_the_union = {"EUROPE-WEST2", "EUROPE-WEST6"}
    in_union = bucket.startswith("EUROPE-") and bucket not in outside_the_union
    return dataset in (bucket, "US") or (dataset == "EU" and in_union)


def _found(get: Any, name: str) -> Any | None:
    from google.api_core.exceptions import NotFound  # noqa: PLC0415 - slow to import

    try:
        return get(name, retry=None, timeout=REQUEST_SECONDS)
    except NotFound:
        return None

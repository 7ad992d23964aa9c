"""Buckets that a run would read or write: there, private, and open to the account in use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from celes_beam.doctor.account import unanswered
from celes_beam.doctor.check import REQUEST_SECONDS, Check, State
from celes_beam.errors import StorageError, UsageError
from celes_beam.stores.cloud.buckets import check_bucket_name, keeps_settings, look_at_privacy
from celes_beam.stores.cloud.clients import GCS_SCHEME, STORAGE_EMULATOR, storage_client
from celes_beam.stores.cloud.failures import cloud_errors
from celes_beam.stores.inputs.globs import MAGIC

READS = ("storage.objects.get", "storage.objects.list")
WRITES = (*READS, "storage.objects.create", "storage.objects.delete")
_ROLES = {READS: "roles/storage.objectViewer", WRITES: "roles/storage.objectUser"}


@dataclass(frozen=True)
class BucketUse:
    """A ``gs://`` place of a run, whether it is written there, and the project in use."""

    url: str
    writes: bool
    project: str | None = None

    @property
    def name(self) -> str:
        """What the checks are called."""
        return f"{'output' if self.writes else 'input'} {self.url}"

    def split(self) -> tuple[str, str]:
        """Bucket and object. Raises ``UsageError`` for a name that no bucket can have."""
        bucket, _, below = self.url.removeprefix(GCS_SCHEME).partition("/")
        return check_bucket_name(bucket), below


def check_bucket(use: BucketUse) -> Iterator[Check]:
    """Whether the bucket answers, is private and may be used, and what is read is there."""
    bucket_name, below = use.split()
    place = f"gs://{bucket_name}"
    try:
        bucket = find(bucket_name, use.project)
    except UsageError as error:
        if not refused(error):
            raise
        # Whoever may read and write objects need not see the bucket itself.
        said = f"the account in use may not look at the settings of {place}: it may be public"
        remedy = f"grant it roles/storage.legacyBucketReader on {place} to have them checked"
        yield Check(use.name, State.WARNING, said, remedy)
        bucket = storage_client(use.project).bucket(bucket_name)
    except StorageError as error:
        yield unanswered(use.name, "Cloud Storage", error)
        return
    else:
        if bucket is None:
            yield _missing(use, place)
            return
        location = bucket.location or "no location told"
        yield Check(use.name, State.OK, f"{place} is there, in {location}")
        yield _private(use, bucket)
    yield _permitted(use, bucket)
    if not use.writes:
        yield _something_there(use, bucket, below)


def _missing(use: BucketUse, place: str) -> Check:
    remedy = "check the name"
    if use.writes:
        remedy = (
            f"gcloud storage buckets create {place} --uniform-bucket-level-access "
            "--public-access-prevention"
        )
    return Check(use.name, State.FAILED, f"there is no bucket {place}", remedy)


def refused(error: UsageError) -> bool:
    """Whether a service knew the account in use, and did not let it."""
    from google.api_core.exceptions import Forbidden  # noqa: PLC0415 - slow to import

    return isinstance(error.__cause__, Forbidden)


def find(name: str, project: str | None) -> Any | None:
    """The bucket with its settings, or None, after one request; raises as ``find_bucket``."""
    with cloud_errors("look at", f"gs://{name}", needs="roles/storage.legacyBucketReader"):
        client = storage_client(project)
        return client.lookup_bucket(name, timeout=REQUEST_SECONDS, retry=None)


def _private(use: BucketUse, bucket: Any) -> Check:
    name, place = f"{use.name}: private", f"gs://{bucket.name}"
    if not keeps_settings(bucket):
        return Check(name, State.NOT_CHECKED, "this server keeps no settings of buckets")
    seen = look_at_privacy(bucket)
    if seen.public:
        state = State.FAILED if use.writes else State.WARNING
        remedy = f"gcloud storage buckets update {place} --public-access-prevention"
        return Check(name, state, f"everybody may read it: {'; '.join(seen.public)}", remedy)
    if seen.doubts:
        return Check(name, State.WARNING, "; ".join(seen.doubts))
    return Check(name, State.OK, "public access prevention is enforced")


def _permitted(use: BucketUse, bucket: Any) -> Check:
    from google.api_core import exceptions  # noqa: PLC0415 - slow to import: not for --help

    name, asked = f"{use.name}: permissions", WRITES if use.writes else READS
    with cloud_errors("ask for permissions on", f"gs://{bucket.name}"):
        try:
            granted = bucket.test_iam_permissions(list(asked), timeout=REQUEST_SECONDS, retry=None)
        except (exceptions.NotFound, exceptions.MethodNotImplemented):
            if not os.environ.get(STORAGE_EMULATOR):
                raise
            said = "not checked here: the local Cloud Storage has no permissions"
            return Check(name, State.NOT_CHECKED, said)
    return permissions_check(name, asked, granted, f"{_ROLES[asked]} on gs://{bucket.name}")


def permissions_check(name: str, asked: tuple[str, ...], granted: Any, role: str) -> Check:
    """The check of which permissions were granted of those asked for; ``role`` has them all."""
    lacking = [one for one in asked if one not in set(granted)]
    if lacking:
        said = f"the account in use lacks {', '.join(lacking)}"
        return Check(name, State.FAILED, said, f"grant it {role}")
    return Check(name, State.OK, ", ".join(asked))


def _something_there(use: BucketUse, bucket: Any, below: str) -> Check:
    name, literal = f"{use.name}: files", MAGIC.split(below)[0]
    asked = below.rstrip("/")
    # Of an object or a folder, what only begins alike is another: ventas2 is not ventas.
    prefixes = (asked, f"{asked}/") if asked and literal == below else (literal,)
    with cloud_errors("list", use.url, needs=_ROLES[READS]):
        client = storage_client(use.project)
        firsts = [
            blob
            for prefix in prefixes
            for blob in client.list_blobs(
                bucket, prefix=prefix or None, max_results=1, timeout=REQUEST_SECONDS, retry=None
            )
            if len(prefixes) == 1 or blob.name == asked or blob.name.startswith(f"{asked}/")
        ]
    first = firsts[0] if firsts else None
    if first is None:
        said = f"no object of {use.url}"
        return Check(name, State.FAILED, said, "check the folder, or upload first")
    return Check(name, State.OK, f"such as gs://{bucket.name}/{first.name}")


def location_of(use: BucketUse) -> str:
    """Where the bucket is, as BigQuery spells it; empty when that cannot be told."""
    try:
        bucket = find(use.split()[0], use.project)
    except (StorageError, UsageError):
        # Its own check says why.
        return ""
    return str(getattr(bucket, "location", "") or "").upper()

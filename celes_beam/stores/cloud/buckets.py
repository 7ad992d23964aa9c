"""Buckets: found, made private, and asked whether everybody may read them.

Settings are sent with the request that makes a bucket, so it is never open, not even for a moment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from celes_beam.errors import StorageError, UsageError
from celes_beam.stores.cloud.clients import (
    GCS_SCHEME,
    LOCAL_PROJECT,
    STORAGE_EMULATOR,
    storage_client,
    storage_retry,
)
from celes_beam.stores.cloud.failures import cloud_errors

ENFORCED = "enforced"
_EVERYBODY = frozenset({"allUsers", "allAuthenticatedUsers"})
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_IP_ADDRESS = re.compile(r"\d+(\.\d+){3}")
_MOST_OF_A_LABEL = 63
_KMS_KEY = re.compile(r"projects/[^/]+/locations/([^/]+)/keyRings/[^/]+/cryptoKeys/[^/]+")
_FIRST_CONTACT_SECONDS = 20.0
_ADMIN = "roles/storage.admin"
_MOST_SAID = 500


@dataclass(frozen=True)
class Privacy:
    """Who may read a bucket, as far as this account can see.

    ``public`` says how everybody may get at it; it is empty when nobody but named accounts may.
    ``doubts`` are lines about what could not be seen, or what could make it public.
    """

    enforced: bool
    uniform: bool
    public: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def check_bucket_name(name: str) -> str:
    """The name of a bucket, without ``gs://``. Raises ``UsageError`` for one no bucket can have."""
    bare = name.removeprefix(GCS_SCHEME).rstrip("/")
    if "/" in bare:
        raise UsageError(
            f"bucket {name}: expected a bucket without a folder; a folder goes into --prefix"
        )
    labels = bare.split(".")
    if (
        not _NAME.fullmatch(bare)
        or not all(labels)
        or max(map(len, labels)) > _MOST_OF_A_LABEL
        or _IP_ADDRESS.fullmatch(bare)
    ):
        raise UsageError(
            f"bucket {name!r}: expected 3 to 63 of a-z, 0-9, '-', '_' and '.', with a letter or "
            "digit at both ends, such as my-company-sales"
        )
    return bare


def check_kms_key(key: str) -> str:
    """A key of Cloud KMS by its whole name. Raises ``UsageError`` for another form."""
    if not _KMS_KEY.fullmatch(key):
        raise UsageError(
            f"key {key!r}: expected projects/PROJECT/locations/LOCATION/keyRings/RING/"
            "cryptoKeys/KEY"
        )
    return key


def find_bucket(name: str, project: str | None = None) -> Any | None:
    """The ``google.cloud.storage.Bucket`` of a name with its settings, or None.

    Raises ``UsageError`` when it may not be looked at, ``StorageError`` when the service fails.
    """
    with cloud_errors("look at", f"gs://{name}", needs="roles/storage.legacyBucketReader"):
        # Whoever asks for a bucket first is told soon that nobody answers.
        retry = storage_retry(_FIRST_CONTACT_SECONDS)
        return storage_client(project).lookup_bucket(name, retry=retry)


def make_private_bucket(
    name: str,
    *,
    location: str | None = None,
    kms_key: str | None = None,
    project: str | None = None,
) -> Any:
    """Make a bucket that cannot be public, and return it with the settings it has.

    Access is uniform and public access prevention enforced. With ``kms_key`` objects are encrypted
    with that key of Cloud KMS, and the key's location is the default one. A bucket of this name
    that another run makes at the same moment is returned as it is.
    Raises ``UsageError`` for what the caller can mend (permissions, a name that is taken, a key
    that cannot be used) and ``StorageError`` for what the service does not do.
    """
    from google.api_core import exceptions  # noqa: PLC0415 - slow to import: not for --help

    key = check_kms_key(kms_key) if kms_key else None
    project = project or _default_project(name)
    admin = f"{_ADMIN} in project {project}"
    with bucket_errors("make", f"gs://{name}", needs=admin, kms_key=key):
        client = storage_client(project)
        bucket = _set(client.bucket(name), key)
        try:
            client.create_bucket(bucket, project=project, location=location or _location_of(key))
        except exceptions.Conflict:
            return _taken(name, project)
        if not keeps_settings(bucket) or _is_as_asked(bucket, key):
            return bucket
        # A server that drops settings of a new bucket may take them afterwards.
        _set(bucket, key).patch()
        bucket.reload()
    if not _is_as_asked(bucket, key):
        raise StorageError(
            f"gs://{name} was made, but is not private: the service did not keep its settings; "
            f"delete it (gcloud storage buckets delete gs://{name}) and look for the reason"
        )
    return bucket


def keeps_settings(bucket: Any) -> bool:
    """Whether the server tells of access settings at all; some local stand-ins do not."""
    return "iamConfiguration" in bucket._properties


def look_at_privacy(bucket: Any) -> Privacy:
    """Who may read a bucket, given with its settings as they were just read.

    Raises ``StorageError`` when the service fails; what may not be seen becomes a doubt.
    """
    place = f"gs://{bucket.name}"
    access = bucket.iam_configuration
    enforced = access.public_access_prevention == ENFORCED
    uniform = bool(access.uniform_bucket_level_access_enabled)
    if enforced:
        return Privacy(enforced, uniform)
    if not keeps_settings(bucket):
        doubt = f"this server keeps no settings of buckets: it cannot be told who may read {place}"
        return Privacy(enforced, uniform, doubts=(doubt,))
    public, doubts = _granted_to_everybody(bucket, uniform)
    if not public and not doubts:
        doubts.append(
            f"nothing prevents {place} from becoming public: gcloud storage buckets update "
            f"{place} --public-access-prevention --uniform-bucket-level-access"
        )
    return Privacy(enforced, uniform, tuple(public), tuple(doubts))


def _granted_to_everybody(bucket: Any, uniform: bool) -> tuple[list[str], list[str]]:
    from google.api_core import exceptions  # noqa: PLC0415

    place = f"gs://{bucket.name}"
    unseen = (exceptions.Forbidden, exceptions.Unauthorized, exceptions.NotFound)
    public: list[str] = []
    doubts: list[str] = []
    with cloud_errors("look at who may read", place):
        try:
            bindings = bucket.get_iam_policy(requested_policy_version=3).bindings
            public += [f"{m} has {b['role']}" for b in bindings for m in _everybody(b["members"])]
        except unseen:
            doubts.append(
                f"this account may not see who has access to {place} "
                "(storage.buckets.getIamPolicy): it may be public"
            )
        if not uniform:
            try:
                # What the list of default access says is in no policy.
                bucket.default_object_acl.reload()
                grants = list(bucket.default_object_acl)
                who = _everybody(grant["entity"] for grant in grants)
                public += [f"{entity} may read new objects (default object ACL)" for entity in who]
            except (*unseen, exceptions.BadRequest):
                doubts.append(f"this account may not see the default object ACL of {place}")
    return public, doubts


def _everybody(members: Iterable[str]) -> list[str]:
    return sorted(_EVERYBODY.intersection(members))


def _set(bucket: Any, key: str | None) -> Any:
    bucket.iam_configuration.uniform_bucket_level_access_enabled = True
    bucket.iam_configuration.public_access_prevention = ENFORCED
    if key:
        bucket.default_kms_key_name = key
    return bucket


def _is_as_asked(bucket: Any, key: str | None) -> bool:
    access = bucket.iam_configuration
    return (
        access.public_access_prevention == ENFORCED
        and bool(access.uniform_bucket_level_access_enabled)
        and (key is None or bucket.default_kms_key_name == key)
    )


def _location_of(key: str | None) -> str | None:
    """A bucket has to be where its key is; a global key serves none of them, Google says so."""
    found = _KMS_KEY.fullmatch(key) if key else None
    return found[1] if found else None


def _taken(name: str, project: str) -> Any:
    from google.api_core import exceptions  # noqa: PLC0415

    try:
        bucket = storage_client(project).lookup_bucket(name)
    except exceptions.Forbidden as error:
        raise UsageError(
            f"bucket {name} belongs to somebody else, since names are shared by all of Google "
            "Cloud: choose another, such as one with the name of your project in front"
        ) from error
    if bucket is None:
        raise StorageError(f"gs://{name} is there and is not: someone deletes it; run it again")
    return bucket


def _default_project(name: str) -> str:
    if os.environ.get(STORAGE_EMULATOR):
        return LOCAL_PROJECT
    import google.auth  # noqa: PLC0415 - slow to import: not for --help

    with cloud_errors("make", f"gs://{name}"):
        project: str | None = google.auth.default()[1]
    if not project:
        raise UsageError(
            f"no project to make gs://{name} in: give --project, or run "
            "gcloud config set project PROJECT"
        )
    return project


@contextmanager
def bucket_errors(verb: str, what: str, *, needs: str, kms_key: str | None) -> Iterator[None]:
    """As ``cloud_errors``, with the remedy for a key of Cloud KMS that may not be used.

    Raises ``UsageError`` also for requests that the service says are wrong.
    """
    from google.api_core import exceptions  # noqa: PLC0415

    try:
        with cloud_errors(verb, what, needs=needs):
            yield
    except (UsageError, StorageError) as error:
        cause = error.__cause__
        said = " ".join(str(getattr(cause, "message", "")).split())[:_MOST_SAID]
        if kms_key and isinstance(cause, exceptions.ClientError) and "kms" in said.lower():
            raise UsageError(
                f"cannot {verb} {what}: Cloud Storage may not use the key {kms_key}: check its "
                f"name and location, then gcloud storage service-agent --authorize-cmek={kms_key} "
                f"({said})"
            ) from error
        if isinstance(cause, exceptions.BadRequest):
            raise UsageError(f"cannot {verb} {what}: {said}") from error
        raise

"""Parquet to a bucket, once: look at both sides, make the bucket, send what is missing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from celes_beam.errors import UsageError
from celes_beam.stores.cloud.buckets import (
    check_bucket_name,
    check_kms_key,
    find_bucket,
    keeps_settings,
    look_at_privacy,
    make_private_bucket,
)
from celes_beam.stores.cloud.clients import storage_client
from celes_beam.stores.upload.plan import (
    IF_EXISTS,
    IfExists,
    Plan,
    check_no_lake,
    check_prefix,
    list_present,
    listed_prefix,
    make_plan,
    object_names,
)
from celes_beam.stores.upload.send import PATIENCE_SECONDS, Sender, Sent
from celes_beam.stores.upload.sources import Sources, find_sources

OnBytes = Callable[[int], None]


@dataclass(frozen=True)
class Destination:
    """Where an upload goes, and how: see ``prepare`` for each."""

    bucket: str
    prefix: str = ""
    workers: int = 8
    if_exists: IfExists = "skip"
    location: str | None = None
    kms_key: str | None = None
    project: str | None = None
    allow_public: bool = False
    patience: float = PATIENCE_SECONDS


@dataclass(frozen=True)
class Uploaded:
    """What an upload did, or would do, and how long it took in seconds.

    ``made_bucket`` says whether the bucket is new. ``notes`` are lines for people.
    """

    destination: Destination
    sources: Sources
    plan: Plan
    made_bucket: bool
    sent: tuple[Sent, ...]
    seconds: float
    notes: tuple[str, ...]

    @property
    def url(self) -> str:
        """The ``gs://`` URL of the folder that was sent to."""
        to = self.destination
        return f"gs://{to.bucket}/{to.prefix}/" if to.prefix else f"gs://{to.bucket}/"


@dataclass(frozen=True)
class Upload:
    """An upload whose files are known, and whose flags are right; see ``prepare``."""

    destination: Destination
    sources: Sources

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.sources.files)

    def run(self, *, dry_run: bool = False, on_bytes: OnBytes = lambda _: None) -> Uploaded:
        """Send what is missing or differs; with ``dry_run`` only look what that is.

        ``on_bytes`` hears of bytes that are there, from several threads; they add up to
        ``bytes``. A bucket that is missing is made private. Raises ``UsageError`` for what the
        caller can mend, such as a public bucket; see ``Sender.send`` for the rest.
        """
        started = time.monotonic()
        to = self.destination
        names = object_names(self.sources, to.prefix)
        bucket = find_bucket(to.bucket, to.project)
        made = bucket is None
        notes: list[str] = []
        if bucket is None and not dry_run:
            bucket = make_private_bucket(
                to.bucket, location=to.location, kms_key=to.kms_key, project=to.project
            )
        if bucket is not None:
            notes += _check_bucket(bucket, to)
        present = {}
        if not made:
            client = storage_client(to.project)
            start = listed_prefix(self.sources, to.prefix)
            present = list_present(client, to.bucket, start)
            check_no_lake(client, to.bucket, names, present, start)
        plan = make_plan(
            names, present, if_exists=to.if_exists, workers=to.workers, on_bytes=on_bytes
        )
        sent: list[Sent] = []
        if plan.send and not dry_run:
            sender = Sender(to.bucket, to.workers, to.kms_key, to.project, to.patience)
            sent = sorted(sender.send(plan.send, on_bytes), key=lambda one: one.name)
        result = Uploaded(
            to, self.sources, plan, made, tuple(sent), time.monotonic() - started, tuple(notes)
        )
        return replace(result, notes=(*notes, *_about_files(result)))


def prepare(path: str, destination: Destination) -> Upload:
    """Look at a path, and check where it is to go; asks no service.

    ``path`` is a Parquet file, a folder or a lake. The ``destination`` has a ``bucket``, a
    ``prefix`` that goes before the names of objects, and ``workers``, the files sent at once.
    ``if_exists`` says what becomes of an object of such a name: with "skip" it stays when it has
    the same content and is replaced when it differs, with "error" one that differs ends the upload
    before anything is sent, with "overwrite" all are sent again. A new bucket is made in
    ``location`` and ``project``; ``kms_key`` encrypts what is sent, and is the default of a new
    bucket. ``allow_public`` accepts a bucket that everybody may read.
    Raises ``UsageError`` and its kinds for a path or a destination that cannot be used.
    """
    to = destination
    if to.if_exists not in IF_EXISTS:
        raise UsageError(f"if_exists {to.if_exists!r}: expected one of {', '.join(IF_EXISTS)}")
    if to.workers < 1:
        raise UsageError(f"workers {to.workers}: expected 1 or more")
    to = replace(to, bucket=check_bucket_name(to.bucket), prefix=check_prefix(to.prefix))
    if to.kms_key:
        check_kms_key(to.kms_key)
    sources = find_sources(path)
    object_names(sources, to.prefix)
    return Upload(to, sources)


def upload(path: str, bucket: str, *, dry_run: bool = False, **settings: Any) -> Uploaded:
    """Send a Parquet file, a folder of them, or the files of a lake to a bucket.

    ``settings`` are those of ``Destination``; see ``prepare`` and ``Upload.run``.
    """
    return prepare(path, Destination(bucket, **settings)).run(dry_run=dry_run)


def _check_bucket(bucket: Any, to: Destination) -> list[str]:
    """Lines about a bucket that will do. Raises ``UsageError`` for one that will not."""
    privacy = look_at_privacy(bucket)
    if privacy.public and not to.allow_public:
        raise UsageError(
            f"gs://{to.bucket} is public ({'; '.join(privacy.public)}): make it private (gcloud "
            f"storage buckets update gs://{to.bucket} --public-access-prevention), or upload to it "
            "all the same with --allow_public"
        )
    if to.location and keeps_settings(bucket) and bucket.location.upper() != to.location.upper():
        raise UsageError(
            f"gs://{to.bucket} is in {bucket.location}, not in {to.location}: a bucket cannot be "
            "moved; leave out --location, or name another bucket"
        )
    public = [f"gs://{to.bucket} is public: {line}" for line in privacy.public]
    return [*public, *privacy.doubts]


def _about_files(result: Uploaded) -> list[str]:
    lines = []
    if result.sources.left_out:
        lines.append(
            f"{len(result.sources.left_out):,} Parquet files in {result.sources.path} belong to no "
            f"commit and were not sent, such as {result.sources.left_out[0]}"
        )
    others = result.plan.others if result.sources.is_folder else ()
    if others:
        lines.append(
            f"{len(others):,} more Parquet objects in {result.url} come from no file of "
            f"{result.sources.path}, such as {others[0]}: whoever reads that folder reads them too"
        )
    return lines

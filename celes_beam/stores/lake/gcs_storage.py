"""A lake in a bucket. The decision is a plain upload with ``if_generation_match=0``.

Objects are durable once they are there, and folders are but parts of names, so there is nothing
to flush, and no folder to make or remove. A move is a copy and a deletion.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, BinaryIO

from celes_beam.errors import IntegrityError, StorageError, UsageError
from celes_beam.stores.cloud.clients import (
    GCS_SCHEME,
    STORAGE_CONNECTIONS,
    arrow_filesystem,
    storage_client,
    storage_retry,
)
from celes_beam.stores.cloud.failures import cloud_errors
from celes_beam.stores.lake.gcs_staging import GcsStagingArea, sweep_left_behind
from celes_beam.stores.lake.staging_area import each
from celes_beam.stores.lake.stored import StoredFile

AT_ONCE = STORAGE_CONNECTIONS
PAGE_OBJECTS = 1000
"""Objects of one answer to a listing, the most there can be; one answer is in memory at a time."""
_ROLE = "roles/storage.objectUser"
_FIELDS = "items(name,size,updated,crc32c),nextPageToken"


class GcsStorage:
    """Objects below ``gs://BUCKET/PREFIX``. Raises ``UsageError`` for a root that is none."""

    def __init__(self, root: str) -> None:
        place = root.removeprefix(GCS_SCHEME).rstrip("/")
        self.root = GCS_SCHEME + place
        bucket, _, prefix = place.partition("/")
        if not bucket or any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
            raise UsageError(f"{root}: expected gs://BUCKET or gs://BUCKET/FOLDER")
        self._bucket_name = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    def note_missing_root(self) -> None:
        """Nothing: a bucket knows no folders."""

    def remove_new_root(self) -> None:
        """Nothing: a bucket knows no folders."""

    def staging_area(self, folder: str) -> GcsStagingArea:
        """Files written on this machine, and uploaded into ``folder``."""
        sweep_left_behind(time.time())
        attempt = folder.rsplit("/", 1)[-1]
        return GcsStagingArea(self._bucket_name, self._key(folder), attempt)

    def uri(self, name: str) -> str:
        """The URI of a name."""
        return f"{self.root}/{name}"

    @property
    def at_once(self) -> int:
        """Requests mostly wait for the network."""
        return AT_ONCE

    @property
    def moves_by_copy(self) -> bool:
        """Yes: a slow mover may bring back what was deleted meanwhile."""
        return True

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Create ``name`` whole; False when it is already there and another put it there."""
        from google.api_core.exceptions import PreconditionFailed  # noqa: PLC0415

        failures: list[BaseException] = []

        def put() -> None:
            # Small, so in one request; above 8 MiB (a commit of some 20,000 files) in several.
            self._blob(name).upload_from_string(
                data, "application/json", if_generation_match=0, checksum="crc32c", retry=None
            )

        with self._errors("write", name):
            try:
                storage_retry()(put, on_error=failures.append)()
            except PreconditionFailed:
                # The answer to a try of ours may have been lost, when it had done its work.
                return bool(failures) and self.read(name) == data
        return True

    def read(self, name: str) -> bytes:
        """The content of an object."""
        with self._errors("read", name):
            content: bytes = self._blob(name).download_as_bytes(retry=storage_retry())
        return content

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading at any position."""
        with self._errors("read", name):
            opened: BinaryIO = arrow_filesystem().open_input_file(
                f"{self._bucket_name}/{self._key(name)}"
            )
        return opened

    def exists(self, name: str) -> bool:
        """Whether an object is there."""
        with self._errors("look at", name):
            return bool(self._blob(name).exists(retry=storage_retry()))

    def move(self, source: str, target: str) -> None:
        """Move an object; done already when ``target`` is there and ``source`` is gone."""
        from google.api_core.exceptions import NotFound, PreconditionFailed  # noqa: PLC0415

        old, new = self._blob(source), self._blob(target)
        with self._errors("write", target):
            token = None
            try:
                while True:
                    token, _, _ = new.rewrite(
                        old, token=token, if_generation_match=0, retry=storage_retry()
                    )
                    if token is None:
                        break
            except PreconditionFailed:
                # A move that was cut short, or another process, has copied it.
                pass
            except NotFound as error:
                if self.exists(target):
                    return
                raise StorageError(
                    f"cannot move {self.uri(source)} to {target}: neither is there"
                ) from error
        self.delete(source)

    def delete(self, name: str) -> None:
        """Delete an object; done already when it is gone."""
        from google.api_core.exceptions import NotFound  # noqa: PLC0415

        with self._errors("delete", name):
            try:
                self._blob(name).delete(retry=storage_retry())
            except NotFound:
                return

    def delete_folder(self, name: str) -> None:
        """Delete all objects below a folder."""
        each(self.delete, (f.name for f in self.list(name)), at_once=AT_ONCE)

    def list(
        self, folder: str = "", *, recursive: bool = True, hidden: bool = True
    ) -> Iterator[StoredFile]:
        """The objects below a folder, in order of their names, a page at a time.

        ``hidden`` False leaves out names that begin with "_" or ".", and all that is under them.
        """
        prefix = f"{self._key(folder)}/" if folder else self._prefix
        delimiter = None if recursive else "/"
        if hidden:
            yield from self._objects(prefix, delimiter)
            return
        # All names with "_" in front stand together: they are stepped over, not listed.
        before = self._objects(prefix, delimiter, end_offset=f"{prefix}_")
        after = self._objects(prefix, delimiter, start_offset=f"{prefix}`")
        for file in chain(before, after):
            below = file.name.removeprefix(f"{folder}/" if folder else "")
            if not any(part[:1] in ("_", ".") for part in below.split("/")):
                yield file

    def sync(self, names: Iterable[str]) -> None:
        """Nothing: what is in a bucket is durable."""

    def tidy(self, folder: str) -> None:
        """Nothing: a put that was cut short leaves nothing in a bucket."""

    def _objects(self, prefix: str, delimiter: str | None, **bounds: str) -> Iterator[StoredFile]:
        # The bucket itself is what is not found, so the remedy is another one than for an object.
        with cloud_errors("list", f"{GCS_SCHEME}{self._bucket_name}/{prefix}", needs=_ROLE):
            from google.api_core.exceptions import NotFound  # noqa: PLC0415

            try:
                blobs = storage_client().list_blobs(
                    self._bucket_name,
                    prefix=prefix,
                    delimiter=delimiter,
                    fields=_FIELDS,
                    page_size=PAGE_OBJECTS,
                    retry=storage_retry(),
                    **bounds,
                )
                for blob in blobs:
                    if not blob.name.endswith("/"):
                        name = blob.name.removeprefix(self._prefix)
                        changed = blob.updated.timestamp()
                        yield StoredFile(name, int(blob.size), changed, blob.crc32c)
            except NotFound as error:
                raise UsageError(
                    f"there is no bucket {self._bucket_name}: make a private one (gcloud storage "
                    f"buckets create gs://{self._bucket_name} --uniform-bucket-level-access "
                    "--public-access-prevention), or check the name"
                ) from error

    def _blob(self, name: str) -> Any:
        return storage_client().bucket(self._bucket_name).blob(self._key(name))

    def _key(self, name: str) -> str:
        # Names come out of files, which anybody may have written.
        if name.startswith("/") or ".." in name.split("/"):
            raise IntegrityError(f"{name!r} is not a name within the lake {self.root}")
        return self._prefix + name

    @contextmanager
    def _errors(self, verb: str, name: str) -> Iterator[None]:
        from google.api_core.exceptions import NotFound  # noqa: PLC0415

        what = self.uri(name)
        with cloud_errors(verb, what, needs=_ROLE):
            try:
                yield
            except (NotFound, FileNotFoundError) as error:
                raise StorageError(f"cannot {verb} {what}: it is not there") from error

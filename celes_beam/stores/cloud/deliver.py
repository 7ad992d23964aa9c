"""Bring a finished file of this machine into a bucket whole, checksum against checksum."""

from __future__ import annotations

from pathlib import Path

from celes_beam.errors import StorageError
from celes_beam.stores.cloud.clients import storage_client
from celes_beam.stores.cloud.failures import cloud_errors

OBJECT_CREATOR = "roles/storage.objectUser"


def deliver_file(path: Path, bucket: str, name: str, *, crc32c: str) -> None:
    """Upload a file as ``gs://bucket/name``, trying again after faults that pass.

    ``crc32c`` is the file's checksum in base64, as Cloud Storage shows it. Raises ``StorageError``
    when the object came out different or could not be written, ``UsageError`` when it may not be.
    """
    url = f"gs://{bucket}/{name}"
    with cloud_errors("write", url, needs=OBJECT_CREATOR):
        from google.cloud.storage.retry import DEFAULT_RETRY  # noqa: PLC0415

        blob = storage_client().bucket(bucket).blob(name)
        # To send the same bytes once more does no harm, so every request may be repeated.
        blob.upload_from_filename(str(path), checksum="crc32c", retry=DEFAULT_RETRY)
        arrived = blob.crc32c
    if arrived != crc32c:
        raise StorageError(
            f"{url} arrived with the checksum {arrived}, and was sent with {crc32c}; nothing was "
            "committed, run again"
        )

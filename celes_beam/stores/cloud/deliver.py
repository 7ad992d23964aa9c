"""Bring a finished file of this machine into a bucket whole, checksum against checksum."""

from __future__ import annotations

from pathlib import Path

from celes_beam.errors import LakeExistsError, StorageError
from celes_beam.stores.cloud.clients import storage_client, storage_retry
from celes_beam.stores.cloud.failures import cloud_errors

PIECE_BYTES = 8 * 2**20
OBJECT_CREATOR = "roles/storage.objectUser"


def deliver_file(
    path: Path, bucket: str, name: str, *, crc32c: str, if_absent: bool = False
) -> None:
    """Upload a file as ``gs://bucket/name``, trying again after faults that pass.

    ``crc32c`` is the file's checksum in base64, as Cloud Storage shows it. Raises ``StorageError``
    when the object came out different or could not be written, ``UsageError`` when it may not be,
    and with ``if_absent`` ``LakeExistsError`` when another object is there already.
    """
    url = f"gs://{bucket}/{name}"
    with cloud_errors("write", url, needs=OBJECT_CREATOR):
        from google.api_core.exceptions import NotFound, PreconditionFailed  # noqa: PLC0415

        # Without a size for its pieces an upload would hold up to 100 MB in memory.
        blob = storage_client().bucket(bucket).blob(name, chunk_size=PIECE_BYTES)
        # To send the same bytes once more does no harm, so every request may be repeated.
        match = 0 if if_absent else None

        def upload() -> None:
            blob.upload_from_filename(
                str(path), checksum="crc32c", retry=storage_retry(), if_generation_match=match
            )

        try:
            try:
                upload()
            except NotFound as error:
                if not is_session_gone(error):
                    raise
                upload()
        except PreconditionFailed as error:
            # Refused, perhaps, by a try of ours whose answer was lost: then it holds these bytes.
            blob.reload(retry=storage_retry())
            if blob.crc32c != crc32c:
                raise LakeExistsError(
                    f"{url} is there already, put there meanwhile by another: choose another "
                    "--output, or replace it with -f"
                ) from error
        arrived = blob.crc32c
    if arrived != crc32c:
        raise StorageError(
            f"{url} arrived with the checksum {arrived}, and was sent with {crc32c}; nothing was "
            "committed, run again"
        )


def is_session_gone(error: BaseException | None) -> bool:
    """Whether an upload in pieces has to begin anew: its session ended with a lost answer.

    See cloud.google.com/storage/docs/resumable-uploads, "Resuming an interrupted upload".
    """
    from google.api_core.exceptions import NotFound  # noqa: PLC0415

    return isinstance(error, NotFound) and "upload_id=" in str(error)

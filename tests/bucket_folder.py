"""Lakes whose files BigQuery reads from a bucket, and tests reach in the server's own folder."""

from __future__ import annotations

from pathlib import Path

from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.local_storage import LocalStorage


class BucketFolder(LocalStorage):
    """The folder in which the local servers keep what is below ``gs://BUCKET/lake``."""

    def __init__(self, buckets: Path, bucket: str) -> None:
        self.folder = buckets / bucket / "lake"
        super().__init__(str(self.folder))
        self.root = f"gs://{bucket}/lake"


def folder_of(lake: Lake) -> Path:
    """Where the files of a lake stand on this machine."""
    storage = lake.storage
    return storage.folder if isinstance(storage, BucketFolder) else Path(storage.root)

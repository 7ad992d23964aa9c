"""``python -m benchmarks.upload_child WAY FOLDER BUCKET PREFIX``: others send a folder of Parquet.

None of them looks first whether the bucket is private or what is there already.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from celes_beam.stores.cloud.clients import STORAGE_EMULATOR, storage_client

WORKERS = 8


def main(way: str, folder: str, bucket: str, prefix: str) -> None:
    """Send a folder in one of the ways."""
    files = sorted(p for p in Path(folder).glob("[!_]*/*.parquet"))
    names = [f"{prefix}/{file.relative_to(folder).as_posix()}" for file in files]
    if way == "gcloud":
        gcloud(sorted({file.parent for file in files}), f"gs://{bucket}/{prefix}/")
        return
    target = storage_client().bucket(bucket)
    blobs = [target.blob(name) for name in names]
    if way == "one-by-one":
        for file, blob in zip(files, blobs, strict=True):
            blob.upload_from_filename(str(file))
    else:
        many(files, blobs, worker_type=way)


def many(files: list[Path], blobs: list[Any], worker_type: str) -> None:
    """The transfer manager alone, with "thread" or "process" workers."""
    from google.cloud.storage import transfer_manager  # noqa: PLC0415

    pairs = [(str(file), blob) for file, blob in zip(files, blobs, strict=True)]
    transfer_manager.upload_many(
        pairs, worker_type=worker_type, max_workers=WORKERS, raise_exception=True
    )


def gcloud(folders: list[Path], url: str) -> None:
    """``gcloud storage cp``, told of the local server."""
    with tempfile.TemporaryDirectory() as config:
        environment = os.environ | {
            "CLOUDSDK_CONFIG": config,
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_PROJECT": "celes-test",
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{os.environ[STORAGE_EMULATOR]}/",
        }
        command = ["gcloud", "storage", "cp", "--recursive", *map(str, folders), url]
        subprocess.run(command, env=environment, check=True, capture_output=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

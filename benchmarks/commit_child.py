"""``python -m benchmarks.commit_child WAY FILES FOLDER [FLAG …]``: one commit of many files.

Prints the seconds from the staged files to the mark as a JSON line. The flags are those of Beam.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from benchmarks.commit import BUCKET, FOLDER, PARALLELISM, WORKERS
from celes_beam.stores.cloud.clients import storage_client
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import DataFile, Manifest
from celes_beam.stores.lake.measure import checksum
from celes_beam.stores.lake.staging_area import each

CONTENT = b"row"
RUN_ID = "run"
PARTITIONS = 500
_SIZE, _CRC32C = checksum(io.BytesIO(CONTENT))


def stage(lake: Lake, files: int) -> Manifest:
    """Stage files of one row, some in each partition."""
    staging = lake.staging(RUN_ID)
    staged = tuple(_file(number % PARTITIONS) for number in range(files))
    area = lake.storage.staging_area(staging)

    def put(file: DataFile) -> None:
        area.path(file.staged).write_bytes(CONTENT)
        area.deliver(file.staged, size=_SIZE, crc32c=_CRC32C)

    each(put, staged, at_once=area.at_once)
    return Manifest(
        run_id=RUN_ID,
        kind="append",
        started_at="2024-05-03T00:00:00+00:00",
        staging=staging,
        partition_by=("region_de_venta",),
        files=staged,
        rows_read=files,
        rows_accepted=files,
        total=f"{files}.00",
    )


def _file(partition: int) -> DataFile:
    name = f"region_de_venta={partition:03d}/part-{uuid.uuid4().hex}.parquet"
    return DataFile(
        path=name,
        staged=f"{name}.staged",
        partition={"region_de_venta": f"{partition:03d}"},
        rows=1,
        bytes=_SIZE,
        crc32c=_CRC32C,
        total="1.00",
    )


def publish_by_workers(root: str, flags: Sequence[str]) -> None:
    """Publish the decided commit as a pipeline does, by workers in processes of their own."""
    import apache_beam as beam  # noqa: PLC0415

    from celes_beam.transforms.options import (  # noqa: PLC0415
        beam_options,
        new_pipeline,
        run_to_end,
    )
    from celes_beam.transforms.publish import PublishCommit  # noqa: PLC0415

    place = ["--parallelism", str(PARALLELISM), "--environment_type", "PROCESS"]
    options = beam_options([*flags, *place])
    pipeline = new_pipeline(options)
    _ = (
        pipeline
        | "Root" >> beam.Create([root], reshuffle=False)
        | "Find" >> beam.Map(_decided)
        | "Publish" >> PublishCommit(root)
    )
    run_to_end(pipeline, options, run_id=uuid.uuid4().hex, total=0, progress="off")


def _decided(root: str) -> Manifest:
    manifest = Lake.open(root).find(RUN_ID)
    if manifest is None:
        raise ValueError(f"{root} has no run {RUN_ID}")
    return manifest


def main(way: str, files: int, folder: Path, flags: Sequence[str]) -> None:
    """Stage, commit, check, and tell how long the commit took."""
    root = str(folder / "files")
    if way != FOLDER:
        name = f"files-{uuid.uuid4().hex}"
        storage_client().create_bucket(name)
        root = f"gs://{name}/lake"
    lake = Lake.open(root)
    draft = stage(lake, files)
    if way == FOLDER:
        # What was staged is not to be flushed on the time of the commit.
        os.sync()
    started = time.perf_counter()
    if way == WORKERS:
        lake.decide(draft)
        publish_by_workers(root, flags)
    else:
        lake.commit(draft)
    seconds = time.perf_counter() - started
    visible = sum(1 for _ in lake.storage.list(hidden=False))
    if visible != files or not lake.storage.exists(f"_commits/{RUN_ID}.done"):
        raise ValueError(f"{visible:,} of {files:,} files are visible")
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    if sys.argv[1] not in {FOLDER, BUCKET, WORKERS}:
        sys.exit(f"{sys.argv[1]}: expected {FOLDER}, {BUCKET} or {WORKERS}")
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])

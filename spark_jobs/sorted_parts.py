"""Sorted sales written by Spark, as parts of a result."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from pyspark.sql import DataFrame

from celes_beam.commands.engine_job import EngineJob
from celes_beam.errors import StorageError
from celes_beam.stores.cloud.clients import GCS_SCHEME
from celes_beam.stores.lake.storage import open_storage
from spark_jobs.java import end_java

_PARQUET = ".parquet"


def write_sorted_parts(sales: DataFrame, job: EngineJob) -> None:
    """Write each partition of sorted sales as a part in ``job.sorted_folder``, in their order.

    A cluster whose result goes to a bucket writes them there first, for its workers see no disk of
    this machine. Raises ``StorageError`` when no part came here.
    """
    folder = Path(job.sorted_folder)
    output = job.options.target.output or ""
    is_cluster = not sales.sparkSession.sparkContext.master.startswith("local")
    if is_cluster and output.startswith(GCS_SCHEME):
        with _folder_of_bucket(output) as url:
            sales.write.parquet(url)
            _fetch(url, folder)
    else:
        folder.parent.mkdir(parents=True, exist_ok=True)
        sales.write.parquet(f"file://{folder}")
        _keep_parts(folder)
    if not any(folder.iterdir()):
        raise StorageError(
            f"--write_sorted: the workers of {sales.sparkSession.sparkContext.master} wrote to "
            "disks of their own: give an --output on a disk that they share, or below gs://BUCKET"
        )


@contextmanager
def _folder_of_bucket(output: str) -> Iterator[str]:
    """A hidden folder beside the output, in its bucket; removed at the end with all in it."""
    bucket = output.removeprefix(GCS_SCHEME).split("/")[0]
    before, _, _ = output.rstrip("/").removeprefix(f"{GCS_SCHEME}{bucket}").rpartition("/")
    url = f"{GCS_SCHEME}{bucket}{before}/_sorting-{uuid4().hex}"
    try:
        yield url
    except KeyboardInterrupt:
        # Workers would go on writing there.
        end_java()
        raise
    finally:
        open_storage(url).delete_folder("")


def _fetch(url: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    storage = open_storage(url)
    names = [file.name for file in storage.list() if file.name.endswith(_PARQUET)]
    for number, name in enumerate(names):
        with storage.open(name) as source, (folder / _part_name(number)).open("wb") as target:
            shutil.copyfileobj(source, target)


def _keep_parts(folder: Path) -> None:
    """Name the parts as those of a result, and delete what else Spark writes."""
    files = sorted(folder.iterdir())
    parts = [path for path in files if path.name.endswith(_PARQUET)]
    for path in set(files) - set(parts):
        path.unlink()
    for number, path in enumerate(parts):
        path.rename(path.with_name(_part_name(number)))


def _part_name(number: int) -> str:
    return f"part-{number:05}{_PARQUET}"

"""Each runner writes a lake in a bucket."""

from __future__ import annotations

from typing import Any

from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from pipelines import batch


def test_a_lake_in_a_bucket_is_written_by_every_runner(runner: list[str], bucket: Any) -> None:
    root = f"gs://{bucket.name}/lake"
    batch.run(["--rows", "3000", "-o", root, "--progress", "off", *runner])
    lake = Lake.open(root)
    found = verify(lake)
    assert (found.problems, found.rows, len(lake.runs())) == ((), 3000, 1)
    assert not list(lake.storage.list("_staging"))

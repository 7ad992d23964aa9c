"""Each runner writes a lake in a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from celes_beam.contract import COLUMN_NAMES
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from pipelines import batch

REGIONS = 40


def test_a_lake_in_a_bucket_is_written_by_every_runner(runner: list[str], bucket: Any) -> None:
    root = f"gs://{bucket.name}/lake"
    batch.run(["--rows", "3000", "-o", root, "--progress", "off", *runner])
    lake = Lake.open(root)
    found = verify(lake)
    assert (found.problems, found.rows, len(lake.runs())) == ((), 3000, 1)
    assert not list(lake.storage.list("_staging"))


def test_workers_share_the_moves_and_the_deletions_of_a_commit(
    runner: list[str], bucket: Any, tmp_path: Path
) -> None:
    root = f"gs://{bucket.name}/lake"
    rows = [f"1,2024-05-0{1 + n % 2},1.25,Hogar,Region {n}" for n in range(REGIONS)]
    source = tmp_path / "a.csv"
    source.write_text("\n".join([",".join(COLUMN_NAMES), *rows, "not a sale"]) + "\n")
    flags = ["-i", str(source), "-o", root, "-p", "region_de_venta,fecha", "--progress", "off"]

    batch.run([*flags, "--run_id", "first", *runner])
    batch.run([*flags, "--run_id", "second", "-f", *runner])

    lake = Lake.open(root)
    found = verify(lake)
    assert (found.problems, found.notes, found.rows) == ((), (), REGIONS)
    first, second = lake.runs()
    assert len(second.retired) == len(first.files) == REGIONS
    visible = {f.name for f in lake.storage.list(hidden=False)}
    assert visible == {f.path for f in second.files}
    rejected = {f.name for f in lake.storage.list("_rejected")}
    assert rejected == {f.path for run in (first, second) for f in run.rejected_files}
    assert not list(lake.storage.list("_staging"))
    for run in (first, second):
        assert lake.storage.exists(f"_commits/{run.run_id}.done")

from pathlib import Path

import pytest

from celes_beam.errors import LakeConflictError, TooManyRejectedError
from celes_beam.stores.inputs.files import InputFile
from celes_beam.stores.lake.ingest import (
    RejectedLimit,
    commit_staged,
    describe_example,
    draft_manifest,
)
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import Manifest, RejectedExample
from celes_beam.stores.lake.parquet_writer import Layout
from celes_beam.stores.lake.rejects import Rejections
from celes_beam.stores.lake.staging import Staged, StagingWriter
from tests.sales import RULES
from tests.unit.stores.lake.test_staging import checked

NO_LIMIT = RejectedLimit(share=1.0)


def stage(lake: Lake, run_id: str, accepted: int, rejected: int) -> tuple[Manifest, Staged]:
    staging = lake.staging(run_id)
    writer = StagingWriter(lake.storage.staging_area(staging), Layout())
    writer.write(checked(accepted, rejected))
    draft = draft_manifest(
        run_id=run_id,
        if_exists="error",
        staging=staging,
        partition_by=("region_de_venta",),
        rules=RULES,
    )
    return draft, writer.close()


def test_a_commit_holds_counts_sums_and_files(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    draft, staged = stage(lake, "r1", 3, 2)

    manifest = commit_staged(lake, draft, staged, limit=NO_LIMIT)

    assert (manifest.rows_read, manifest.rows_accepted, manifest.rows_rejected) == (5, 3, 2)
    assert manifest.total == "4.50"
    assert manifest.by_region[0].mean == "1.500000"
    assert [f.path for f in lake.snapshot().files] == [f.path for f in manifest.files]
    assert len(list((tmp_path / "_rejected" / "r1").glob("*.pq"))) == 1


def test_an_input_of_which_nothing_was_accepted_is_told(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    staging = lake.staging("r1")
    writer = StagingWriter(lake.storage.staging_area(staging), Layout())
    writer.write(checked(3, 2), "good.csv")
    writer.write(checked(0, 4), "bad.csv")
    draft = draft_manifest(
        run_id="r1",
        if_exists="append",
        staging=staging,
        partition_by=("region_de_venta",),
        rules=RULES,
        inputs=[InputFile(name, 9, "1") for name in ("bad.csv", "empty.csv", "good.csv")],
    )

    manifest = commit_staged(lake, draft, writer.close(), limit=NO_LIMIT)

    rows = [(i.path, i.rows_read, i.rows_accepted) for i in manifest.inputs]
    assert rows == [("bad.csv", 4, 0), ("empty.csv", 0, 0), ("good.csv", 5, 3)]
    assert [i.path for i in manifest.barren_inputs] == ["bad.csv"]
    assert lake.unread(draft.inputs) == []


def test_the_same_attempt_again_returns_the_same_commit(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    draft, staged = stage(lake, "r1", 3, 2)
    first = commit_staged(lake, draft, staged, limit=NO_LIMIT)

    assert commit_staged(lake, draft, staged, limit=NO_LIMIT) == first


def test_another_attempt_with_the_same_run_id_is_told_so(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    first, second = stage(lake, "r1", 3, 2), stage(lake, "r1", 3, 2)
    commit_staged(lake, *first, limit=NO_LIMIT)

    with pytest.raises(LakeConflictError, match="r1"):
        commit_staged(lake, *second, limit=NO_LIMIT)


@pytest.mark.parametrize(
    ("limit", "passes"),
    [
        (RejectedLimit(rows=2), True),
        (RejectedLimit(rows=1), False),
        (RejectedLimit(share=0.2), True),
        (RejectedLimit(share=0.19), False),
        (RejectedLimit(rows=0), False),
    ],
)
def test_too_many_rejected_rows_stop_the_commit(
    tmp_path: Path, limit: RejectedLimit, passes: bool
) -> None:
    lake = Lake.open(str(tmp_path))
    draft, staged = stage(lake, "r1", 8, 2)
    if passes:
        commit_staged(lake, draft, staged, limit=limit)
        return

    with pytest.raises(TooManyRejectedError) as caught:
        commit_staged(lake, draft, staged, limit=limit)

    assert "2 of 10 rows (20.00%) were rejected (2 inexact)" in str(caught.value)
    assert "x.csv at 0: cantidad_de_venta is inexact: '1.234'" in str(caught.value)
    assert lake.snapshot().files == ()
    assert lake.find("r1") is None


def test_no_rows_reject_nothing() -> None:
    RejectedLimit(rows=0).check(0, Rejections())
    RejectedLimit(share=0.0).check(0, Rejections())


def test_an_example_of_a_whole_row_shows_the_row() -> None:
    example = RejectedExample(reason="malformed", source="x.csv", position=1234, raw="a,b")

    assert describe_example(example) == "x.csv at 1,234: 'a,b' is malformed"

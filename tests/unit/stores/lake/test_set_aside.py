from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from celes_beam.contract import REJECTED_SCHEMA
from celes_beam.errors import InputChangedError, TooManyRejectedError
from celes_beam.stores.inputs.files import InputFile
from celes_beam.stores.lake.ingest import RejectedLimit, draft_manifest
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import Manifest
from celes_beam.stores.lake.parquet_writer import Layout
from celes_beam.stores.lake.set_aside import commit_settled, noted_troubles, without_troubles
from celes_beam.stores.lake.staging import Staged, StagingWriter, Trouble
from celes_beam.stores.lake.verify import verify
from tests.sales import RULES
from tests.unit.stores.lake.test_staging import checked

NO_LIMIT = RejectedLimit(share=1.0)
FILES = [InputFile(name, 9, "1") for name in ("a.csv", "b.csv", "c.csv")]
BAD = Trouble("b.csv", "b.csv: not sales")
CHANGED = Trouble("c.csv", "c.csv: changed", changed=True)


def stage(
    lake: Lake, read: dict[str, int], *troubles: Trouble, kind: str = "append"
) -> tuple[Manifest, Staged]:
    """Stage so many rows of each file, and troubles of others."""
    staging = lake.staging("r1")
    writer = StagingWriter(lake.storage.staging_area(staging), Layout())
    for path, rows in read.items():
        writer.write(checked(rows, 0), path)
    for trouble in troubles:
        writer.note(trouble)
    draft = draft_manifest(
        run_id="r1",
        if_exists=kind,
        staging=staging,
        partition_by=("region_de_venta",),
        rules=RULES,
        inputs=FILES,
    )
    return draft, writer.close()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path))


def test_without_troubles_all_is_committed(lake: Lake) -> None:
    draft, staged = stage(lake, {"a.csv": 3, "b.csv": 1, "c.csv": 1})

    manifest = commit_settled(lake, draft, staged, NO_LIMIT)

    assert manifest is not None
    assert (manifest.rows_read, manifest.refused_inputs) == (5, ())


def test_a_refused_file_is_one_rejected_row_that_says_why(lake: Lake, tmp_path: Path) -> None:
    draft, staged = stage(lake, {"a.csv": 3, "c.csv": 2}, BAD)

    manifest = commit_settled(lake, draft, staged, NO_LIMIT)

    assert manifest is not None
    assert (manifest.rows_read, manifest.rows_accepted, manifest.rows_rejected) == (6, 5, 1)
    assert [(i.path, i.refused) for i in manifest.refused_inputs] == [("b.csv", BAD.why)]
    assert manifest.refused_inputs == manifest.barren_inputs
    (file,) = manifest.rejected_files
    table = pq.read_table(tmp_path / file.path)
    assert table.schema.equals(REJECTED_SCHEMA)
    (row,) = table.to_pylist()
    assert (row["source"], row["value"], row["rejected_at"]) == ("b.csv", BAD.why, RULES.started)
    assert lake.unread(FILES) == []
    assert verify(lake).problems == ()


def test_asked_again_it_returns_the_same_commit(lake: Lake, tmp_path: Path) -> None:
    draft, staged = stage(lake, {"a.csv": 3}, BAD, CHANGED)
    first = commit_settled(lake, draft, staged, NO_LIMIT)

    assert commit_settled(lake, draft, staged, NO_LIMIT) == first
    assert not (tmp_path / "_staging").exists()


def test_a_file_that_changed_is_left_out_and_stays_unread(lake: Lake) -> None:
    draft, staged = stage(lake, {"a.csv": 3}, CHANGED)

    manifest = commit_settled(lake, draft, staged, NO_LIMIT)

    assert manifest is not None
    assert [i.path for i in manifest.inputs] == ["a.csv", "b.csv"]
    assert [i.path for i in lake.unread(FILES)] == ["c.csv"]


def test_of_two_troubles_of_a_file_that_it_changed_counts(lake: Lake) -> None:
    also = Trouble("c.csv", "c.csv: damaged")
    for troubles in ((CHANGED, also), (also, CHANGED)):
        draft, _ = stage(lake, {})
        assert [i.path for i in without_troubles(draft, troubles).inputs] == ["a.csv", "b.csv"]


def test_when_rows_were_staged_already_it_is_noted_and_done_again(lake: Lake) -> None:
    draft, staged = stage(lake, {"a.csv": 3, "b.csv": 2}, BAD, CHANGED)
    assert noted_troubles(lake, draft) == ()

    assert commit_settled(lake, draft, staged, NO_LIMIT) is None
    assert commit_settled(lake, draft, staged, NO_LIMIT) is None
    assert set(noted_troubles(lake, draft)) == {BAD, CHANGED}
    assert lake.find("r1") is None

    settled = without_troubles(draft, noted_troubles(lake, draft))
    again, staged = stage(lake, {"a.csv": 3})
    draft = without_troubles(again, noted_troubles(lake, draft))
    manifest = commit_settled(lake, draft, staged, NO_LIMIT)

    assert manifest is not None
    assert settled.inputs == draft.inputs
    assert (manifest.rows_read, manifest.rows_rejected) == (4, 1)


def test_when_no_file_is_left_nothing_is_committed(lake: Lake) -> None:
    draft, staged = stage(lake, {}, *(Trouble(f.path, "changed", changed=True) for f in FILES))

    assert commit_settled(lake, draft, staged, NO_LIMIT) is None
    assert without_troubles(draft, noted_troubles(lake, draft)).inputs == ()


@pytest.mark.parametrize("kind", ["error", "overwrite"])
def test_a_file_that_changed_is_not_left_out_of_a_lake_that_is_made_anew(
    lake: Lake, kind: str
) -> None:
    draft, staged = stage(lake, {"a.csv": 3}, CHANGED, kind=kind)

    with pytest.raises(InputChangedError, match=r"c\.csv: changed"):
        commit_settled(lake, draft, staged, NO_LIMIT)
    assert lake.find("r1") is None


def test_refused_files_count_towards_the_limit(lake: Lake) -> None:
    draft, staged = stage(lake, {"a.csv": 3}, BAD)

    with pytest.raises(TooManyRejectedError, match=r"1 malformed.*b\.csv: not sales"):
        commit_settled(lake, draft, staged, RejectedLimit(rows=0))

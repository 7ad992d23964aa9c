from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celes_beam.errors import IntegrityError, LakeConflictError, StorageError, UsageError
from celes_beam.stores.lake import compact as compact_module
from celes_beam.stores.lake.compact import compact, plan_merges
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.loads import FIRST_ROUND, Mark, TableLoads
from celes_beam.stores.lake.local_storage import LocalStorage
from celes_beam.stores.lake.manifest import DataFile, InputRecord
from celes_beam.stores.lake.measure import checksum
from celes_beam.stores.lake.verify import verify
from tests.lakes import Sale, commit_sales, draft, visible_sales

SALES: list[Sale] = [("Hogar", "Norte", 100), ("Ropa", "Sur", 250), ("Ropa", "Sur", 175)]
MB = 2**20


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake.open(str(tmp_path / "lake"))
    commit_sales(lake, "a", SALES)
    commit_sales(lake, "b", SALES[1:])
    commit_sales(lake, "c", SALES)
    return lake


def root(lake: Lake) -> Path:
    return Path(lake.storage.root)


def file(folder: str, size: int, name: str) -> DataFile:
    return DataFile(
        path=f"{folder}/{name}",
        staged="",
        partition={},
        rows=size,
        bytes=size,
        crc32c="",
        total="0",
    )


# Plans


def test_very_many_tiny_files_are_planned_at_once() -> None:
    files = [file("region_de_venta=Norte", 100, f"{n}.parquet") for n in range(30_000)]
    started = time.process_time()
    (merge,) = plan_merges(files, 2**30)
    assert len(merge.sources) == len(files)
    # Their number squared would take minutes.
    assert time.process_time() - started < 3


def test_a_partition_with_nearly_all_files_is_merged_side_by_side() -> None:
    files = [file("p=1" if n % 100 else "p=2", 100, f"{n}.parquet") for n in range(10_000)]
    merges = plan_merges(files, 10_000)
    assert len(merges) == 100
    assert max(len(m.sources) for m in merges) == 100


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["p=1", "p=2"]), st.integers(0, 150)), max_size=30),
    st.integers(2, 100),
)
def test_plans_merge_small_files_of_one_partition_into_files_of_bounded_size(
    sizes: list[tuple[str, int]], target: int
) -> None:
    files = [file(folder, size, str(i)) for i, (folder, size) in enumerate(sizes)]
    merges = plan_merges(files, target)
    merged = [f for m in merges for f in m.sources]
    assert len({f.path for f in merged}) == len(merged)
    results = []
    for number, merge in enumerate(merges):
        assert len(merge.sources) > 1
        assert len({Path(f.path).parent for f in merge.sources}) == 1
        assert all(f.bytes <= target / 2 for f in merge.sources)
        size = sum(f.bytes for f in merge.sources)
        assert size <= target * 1.5
        results.append(file(str(Path(merge.sources[0].path).parent), size, f"m{number}"))
    # Merging what was merged comes to an end.
    left = [f for f in files if f not in merged] + results
    while again := plan_merges(left, target):
        assert len(left) > len(again)
        gone = [f.path for m in again for f in m.sources]
        left = [f for f in left if f.path not in gone] + [
            file(str(Path(m.sources[0].path).parent), sum(f.bytes for f in m.sources), f"n{i}")
            for i, m in enumerate(again)
        ]


# Compactions


def test_small_files_become_one_in_each_partition(lake: Lake) -> None:
    before, total = visible_sales(root(lake)), lake.snapshot().total
    manifest = compact(lake, target_bytes=MB)
    assert manifest is not None
    assert visible_sales(root(lake)) == before
    assert sorted(str(p.parent.name) for p in root(lake).glob("region*/*")) == [
        "region_de_venta=Norte",
        "region_de_venta=Sur",
    ]
    snapshot = lake.snapshot()
    assert (snapshot.rows, snapshot.total) == (8, total)
    assert (len(manifest.retired), manifest.epoch, manifest.rows_read) == (5, 1, 0)
    assert verify(lake).problems == ()


def test_what_is_compact_stays_as_it_is(lake: Lake) -> None:
    assert compact(lake, target_bytes=MB) is not None
    assert compact(lake, target_bytes=MB) is None
    assert len(lake.runs()) == 4
    assert not (root(lake) / "_staging").exists()


def test_a_partition_with_one_small_file_is_left_alone(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    commit_sales(lake, "a", SALES)
    assert compact(lake, target_bytes=MB) is None
    assert compact(Lake.open(str(tmp_path / "nothing")), target_bytes=MB) is None


def test_large_files_are_left_alone(lake: Lake) -> None:
    files = {p.name for p in root(lake).rglob("*.parquet")}
    assert compact(lake, target_bytes=10) is None
    assert {p.name for p in root(lake).rglob("*.parquet")} == files


def test_a_compaction_is_done_once(lake: Lake) -> None:
    manifest = compact(lake, target_bytes=MB, run_id="c-1")
    assert compact(lake, target_bytes=MB, run_id="c-1") == manifest


def test_row_groups_are_merged_and_cut_at_their_size(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compact_module, "ROW_GROUP_ROWS", 3)
    compact(lake, target_bytes=MB)
    (south,) = root(lake).glob("region_de_venta=Sur/*")
    metadata = pq.ParquetFile(south).metadata
    groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert groups == [4, 2]
    assert verify(lake).problems == ()


def test_texts_that_come_in_another_order_stay_in_a_dictionary(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    names = [f"Categoría {i} {'x' * 40}" for i in range(50)]
    rows: list[Sale] = [(names[i * i % 50], "Sur", 100) for i in range(4000)]
    for run_id, sales in (("a", rows), ("b", rows[::-1])):
        commit_sales(lake, run_id, sales)
    before = lake.snapshot().bytes
    manifest = compact(lake, target_bytes=MB)
    assert manifest is not None
    column = pq.ParquetFile(tmp_path / manifest.files[0].path).metadata.row_group(0).column(3)
    assert column.path_in_schema == "categoria_de_producto"
    # Without a dictionary for all of it, texts of 50 characters would take far more.
    assert column.total_uncompressed_size < 8000 * 2
    assert manifest.bytes < before


def test_the_ledger_of_inputs_outlives_a_compaction(tmp_path: Path, lake: Lake) -> None:
    monday = InputRecord(path="lunes.csv", size=10, version="1")
    commit_sales(lake, "with-input", SALES, inputs=(monday,))
    assert compact(lake, target_bytes=MB) is not None
    assert lake.unread([monday]) == []


def test_rows_that_are_not_those_committed_stop_it(lake: Lake) -> None:
    path = lake.snapshot().files[0].path
    other = draft(Lake.open(f"{lake.storage.root}-other"), "x", [("Hogar", "Norte", 101)])
    elsewhere = Path(f"{lake.storage.root}-other", other.staging, other.files[0].staged)
    os.replace(elsewhere, lake.storage.uri(path))  # noqa: PTH105
    files = {p.name for p in root(lake).rglob("region*/*.parquet")}
    with pytest.raises(IntegrityError, match=rf"{path}: .* was committed; nothing was merged"):
        compact(lake, target_bytes=MB)
    assert {p.name for p in root(lake).rglob("*.parquet")} == files


def test_a_file_that_is_no_parquet_stops_it(lake: Lake) -> None:
    path = lake.snapshot().files[0].path
    Path(lake.storage.uri(path)).write_bytes(b"PAR1")
    with pytest.raises(IntegrityError, match=rf"{path}: 4 bytes, but [\d,]+ were committed"):
        compact(lake, target_bytes=MB)
    assert not (root(lake) / "_staging").exists()


def test_files_of_another_schema_stop_it(lake: Lake) -> None:
    other = draft(lake, "d", SALES[:1])
    path = Path(lake.storage.uri(f"{other.staging}/{other.files[0].staged}"))
    pq.write_table(pq.ParquetFile(path).read().drop_columns(["id_cliente"]), path)
    with path.open("rb") as file:
        size, crc32c = checksum(file)
    changed = msgspec.structs.replace(other.files[0], bytes=size, crc32c=crc32c)
    lake.commit(msgspec.structs.replace(other, files=(changed,)))
    first, *_, second = (f for f in lake.snapshot().files if "Norte" in f.path)
    with pytest.raises(IntegrityError, match=f"{second.path} has not the schema of {first.path}"):
        compact(lake, target_bytes=MB)


def test_damage_is_not_merged_into_a_file_that_is_right(lake: Lake) -> None:
    path = Path(lake.storage.uri(lake.snapshot().files[0].path))
    table = pq.ParquetFile(path).read()
    names = table.schema.names
    # Of another customer: rows, sum and dates stay as they were.
    wrong = table.set_column(
        names.index("id_cliente"), table.schema.field("id_cliente"), [[987_654] * table.num_rows]
    )
    pq.write_table(wrong, path, compression="zstd")
    held = verify(lake).problems
    assert len(held) == 1
    with pytest.raises(IntegrityError, match=f"{path.name}: .* committed; nothing was merged"):
        compact(lake, target_bytes=MB)
    assert verify(lake).problems == held


def test_an_overwrite_meanwhile_wins(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = Lake.claim
    other = Lake.open(lake.storage.root)

    def claim_and_be_overtaken(self: Lake, run_id: str) -> object:
        claimed = claim(self, run_id)
        monkeypatch.setattr(Lake, "claim", claim)
        commit_sales(other, "new", SALES[:1], kind="overwrite")
        return claimed

    monkeypatch.setattr(Lake, "claim", claim_and_be_overtaken)
    with pytest.raises(LakeConflictError, match="run c-1 was superseded by new"):
        compact(lake, target_bytes=MB, run_id="c-1")
    assert visible_sales(root(lake)) == [("Norte", 100)]
    assert not (root(lake) / "_staging").exists()


def test_an_append_meanwhile_is_kept(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = Lake.claim
    other = Lake.open(lake.storage.root)

    def claim_and_append(self: Lake, run_id: str) -> object:
        claimed = claim(self, run_id)
        commit_sales(other, "new", SALES)
        return claimed

    monkeypatch.setattr(Lake, "claim", claim_and_append)
    compact(lake, target_bytes=MB)
    assert len(visible_sales(root(lake))) == 11
    assert lake.snapshot().rows == 11


def test_another_lake_made_while_it_looked_is_nothing_to_merge(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = Lake.claim
    other = Lake.open(lake.storage.root)

    def overtaken_first(self: Lake, run_id: str) -> object:
        monkeypatch.setattr(Lake, "claim", claim)
        commit_sales(other, "new", SALES, kind="overwrite")
        return claim(self, run_id)

    monkeypatch.setattr(Lake, "claim", overtaken_first)
    assert compact(lake, target_bytes=MB) is None
    assert not (root(lake) / "_staging").exists()


@pytest.mark.parametrize("error", [StorageError("the disk refuses"), KeyboardInterrupt()])
def test_a_compaction_that_was_decided_keeps_its_files_when_publishing_fails(
    lake: Lake,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
) -> None:
    before = visible_sales(root(lake))

    def refuse(storage: LocalStorage, source: str, target: str) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "move", refuse)
        with pytest.raises(type(error)):
            compact(lake, target_bytes=MB, run_id="merged")
    assert [m.run_id for m in Lake.open(lake.storage.root).runs()][-1] == "merged"
    assert visible_sales(root(lake)) == before
    assert verify(lake).problems == ()
    assert "run merged is committed all the same" in caplog.text


def test_a_target_must_be_positive(lake: Lake) -> None:
    with pytest.raises(UsageError, match="target of 0 bytes: expected more than 0"):
        compact(lake, target_bytes=0)


def test_settings_of_the_merged_commit_are_those_of_the_lake(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    for run_id in ("a", "b"):
        commit_sales(lake, run_id, SALES, schema_hash="abc", rules_version=7)
    manifest = compact(lake, target_bytes=MB)
    assert manifest is not None
    kept = msgspec.structs.asdict(manifest)
    assert kept["schema_hash"] == "abc"
    assert kept["rules_version"] == 7
    assert kept["partition_by"] == ("region_de_venta",)


def test_a_table_may_be_given_to_a_lake_while_its_files_are_merged(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = visible_sales(root(lake))
    merge_all = compact_module._merge_all
    loads = TableLoads(lake.storage, "my-project+sales.ventas")

    def loaded_meanwhile(*given: Any) -> tuple[DataFile, ...]:
        merged = merge_all(*given)
        loads.register("my-project:sales.ventas", ["a", "b", "c"])
        loads.mark(FIRST_ROUND, Mark(run_id="a", rows=3, jobs=(), loaded_at=""))
        return merged

    monkeypatch.setattr(compact_module, "_merge_all", loaded_meanwhile)
    with pytest.raises(LakeConflictError, match="3 of them wait to be loaded"):
        compact(lake, target_bytes=MB)
    monkeypatch.setattr(compact_module, "_merge_all", merge_all)
    assert visible_sales(root(lake)) == before
    assert not (root(lake) / "_staging").exists()
    assert compact(lake, target_bytes=MB) is None

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celes_beam.config import Config
from celes_beam.contract import COLUMN_NAMES, REASONS, SCHEMA
from celes_beam.errors import StorageError
from celes_beam.sales.breakage import KINDS, TYPED_KINDS, break_csv, break_texts, plan_breakage
from celes_beam.sales.encode_csv import HEADER, encode_csv
from celes_beam.sales.generate import Generator
from celes_beam.stores.datasets.dataset import (
    FORMATS,
    Format,
    Shard,
    ShardWritten,
    concatenate,
    plan_parts,
    plan_shards,
    total_planted,
    write_shard,
)

GENERATOR = Generator(Config())


# Plans


@settings(deadline=None)
@given(st.integers(0, 10**12), st.integers(1, 200))
def test_shards_share_out_all_rows_evenly(rows: int, count: int) -> None:
    shards = plan_shards("ventas", rows, count, "csv")
    assert len(shards) == count
    assert [s.first_row for s in shards] == [0, *(s.first_row + s.rows for s in shards[:-1])]
    assert sum(s.rows for s in shards) == rows
    assert max(s.rows for s in shards) - min(s.rows for s in shards) <= 1


def test_shards_are_numbered_and_each_has_a_header() -> None:
    shards = plan_shards("a/ventas", 10, 2, "parquet")
    assert [s.path for s in shards] == [
        str(Path("a/ventas/ventas-00000-of-00002.parquet")),
        str(Path("a/ventas/ventas-00001-of-00002.parquet")),
    ]
    assert all(s.header for s in shards)


def test_only_the_first_part_has_a_header() -> None:
    assert [part.header for part in plan_parts("x", 10, 3)] == [True, False, False]


# CSV


def test_a_csv_shard_holds_header_and_rows(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "v.csv"
    written = write_shard(GENERATOR, Shard(str(path), 100, 300_000), "csv")
    content = HEADER + encode_csv(GENERATOR.columns(100, 300_000)).to_pybytes()
    assert path.read_bytes() == content
    assert written == ShardWritten(str(path), 300_000, len(content), {})


def test_a_shard_without_rows_is_a_header(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    write_shard(GENERATOR, Shard(str(path), 0, 0), "csv")
    assert path.read_bytes() == HEADER


def test_broken_rows_of_a_csv_shard_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    written = write_shard(GENERATOR, Shard(str(path), 5000, 150_000), "csv", error_rate=0.02)
    plan = plan_breakage(42, 5000, 150_000, 0.02)
    broken = break_csv(GENERATOR.columns(5000, 150_000), *plan).to_pybytes()
    assert path.read_bytes() == HEADER + broken
    assert sum(written.planted.values()) == len(plan[0])
    plantable = {kind.reason for kind in KINDS}
    assert tuple(written.planted) == tuple(str(r) for r in REASONS if r in plantable)


@settings(deadline=None, max_examples=15)
@given(rows=st.integers(0, 3000), parts=st.integers(1, 12), rate=st.sampled_from([0.0, 0.3]))
def test_parts_make_the_same_file_as_one_shard(
    tmp_path_factory: pytest.TempPathFactory, rows: int, parts: int, rate: float
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    planned = plan_parts(str(folder / "parts"), rows, parts)
    written = [write_shard(GENERATOR, part, "csv", rate) for part in planned]
    size = concatenate([part.path for part in planned], str(folder / "whole.csv"))
    alone = write_shard(GENERATOR, Shard(str(folder / "alone.csv"), 0, rows), "csv", rate)
    assert (folder / "whole.csv").read_bytes() == (folder / "alone.csv").read_bytes()
    assert size == alone.bytes
    assert total_planted(written) == alone.planted
    assert list((folder / "parts").iterdir()) == []


# Parquet


def test_a_parquet_shard_holds_the_rows_in_the_types_of_the_contract(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    written = write_shard(GENERATOR, Shard(str(path), 7, 300_000), "parquet")
    table = pq.read_table(path)
    assert table.cast(SCHEMA).combine_chunks().to_batches()[0].equals(GENERATOR.batch(7, 300_000))
    assert table.schema.names == list(COLUMN_NAMES)
    assert table.schema.field("categoria_de_producto").type == pa.string()
    assert pq.ParquetFile(path).num_row_groups == 2
    assert written == ShardWritten(str(path), 300_000, path.stat().st_size, {})


def test_broken_rows_of_a_parquet_shard_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    written = write_shard(GENERATOR, Shard(str(path), 0, 2000), "parquet", error_rate=0.5)
    plan = plan_breakage(42, 0, 2000, 0.5, TYPED_KINDS)
    expected = break_texts(GENERATOR.columns(0, 2000), *plan)
    assert pq.read_table(path).to_pydict() == {k: v.to_pylist() for k, v in expected.items()}
    assert sum(written.planted.values()) == len(plan[0])
    assert "malformed" not in written.planted


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_a_parquet_shard_without_rows(tmp_path: Path, rate: float) -> None:
    path = tmp_path / "v.parquet"
    write_shard(GENERATOR, Shard(str(path), 0, 0), "parquet", rate)
    table = pq.read_table(path)
    assert table.num_rows == 0
    assert table.schema.names == list(COLUMN_NAMES)


# Whole or not at all


@pytest.mark.parametrize("format", FORMATS)
def test_writing_again_replaces_the_file_and_leaves_nothing_else(
    tmp_path: Path, format: Format
) -> None:
    path = tmp_path / "v"
    for rows in (1000, 10):
        written = write_shard(GENERATOR, Shard(str(path), 0, rows), format)
    assert path.stat().st_size == written.bytes
    assert os.listdir(tmp_path) == ["v"]  # noqa: PTH208 - hidden files too


@pytest.mark.parametrize("format", FORMATS)
def test_a_failure_half_way_leaves_what_was_there(
    tmp_path: Path, format: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "v"
    path.write_bytes(b"old")

    class Failing(Generator):
        def columns(self, first_row: int, rows: int) -> dict[str, pa.Array]:
            if first_row > 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().columns(first_row, rows)

    shard = Shard(str(path), 0, 600_000)
    with pytest.raises(StorageError, match=rf"{path} could not be written: No space left"):
        write_shard(Failing(Config()), shard, format)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["v"]  # noqa: PTH208


def test_a_folder_that_is_a_file_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "v.csv"
    with pytest.raises(StorageError, match=rf"{path} could not be written"):
        write_shard(GENERATOR, Shard(str(path), 0, 10), "csv")


def test_a_missing_part_leaves_no_target(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"all\.csv could not be written: No such file"):
        concatenate([str(tmp_path / "gone.csv")], str(tmp_path / "all.csv"))
    assert list(tmp_path.iterdir()) == []


# Descriptions


def test_rows_are_told_of_as_they_are_written(tmp_path: Path) -> None:
    for format in FORMATS:
        told: list[int] = []
        shard = Shard(str(tmp_path / "v"), 0, 300_000)
        write_shard(GENERATOR, shard, format, on_rows=told.append)
        assert sum(told) == 300_000
        assert len(told) > 1


def test_planted_rows_add_up_in_the_order_of_the_reasons() -> None:
    shards: list[dict[str, Any]] = [{"unknown": 2, "missing": 1}, {}, {"missing": 4}]
    total = total_planted(ShardWritten("p", 9, 9, planted) for planted in shards)
    assert list(total.items()) == [("missing", 5), ("unknown", 2)]


def test_a_shard_can_be_sent_to_a_worker() -> None:
    shard = Shard("p", 1, 2, header=False)
    assert pickle.loads(pickle.dumps(shard)) == shard

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celes_beam.contract import AMOUNT, CATEGORY, COLUMN_NAMES, DATE, ID, REGION, SCHEMA
from celes_beam.errors import IntegrityError, StorageError
from celes_beam.stores.lake import lake_reader
from celes_beam.stores.lake.lake_reader import LakeFile, LakeReader
from tests.answers import Row, batch_of, commit_rows, rows_of

START = datetime(2024, 5, 3, 7, tzinfo=UTC)
ROWS: list[Row] = [
    (i + 1, START + timedelta(hours=i), Decimal(i + 1) / 4 + 0, "Año=1/2", f"r{i % 2}")
    for i in range(0, 240, 4)
]


def files_of(root: Path, partition_by: tuple[str, ...]) -> tuple[LakeReader, list[LakeFile]]:
    lake = commit_rows(root, ROWS[:20], ROWS[20:], partition_by=partition_by)
    files = lake.snapshot().files
    return LakeReader(str(root)), [
        LakeFile(f.path, f.bytes, tuple(f.partition.items())) for f in files
    ]


@pytest.mark.parametrize("partition_by", [(), (CATEGORY, REGION), (REGION, "fecha")])
def test_a_lake_is_read_back_as_it_was(tmp_path: Path, partition_by: tuple[str, ...]) -> None:
    reader, files = files_of(tmp_path, partition_by)

    batches = [b for f in files for p in reader.plan(f) for b in reader.read(p, COLUMN_NAMES)]

    assert sorted(row for batch in batches for row in rows_of(batch)) == ROWS
    for batch in batches:
        assert batch.schema.names == list(COLUMN_NAMES)
        for column in SCHEMA:
            kind = batch.schema.field(column.name).type
            text = column.name in (CATEGORY, REGION)
            assert (kind.value_type if text else kind) == column.type


def test_only_the_columns_asked_for_are_there(tmp_path: Path) -> None:
    reader, files = files_of(tmp_path, (REGION,))
    (piece,) = reader.plan(files[0])

    for columns in ([REGION, AMOUNT], [DATE, ID], [REGION]):
        batches = list(reader.read(piece, columns))
        assert [b.schema.names for b in batches] == [columns]
        assert sum(b.num_rows for b in batches) == piece.rows


def test_pieces_split_a_file_between_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_reader, "PIECE_ROWS", 20)
    monkeypatch.setattr(lake_reader, "BATCH_ROWS", 6)
    path = tmp_path / "v.parquet"
    pq.write_table(pa.Table.from_batches([batch_of(ROWS[:50])]), path, row_group_size=8)
    reader = LakeReader(str(tmp_path))
    pieces = reader.plan(LakeFile("v.parquet", 1000))

    assert [(p.groups, p.first_row, p.rows, p.bytes) for p in pieces] == [
        ((0, 1, 2), 0, 24, 480),
        ((3, 4, 5), 24, 24, 480),
        ((6,), 48, 2, 40),
    ]
    batches = [list(reader.read(p, COLUMN_NAMES)) for p in pickle.loads(pickle.dumps(pieces))]
    assert max(b.num_rows for part in batches for b in part) == 6
    assert [row for part in batches for b in part for row in rows_of(b)] == ROWS[:50]


def test_a_file_without_rows_has_no_piece(tmp_path: Path) -> None:
    pq.write_table(SCHEMA.empty_table(), tmp_path / "v.parquet")
    assert LakeReader(str(tmp_path)).plan(LakeFile("v.parquet", 10)) == []


def test_files_that_are_not_as_committed(tmp_path: Path) -> None:
    reader = LakeReader(str(tmp_path))
    with pytest.raises(StorageError, match=r"gone\.parquet is gone: .*run again"):
        reader.plan(LakeFile("gone.parquet", 10))

    (tmp_path / "text.parquet").write_text("no Parquet at all")
    with pytest.raises(IntegrityError, match=r"text\.parquet cannot be read as Parquet"):
        reader.plan(LakeFile("text.parquet", 10))

    table = pa.Table.from_batches([batch_of(ROWS)])
    for name, changed, what in (
        ("lacks", table.drop_columns([CATEGORY]), "categoria_de_producto is not there"),
        (
            "floats",
            table.set_column(2, AMOUNT, table.column(AMOUNT).cast(pa.float64())),
            "cantidad_de_venta is double, expected decimal128",
        ),
    ):
        pq.write_table(changed, tmp_path / name)
        (piece,) = reader.plan(LakeFile(name, 10))
        with pytest.raises(IntegrityError, match=what):
            list(reader.read(piece, COLUMN_NAMES))

    pq.write_table(table, tmp_path / "torn", compression="none", use_dictionary=False)
    (piece,) = reader.plan(LakeFile("torn", 10))
    data = (tmp_path / "torn").read_bytes()
    (tmp_path / "torn").write_bytes(b"PAR1" + b"\xff" * 60 + data[64:])
    with pytest.raises(IntegrityError, match="torn cannot be read as Parquet"):
        list(reader.read(piece, COLUMN_NAMES))

from __future__ import annotations

import pickle
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celes_beam.contract import AMOUNT, CATEGORY, COLUMN_NAMES, DATE, ID, REGION, SCHEMA
from celes_beam.errors import ColumnError, InputError
from celes_beam.stores.lake import lake_input
from celes_beam.stores.lake.engine_files import EngineFile, contract_sales, engine_files
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.lake_input import open_input
from celes_beam.stores.lake.lake_reader import LakeFile
from celes_beam.stores.lake.plain_folder import plain_files
from celes_beam.stores.lake.publish import move, moves_of
from celes_beam.stores.lake.storage import Storage
from tests.answers import batch_of, commit_rows, rows_of
from tests.jobs.cases import HAND_CHECKED, START
from tests.lakes import draft


def test_files_of_a_lake_are_described_without_being_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_rows(tmp_path / "a=b %", HAND_CHECKED, partition_by=(REGION, "mes"))
    monkeypatch.chdir(tmp_path)
    for path in tmp_path.rglob("part-*.parquet"):
        path.write_bytes(b"")

    north, south = engine_files(open_input("a=b %", START))

    assert north.path.startswith(f"{tmp_path}/a=b %/region_de_venta=Norte/mes=2024-01/part-")
    assert (north.fixed, south.fixed) == ({REGION: "Norte"}, {REGION: "Sur"})
    assert north.held == {name: name for name in COLUMN_NAMES if name != REGION}
    assert north.types[AMOUNT] == SCHEMA.field(AMOUNT).type
    assert north.names((AMOUNT, REGION)) == [AMOUNT]
    assert pickle.loads(pickle.dumps(north)) == north


def test_what_stands_in_a_plain_path_has_the_type_of_the_contract(tmp_path: Path) -> None:
    folder = tmp_path / "Fecha_de_transaccion=2024-05-03" / "cantidad_de_venta=1.5" / "otra=x"
    folder.mkdir(parents=True)
    table = pa.table({"cliente": [7, 8], CATEGORY: ["a", " b"], REGION: ["n", "s"]})
    pq.write_table(table, folder / "v.parquet")
    found = open_input(str(tmp_path), START.replace(year=2025), ((ID, "cliente"),))

    (file,) = engine_files(found)

    assert file.fixed == {DATE: START.replace(month=5, day=3), AMOUNT: Decimal("1.50")}
    assert file.held == {ID: "cliente", CATEGORY: CATEGORY, REGION: REGION}
    read = pq.read_table(folder / "v.parquet", partitioning=None).to_batches()[0]
    sales = contract_sales(found.reader, file, COLUMN_NAMES, read, 0)
    assert rows_of(sales) == [
        (7, START.replace(month=5, day=3), Decimal("1.50"), "a", "n"),
        (8, START.replace(month=5, day=3), Decimal("1.50"), "b", "s"),
    ]


def test_columns_and_values_that_are_not_acceptable(tmp_path: Path) -> None:
    table = pa.Table.from_batches([batch_of(HAND_CHECKED)])
    pq.write_table(table.drop_columns([REGION]), tmp_path / "v.parquet")
    with pytest.raises(ColumnError, match=r"v\.parquet: no column for region_de_venta"):
        described(tmp_path)

    (tmp_path / "v.parquet").unlink()
    folder = tmp_path / f"{REGION}=__HIVE_DEFAULT_PARTITION__"
    folder.mkdir()
    pq.write_table(table.drop_columns([REGION]), folder / "v.parquet")
    with pytest.raises(InputError, match="region_de_venta is missing: nothing"):
        described(tmp_path)


def described(root: Path) -> tuple[EngineFile, ...]:
    return engine_files(open_input(str(root), START))


def test_a_lake_may_begin_while_a_folder_is_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake.open(str(tmp_path))
    begun = draft(lake, "a", [("Hogar", "Norte", 100), ("Hogar", "Sur", 100)])

    def half_published(storage: Storage) -> tuple[LakeFile, ...]:
        decided = lake.decide(begun)
        move(lake.storage, "a", moves_of(decided)[:1])
        return plain_files(storage)

    monkeypatch.setattr(lake_input, "plain_files", half_published)
    found = open_input(str(tmp_path), START)
    assert (found.rows, len(found.files)) == (2, 2)

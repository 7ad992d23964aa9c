from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celes_beam.contract import AMOUNT, CATEGORY, COLUMN_NAMES, DATE, ID, REGION
from celes_beam.errors import ColumnError, InputError
from celes_beam.stores.lake import lake_input
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.lake_reader import LakeFile
from celes_beam.stores.lake.plain_folder import PlainReader, plain_files
from celes_beam.stores.lake.storage import Storage, open_storage
from tests.answers import rows_of
from tests.lakes import commit_sales
from tests.sales import RULES

DAY = datetime(2024, 5, 3, tzinfo=UTC)
COLUMNS = {
    ID: pa.array([7.0, 8.0]),
    DATE: pa.array([date(2024, 5, 3)] * 2),
    AMOUNT: pa.array([1.1, 2.25]),
    CATEGORY: pa.array([" Hogar", "Hogar"]).dictionary_encode(),
    REGION: pa.array(["Sur", "Norte"], pa.large_string()),
}
EXPECTED = [
    (7, DAY, Decimal("1.10"), "Hogar", "Sur"),
    (8, DAY, Decimal("2.25"), "Hogar", "Norte"),
]


def write(path: Path, **changes: pa.Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {k: v for k, v in (COLUMNS | changes).items() if v is not None}
    pq.write_table(pa.table(columns), path)


def read(root: Path, **settings: object) -> list[pa.RecordBatch]:
    reader = PlainReader(str(root), RULES, **settings)  # type: ignore[arg-type]
    files = plain_files(open_storage(str(root)))
    return [b for f in files for p in reader.plan(f) for b in reader.read(p, COLUMN_NAMES)]


def test_values_of_any_type_become_those_of_the_contract(tmp_path: Path) -> None:
    write(tmp_path / "v.parquet")

    (batch,) = read(tmp_path)

    assert rows_of(batch) == EXPECTED
    # Two ways of writing one text are one text, and one group.
    assert batch.column(CATEGORY).dictionary.to_pylist() == ["Hogar"]


def test_values_of_the_path_go_before_those_of_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "Región_de_venta=%20Ca%2Fribe" / "fecha_de_transaccion=2024-05-03" / "mes=1"
    write(folder / "v.parquet", **{REGION: None, DATE: None})
    write(tmp_path / f"{REGION}=Este" / "v.parquet")
    write(tmp_path / f"{ID}=12" / "v.parquet", **{ID: None})

    rows = [row for batch in read(tmp_path) for row in rows_of(batch)]

    assert sorted(rows) == sorted(
        [(r[0], r[1], r[2], r[3], "Ca/ribe") for r in EXPECTED]
        + [(r[0], r[1], r[2], r[3], "Este") for r in EXPECTED]
        + [(12, *r[1:]) for r in EXPECTED]
    )


def test_hidden_files_and_other_files_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "v.parquet")
    write(tmp_path / "_hidden" / "v.parquet")
    write(tmp_path / ".v.parquet")
    (tmp_path / "notes.txt").touch()

    assert [f.name for f in plain_files(open_storage(str(tmp_path)))] == ["v.parquet"]


def test_headers_can_be_named(tmp_path: Path) -> None:
    write(tmp_path / "v.parquet", **{ID: None, "cliente": COLUMNS[ID]})

    with pytest.raises(ColumnError, match=r"v\.parquet: no column for id_cliente"):
        read(tmp_path)
    (batch,) = read(tmp_path, headers=((ID, "Cliente"),))
    assert rows_of(batch) == EXPECTED


@pytest.mark.parametrize(
    ("column", "array", "what"),
    [
        (AMOUNT, pa.array([1.0, 2.255]), "row 1: cantidad_de_venta is inexact: '2.255'"),
        (ID, pa.array([7, None]), "row 1: id_cliente is missing: nothing"),
        (DATE, pa.array(["yesterday", "2024-05-03"]), "row 0: .* is unparseable: 'yesterday'"),
        (REGION, pa.array(["Sur", " "]), "row 1: region_de_venta is missing"),
    ],
)
def test_the_first_value_that_is_not_acceptable_is_named(
    tmp_path: Path, column: str, array: pa.Array, what: str
) -> None:
    write(tmp_path / "v.parquet", **{column: array})
    with pytest.raises(InputError, match=rf"v\.parquet: {what}"):
        read(tmp_path)


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.parquet").write_text("id,fecha")
    with pytest.raises(InputError, match=r"v\.parquet cannot be read as Parquet"):
        read(tmp_path)


def test_int96_dates_do_not_wrap_around(tmp_path: Path) -> None:
    # 2**64 nanoseconds after 2024-01-31.
    for last in (datetime(2024, 2, 1, 10), datetime(2608, 8, 21, 23, 34, 33)):
        dates = pa.array([datetime(2024, 1, 31), last], pa.timestamp("us"))
        table = pa.table(COLUMNS | {DATE: dates})
        pq.write_table(table, tmp_path / "v.parquet", use_deprecated_int96_timestamps=True)
        if last.year == 2024:
            (batch,) = read(tmp_path)
            assert batch.column(DATE).to_pylist()[1] == last.replace(tzinfo=UTC)
        else:
            with pytest.raises(InputError, match=r"row 1: .* is out_of_range: '2608"):
                read(tmp_path)


def test_a_first_commit_may_come_while_a_folder_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is published by then may be a part of it."""
    lake = Lake.open(str(tmp_path))

    def committed_meanwhile(storage: Storage) -> tuple[LakeFile, ...]:
        commit_sales(lake, "r", [("Hogar", "Norte", 100), ("Ropa", "Sur", 250)])
        return plain_files(storage)[:1]

    monkeypatch.setattr(lake_input, "plain_files", committed_meanwhile)
    found = lake_input.open_input(str(tmp_path), RULES.started)
    assert (found.rows, len(found.files)) == (2, 2)

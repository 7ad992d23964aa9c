from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celes_beam.contract import COLUMN_NAMES, Rules
from celes_beam.errors import InputError
from celes_beam.stores.lake.plain_folder import PlainReader, plain_files
from celes_beam.stores.lake.storage import open_storage

RULES = Rules(datetime(2026, 1, 1, tzinfo=UTC))


def write_int96(folder: Path, *dates: datetime) -> PlainReader:
    columns = {
        "id_cliente": list(range(1, len(dates) + 1)),
        "fecha_de_transaccion": pa.array(dates, pa.timestamp("us")),
        "cantidad_de_venta": [5.5] * len(dates),
        "categoria_de_producto": ["Hogar"] * len(dates),
        "region_de_venta": ["Norte"] * len(dates),
    }
    path = folder / "part.parquet"
    pq.write_table(pa.table(columns), path, use_deprecated_int96_timestamps=True)
    return PlainReader(str(folder), RULES)


def read(reader: PlainReader) -> list[datetime]:
    (file,) = plain_files(open_storage(reader.root))
    batches = [b for piece in reader.plan(file) for b in reader.read(piece, COLUMN_NAMES)]
    return [day for batch in batches for day in batch.column("fecha_de_transaccion").to_pylist()]


def test_int96_dates_are_read(tmp_path: Path) -> None:
    assert read(write_int96(tmp_path, datetime(2024, 1, 31, 10))) == [
        datetime(2024, 1, 31, 10, tzinfo=UTC)
    ]


def test_int96_dates_do_not_wrap_around(tmp_path: Path) -> None:
    # 2**64 nanoseconds after 2024-01-31.
    reader = write_int96(tmp_path, datetime(2024, 1, 31), datetime(2608, 8, 21, 23, 34, 33))
    with pytest.raises(InputError, match="row 1: fecha_de_transaccion is out_of_range: '2608"):
        read(reader)

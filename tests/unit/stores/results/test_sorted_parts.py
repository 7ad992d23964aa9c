from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celes_beam.contract import AMOUNT, CATEGORY, REGION, SCHEMA
from celes_beam.errors import IntegrityError, StorageError
from celes_beam.sales.order import Order, choose_bounds, sample_keys
from celes_beam.stores.results.sorted_parts import Run, SpillWriter, sort_part, write_part
from tests.answers import Row, batch_of, in_order, rows_of

DAY = datetime(2024, 5, 3, tzinfo=UTC)
ORDER = Order(AMOUNT, descending=True)
WORLD = random.Random(3)
ROWS: list[Row] = [
    (WORLD.randint(1, 5), DAY, Decimal(WORLD.randint(1, 40)), f"c{WORLD.randint(1, 3)}", "r")
    for _ in range(300)
]


def encoded(rows: list[Row]) -> pa.RecordBatch:
    batch = batch_of(rows)
    for at, name in ((3, CATEGORY), (4, REGION)):
        batch = batch.set_column(at, name, batch.column(name).dictionary_encode())
    return batch


def spill(folder: Path, rows: list[Row], step: int, spill_rows: int) -> dict[int, list[Run]]:
    keys = ORDER.keys(batch_of(ROWS))
    bounds = choose_bounds(sample_keys(keys, 0, 3), 4)
    writer = SpillWriter(str(folder), ORDER, bounds, spill_rows=spill_rows)
    for i in range(0, len(rows), step):
        writer.write(encoded(rows[i : i + step]))
    by_range: dict[int, list[Run]] = {}
    for number, run in writer.close():
        by_range.setdefault(number, []).append(run)
    return by_range


def test_ranges_sorted_one_by_one_are_all_sorted(tmp_path: Path) -> None:
    files = []
    for step, spill_rows in ((300, 1000), (7, 50)):
        runs = spill(tmp_path / "spills", ROWS, step, spill_rows)
        folder = tmp_path / f"parts-{step}"
        parts = [sort_part(str(folder), n, runs[n], ORDER) for n in sorted(runs)]
        read = [pq.read_table(folder / f"part-{p.number:05}.parquet") for p in parts]

        assert [p.number for p in parts] == [0, 1, 2, 3]
        assert [p.rows for p in parts] == [t.num_rows for t in read]
        assert rows_of(pa.concat_tables(read)) == in_order(ROWS, AMOUNT, descending=True)
        assert all(t.schema.equals(SCHEMA) for t in read)
        files.append([path.read_bytes() for path in sorted(folder.iterdir())])
    assert files[0] == files[1]


def test_nothing_written_is_no_run_and_no_file(tmp_path: Path) -> None:
    assert spill(tmp_path / "spills", [], 1, 10) == {}
    assert not (tmp_path / "spills").exists()


def test_a_part_without_rows_has_a_schema(tmp_path: Path) -> None:
    part = write_part(str(tmp_path), 0, batch_of([]))
    assert pq.read_schema(tmp_path / "part-00000.parquet").equals(SCHEMA)
    assert part.bytes == (tmp_path / "part-00000.parquet").stat().st_size


def test_runs_that_are_not_as_described(tmp_path: Path) -> None:
    (run, *_) = spill(tmp_path / "spills", ROWS, 300, 1000)[0]

    with pytest.raises(IntegrityError, match="does not hold what was spilled"):
        sort_part(str(tmp_path), 0, [Run(run.path, run.offset, run.length, run.rows + 1)], ORDER)
    with pytest.raises(StorageError, match="cannot be read back"):
        sort_part(str(tmp_path), 0, [Run(run.path, run.offset + 3, 90, run.rows)], ORDER)
    with pytest.raises(StorageError, match=r"cannot be read back: .*run again"):
        sort_part(str(tmp_path), 0, [Run(str(tmp_path / "gone"), 0, 1, 1)], ORDER)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"could not be written: .*room beside --output"):
        spill(tmp_path / "file" / "spills", ROWS, 300, 1000)
    with pytest.raises(StorageError, match="could not be written"):
        write_part(str(tmp_path / "file"), 0, batch_of(ROWS))

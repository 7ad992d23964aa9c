from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celes_beam.contract import AMOUNT, REJECTED_SCHEMA
from celes_beam.errors import StorageError
from celes_beam.sales.rejected import malformed_batch, rejected_batch
from celes_beam.stores.lake import rejects
from celes_beam.stores.lake.measure import measure_file
from celes_beam.stores.lake.rejects import (
    Rejections,
    RejectsWriter,
    count_rejections,
    merge_rejections,
)
from celes_beam.stores.lake.staging_area import LocalStagingArea
from tests.sales import RULES


def rejected(reasons: list[list[str]], first: int = 0) -> pa.RecordBatch:
    rows = len(reasons)
    return rejected_batch(
        "ventas.csv",
        np.arange(first, first + rows, dtype=np.int64),
        pa.array(reasons, pa.list_(pa.string())),
        pa.array([AMOUNT] * rows),
        pa.array([f"v{i}" for i in range(rows)]),
        pa.array([b"raw"] * rows, pa.binary()),
        RULES,
    )


def test_a_row_is_counted_under_its_first_reason() -> None:
    found = count_rejections(rejected([["missing", "inexact"], ["inexact"], ["inexact"]]))

    assert found.by_reason == {"missing": 1, "inexact": 2}
    assert found.rows == 3


def test_three_examples_of_each_reason_are_kept_the_first_by_position() -> None:
    late = count_rejections(rejected([["inexact"]] * 5, first=100))
    early = count_rejections(rejected([["inexact"]] * 2 + [["missing"]], first=7))

    both = merge_rejections([late, early])

    assert [(e.reason, e.position) for e in both.examples] == [
        ("missing", 9),
        ("inexact", 7),
        ("inexact", 8),
        ("inexact", 100),
    ]
    assert both == early + late
    assert both.by_reason == {"missing": 1, "inexact": 7}


def test_an_example_shows_the_value_or_the_raw_row() -> None:
    whole = malformed_batch("x.csv", np.array([5]), pa.array([b"\xff,1"]), RULES)

    (malformed,) = count_rejections(whole).examples
    (wrong,) = count_rejections(rejected([["inexact"]])).examples

    assert (malformed.column, malformed.value, malformed.raw) == (None, None, "\\xff,1")
    assert (wrong.column, wrong.value, wrong.raw) == (AMOUNT, "v0", "raw")


def test_nothing_rejected_makes_no_file(tmp_path: Path) -> None:
    writer = RejectsWriter(LocalStagingArea(str(tmp_path)))
    writer.write(rejected([]))

    assert writer.close() == []
    assert list(tmp_path.iterdir()) == []
    assert count_rejections(rejected([])) == Rejections()


def test_files_are_described_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejects, "ROWS_PER_FILE", 3)
    writer = RejectsWriter(LocalStagingArea(str(tmp_path)))
    for _ in range(5):
        writer.write(rejected([["missing"], ["inexact"]]))

    files = writer.close()

    assert [f.rows for f in files] == [4, 4, 2]
    for file in files:
        path = tmp_path / file.staged
        assert (file.bytes, file.crc32c) == measure_file(path)
        assert pq.read_table(path).schema == REJECTED_SCHEMA
        assert path.name == f"{file.path}.staged"
        assert file.path.endswith(".pq")


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "_rejected").write_text("a file where a folder should be")

    with pytest.raises(StorageError, match=r"_rejected.*could not be written"):
        RejectsWriter(LocalStagingArea(str(tmp_path))).write(rejected([["missing"]]))


def test_many_batches_of_few_rows_become_few_row_groups(tmp_path: Path) -> None:
    writer = RejectsWriter(LocalStagingArea(str(tmp_path)))
    for number in range(600):
        writer.write(rejected([["inexact"]], first=number))
    (file,) = writer.close()
    found = pq.ParquetFile(tmp_path / file.staged)
    assert found.metadata.num_row_groups == 3
    assert found.read().column("position").to_pylist() == list(range(600))
    assert file.rows == 600

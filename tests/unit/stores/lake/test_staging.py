from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from celes_beam.contract import AMOUNT
from celes_beam.errors import IntegrityError
from celes_beam.sales.aggregate import Share
from celes_beam.sales.outcomes import all_accepted
from celes_beam.sales.rejected import Checked, rejected_batch
from celes_beam.stores.lake.parquet_writer import Layout
from celes_beam.stores.lake.staging import Staged, StagingWriter, merge_staged
from celes_beam.stores.lake.staging_area import LocalStagingArea
from tests.sales import RULES, sales_batch


def checked(accepted: int, rejected: int) -> Checked:
    batch = rejected_batch(
        "x.csv",
        np.arange(rejected, dtype=np.int64),
        pa.array([["inexact"]] * rejected, pa.list_(pa.string())),
        pa.array([AMOUNT] * rejected, pa.string()),
        pa.array(["1.234"] * rejected, pa.string()),
        pa.array([b"raw"] * rejected, pa.binary()),
        RULES,
    )
    rows = sales_batch([("Hogar", "Norte", 150)] * accepted)
    return Checked(accepted + rejected, rows, batch)


def test_what_is_staged_is_described_and_reconciles(tmp_path: Path) -> None:
    writer = StagingWriter(LocalStagingArea(str(tmp_path)), Layout())
    writer.write(checked(3, 2), "a.csv")
    writer.write(checked(4, 0), "a.csv")
    writer.write(checked(0, 1), "b.csv")

    staged = writer.close()

    staged.reconcile()
    assert (staged.rows_read, staged.rows_accepted, staged.rejections.rows) == (10, 7, 3)
    assert staged.by_source == {"a.csv": (9, 7), "b.csv": (1, 0)}
    assert staged.sums.by_region == {"Norte": Share(7, 1050)}
    names = [f.staged for f in (*staged.files, *staged.rejected_files)]
    on_disk = [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.staged")]
    assert sorted(names) == sorted(on_disk)


def test_parts_add_up_in_any_grouping(tmp_path: Path) -> None:
    parts = []
    for number in range(3):
        writer = StagingWriter(LocalStagingArea(str(tmp_path / str(number))), Layout())
        writer.write(checked(number + 1, number), f"{number % 2}.csv")
        parts.append(writer.close())

    whole = merge_staged(parts)
    stepwise = merge_staged([Staged(), merge_staged(parts[:2]), parts[2]])

    assert whole == stepwise
    assert (whole.rows_read, whole.rejections.rows) == (9, 3)
    assert whole.by_source == {"0.csv": (6, 4), "1.csv": (3, 2)}


def test_nothing_staged_reconciles_too(tmp_path: Path) -> None:
    staged = StagingWriter(LocalStagingArea(str(tmp_path)), Layout()).close()

    staged.reconcile()
    assert staged == Staged() == merge_staged([])


def test_rows_that_do_not_reconcile_are_an_error(tmp_path: Path) -> None:
    writer = StagingWriter(LocalStagingArea(str(tmp_path)), Layout())
    writer.write(all_accepted(sales_batch([("Hogar", "Norte", 1)])))
    staged = writer.close()
    lost = Staged(staged.rows_read + 1, staged.files, sums=staged.sums)
    unwritten = Staged(staged.rows_read, (), sums=staged.sums)

    for wrong in (lost, unwritten):
        with pytest.raises(IntegrityError, match="rows do not reconcile"):
            wrong.reconcile()

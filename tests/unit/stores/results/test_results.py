from __future__ import annotations

import json
import os
import threading
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from celes_beam.contract import SCHEMA
from celes_beam.errors import ConfigError, IntegrityError, LakeExistsError, StorageError
from celes_beam.sales.aggregate import Sums, sum_batch
from celes_beam.stores.results.result_folder import RESULT, ResultFolder
from celes_beam.stores.results.results import make_result, read_result, write_result
from celes_beam.stores.work_folder import sweep_beside
from tests.answers import Row, answer, as_json, batch_of

ROWS: list[Row] = [
    (7, datetime(2024, 5, 3, 12, 0, 1, tzinfo=UTC), Decimal("9999999999.99"), 'a,"b"', "Ñ"),
    (8, datetime(2024, 5, 4, tzinfo=UTC), Decimal("0.01"), "c\nd", "Ñ"),
    (9, datetime(2024, 5, 4, tzinfo=UTC), Decimal("0.01"), "c\nd", "e"),
]
RESULT_OF_ROWS = make_result("beam", sum_batch(batch_of(ROWS)), batch_of(ROWS[:2]))


def test_a_result_has_the_common_shape() -> None:
    expected = answer(ROWS) | {"engine": "beam", "top": [as_json(r) for r in ROWS[:2]]}
    assert RESULT_OF_ROWS.to_dict() == expected
    without_top = make_result("polars", sum_batch(batch_of(ROWS)))
    assert without_top.to_dict() == answer(ROWS) | {"engine": "polars"}


def test_no_rows_make_an_empty_result(tmp_path: Path) -> None:
    empty = make_result("beam", Sums(), batch_of([]))
    write_result(str(tmp_path), empty)

    assert (empty.rows, empty.total, empty.by_category, empty.top) == (0, "0.00", (), ())
    assert (tmp_path / "by_region.csv").read_text() == "region_de_venta,rows,total,mean\n"
    assert pq.read_table(tmp_path / "top.parquet").schema.equals(SCHEMA)


def test_all_files_say_the_same(tmp_path: Path) -> None:
    write_result(str(tmp_path), RESULT_OF_ROWS)
    write_result(str(tmp_path), RESULT_OF_ROWS)

    assert read_result(str(tmp_path)) == RESULT_OF_ROWS
    assert json.loads((tmp_path / "result.json").read_text()) == RESULT_OF_ROWS.to_dict()
    by_category = pq.read_table(tmp_path / "by_category.parquet").to_pylist()
    assert [{k: str(v) for k, v in line.items()} for line in by_category] == [
        {k: str(v) for k, v in line.items()} for line in RESULT_OF_ROWS.to_dict()["by_category"]
    ]
    assert pq.read_table(tmp_path / "top.parquet").equals(
        pq.read_table(tmp_path / "top.parquet").cast(SCHEMA)
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [
            "result.json",
            *(f"{n}.{e}" for n in ("by_category", "by_region", "top") for e in ("csv", "parquet")),
        ]
    )


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_result(str(tmp_path))
    for text in ("[]", "{", '{"engine": "beam"}'):
        (tmp_path / "result.json").write_text(text)
        with pytest.raises(IntegrityError, match="is not a result of this version"):
            read_result(str(tmp_path))


def publish(target: ResultFolder, *, overwrite: bool = True) -> None:
    with target.work_folder() as folder:
        write_result(f"{folder}/{RESULT}", RESULT_OF_ROWS)
        published = target.publish(folder, with_sorted=False, overwrite=overwrite)
        assert published == RESULT_OF_ROWS


def test_a_published_folder_holds_one_whole_result(tmp_path: Path) -> None:
    target = ResultFolder(str(tmp_path / "deep" / "result"))

    publish(target)
    (target.path / "sorted").mkdir()
    (target.path / "sorted" / "part-00000.parquet").touch()
    target.check("lake", overwrite=True)
    publish(target)

    assert not (target.path / "sorted").exists()
    assert [p.name for p in target.path.parent.iterdir()] == ["result"]
    with pytest.raises(LakeExistsError, match="holds a result"):
        target.check("lake", overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_of_two_at_once_one_is_there_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    target = ResultFolder(str(tmp_path / "out"))
    if overwrite:
        publish(target)
    rename = Path.rename
    raised: list[BaseException] = []

    def another_run() -> None:
        try:
            target.check("lake", overwrite=overwrite)
            publish(target, overwrite=overwrite)
        except (LakeExistsError, StorageError) as error:
            raised.append(error)

    other = threading.Thread(target=another_run)

    def another_is_at_it(path: Path, to: Path) -> Path:
        if path.name == RESULT and other.ident is None:
            other.start()
            # It has a moment to end, and must not.
            other.join(0.5)
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", another_is_at_it)
    publish(target, overwrite=overwrite)
    other.join()
    assert [type(error) for error in raised] == ([] if overwrite else [LakeExistsError])
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert read_result(str(target.path)) == RESULT_OF_ROWS


@pytest.mark.parametrize("name", ["out", None])
def test_what_a_killed_run_left_is_swept_a_day_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    target = ResultFolder(name and str(tmp_path / name))
    killed = target.work_folder()
    left = Path(killed.__enter__())
    publish(target)
    assert left.exists()
    os.utime(left, (0, 0))
    publish(target)
    assert [p.name for p in tmp_path.iterdir()] == [n for n in [name] if n]


def test_an_empty_folder_may_be_used_and_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    target = ResultFolder(str(tmp_path / "link"))

    target.check("lake", overwrite=False)
    publish(target)

    assert (tmp_path / "link").is_symlink()
    assert read_result(str(tmp_path / "real")) == RESULT_OF_ROWS


def test_no_output_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    target = ResultFolder(None)
    target.check("lake", overwrite=False)
    publish(target)
    assert list(tmp_path.iterdir()) == []


def test_a_hidden_folder_of_the_lake_may_hold_a_result(tmp_path: Path) -> None:
    ResultFolder(str(tmp_path / "_results" / "1")).check(str(tmp_path), overwrite=False)
    with pytest.raises(ConfigError, match="inside the input"):
        ResultFolder(str(tmp_path / "results")).check(str(tmp_path), overwrite=False)


def test_files_of_others_are_never_replaced(tmp_path: Path) -> None:
    target = ResultFolder(str(tmp_path / "out"))
    target.path.mkdir()
    (target.path / "top.csv").write_text("mine")
    with pytest.raises(LakeExistsError, match=r"no aggregation wrote, such as top\.csv"):
        target.check("lake", overwrite=True)


def test_a_result_that_never_came_is_an_error(tmp_path: Path) -> None:
    target = ResultFolder(str(tmp_path / "out"))
    with (
        target.work_folder() as folder,
        pytest.raises(IntegrityError, match=r"left no result .*--runner DirectRunner"),
    ):
        target.publish(folder, with_sorted=False)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = ResultFolder(str(tmp_path / "out"))
    publish(target)
    before = (target.path / "result.json").stat().st_ino
    rename = Path.rename

    def refuse(self: Path, to: Path) -> Path:
        if self.name == RESULT:
            sweep_beside(target.path, time.time())
            raise OSError(28, "No space left on device")
        return rename(self, to)

    # Another run that begins just then takes the old result for what a killed run left.
    for path in (*target.path.rglob("*"), target.path):
        os.utime(path, (0, 0))
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StorageError, match="No space left on device; what was there is as it was"):
        publish(target)
    assert (target.path / "result.json").stat().st_ino == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]

    with (
        pytest.raises(StorageError, match="cannot write beside it"),
        ResultFolder(str(target.path / "result.json" / "x")).work_folder(),
    ):
        pass

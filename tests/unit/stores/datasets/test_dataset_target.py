from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from celes_beam.config import Config
from celes_beam.errors import ConfigError, IntegrityError, LakeExistsError, StorageError
from celes_beam.sales.encode_csv import HEADER, encode_csv
from celes_beam.sales.generate import Generator
from celes_beam.stores.datasets.dataset import Format, ShardWritten, write_shard
from celes_beam.stores.datasets.dataset_target import DatasetTarget, read_report, write_report

GENERATOR = Generator(Config())


def write_dataset(target: DatasetTarget, rows: int, shards: int, *, overwrite: bool = True) -> int:
    with target.work_folder() as folder:
        planned = target.plan(folder, rows, shards)
        written = [write_shard(GENERATOR, shard, target.format) for shard in planned]
        return target.publish(planned, written, overwrite=overwrite)


# What an output means


@pytest.mark.parametrize(
    ("output", "format", "one_file", "meant"),
    [
        ("ventas.csv", None, True, "csv"),
        ("a/ventas.CSV", "csv", True, "csv"),
        ("ventas.parquet", None, True, "parquet"),
        ("ventas", None, False, "csv"),
        ("ventas/", "parquet", False, "parquet"),
        ("ventas.csv/", None, False, "csv"),
        ("ventas.2024", None, False, "csv"),
        ("ventas.json/", None, False, "csv"),
    ],
)
def test_a_file_is_told_from_a_folder_by_its_name(
    output: str, format: str | None, one_file: bool, meant: Format
) -> None:
    target = DatasetTarget.parse(output, format)
    assert (target.one_file, target.format) == (one_file, meant)


def test_a_folder_that_is_there_is_a_folder_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "v.csv").mkdir()
    assert not DatasetTarget.parse(str(tmp_path / "v.csv"), None).one_file


@pytest.mark.parametrize(
    ("output", "format", "told"),
    [
        ("s3://bucket/ventas.csv", None, "--output s3://bucket/ventas.csv: .* written to a disk"),
        ("v.csv", "parquet", "--output v.csv does not go with --format parquet"),
        ("v", "avro", "--format avro: expected one of csv, parquet"),
        ("x.csv.gz", None, r"x\.csv\.gz: a data set is written as \.csv or \.parquet, not as \.gz"),
        ("y.JSON", None, r"not as \.json; give such a file, or end the name of a folder with /"),
        ("x.txt", "csv", r"not as \.txt"),
    ],
)
def test_an_output_that_cannot_be_is_refused(output: str, format: str | None, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        DatasetTarget.parse(output, format)


# What must not be replaced


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["v.csv", "v"])
def test_nothing_there_is_fine(tmp_path: Path, name: str, overwrite: bool) -> None:
    DatasetTarget.parse(str(tmp_path / name), None).check(overwrite=overwrite)


def test_a_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    target = DatasetTarget.parse(str(tmp_path / "v.csv"), None)
    target.path.touch()
    target.check(overwrite=True)
    with pytest.raises(LakeExistsError, match=r"v\.csv is there already: .* -f"):
        target.check(overwrite=False)


def test_a_data_set_is_replaced_only_when_asked(tmp_path: Path) -> None:
    target = DatasetTarget.parse(str(tmp_path / "v"), None)
    write_dataset(target, 10, 3)
    target.check(overwrite=True)
    with pytest.raises(LakeExistsError, match=r"v holds a data set of 3 files: .* -f"):
        target.check(overwrite=False)


@pytest.mark.parametrize(
    "other", ["notas.txt", "ventas-1-of-2.csv", "ventas-00000-of-00001.csv.gz"]
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_others_are_never_replaced(tmp_path: Path, other: str, overwrite: bool) -> None:
    target = DatasetTarget.parse(str(tmp_path), None)
    write_dataset(target, 10, 1)
    (tmp_path / other).touch()
    with pytest.raises(LakeExistsError, match=f"holds files of others, such as {other}"):
        target.check(overwrite=overwrite)


def test_a_folder_named_like_a_shard_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "ventas-00000-of-00001.csv").mkdir()
    with pytest.raises(LakeExistsError, match="holds files of others"):
        DatasetTarget.parse(str(tmp_path), None).check(overwrite=True)


def test_an_empty_folder_is_fine(tmp_path: Path) -> None:
    DatasetTarget.parse(str(tmp_path), None).check(overwrite=False)


def test_a_file_where_a_folder_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "v").touch()
    with pytest.raises(LakeExistsError, match=r"v is a file, not a folder.*v\.csv"):
        DatasetTarget.parse(str(tmp_path / "v"), None).check(overwrite=True)


# Publishing


@pytest.mark.parametrize("shards", [1, 4])
def test_one_csv_file(tmp_path: Path, shards: int) -> None:
    target = DatasetTarget.parse(str(tmp_path / "new" / "v.csv"), None)
    size = write_dataset(target, 1000, shards)
    expected = HEADER + encode_csv(GENERATOR.columns(0, 1000)).to_pybytes()
    assert target.path.read_bytes() == expected
    assert size == len(expected)
    assert os.listdir(target.path.parent) == ["v.csv"]  # noqa: PTH208 - hidden ones too


def test_one_parquet_file_is_one_shard(tmp_path: Path) -> None:
    target = DatasetTarget.parse(str(tmp_path / "v.parquet"), None)
    assert len(target.plan("x", 1000, 5)) == 1
    assert write_dataset(target, 1000, 5) == target.path.stat().st_size


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_a_folder_of_shards_replaces_the_earlier_one(tmp_path: Path, format: Format) -> None:
    target = DatasetTarget.parse(str(tmp_path / "v"), format)
    write_dataset(target, 100, 5)
    size = write_dataset(target, 50, 2)
    names = [f"ventas-{i:05}-of-00002.{format}" for i in range(2)]
    assert sorted(path.name for path in target.path.iterdir()) == names
    assert size == sum(path.stat().st_size for path in target.path.iterdir())
    assert os.listdir(tmp_path) == ["v"]  # noqa: PTH208


@pytest.mark.parametrize("name", ["v", "v.csv"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_of_two_at_once_one_is_there_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, overwrite: bool
) -> None:
    target = DatasetTarget.parse(str(tmp_path / name), None)
    if overwrite:
        write_dataset(target, 60, 3)
    replace = Path.replace
    raised: list[BaseException] = []

    def another_run() -> None:
        try:
            write_dataset(target, 100, 4, overwrite=overwrite)
        except LakeExistsError as error:
            raised.append(error)

    other = threading.Thread(target=another_run)

    def another_is_at_it(path: Path, to: Path) -> Path:
        if target.path in (to, to.parent) and other.ident is None:
            other.start()
            # It has a moment to end, and must not.
            other.join(0.5)
            assert other.is_alive()
        return replace(path, to)

    monkeypatch.setattr(Path, "replace", another_is_at_it)
    size = write_dataset(target, 50, 2, overwrite=overwrite)
    other.join()
    assert len(raised) == (0 if overwrite else 1)
    files = [target.path] if target.one_file else sorted(target.path.iterdir())
    there = sum(path.stat().st_size for path in files)
    assert (there == size) is not overwrite
    assert len(files) == (1 if target.one_file else 4 if overwrite else 2)


def test_shards_that_are_not_as_planned_change_nothing(tmp_path: Path) -> None:
    target = DatasetTarget.parse(str(tmp_path / "v.csv"), None)
    target.path.write_text("old")
    with target.work_folder() as folder:
        planned = target.plan(folder, 100, 2)
        written = [write_shard(GENERATOR, planned[0], "csv")]
        with pytest.raises(IntegrityError, match="1 files of 50 rows were written, but 2 of 100"):
            target.publish(planned, written)
    assert target.path.read_text() == "old"


@pytest.mark.parametrize(("output", "rows", "shards"), [("v", 3, 3), ("v.csv", 3, 3), ("v", 0, 1)])
def test_there_are_no_more_shards_than_rows(
    tmp_path: Path, output: str, rows: int, shards: int
) -> None:
    target = DatasetTarget.parse(str(tmp_path / output), None)
    assert len(target.plan("work", rows, 10**15)) == shards


@pytest.mark.parametrize("name", ["v", "v.csv"])
def test_what_a_killed_run_left_is_swept_a_day_later(tmp_path: Path, name: str) -> None:
    target = DatasetTarget.parse(str(tmp_path / name), None)
    killed = target.work_folder()
    left = Path(killed.__enter__())
    (left / "part").touch()
    write_dataset(target, 10, 1)
    assert left.exists()
    for path in (left / "part", left):
        os.utime(path, (0, 0))
    write_dataset(target, 10, 1)
    assert os.listdir(tmp_path) == [name]  # noqa: PTH208


def test_a_failure_leaves_no_work_folder(tmp_path: Path) -> None:
    def fail() -> None:
        with DatasetTarget.parse(str(tmp_path / "v.csv"), None).work_folder() as folder:
            (Path(folder) / "part").touch()
            raise RuntimeError(folder)

    with pytest.raises(RuntimeError, match=r"\.v\.csv\."):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    target = DatasetTarget.parse(str(tmp_path / "file" / "v.csv"), None)
    with pytest.raises(StorageError, match=r"v\.csv could not be written"), target.work_folder():
        pass


# Reports


def test_a_report_is_read_back(tmp_path: Path) -> None:
    written = [ShardWritten("a", 1, 2, {"missing": 3}), ShardWritten("ñ", 4, 5, {})]
    write_report(str(tmp_path), [])
    write_report(str(tmp_path), written)
    assert read_report(str(tmp_path)) == written


def test_no_report_is_told(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"left nothing in .*use --runner DirectRunner"):
        read_report(str(tmp_path))

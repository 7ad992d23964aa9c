"""Reading goes on when a compaction was in between, and only then."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celes_beam.commands.read_anew import TIMES, read_anew
from celes_beam.errors import StorageError
from celes_beam.stores.lake.compact import compact
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.lake_input import LakeInput, open_input
from tests.lakes import commit_sales
from tests.sales import NOON, sales_batch

CENTS = 100


class Reader:
    """Reads the files of a lake, after what ``meanwhile`` does to it in the first few tries."""

    def __init__(self, root: Path, meanwhile: Callable[[Lake], object], tries: int) -> None:
        self.lake = Lake.open(str(root))
        self.meanwhile = meanwhile
        self.tries = tries
        self.begun = 0
        for number in range(3):
            self.add(number)

    def add(self, number: int) -> None:
        commit_sales(self.lake, f"r{number}", [("Hogar", "Norte", CENTS)])

    def find(self) -> LakeInput:
        return open_input(self.lake.storage.root, NOON)

    def read(self, found: LakeInput) -> int:
        self.begun += 1
        if self.begun <= self.tries:
            self.meanwhile(self.lake)
        for file in found.files:
            if not self.lake.storage.exists(file.name):
                raise StorageError(f"{file.name} is gone")
        return found.rows or 0


def merge(lake: Lake) -> None:
    """Add a row, and merge all files."""
    commit_sales(lake, f"more-{len(lake.runs())}", [("Hogar", "Norte", CENTS)])
    compact(lake, target_bytes=1_000_000)


def lose(lake: Lake) -> None:
    """Delete a file that counts."""
    (Path(lake.storage.root) / lake.snapshot().files[0].path).unlink()


def test_what_a_compaction_has_merged_is_read_as_it_is_now(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Reader(tmp_path / "lake", merge, tries=TIMES - 1)
    with caplog.at_level(logging.WARNING):
        assert read_anew(reader.find(), reader.find, reader.read) == 3 + reader.tries
    assert caplog.text.count("files were replaced while they were read: begun anew") == TIMES - 1


def test_who_compacts_all_the_time_is_in_the_way(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "lake", merge, tries=TIMES)
    with pytest.raises(StorageError, match="is gone"):
        read_anew(reader.find(), reader.find, reader.read)
    assert reader.begun == TIMES


def test_a_file_that_is_lost_is_an_error_at_once(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "lake", lose, tries=1)
    with pytest.raises(StorageError, match="is gone"):
        read_anew(reader.find(), reader.find, reader.read)
    assert reader.begun == 1


def test_an_append_explains_no_failure(tmp_path: Path) -> None:
    def add_and_fail(lake: Lake) -> None:
        commit_sales(lake, "more", [("Hogar", "Norte", CENTS)])
        raise StorageError("the disk is on fire")

    reader = Reader(tmp_path / "lake", add_and_fail, tries=1)
    with pytest.raises(StorageError, match="on fire"):
        read_anew(reader.find(), reader.find, reader.read)
    assert reader.begun == 1


def test_a_plain_folder_has_nobody_who_says_what_became_of_a_file(tmp_path: Path) -> None:
    for number in range(2):
        table = sales_batch([("Hogar", "Norte", CENTS)])
        pq.write_table(pa.Table.from_batches([table]), tmp_path / f"{number}.parquet")

    def find() -> LakeInput:
        return open_input(str(tmp_path), NOON)

    def read(found: LakeInput) -> int:
        (tmp_path / "0.parquet").unlink(missing_ok=True)
        if any(not (tmp_path / f.name).exists() for f in found.files):
            raise StorageError("0.parquet is gone")
        return len(found.files)

    with pytest.raises(StorageError, match="is gone"):
        read_anew(find(), find, read)

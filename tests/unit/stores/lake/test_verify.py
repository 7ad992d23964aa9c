from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celes_beam.cli import main
from celes_beam.stores.lake.commit import CommitLog
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import DataFile, Manifest, encode
from celes_beam.stores.lake.measure import checksum
from celes_beam.stores.lake.verify import verify
from tests.lakes import Sale, commit_sales, draft, reject

SALES: list[Sale] = [("Hogar", "Norte", 100), ("Ropa", "Sur", 250), ("Ropa", "Sur", 175)]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake.open(str(tmp_path / "lake"))
    lake.commit(reject(lake, draft(lake, "r", SALES), 2))
    return lake


def live(lake: Lake, index: int = 0) -> tuple[DataFile, Path]:
    file = lake.snapshot().files[index]
    return file, Path(lake.storage.uri(file.path))


def recommit(lake: Lake, change: Callable[[Manifest], Manifest]) -> Lake:
    """Change what the commit says, as no program does."""
    path = Path(lake.storage.uri("_commits/r.json"))
    path.write_bytes(encode(change(lake.runs()[0])))
    return Lake.open(lake.storage.root)


def first_file(**changes: object) -> Callable[[Manifest], Manifest]:
    def change(manifest: Manifest) -> Manifest:
        first = msgspec.structs.replace(manifest.files[0], **changes)
        return msgspec.structs.replace(manifest, files=(first, *manifest.files[1:]))

    return change


def described_again(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        size, crc32c = checksum(file)
    return {"bytes": size, "crc32c": crc32c}


def test_a_sound_lake(lake: Lake) -> None:
    found = verify(lake)
    assert (found.problems, found.notes) == ((), ())
    assert (found.files, found.rows, found.rejected_rows) == (2, 3, 2)
    assert found.bytes == lake.snapshot().bytes


def test_a_file_that_is_gone(lake: Lake) -> None:
    file, path = live(lake)
    path.unlink()
    assert verify(lake).problems == (f"{file.path}: the file is gone",)


def test_a_file_that_cannot_be_read_is_told_apart(
    lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    file, path = live(lake)
    path.unlink()
    path.mkdir()
    found = verify(lake)
    assert found.problems == ()
    assert len(found.unread) == 1
    assert file.path in found.unread[0]
    assert main(["lake", "verify", lake.storage.root]) == 1
    assert f"not checked: {found.unread[0]}" in capsys.readouterr().out


def test_a_file_that_is_cut_off(lake: Lake) -> None:
    file, path = live(lake)
    path.write_bytes(path.read_bytes()[:-1])
    assert verify(lake).problems == (
        f"{file.path}: {file.bytes - 1:,} bytes, but {file.bytes:,} were committed",
    )


@pytest.mark.parametrize("position", [4, 100, -5])
def test_a_file_with_one_bit_flipped(lake: Lake, position: int) -> None:
    _, path = live(lake)
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    (problem,) = verify(lake).problems
    assert "its checksum is " in problem


def test_a_file_of_other_rows_committed_with_its_own_checksum(lake: Lake) -> None:
    file, path = live(lake)
    table = pq.ParquetFile(path).read()
    later = pa.array([table.column(1)[0].as_py().replace(year=2025)], table.schema.field(1).type)
    more = pa.array(["9.00"]).cast(table.schema.field(2).type)
    table = table.set_column(1, table.schema.field(1), later)
    pq.write_table(
        table.set_column(2, table.schema.field(2), more), path, store_decimal_as_integer=True
    )
    lake = recommit(lake, first_file(**described_again(path)))
    assert verify(lake).problems == (
        f"{file.path}: the sum of amounts is 9.00, but 1.00 was committed",
        f"{file.path}: the first date is 2025-05-03 12:00:00+00:00, but 2024-05-03 "
        "12:00:00+00:00 was committed",
        f"{file.path}: the last date is 2025-05-03 12:00:00+00:00, but 2024-05-03 "
        "12:00:00+00:00 was committed",
    )


def test_a_file_of_another_schema_and_count(lake: Lake) -> None:
    file, path = live(lake)
    pq.write_table(pa.table({"id_cliente": [1, 2]}), path)
    lake = recommit(lake, first_file(**described_again(path)))
    rows, schema = verify(lake).problems
    assert rows == f"{file.path}: 2 rows, but 1 were committed"
    assert schema.startswith(f"{file.path}: columns id_cliente: int64; expected id_cliente: int64 ")


def test_a_file_that_is_no_parquet(lake: Lake) -> None:
    file, path = live(lake)
    path.write_bytes(b"nonsense")
    lake = recommit(lake, first_file(**described_again(path)))
    (problem,) = verify(lake).problems
    assert problem.startswith(f"{file.path} cannot be read as Parquet: ")


def test_data_that_cannot_be_decoded(lake: Lake) -> None:
    file, path = live(lake)
    data = bytearray(path.read_bytes())
    data[4:200] = bytes(196)
    path.write_bytes(data)
    lake = recommit(lake, first_file(**described_again(path)))
    (problem,) = verify(lake).problems
    assert problem.startswith(f"{file.path} cannot be read as Parquet: ")


def test_a_path_of_another_partition(lake: Lake) -> None:
    lake = recommit(lake, first_file(partition={"region_de_venta": "Sur"}))
    (problem,) = verify(lake).problems
    assert "its path says {'region_de_venta': 'Norte'}, its commit {'region_de_venta': 'Sur'}" in (
        problem
    )


def test_dates_outside_of_their_partition(lake: Lake) -> None:
    _, path = live(lake)
    other = path.parent.parent / "mes=2024-06"
    path.parent.rename(other)
    moved = first_file(path=f"mes=2024-06/{path.name}", partition={"mes": "2024-06"})
    lake = recommit(
        lake,
        lambda m: msgspec.structs.replace(
            moved(m),
            files=moved(m).files[:1],
            partition_by=("mes",),
            rows_accepted=1,
            rows_read=3,
            total="1.00",
        ),
    )
    problems = verify(lake).problems
    path_ = f"mes=2024-06/{path.name}"
    assert f"{path_}: mes=2024-06 holds a sale of 2024-05-03T12:00:00+00:00" in problems


def test_files_of_others(lake: Lake) -> None:
    lake.storage.put_if_absent("region_de_venta=Sur/de-otro.parquet", b"x")
    lake.storage.put_if_absent("_temporary/x", b"x")
    assert verify(lake).problems == (
        "region_de_venta=Sur/de-otro.parquet: no commit made this file, but readers see it: "
        "move it away",
    )


def test_a_retired_file_that_came_back(lake: Lake) -> None:
    file, path = live(lake)
    data = path.read_bytes()
    commit_sales(lake, "s", SALES, kind="overwrite")
    lake.storage.put_if_absent(file.path, data)
    assert verify(lake).problems == (
        f"{file.path}: a commit retired this file, but it is there: delete it",
    )


def test_rejected_rows_that_are_gone(lake: Lake) -> None:
    path = lake.runs()[0].rejected_files[0].path
    lake.storage.delete(path)
    assert verify(lake).problems == (f"{path}: the file is gone",)


def test_a_commit_that_lost_rows(lake: Lake) -> None:
    lake = recommit(lake, lambda m: msgspec.structs.replace(m, rows_read=6))
    assert verify(lake).problems == (
        "commit r: rows read, and accepted + rejected, do not agree: 6 and 5",
    )


def test_a_commit_that_was_deleted(lake: Lake) -> None:
    file, _ = live(lake)
    commit_sales(lake, "s", SALES, kind="overwrite")
    lake.storage.delete("_commits/r.json")
    problems = verify(Lake.open(lake.storage.root)).problems
    assert f"commit s retires {file.path}, but the commit that added it is gone" in problems


def test_a_file_of_two_commits(lake: Lake) -> None:
    file, _ = live(lake)
    copied = msgspec.structs.replace(lake.runs()[0], run_id="s")
    lake.storage.put_if_absent("_commits/s.json", encode(copied))
    lake.storage.put_if_absent("_commits/s.done", b"{}")
    problems = verify(Lake.open(lake.storage.root)).problems
    assert f"{file.path} is in 2 commits" in problems


def test_a_commit_cut_short_is_finished_and_a_run_under_way_is_noted(lake: Lake) -> None:
    CommitLog(lake.storage).decide(draft(lake, "s", SALES))
    draft(lake, "t", SALES)
    found = verify(lake)
    assert (found.rows, found.problems) == (6, ())
    (note,) = found.notes
    assert note.startswith("run t is going on, or was cut off: 3 files of ")


def test_files_retired_while_they_are_read_are_no_problem(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Lake.open(lake.storage.root)
    exists = type(lake.storage).exists

    def overwritten(self: object, name: str) -> bool:
        monkeypatch.undo()
        commit_sales(other, "s", SALES, kind="overwrite")
        return exists(lake.storage, name)

    monkeypatch.setattr(type(lake.storage), "exists", overwritten)
    assert verify(lake).problems == ()

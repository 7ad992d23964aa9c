from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celes_beam.errors import InputError, IntegrityError
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.publish import move, moves_of
from celes_beam.stores.lake.snapshot import Snapshot
from celes_beam.stores.upload.sources import find_sources
from tests.lakes import commit_sales, draft


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"x": [1]}), path)
    return path


def names(path: Path) -> list[str]:
    return [file.name for file in find_sources(str(path)).files]


def test_a_folder_gives_its_visible_parquet_with_folders_in_order(tmp_path: Path) -> None:
    for name in ("b.parquet", "a/z.PARQUET", "a=1/x.parquet", "_tmp/no.parquet", ".no.parquet"):
        write(tmp_path / name)
    (tmp_path / "a/notes.txt").write_text("x")
    assert sorted(names(tmp_path)) == ["a/z.PARQUET", "a=1/x.parquet", "b.parquet"]


def test_a_file_gives_itself_whatever_its_name(tmp_path: Path) -> None:
    assert names(write(tmp_path / "ventas.pq")) == ["ventas.pq"]


def test_size_and_time_are_those_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    (file,) = find_sources(str(path)).files
    assert (file.size, file.modified) == (path.stat().st_size, path.stat().st_mtime_ns)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"PAR1", "does not begin and end with PAR1"),
        (b"PAR1" + b"x" * 100, "does not begin and end with PAR1"),
        (b"id_cliente,fecha\n" * 10, "does not begin and end with PAR1"),
    ],
)
def test_what_is_no_parquet_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    for path in (tmp_path, tmp_path / "a.parquet"):
        with pytest.raises(InputError, match=rf"a\.parquet is no Parquet file: .*{why}"):
            find_sources(str(path))


def test_paths_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link.parquet").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.parquet")
    for path, message in [
        (tmp_path / "empty", "holds no Parquet file"),
        (tmp_path / "nope", "no such file or folder"),
        (tmp_path / "link.parquet", "a link to what is not there"),
        (tmp_path / "pipe.parquet", "not a regular file"),
        ("gs://b/x", "expected a file or folder of this machine"),
        (" ", "PATH is empty text"),
    ]:
        with pytest.raises(InputError, match=message):
            find_sources(str(path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    path.chmod(0)
    with pytest.raises(InputError, match=r"a\.parquet: no permission to read it"):
        find_sources(str(tmp_path))


def test_a_lake_gives_what_its_commits_say(tmp_path: Path) -> None:
    root = tmp_path / "lake"
    lake = Lake.open(str(root))
    commit_sales(lake, "uno", [("Hogar", "Norte", 100)])
    commit_sales(lake, "dos", [("Hogar", "Sur", 100)], kind="overwrite")
    (kept,) = lake.snapshot().files
    write(root / "region_de_venta=Sur/stranger.parquet")
    found = find_sources(str(root))
    assert [(f.name, f.size, f.crc32c) for f in found.files] == [
        (kept.path, kept.bytes, kept.crc32c)
    ]
    assert found.left_out == ("region_de_venta=Sur/stranger.parquet",)
    (root / kept.path).unlink()
    with pytest.raises(IntegrityError, match="is not as it was committed, with"):
        find_sources(str(root))


def test_a_part_of_a_lake_and_a_lake_within_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "in" / "lake"
    commit_sales(Lake.open(str(root)), "uno", [("Hogar", "Norte", 100)])
    with pytest.raises(InputError, match="is a part of the lake"):
        find_sources(str(root / "region_de_venta=Norte"))
    with pytest.raises(InputError, match="is a lake: upload it by itself"):
        find_sources(str(tmp_path / "in"))


def test_a_commit_may_retire_files_while_a_lake_is_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake.open(str(tmp_path))
    commit_sales(lake, "a", [("Hogar", "Norte", 100), ("Hogar", "Sur", 100)])
    snapshot, walk = Lake.snapshot, os.walk

    def overwritten_after_the_look(self: Lake) -> Snapshot:
        monkeypatch.setattr(Lake, "snapshot", snapshot)
        found = snapshot(self)
        commit_sales(lake, "b", [("Hogar", "Norte", 200), ("Hogar", "Sur", 1)], kind="overwrite")
        return found

    def overwritten_in_the_walk(*given: Any, **how: Any) -> Iterator[Any]:
        for found in walk(*given, **how):
            yield found
            if given[0] == tmp_path and len(lake.runs()) == 2:
                commit_sales(lake, "c", [("Hogar", "Norte", 300)], kind="overwrite")

    monkeypatch.setattr(Lake, "snapshot", overwritten_after_the_look)
    monkeypatch.setattr(os, "walk", overwritten_in_the_walk)
    found = find_sources(str(tmp_path))
    assert [f.name for f in found.files] == [f.path for f in lake.runs()[1].files]
    assert len(lake.runs()) == 3


def test_a_lake_may_begin_while_a_folder_is_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake.open(str(tmp_path))
    begun = draft(lake, "a", [("Hogar", "Norte", 100), ("Hogar", "Sur", 100)])
    walk = os.walk

    def half_published(*given: Any, **how: Any) -> Iterator[Any]:
        monkeypatch.setattr(os, "walk", walk)
        decided = lake.decide(begun)
        move(lake.storage, "a", moves_of(decided)[:1])
        return walk(*given, **how)

    monkeypatch.setattr(os, "walk", half_published)
    found = find_sources(str(tmp_path))
    assert found.is_lake
    assert len(found.files) == 2

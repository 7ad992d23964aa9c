from __future__ import annotations

from decimal import Decimal
from typing import Any

from celes_beam.stores.lake.commits import Commits
from celes_beam.stores.lake.history import history
from celes_beam.stores.lake.manifest import DataFile, Generated, InputRecord, Manifest


def run(run_id: str, *files: tuple[str, int], **fields: Any) -> Manifest:
    described = tuple(
        DataFile(
            path=path,
            staged=path,
            partition={},
            rows=rows,
            bytes=rows * 10,
            crc32c="",
            total=f"{rows}.25",
        )
        for path, rows in files
    )
    what = {"kind": "append", "started_at": "", "staging": "", "files": described}
    return Manifest(run_id=run_id, **(what | fields))


def commits(*manifests: Manifest) -> Commits:
    return Commits(manifests, done=frozenset(m.run_id for m in manifests))


def test_the_lake_after_each_commit() -> None:
    steps = history(
        commits(
            run("a", ("a1", 1), ("a2", 2)),
            run("b", ("b1", 4)),
            run("c", ("c1", 6), kind="compact", retired=("a2", "b1")),
            run("d", kind="overwrite", retired=("a1", "c1")),
        )
    )
    after = [(s.files_after, s.rows_after, s.bytes_after, s.total_after) for s in steps]
    assert after == [
        (2, 3, 30, Decimal("3.50")),
        (3, 7, 70, Decimal("7.75")),
        (2, 7, 70, Decimal("7.50")),
        (0, 0, 0, Decimal("0.00")),
    ]
    assert [s.rows_retired for s in steps] == [0, 0, 6, 7]
    assert [s.state for s in steps] == ["retired", "retired", "retired", "no rows"]


def test_how_much_of_a_commit_is_live() -> None:
    steps = history(
        commits(
            run("a", ("a1", 1), ("a2", 2)),
            run("b", ("b1", 2), kind="compact", retired=("a2",)),
        )
    )
    assert [s.state for s in steps] == ["1 of 2 files live", "live"]


def test_where_rows_came_from() -> None:
    inputs = tuple(InputRecord(path=p, size=1, version="1") for p in ("a.csv", "b.csv", "c.csv"))
    steps = history(
        commits(
            run("a", generated=Generated(seed=7, rows=3)),
            run("b", inputs=inputs[:1]),
            run("c", inputs=inputs),
            run("d"),
            run("e", kind="compact", retired=("x", "y")),
        )
    )
    assert [s.origin for s in steps] == [
        "generated, seed 7",
        "a.csv",
        "a.csv and 2 more",
        "no input",
        "2 files merged",
    ]

import errno
import io
import json
import sys
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest

from celes_beam.commands.console import check_json_target, console_for, write_json
from celes_beam.commands.summary import RunSummary
from celes_beam.errors import ConfigError, StorageError
from celes_beam.stores.lake.manifest import (
    CategoryTotal,
    DataFile,
    InputRecord,
    Manifest,
    RegionMean,
    RejectedExample,
)

MANIFEST = Manifest(
    run_id="night-1",
    kind="create",
    started_at="2026-01-01T00:00:00+00:00",
    decided_at="2026-01-01T00:00:09+00:00",
    staging="_staging/night-1/x",
    files=(
        DataFile(
            path="a.parquet",
            staged="a.parquet",
            partition={},
            rows=3,
            bytes=1500,
            crc32c="",
            total="40.00",
        ),
    ),
    rows_read=4,
    rows_accepted=3,
    rows_rejected=1,
    rejected_by_reason={"missing": 1},
    rejected_examples=(
        RejectedExample(reason="missing", source="[v].csv", position=9, column="id_cliente"),
    ),
    by_category=(
        CategoryTotal(categoria_de_producto="Hogar", rows=2, total="30.00"),
        CategoryTotal(categoria_de_producto="Ropa", rows=1, total="10.00"),
    ),
    by_region=(RegionMean(region_de_venta="Norte", rows=3, total="40.00", mean="13.333333"),),
    total="40.00",
)


def shown(summary: RunSummary) -> str:
    stream = io.StringIO()
    summary.print(console_for(stream))
    return stream.getvalue()


def test_json_holds_what_programs_need() -> None:
    content = RunSummary(MANIFEST, "./lake", 1.23456, "committed").to_dict()

    assert (
        json.loads(json.dumps(content))
        == content
        == {
            "run_id": "night-1",
            "lake": "./lake",
            "status": "committed",
            "rows_read": 4,
            "rows_accepted": 3,
            "rows_rejected": 1,
            "rejected_by_reason": {"missing": 1},
            "files": 1,
            "bytes": 1500,
            "seconds": 1.235,
            "total": "40.00",
            "by_category": [
                {
                    "categoria_de_producto": "Hogar",
                    "rows": 2,
                    "total": "30.00",
                    "share": "0.750000",
                },
                {"categoria_de_producto": "Ropa", "rows": 1, "total": "10.00", "share": "0.250000"},
            ],
            "by_region": [
                {"region_de_venta": "Norte", "rows": 3, "total": "40.00", "mean": "13.333333"}
            ],
            "set_aside": [],
            "skipped": [],
            "bigquery": None,
        }
    )


def test_people_see_counts_aggregates_rejects_and_what_is_next() -> None:
    text = shown(RunSummary(MANIFEST, "./lake", 2.0, "committed"))

    for part in ("rows read", "4", "2 rows/s", "75.0%", "13.333333", "missing", "[v].csv at 9"):
        assert part in text
    assert "celes-beam lake verify ./lake" in text
    assert "./lake/_rejected/night-1/" in text


def test_next_steps_can_be_copied_where_the_shell_does_not_find_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    summary = RunSummary(MANIFEST, "./my lake", 2.0, "committed")
    here = Path(sys.executable).parent
    monkeypatch.setenv("PATH", str(here))
    assert "  celes-beam lake verify './my lake'\n" in shown(summary)

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(here.parent)
    assert f"  {here.name}/celes-beam lake verify './my lake'\n" in shown(summary)


def test_a_run_that_was_done_before_says_so() -> None:
    text = shown(RunSummary(MANIFEST, "./lake", 0.0, "already_committed"))

    assert "Run night-1 was committed at 2026-01-01T00:00:09+00:00: nothing to do" in text
    assert "rows/s" not in text


def test_no_new_files_is_one_sentence() -> None:
    text = shown(RunSummary(MANIFEST, "./lake", 0.0, "no_new_files"))

    assert text.startswith("No new files")
    assert "rows read" not in text


def test_a_place_where_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="could not be written"):
        write_json(str(tmp_path / "no" / "where.json"), {})


def test_of_a_summary_that_the_disk_does_not_take_no_half_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(path: Path, *_: object, **__: object) -> NoReturn:
        path.write_bytes(b"{")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(StorageError, match="No space left on device; the run itself is done"):
        write_json(str(tmp_path / "s.json"), {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["lake/s.json", "lake", "no/where.json", "."])
def test_a_summary_that_could_not_be_written_is_refused_before_the_work(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lake").mkdir()

    with pytest.raises(ConfigError, match="--summary_json"):
        check_json_target(name, "lake")
    check_json_target("s.json", "lake")
    check_json_target(None, "lake")


def test_long_tables_are_cut() -> None:
    regions = tuple(
        RegionMean(region_de_venta=f"r{i}", rows=1, total="1.00", mean="1.000000")
        for i in range(60)
    )
    text = shown(
        RunSummary(msgspec.structs.replace(MANIFEST, by_region=regions), "lake", 1.0, "committed")
    )

    assert "r49" in text
    assert "r50" not in text
    assert "… and 10 more" in text


def test_brackets_in_a_path_are_no_markup() -> None:
    for status in ("committed", "already_committed", "no_new_files"):
        assert "q[/w]" in shown(RunSummary(MANIFEST, "q[/w]", 1.0, status))


def test_an_input_of_which_nothing_was_accepted_is_said_aloud() -> None:
    inputs = tuple(
        InputRecord(path=f"{n}.csv", size=1, version="1", rows_read=3, rows_accepted=n)
        for n in (0, 1)
    )
    text = shown(
        RunSummary(msgspec.structs.replace(MANIFEST, inputs=inputs), "lake", 1.0, "committed")
    )

    assert "Nothing of 0.csv was accepted" in text
    assert "--reprocess" in text
    assert "Nothing of 1.csv" not in text

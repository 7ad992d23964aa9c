"""Files that are no sales, among files that are: the others are taken in all the same."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from celes_beam.contract import COLUMN_NAMES, ID
from celes_beam.errors import ColumnError, InputChangedError, InputError, TooManyRejectedError
from celes_beam.stores.inputs import read as read_module
from celes_beam.stores.inputs.sources import SalesFiles
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from pipelines.batch import run

HEADER = ",".join(COLUMN_NAMES)
QUIET = ["--progress", "off"]
SET_ASIDE = [*QUIET, "--bad_files", "set_aside", "--if_exists", "append"]


def sales(*customers: int) -> str:
    rows = [f"{customer},2024-05-03,1.25,Hogar,Norte\n" for customer in customers]
    return HEADER + "\n" + "".join(rows)


def cut_off(path: Path, rows: int) -> Path:
    """A compressed file whose first rows can be read and whose end is missing."""
    noise = "".join(f"{i},2024-05-03,{i * 7919 % 9973}.25,Hogar,Norte\n" for i in range(1, rows))
    data = gzip.compress((HEADER + "\n" + noise).encode())
    path.write_bytes(data[: len(data) * 9 // 10])
    return path


def customers_of(lake: Path) -> list[int]:
    files = sorted(lake.glob("region*/*.parquet"))
    return sorted(i for f in files for i in pq.ParquetFile(f).read().column(ID).to_pylist())


def rejected_of(lake: Path, run_id: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(lake / "_rejected" / run_id).to_pylist()
    return rows


def landing_of(tmp_path: Path) -> Path:
    landing = tmp_path / "landing"
    landing.mkdir()
    return landing


def test_good_files_are_taken_in_and_bad_ones_kept_with_why(
    tmp_path: Path, runner: list[str]
) -> None:
    landing, lake = landing_of(tmp_path), tmp_path / "lake"
    (landing / "a.csv").write_text(sales(1, 2))
    (landing / "b.csv").write_text("nothing,of,this\n1,2,3\n")
    (landing / "c.parquet").write_bytes(b"PAR1 and then no more")
    cut_off(landing / "d.csv.gz", 40_000)
    (landing / "e.csv").write_text(sales(3) + "x,y\n")

    summary = run(["-i", str(landing), "-o", str(lake), *SET_ASIDE, *runner])

    assert customers_of(lake) == [1, 2, 3]
    found = summary.to_dict()
    assert (found["rows_read"], found["rows_accepted"], found["rows_rejected"]) == (7, 3, 4)
    assert [Path(f["path"]).name for f in found["set_aside"]] == ["b.csv", "c.parquet", "d.csv.gz"]
    rows = {Path(r["source"]).name: r for r in rejected_of(lake, found["run_id"])}
    assert sorted(rows) == ["b.csv", "c.parquet", "d.csv.gz", "e.csv"]
    for file in found["set_aside"]:
        row = rows[Path(file["path"]).name]
        assert row["value"] == file["why"]
        assert (row["position"], row["reasons"], row["column"], row["raw"]) == (
            0,
            ["malformed"],
            None,
            b"",
        )
    assert verify(Lake.open(str(lake))).problems == ()
    assert not (lake / "_staging").exists()

    again = run(["-i", str(landing), "-o", str(lake), *SET_ASIDE, *runner])

    assert again.status == "no_new_files"


def test_a_bad_file_that_is_mended_is_read(tmp_path: Path) -> None:
    landing, lake = landing_of(tmp_path), tmp_path / "lake"
    bad = landing / "a.csv"
    bad.write_text("no,sales\n")
    command = ["-i", str(landing), "-o", str(lake), *SET_ASIDE]
    assert run(command).manifest.rows_rejected == 1

    bad.write_text(sales(1))

    assert run(command).manifest.rows_accepted == 1
    assert customers_of(lake) == [1]


def test_only_bad_files_found_while_reading_are_committed_without_a_pipeline(
    tmp_path: Path,
) -> None:
    landing, lake = landing_of(tmp_path), tmp_path / "lake"
    cut_off(landing / "a.csv.gz", 40_000)

    summary = run(["-i", str(landing), "-o", str(lake), *SET_ASIDE])

    assert (summary.manifest.rows_read, summary.manifest.rows_rejected) == (1, 1)
    assert customers_of(lake) == []
    assert verify(Lake.open(str(lake))).problems == ()


def test_by_default_a_bad_file_ends_the_run(tmp_path: Path) -> None:
    landing, lake = landing_of(tmp_path), tmp_path / "lake"
    (landing / "a.csv").write_text(sales(1))
    (landing / "b.csv").write_text("no,sales\n")

    with pytest.raises(ColumnError, match=r"b\.csv"):
        run(["-i", str(landing), "-o", str(lake), *QUIET])

    assert not lake.exists()


def test_bad_files_count_towards_the_limit(tmp_path: Path) -> None:
    landing, lake = landing_of(tmp_path), tmp_path / "lake"
    (landing / "a.csv").write_text(sales(1))
    (landing / "b.csv").write_text("no,sales\n")

    with pytest.raises(TooManyRejectedError, match=r"b\.csv"):
        run(["-i", str(landing), "-o", str(lake), *SET_ASIDE, "--max_rejected", "0"])

    assert not lake.exists()


class WrittenWhileRead:
    """Lets a file be appended to once its first rows have been read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self._read = read_module.read_range
        self._name = name
        monkeypatch.setattr("celes_beam.stores.inputs.sources.read_range", self)

    def __call__(self, part: Any, *rest: Any) -> Any:
        yield from self._read(part, *rest)
        if part.file.path.endswith(self._name):
            path = Path(part.file.path)
            path.write_text(path.read_text() + "9,2024-05-03,1.25,Hogar,Norte\n")
            yield from self._read(part, *rest)


def test_a_file_that_is_written_to_meanwhile_is_left_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing, lake = landing_of(tmp_path), tmp_path / "lake"
    (landing / "a.csv").write_text(sales(1))
    (landing / "b.csv").write_text(sales(2))
    command = ["-i", str(landing), "-o", str(lake), *SET_ASIDE]
    with monkeypatch.context() as patch:
        WrittenWhileRead(patch, "b.csv")
        summary = run(command)

    assert [Path(p).name for p in summary.skipped] == ["b.csv"]
    assert (customers_of(lake), summary.manifest.rows_read) == ([1], 1)

    assert run(command).skipped == ()
    assert customers_of(lake) == [1, 2, 9]


def test_when_all_files_change_meanwhile_nothing_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing, lake = landing_of(tmp_path), tmp_path / "lake"
    (landing / "a.csv").write_text(sales(1))
    WrittenWhileRead(monkeypatch, "a.csv")

    summary = run(["-i", str(landing), "-o", str(lake), *SET_ASIDE])

    assert (summary.status, len(summary.skipped)) == ("no_new_files", 1)
    assert not list(lake.glob("_commits/*.json"))
    assert not (lake / "_staging").exists()


def test_a_file_that_goes_before_it_is_read_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing, lake = landing_of(tmp_path), tmp_path / "lake"
    (landing / "a.csv").write_text(sales(1))
    (landing / "b.csv").write_text(sales(2))
    plan = SalesFiles.plan

    def gone(source: SalesFiles, file: Any) -> Any:
        if file.path.endswith("b.csv"):
            Path(file.path).unlink()
        return plan(source, file)

    monkeypatch.setattr(SalesFiles, "plan", gone)

    summary = run(["-i", str(landing), "-o", str(lake), *SET_ASIDE])

    assert [Path(p).name for p in summary.skipped] == ["b.csv"]
    assert customers_of(lake) == [1]
    (commit,) = lake.glob("_commits/*.json")
    assert [Path(i["path"]).name for i in json.loads(commit.read_text())["inputs"]] == ["a.csv"]


def test_what_replaces_a_lake_is_never_short_of_a_file_that_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing, lake = landing_of(tmp_path), tmp_path / "lake"
    (landing / "a.csv").write_text(sales(1))
    (landing / "b.csv").write_text(sales(2))
    WrittenWhileRead(monkeypatch, "b.csv")

    with pytest.raises(InputChangedError, match=r"b\.csv: changed"):
        run(["-i", str(landing), "-o", str(lake), *QUIET, "--bad_files", "set_aside", "-f"])

    assert not lake.exists()


def test_a_folder_whose_files_have_all_gone_is_nothing_new_to_an_append(tmp_path: Path) -> None:
    landing, lake = landing_of(tmp_path), tmp_path / "lake"
    command = ["-i", str(landing), "-o", str(lake), *QUIET, "--if_exists", "append"]
    with pytest.raises(InputError, match="holds no file to read"):
        run(command)
    (landing / "a.csv").write_text(sales(1))
    run(command)

    (landing / "a.csv").unlink()

    assert run(command).status == "no_new_files"
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="holds no file to read"):
        run(["-i", str(tmp_path / "other"), *command[2:]])
    with pytest.raises(InputError, match="holds no file to read"):
        run([*command, "--reprocess"])
    landing.rmdir()
    with pytest.raises(InputError, match="no such file or folder"):
        run(command)

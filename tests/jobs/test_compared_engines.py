"""The engines that are there for a comparison alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from celes_beam.engines import duckdb, pieces, polars
from celes_beam.errors import ConfigError, StorageError
from tests.answers import commit_rows
from tests.jobs.cases import CASES, Case, Run, ask_all, sales, without_engine

RUNS = {"polars": polars.run, "duckdb": duckdb.run}
both = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)


def questions(case: Case, source: Path) -> list[str]:
    """All but the sorted rows, which these do not write."""
    asked = ask_all(case, str(source), "")
    at = asked.index("-o")
    return [flag for flag in asked[:at] + asked[at + 2 :] if flag != "--write_sorted"]


@both
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_answer_is_that_of_every_engine(tmp_path: Path, run: Run, case: Case) -> None:
    # What a pattern or a hive path would make something else of.
    source = tmp_path / "x=1 [ab]*'?" / "input"
    case.make(source, case.rows)

    summary = run(questions(case, source))

    assert without_engine(summary.result) == case.expected()


@both
def test_pieces_add_up(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "reads_files", lambda job: False)
    monkeypatch.setattr("celes_beam.stores.lake.lake_reader.PIECE_ROWS", 40)
    case = next(case for case in CASES if case.name == "flat-files")
    case.make(tmp_path / "input", case.rows)

    assert without_engine(run(questions(case, tmp_path / "input")).result) == case.expected()


@both
def test_a_file_that_is_gone_is_one_line(tmp_path: Path, run: Run) -> None:
    lake = commit_rows(tmp_path, sales(20))
    (tmp_path / lake.snapshot().files[0].path).unlink()
    with pytest.raises(StorageError, match="cannot read"):
        run(["--input", str(tmp_path), "--progress", "off"])


@both
def test_rows_are_not_written(tmp_path: Path, run: Run) -> None:
    lake, output = tmp_path / "lake", tmp_path / "result"
    commit_rows(lake, sales(20))
    with pytest.raises(ConfigError, match=r"writes no rows; use python -m pipelines\.aggregate"):
        run(["--input", str(lake), "--output", str(output), "--write_sorted"])
    assert not output.exists()

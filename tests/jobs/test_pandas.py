from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from celes_beam.contract import ID
from celes_beam.errors import ConfigError, InputError, IntegrityError, StorageError
from pandas_jobs import answer, frames
from pandas_jobs.aggregate import main, run
from tests.answers import commit_rows
from tests.jobs.buckets import check_in_bucket
from tests.jobs.cases import CASES, Case, check_answer, sales, sorted_table, without_engine
from tests.jobs.conftest import Million
from tests.tools import ROOT


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_answer_is_that_of_every_engine(tmp_path: Path, case: Case) -> None:
    check_answer(run, case, tmp_path)


@pytest.mark.parametrize(
    "case",
    [c for c in CASES if c.name in {"odd-names", "by-day", "hive-of-others", "flat-files"}],
    ids=lambda case: case.name,
)
def test_frames_of_a_few_rows_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    monkeypatch.setattr(frames, "FRAME_ROWS", 7)
    monkeypatch.setattr(answer, "PART_ROWS", 11)

    check_answer(run, case, tmp_path)


def test_a_million_rows_as_beam_has_them(tmp_path: Path, million: Million) -> None:
    summary = run([*million.questions, "-o", str(tmp_path / "result")])

    assert without_engine(summary.result) == million.result
    assert sorted_table(tmp_path / "result").equals(million.ordered)


def test_lakes_and_folders_in_a_bucket(tmp_path: Path, bucket: Any) -> None:
    check_in_bucket(run, tmp_path, bucket)


@pytest.mark.parametrize("program", ["pandas_jobs.aggregate", "dask_jobs.aggregate"])
def test_help_imports_nothing_slow(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", program, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "--write_sorted" in done.stdout
    assert "Beam's own flags" not in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not {"numpy", "pyarrow", "pandas", "dask", "rich", "apache_beam"} & imported


def test_errors_are_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["-i", str(tmp_path / "none")]) == 2
    assert "there is no such folder" in capfd.readouterr().err
    with pytest.raises(ConfigError, match=r"--tops is not a flag .* perhaps --top"):
        run(["-i", str(tmp_path), "--tops", "3"])


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "pandas.py").write_text("raise ModuleNotFoundError(name='pandas')\n")

    done = subprocess.run(
        [sys.executable, "-m", "pandas_jobs.aggregate", "-i", "x"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "pip install 'celes-beam[pandas]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_files_that_are_gone_broken_or_changed_are_named(tmp_path: Path) -> None:
    ask = ["-i", str(tmp_path), "--progress", "off"]
    lake = commit_rows(tmp_path, sales(90))
    first, second = (tmp_path / file.path for file in lake.snapshot().files[:2])
    good = first.read_bytes()
    first.unlink()
    with pytest.raises(StorageError, match=rf"{first.name} is gone"):
        run(ask)
    first.write_bytes(good[:-9])
    with pytest.raises(IntegrityError, match=rf"{first.name} cannot be read as Parquet"):
        run(ask)
    first.write_bytes(second.read_bytes())
    with pytest.raises(IntegrityError, match="were committed: find the file"):
        run(ask)


def test_a_value_that_the_contract_does_not_accept_is_named(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "hive-of-others")
    case.make(tmp_path, [*case.rows, (0, *case.rows[0][1:])])
    ask = ["-i", str(tmp_path), *case.flags, "--progress", "off"]

    run(ask)
    with pytest.raises(InputError, match=f"{ID} is out_of_range: '0'"):
        run([*ask, "--top", "1"])

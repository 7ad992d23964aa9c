"""Engines side by side, as processes, on real lakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from celes_beam.cli import main
from celes_beam.report.comparison import Comparison, read_comparison
from celes_beam.stores.lake.lake import Lake
from pipelines import batch
from tests.lakes import commit_sales

QUIET = ["--progress", "off"]
SALES = [("Ropa", "Norte", 1010), ("Hogar", "Sur", 1), ("Ropa", "Sur a/b=%", 1010)]
REPOSITORY = Path(__file__).parents[2]
AS_POLARS = """\
import json, sys
from celes_beam.engines import polars
if polars.main(sys.argv[1:]): sys.exit(1)
path = sys.argv[sys.argv.index("--summary_json") + 1]
told = json.load(open(path))
"""
WRITE = "\njson.dump(told, open(path, 'w'))\n"


def compare(*argv: str, folder: Path) -> tuple[int, Comparison]:
    path = folder / "comparison.json"
    code = main(["compare", *argv, "--json", str(path), *QUIET])
    return code, read_comparison(str(path))


def in_place_of(jobs: str, folder: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an engine's job do something else: of two packages the one in our folder is run."""
    (folder / jobs).mkdir()
    (folder / jobs / "__init__.py").touch()
    (folder / jobs / "aggregate.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(folder)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake.open(str(tmp_path / "lake"))
    commit_sales(lake, "one", SALES)
    return lake


def test_engines_agree_on_200_000_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(tmp_path / "lake")
    batch.run(["--rows", "200000", "--output", root, *QUIET])
    engines = ["pandas", "beam", "polars", "duckdb"]

    code, found = compare(
        *("--input", root, "--engines", ",".join(engines), "--repeat", "1", "--top", "20"),
        folder=tmp_path,
    )

    assert code == 0
    assert found.agree
    assert [(run.engine, run.state) for run in found.runs] == [(name, "ok") for name in engines]
    results = [run.result for run in found.runs if run.result is not None]
    assert [result.engine for result in results] == engines
    whole = Lake.open(root).snapshot()
    for result in results:
        assert msgspec.structs.replace(result, engine="") == msgspec.structs.replace(
            results[0], engine=""
        )
        assert (result.rows, result.total) == (200_000, str(whole.total))
        assert result.top is not msgspec.UNSET
        assert len(result.top) == 20
    for run in found.runs:
        assert 0 < run.seconds[0] < run.startup_seconds[0] + run.seconds[0]
        assert run.peak_mb[0] > 50
        assert run.bytes_read is not None
        assert run.bytes_read > whole.bytes / 10
    assert "All 4 results are equal: 200,000 rows" in capsys.readouterr().out


def test_a_planted_difference_is_shown_and_a_failure_stops_nobody(
    lake: Lake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong = 'told["by_region"][0]["mean"] = "9.990000"; told["by_category"].pop()'
    in_place_of("pandas_jobs", tmp_path, AS_POLARS + wrong + WRITE, monkeypatch)
    in_place_of("dask_jobs", tmp_path, "raise SystemExit('dask: no such luck')", monkeypatch)

    code, found = compare(
        *("-i", lake.storage.root, "--engines", "pandas,dask,polars,duckdb", "--repeat", "1"),
        folder=tmp_path,
    )

    assert code == 4
    assert not found.agree
    assert [run.state for run in found.runs] == ["differs", "failed", "ok", "ok"]
    assert found.runs[1].why == "dask: no such luck (exit code 1)"
    told = [(d.table, d.key, d.column, d.value, d.expected) for d in found.differences]
    assert told == [
        ("by_category", "Hogar", "rows", None, 1),
        ("by_category", "Hogar", "total", None, "0.01"),
        ("by_category", "Hogar", "share", None, "0.000495"),
        ("by_region", "Norte", "mean", "9.990000", "10.100000"),
    ]
    out, err = capsys.readouterr()
    assert any(all(text in line for text in ("Norte", "9.99", "10.1")) for line in out.splitlines())
    assert err.splitlines()[-1] == (
        "celes-beam: results are not equal: 4 figures of pandas are not those of polars"
    )


def test_a_commit_that_comes_meanwhile_does_not_count(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = (
        "from tests.lakes import commit_sales\n"
        "from celes_beam.stores.lake.lake import Lake\n"
        f"commit_sales(Lake.open({lake.storage.root!r}), 'two', {SALES!r})\n"
    )
    in_place_of("pandas_jobs", tmp_path, commit + AS_POLARS, monkeypatch)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))

    code, found = compare(
        *("-i", lake.storage.root, "--engines", "pandas,duckdb,beam", "--repeat", "1"),
        folder=tmp_path,
    )

    assert lake.snapshot().rows == 6
    assert code == 0
    assert [run.result.rows for run in found.runs if run.result is not None] == [3, 3, 3]


def test_sizes_are_generated_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setenv("TMPDIR", str(work))
    monkeypatch.setattr("tempfile.tempdir", None)

    report = tmp_path / "report.html"
    flags = ["--engines", "duckdb", "--repeat", "1", "--report", str(report)]
    code, found = compare("--rows", "3000,1000", *flags, folder=tmp_path)

    assert code == 0
    assert found.sizes == (1000, 3000)
    assert found.input == "--rows 1e3,3e3"
    html = report.read_text(encoding="utf-8")
    assert "<title>Informe de ventas · --rows 3e3</title>" in html
    assert str(work) not in html
    assert [path.name for path in work.iterdir()] == []


def test_a_table_that_holds_the_lake_agrees_and_one_that_lacks_rows_says_so(
    dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, table = str(tmp_path / "lake"), f"{dataset}.ventas"
    batch.run(["--rows", "2000", "-o", root, "--bigquery_table", table, *QUIET])
    asked = ["-i", root, "--engines", "duckdb,bigquery", "--bigquery_table", table]

    code, found = compare(*asked, "--repeat", "1", "--top", "30", folder=tmp_path)

    assert code == 0, found.runs
    assert [run.state for run in found.runs] == ["ok", "ok"]
    assert found.runs[1].bytes_read is None

    commit_sales(Lake.open(root), "two", [("Ropa", "Norte", 100)])
    code, found = compare(*asked, "--repeat", "1", folder=tmp_path)

    assert code == 4
    assert [run.state for run in found.runs] == ["ok", "differs"]
    out = " ".join(capsys.readouterr().out.split())
    assert "bigquery: the table holds 2,000 rows of" in out
    assert "the lake 2,001 of" in out


def test_a_lake_in_a_bucket(bucket: Any, tmp_path: Path) -> None:
    root = f"gs://{bucket.name}/lake"
    batch.run(["--rows", "2000", "-o", root, *QUIET])

    code, found = compare(
        *("-i", root, "--engines", "polars,duckdb,beam", "--repeat", "1", "--top", "2"),
        folder=tmp_path,
    )

    assert code == 0, found.runs
    assert [run.bytes_read for run in found.runs] == [None] * 3


def test_ctrl_c_ends_the_engine_too(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import os, time\n"
        f"open({str(tmp_path / 'part')!r}, 'w').write(str(os.getpid()))\n"
        f"os.rename({str(tmp_path / 'part')!r}, {str(tmp_path / 'pid')!r}); time.sleep(100)"
    )
    in_place_of("pandas_jobs", tmp_path, code, monkeypatch)
    command = [sys.executable, "-m", "celes_beam.cli", "compare", "-i", lake.storage.root]
    process = subprocess.Popen(
        [*command, "--engines", "pandas"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    pid = tmp_path / "pid"
    end = time.monotonic() + 30
    while not pid.exists():
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.02)

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert err.splitlines()[-1] == "celes-beam: interrupted; it is safe to run it again"
    assert not psutil.pid_exists(int(pid.read_text()))


@pytest.mark.slow
def test_all_engines_agree_and_a_report_shows_them(tmp_path: Path) -> None:
    root, report = str(tmp_path / "lake"), tmp_path / "report.html"
    batch.run(["--rows", "5000", "--output", root, *QUIET])
    names = ["pandas", "dask", "spark", "beam", "polars", "duckdb"]

    code, found = compare(
        *("-i", root, "--repeat", "1", "--top", "5", "--report", str(report), "--lang", "en"),
        folder=tmp_path,
    )

    assert code == 0, found.runs
    assert [(run.engine, run.state) for run in found.runs] == [(name, "ok") for name in names]
    page = report.read_text(encoding="utf-8")
    assert all(json.dumps(name) in page for name in names)

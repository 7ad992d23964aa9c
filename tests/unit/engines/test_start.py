from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from celes_beam.engines import bigquery, duckdb, polars

PROGRAMS = [polars.ENGINE.program, duckdb.ENGINE.program, bigquery.PROGRAM]


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_imports_nothing_slow(program: str) -> None:
    code = (
        f"import sys, {program} as engine\n"
        "try: engine.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'pyarrow', 'polars', 'duckdb', 'google.cloud.bigquery', 'rich'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"usage: python -m {program}" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_flag_that_is_not_known_is_one_line(
    program: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = sys.modules[program].main
    input_flags = ["--input", str(tmp_path)]
    if program == bigquery.PROGRAM:
        input_flags = ["--bigquery_table", "p-roject:d.t"]
    assert main([*input_flags, "--runner", "x"]) == 2
    err = capsys.readouterr().err
    assert f"{program}: --runner is not a flag of {program}" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--bigquery_table", "ventas"], "expected PROJECT:DATASET.TABLE"),
        (["--bigquery_table", "p-roject:d.t", "--sort_by", "x"], "--sort_by x: expected one of"),
        ([], "--bigquery_table"),
    ],
)
def test_a_table_that_cannot_be_is_refused(
    flags: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bigquery.main(flags) == 2
    assert why in capsys.readouterr().err

"""``--transform`` in real runs, the example of its page among them."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from celes_beam.commands.console import console_for
from celes_beam.contract import COLUMN_NAMES
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from pipelines.batch import run
from tests.tools import ROOT

PAGE = (ROOT / "docs" / "transform.md").read_text(encoding="utf-8")
QUIET = ["--progress", "off"]
ROW = "7,2024-05-03,12.34,Hogar,Norte"


def batch_in(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euc", script],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_example_of_its_page(tmp_path: Path) -> None:
    _, hook = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (script,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "hooks.py").write_text(hook, encoding="utf-8")

    ended = batch_in(tmp_path, script)

    assert ended.returncode == 0, ended.stderr
    rows = ds.dataset(tmp_path / "shops", format="parquet", partitioning="hive").to_table()
    told = {
        (str(r["cantidad_de_venta"]), r["region_de_venta"])
        for r in rows.select(COLUMN_NAMES).to_pylist()
    }
    assert told == {("12.50", "Norte"), ("7.99", "Sur")}
    (rejected,) = pq.read_table(next((tmp_path / "shops").glob("_rejected/*/*.pq"))).to_pylist()
    assert rejected["raw"] == b"3,2024-05-04,Ropa,X-9,100"
    assert (rejected["reasons"], rejected["column"]) == (["missing"], "region_de_venta")


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("hooks:claen", "hooks.py has no 'claen': perhaps clean"),
        ("hoks:clean", "there is no module 'hoks'"),
    ],
)
def test_a_misspelt_name_is_one_line_before_anything_runs(
    tmp_path: Path, reference: str, says: str
) -> None:
    (tmp_path / "hooks.py").write_text("def clean(batch): return batch\n", encoding="utf-8")
    (tmp_path / "v.csv").write_text(f"{','.join(COLUMN_NAMES)}\n{ROW}\n", encoding="utf-8")

    ended = batch_in(
        tmp_path, f"python -m pipelines.batch -i v.csv -o lake --transform {reference}"
    )

    assert ended.returncode == 2
    assert ended.stderr.startswith("pipelines.batch: --transform ")
    assert says in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "lake").exists()


def test_a_transform_that_fails_rejects_its_blocks_and_the_run_goes_on(
    tmp_path: Path, runner: list[str]
) -> None:
    header = ",".join(COLUMN_NAMES)
    inputs = tmp_path / "in"
    inputs.mkdir()
    (inputs / "a.csv").write_text(f"{header},tienda,centimos\n" + f"{ROW},N-1,550\n" * 3)
    (inputs / "b.csv").write_text(f"{header}\n" + f"{ROW}\n" * 2)
    whole = dict(zip(COLUMN_NAMES, ROW.split(","), strict=True))
    line = json.dumps({**whole, "tienda": "S-1", "centimos": 1})
    (inputs / "c.ndjson").write_text(line.replace("S-1", "N-2") + f"\n{line}\n")
    lake = str(tmp_path / "lake")

    hook = ["--transform", "tests.hooks:region_of_shop"]
    summary = run(["-i", str(inputs), "-o", lake, *hook, *QUIET, *runner])

    told = summary.to_dict()
    assert (told["rows_read"], told["rows_accepted"]) == (7, 4)
    assert told["rejected_by_reason"] == {"missing": 1, "transform_failed": 2}
    assert told["total"] == "16.51"
    printed = io.StringIO()
    summary.print(console_for(printed))
    assert printed.getvalue().count("KeyError") == 1
    assert verify(Lake.open(lake)).problems == ()
    (failed,) = {
        (r["value"], r["raw"])
        for file in Path(lake).glob("_rejected/*/*.pq")
        for r in pq.read_table(file).to_pylist()
        if r["reasons"] == ["transform_failed"]
    }
    assert "KeyError: 'Field \"tienda\" does not exist in schema'" in failed[0]
    assert failed[1] == ROW.encode()

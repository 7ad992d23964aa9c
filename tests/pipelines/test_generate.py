from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from celes_beam.commands.dataset_options import DatasetOptions
from celes_beam.config import Config
from celes_beam.contract import COLUMN_NAMES, SCHEMA
from celes_beam.errors import ConfigError, LakeExistsError
from celes_beam.sales.breakage import KINDS, plan_breakage
from celes_beam.sales.encode_csv import HEADER, encode_csv
from celes_beam.sales.generate import Generator
from celes_beam.stores.datasets.dataset_target import DatasetTarget, read_report
from pipelines.generate import build, main, run

QUIET = ["--progress", "off"]


def expected_csv(rows: int, config: Config | None = None) -> bytes:
    return HEADER + encode_csv(Generator(config or Config()).columns(0, rows)).to_pybytes()


@pytest.mark.parametrize("batch_rows", ["700", "5e3", "1000000"])
def test_any_batch_size_makes_the_same_file(tmp_path: Path, batch_rows: str) -> None:
    path = tmp_path / "ventas.csv"
    summary = run(["-o", str(path), "--rows", "5000", "--batch_rows", batch_rows, *QUIET])
    assert path.read_bytes() == expected_csv(5000)
    assert summary.to_dict() | {"seconds": 0} == {
        "output": str(path),
        "format": "csv",
        "seed": 42,
        "rows": 5000,
        "rows_broken": 0,
        "broken_by_reason": {},
        "files": 1,
        "bytes": path.stat().st_size,
        "seconds": 0,
    }


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("bundle_repeat", [0, 2])
def test_repeated_bundles_and_threads_make_the_same_shards(
    tmp_path: Path, bundle_repeat: int, threads: int
) -> None:
    config = Config(rows=3000)
    target = DatasetTarget.parse(str(tmp_path / "v"), "csv")
    options = DatasetOptions("test", config, target, overwrite=False, shards=4, error_rate=0.1)
    with target.work_folder() as folder:
        shards = target.plan(folder, config.rows, options.shards)
        with beam.Pipeline(runner=FnApiRunner(bundle_repeat=bundle_repeat)) as pipeline:
            build(pipeline, options, shards, folder, threads=threads)
        written = read_report(folder)
        target.publish(shards, written)
    lines = b"".join(
        path.read_bytes().removeprefix(HEADER) for path in sorted(target.path.iterdir())
    ).splitlines()
    good = expected_csv(3000).removeprefix(HEADER).splitlines()
    broken = plan_breakage(42, 0, 3000, 0.1)[0]
    assert [i for i in range(3000) if lines[i] != good[i]] == broken.tolist()
    assert sum(sum(shard.planted.values()) for shard in written) == len(broken)


def test_a_folder_of_parquet_shards(tmp_path: Path) -> None:
    run(["-o", str(tmp_path / "v"), "--format", "parquet", "--shards", "3", "--rows", "2000"])
    dataset = ds.dataset(str(tmp_path / "v"))
    assert len(dataset.files) == 3
    table = dataset.to_table().cast(SCHEMA)
    assert table.equals(pa.Table.from_batches([Generator(Config()).batch(0, 2000)]))


def test_broken_rows_are_told_by_reason(tmp_path: Path) -> None:
    path, told = tmp_path / "v.csv", tmp_path / "summary.json"
    run(["-o", str(path), "--rows", "20000", "--error_rate", "5%", "--summary_json", str(told)])
    summary = json.loads(told.read_text())
    kinds = plan_breakage(42, 0, 20_000, 0.05)[1]
    assert summary["rows_broken"] == len(kinds) == sum(summary["broken_by_reason"].values())
    assert set(summary["broken_by_reason"]) == {str(kind.reason) for kind in KINDS}


def test_a_configured_world(tmp_path: Path) -> None:
    config = tmp_path / "mundo.yaml"
    config.write_text("rows: 50\nregions: [Aquí, Allá]\nseed: 1\n", encoding="utf-8")
    path = tmp_path / "v.csv"
    argv = ["-o", str(path), "--config", str(config), "--seed", "9", "--categories", "Pan"]
    summary = run(argv)
    assert (summary.rows, summary.seed) == (50, 9)
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMN_NAMES
    assert {row[3] for row in rows} == {"Pan"}
    assert {row[4] for row in rows} == {"Aquí", "Allá"}


def test_no_rows_make_a_header(tmp_path: Path) -> None:
    run(["-o", str(tmp_path / "v.csv"), "--rows", "0"])
    assert (tmp_path / "v.csv").read_bytes() == HEADER


def test_what_is_there_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    argv = ["-o", str(path), "--rows", "10"]
    run(argv)
    with pytest.raises(LakeExistsError, match="is there already"):
        run([*argv, "--seed", "1"])
    assert path.read_bytes() == expected_csv(10)
    run([*argv, "--seed", "1", "-f"])
    assert path.read_bytes() == expected_csv(10, Config(seed=1))


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--error_rate", "2"], "--error_rate 2: expected a share from 0 to 1"),
        (["--error_rate", "nan"], "--error_rate nan: expected a share"),
        (["--error_rate", "uno"], "--error_rate uno: expected a share"),
        (["--shards", "2"], "--shards 2 is for a folder"),
        (["--shards", "0"], "--shards 0: expected 1 or more"),
        (["--rows", "-5"], "rows=-5"),
        (["--formt", "csv"], "--formt is not a flag .* perhaps --format"),
    ],
)
def test_wrong_flags_are_told(tmp_path: Path, argv: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        run(["-o", str(tmp_path / "v.csv"), *argv])
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_tells_people_what_it_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "v.csv"
    argv = ["-o", str(path), "--rows", "1234", "--error_rate", "0.5", *QUIET]
    assert main(argv) == 0
    told = capsys.readouterr().out
    assert "1,234" in told
    assert "malformed" in told
    assert f"python -m pipelines.batch --input {path}" in told
    assert main(argv) == 2
    assert capsys.readouterr().err == (
        f"pipelines.generate: {path} is there already: choose another --output, or replace it "
        "with -f\n"
    )


def test_help_is_quick_and_imports_neither_beam_nor_arrow() -> None:
    code = (
        "import sys\n"
        "from pipelines.generate import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "finally:\n"
        "    print(sorted({'apache_beam', 'pyarrow', 'numpy'} & set(sys.modules)))\n"
    )
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert time.perf_counter() - started < 2
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--error_rate" in done.stdout

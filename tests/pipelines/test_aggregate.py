from __future__ import annotations

import csv
import dataclasses
import json
import random
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from celes_beam.commands.aggregate_flags import add_aggregate_flags
from celes_beam.commands.aggregate_options import AggregateOptions, aggregate_options
from celes_beam.commands.command_line import explain
from celes_beam.commands.flags import flag_parser
from celes_beam.contract import AMOUNT, CATEGORY, COLUMN_NAMES, DATE, ID, REGION, SCHEMA
from celes_beam.errors import (
    ColumnError,
    ConfigError,
    InputError,
    IntegrityError,
    LakeExistsError,
    StorageError,
    UsageError,
)
from celes_beam.stores.lake import lake_reader
from celes_beam.stores.lake.compact import compact
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.lake_input import open_input
from celes_beam.stores.results.results import Result
from pipelines import aggregate
from pipelines.aggregate import build, main, run
from tests.answers import Row, answer, as_json, batch_of, commit_rows, in_order, rows_of

QUIET = ["--progress", "off"]
ODD = ["Electrónica", "a=b", "c/d", "50%", "dos  espacios", "[bold]", "x:y", "ñandú", "b", "B"]
START = datetime(2024, 1, 1, tzinfo=UTC)


def sales(rows: int, *, seed: int = 1, regions: int = 4, most_cents: int = 500) -> list[Row]:
    """Sales of odd names, with many ties, some of them whole rows."""
    world = random.Random(seed)
    return [
        (
            world.randint(1, 9),
            START + timedelta(days=world.randint(0, 40), hours=world.choice([0, 0, 7])),
            Decimal(world.randint(1, most_cents)) / 100 + Decimal("0.00"),
            world.choice(ODD),
            f"Región {world.randrange(regions)}%",
        )
        for _ in range(rows)
    ]


def options_of(*flags: str) -> AggregateOptions:
    parser = flag_parser("test", "", add_aggregate_flags)
    return aggregate_options(parser.parse_args(list(flags)))


def without_engine(result: Result) -> dict[str, Any]:
    return {k: v for k, v in result.to_dict().items() if k != "engine"}


def sorted_rows(output: Path) -> list[Row]:
    return rows_of(ds.dataset(output / "sorted", format="parquet").to_table())


@pytest.mark.parametrize("partition_by", [(REGION,), (CATEGORY,), (), ("fecha",), (REGION, "mes")])
def test_sums_are_those_of_plain_arithmetic(tmp_path: Path, partition_by: tuple[str, ...]) -> None:
    rows = sales(700)
    commit_rows(tmp_path, rows[:500], rows[500:], partition_by=partition_by)

    summary = run(["-i", str(tmp_path), *QUIET])

    assert without_engine(summary.result) == answer(rows)
    assert summary.result.engine == "beam"


def test_each_runner_gives_the_same_files(tmp_path: Path, runner: list[str]) -> None:
    rows = sales(900)
    lake, output = tmp_path / "lake", tmp_path / "result"
    commit_rows(lake, rows)

    flags = ["--sort_by", DATE, "--descending", "--top", "30", "--write_sorted"]
    run(["-i", str(lake), "-o", str(output), *flags, *QUIET, *runner])

    ordered = in_order(rows, DATE, descending=True)
    expected = answer(rows) | {"engine": "beam", "top": [as_json(r) for r in ordered[:30]]}
    assert json.loads((output / "result.json").read_text()) == expected
    assert sorted_rows(output) == ordered
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lake", "result"]
    for name in ("by_category", "by_region", "top"):
        with (output / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            in_csv = list(csv.DictReader(file))
        assert in_csv == [{k: str(v) for k, v in line.items()} for line in expected[name]]
    assert rows_of(pq.read_table(output / "top.parquet")) == ordered[:30]
    by_region = pq.read_table(output / "by_region.parquet").to_pylist()
    assert [str(line["mean"]) for line in by_region] == [r["mean"] for r in expected["by_region"]]
    shares = pq.read_table(output / "by_category.parquet").column("share").to_pylist()
    assert [str(share) for share in shares] == [c["share"] for c in expected["by_category"]]


@pytest.mark.parametrize("column", [AMOUNT, DATE, ID])
@pytest.mark.parametrize("descending", [False, True])
def test_sorted_parts_are_in_order_for_any_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str, descending: bool
) -> None:
    monkeypatch.setattr(lake_reader, "PIECE_ROWS", 50)
    monkeypatch.setattr(lake_reader, "BATCH_ROWS", 17)
    rows = sales(800)
    lake = tmp_path / "lake"
    commit_rows(lake, *(rows[i : i + 100] for i in range(0, 800, 100)))
    flags = ["-i", str(lake), "-o", str(tmp_path / "result"), "--sort_by", column, "--top", "5"]
    options = options_of(*flags, "--write_sorted", *(["--descending"] if descending else []))
    options = dataclasses.replace(options, part_rows=90)
    ordered = in_order(rows, column, descending=descending)
    parts = {}

    for repeat in (0, 2):
        folder = tmp_path / f"work-{repeat}"
        folder.mkdir()
        found = open_input(options.input, options.started)
        with beam.Pipeline(runner=FnApiRunner(bundle_repeat=repeat)) as pipeline:
            build(pipeline, options, found, str(folder))
        result = options.target.publish(str(folder), with_sorted=True)
        output = options.target.path
        assert sorted_rows(output) == ordered
        assert result.to_dict()["top"] == [as_json(r) for r in ordered[:5]]
        parts[repeat] = {p.name: p.read_bytes() for p in (output / "sorted").iterdir()}
        shutil.rmtree(output)

    assert parts[0] == parts[2]
    assert sorted(parts[0]) == [f"part-{i:05}.parquet" for i in range(len(parts[0]))]
    assert len(parts[0]) > 4


def test_one_value_in_all_rows_still_makes_parts_of_bounded_size(tmp_path: Path) -> None:
    rows = [(i % 500 + 1, START, Decimal("5.00"), "a", "b") for i in range(2000)]
    lake = tmp_path / "lake"
    commit_rows(lake, rows)
    options = options_of("-i", str(lake), "-o", str(tmp_path / "result"), "--write_sorted")
    options = dataclasses.replace(options, part_rows=200)

    (tmp_path / "work").mkdir()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        build(pipeline, options, open_input(str(lake), START), str(tmp_path / "work"))

    parts = sorted((tmp_path / "work" / "result" / "sorted").iterdir())
    assert max(pq.read_metadata(p).num_rows for p in parts) <= 300
    assert rows_of(ds.dataset(parts).to_table()) == in_order(rows, AMOUNT)


def test_a_single_row(tmp_path: Path) -> None:
    rows = sales(1)
    lake, output = tmp_path / "lake", tmp_path / "result"
    commit_rows(lake, rows)

    summary = run(["-i", str(lake), "-o", str(output), "--top", "10", "--write_sorted", *QUIET])

    assert without_engine(summary.result) == answer(rows) | {"top": [as_json(rows[0])]}
    assert sorted_rows(output) == rows


def test_an_empty_lake_gives_empty_results(tmp_path: Path) -> None:
    lake, output = tmp_path / "lake", tmp_path / "result"
    commit_rows(lake, [])

    flags = ["-i", str(lake), "-o", str(output), "--top", "3", "--write_sorted", *QUIET]
    assert main(flags) == 0

    result = json.loads((output / "result.json").read_text())
    assert (result["rows"], result["total"], result["top"]) == (0, "0.00", [])
    assert (result["by_category"], result["by_region"]) == ([], [])
    assert pq.read_table(output / "sorted").schema.equals(SCHEMA)
    assert pq.read_table(output / "by_region.parquet").num_rows == 0


def test_many_regions(tmp_path: Path) -> None:
    rows = sales(2000, regions=450)
    commit_rows(tmp_path, rows, partition_by=("anio",))

    assert without_engine(run(["-i", str(tmp_path), *QUIET]).result) == answer(rows)


def test_sums_beyond_twelve_digits(tmp_path: Path) -> None:
    rows = [(1, START, Decimal("9999999999.99") - i, "a", "b") for i in range(1500)]
    commit_rows(tmp_path, rows)

    result = run(["-i", str(tmp_path), *QUIET]).result

    assert without_engine(result) == answer(rows)
    assert len(result.total) > 15


def test_only_what_was_committed_is_read(tmp_path: Path) -> None:
    rows = sales(50)
    lake = commit_rows(tmp_path, rows)
    stray = tmp_path / "region_de_venta=Norte"
    stray.mkdir()
    shutil.copy(next(tmp_path.glob("region*/*.parquet")), stray / "part-stray.parquet")
    Path(lake.storage.uri(lake.staging("never"))).joinpath("part-x.parquet").touch()

    assert without_engine(run(["-i", str(tmp_path), *QUIET]).result) == answer(rows)


@pytest.mark.parametrize("partition_by", [(REGION, CATEGORY), (CATEGORY, "mes"), ()])
def test_a_plain_folder_of_our_files_gives_the_same(
    tmp_path: Path, partition_by: tuple[str, ...]
) -> None:
    rows = sales(300)
    commit_rows(tmp_path, rows, partition_by=partition_by)
    shutil.rmtree(tmp_path / "_commits")

    summary = run(["-i", str(tmp_path), "--top", "4", *QUIET])

    top = [as_json(r) for r in in_order(rows, AMOUNT)[:4]]
    assert without_engine(summary.result) == answer(rows) | {"top": top}


def test_a_plain_folder_of_others_is_read_by_the_rules_of_input(tmp_path: Path) -> None:
    rows = sales(60)
    table = pa.Table.from_batches([batch_of(rows)])
    table = table.set_column(2, "Cantidad_de_venta", table.column(AMOUNT).cast(pa.float64()))
    table = table.set_column(1, DATE, table.column(DATE).cast(pa.timestamp("ns")))
    table = table.rename_columns({ID: "cliente"})
    pq.write_to_dataset(table, tmp_path, partition_cols=[REGION])

    result = run(["-i", str(tmp_path), "--columns", f"{ID}=cliente", "--top", "9", *QUIET]).result

    top = [as_json(r) for r in in_order(rows, AMOUNT)[:9]]
    assert without_engine(result) == answer(rows) | {"top": top}


def test_values_that_the_contract_does_not_accept_are_named(tmp_path: Path) -> None:
    rows = [*sales(9), (1, START, Decimal("-3.50"), "a", "b")]
    pq.write_table(pa.Table.from_batches([batch_of(rows)]), tmp_path / "v.parquet")
    with pytest.raises(
        InputError, match=r"v\.parquet: row 9: cantidad_de_venta is out_of_range: '-3.50'"
    ):
        run(["-i", str(tmp_path), *QUIET])

    shutil.rmtree(tmp_path)
    hive = tmp_path / f"{REGION}=__HIVE_DEFAULT_PARTITION__"
    hive.mkdir(parents=True)
    table = pa.Table.from_batches([batch_of(sales(2))]).drop_columns([REGION])
    pq.write_table(table, hive / "v.parquet")
    with pytest.raises(InputError, match="region_de_venta is missing: nothing"):
        run(["-i", str(tmp_path), *QUIET])


def test_a_folder_without_the_columns_says_so(tmp_path: Path) -> None:
    table = pa.Table.from_batches([batch_of(sales(2))]).rename_columns({REGION: "zona"})
    pq.write_table(table, tmp_path / "v.parquet")

    with pytest.raises(ColumnError, match=r"v\.parquet: no column for region_de_venta"):
        run(["-i", str(tmp_path), *QUIET])


def test_inputs_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    empty = tmp_path / "empty"
    empty.mkdir()
    begun = tmp_path / "begun"
    Lake.open(str(begun)).claim("cut-off")
    lake = tmp_path / "lake"
    commit_rows(lake, sales(3))
    for root, flags, what in (
        (tmp_path / "none", [], "there is no such folder"),
        (file, [], "is a file"),
        (empty, [], "is not a lake, and holds no .parquet file"),
        (begun, [], "nothing has been committed"),
        (lake, ["--columns", f"{ID}=x"], "--columns is for plain folders"),
    ):
        with pytest.raises(UsageError, match=what):
            run(["-i", str(root), *flags, *QUIET])


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (["--write_sorted"], "--write_sorted needs a folder"),
        (["--sort_by", ID], "--sort_by orders rows"),
        (["--descending"], "--descending orders rows"),
        (["--top", "0"], "--top 0: expected 1 or more"),
        (["--top", "100001"], "--top 100,001: expected at most 100,000"),
        (["--sort_by", REGION, "--top", "1"], "invalid choice"),
        (["-o", ""], "--output ''"),
        (["-o", "s3://b/x"], "written to a folder of this machine"),
        (["--tops", "1"], "--tops is not a flag .* perhaps --top"),
    ],
)
def test_flags_that_make_no_sense(tmp_path: Path, flags: list[str], what: str) -> None:
    commit_rows(tmp_path, sales(3))
    with pytest.raises(ConfigError, match=what):
        run(["-i", str(tmp_path), *flags, *QUIET])


def test_an_output_that_is_not_ours_stays(tmp_path: Path) -> None:
    lake, output = tmp_path / "lake", tmp_path / "result"
    rows = sales(20)
    commit_rows(lake, rows)
    output.mkdir()
    flags = ["-i", str(lake), "-o", str(output), "--top", "1", "--write_sorted", *QUIET]

    run(flags)
    with pytest.raises(LakeExistsError, match=r"holds a result: .*-f"):
        run(flags)
    (output / "sorted" / "mine.txt").touch()
    with pytest.raises(LakeExistsError, match=r"such as sorted/mine\.txt"):
        run([*flags, "-f"])
    (output / "sorted" / "mine.txt").unlink()
    run(["-i", str(lake), "-o", str(output), "-f", *QUIET])

    assert not (output / "sorted").exists()
    assert not (output / "top.csv").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lake", "result"]
    (output / "result.json").write_text("{}")
    with pytest.raises(LakeExistsError, match="holds what no aggregation wrote"):
        run(["-i", str(lake), "-o", str(output), "-f", *QUIET])
    for inside, what in ((lake / "r", "inside the input"), (tmp_path, "holds the input")):
        with pytest.raises(ConfigError, match=what):
            run(["-i", str(lake), "-o", str(inside), *QUIET])
    with pytest.raises(LakeExistsError, match="is a file"):
        run(["-i", str(lake), "-o", str(output / "result.json"), *QUIET])


def test_a_compaction_meanwhile_is_in_nobody_s_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: list[str]
) -> None:
    lake, output = tmp_path / "lake", tmp_path / "result"
    commit_rows(lake, sales(200), sales(200))
    compactions = []

    def compact_and_build(*args: Any, **kwargs: Any) -> Any:
        if not compactions:
            compactions.append(compact(Lake.open(str(lake)), target_bytes=10**9))
        return build(*args, **kwargs)

    monkeypatch.setattr(aggregate, "build", compact_and_build)
    summary = run(["-i", str(lake), "-o", str(output), "--write_sorted", *QUIET, *runner])

    assert len(compactions) == 1
    assert summary.result.rows == 400


def test_a_failed_run_leaves_what_was_there(tmp_path: Path) -> None:
    lake, output = tmp_path / "lake", tmp_path / "result"
    commit_rows(lake, sales(200))
    flags = ["-i", str(lake), "-o", str(output), "--write_sorted", *QUIET]
    run(flags)
    before = (output / "result.json").read_bytes()
    file = next(lake.glob("region*/*.parquet"))
    good = file.read_bytes()

    file.write_bytes(good[: len(good) // 2])
    with pytest.raises(IntegrityError, match="cannot be read as Parquet"):
        run([*flags, "-f"])
    file.unlink()
    with pytest.raises(StorageError, match=r"is gone: .*run again"):
        run([*flags, "-f"])
    pq.write_table(pq.read_table(file.parent.parent, partitioning=None).slice(0, 1), file)
    with pytest.raises(IntegrityError, match="were read, but 200 of"):
        run([*flags, "-f"])

    assert (output / "result.json").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lake", "result"]


def test_the_summary_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = sales(40)
    lake, summary = tmp_path / "lake", tmp_path / "summary.json"
    commit_rows(lake, rows)

    flags = ["-i", str(lake), "--top", "25", "--summary_json", str(summary), *QUIET]
    assert main(flags) == 0

    told = json.loads(summary.read_text())
    assert {k: told[k] for k in answer(rows)} == answer(rows)
    assert (told["input"], told["output"], told["files"]) == (str(lake), None, 4)
    printed = capsys.readouterr().out
    for text in (*ODD, "Región 3%", "Mean by region", "… and 5 more"):
        assert text in printed


def test_what_a_worker_refuses_is_one_line(tmp_path: Path, runner: list[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "v.parquet").write_text("no Parquet")
    flags = ["-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *runner]
    command = [sys.executable, "-m", "pipelines.aggregate", *flags]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
    assert "v.parquet cannot be read as Parquet" in ended.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_a_runner_beside_us_tells_what_a_worker_refused(tmp_path: Path, runner: list[str]) -> None:
    (tmp_path / "v.parquet").write_text("no Parquet")

    with pytest.raises(Exception, match=r"v\.parquet cannot be read as Parquet") as raised:
        run(["-i", str(tmp_path), *QUIET, *runner])

    assert explain(raised.value)[1] == 2


def test_wrong_usage_is_one_line_and_help_is_quick(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.aggregate"]
    ended = subprocess.run(
        [*command, "-i", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)

    best = 9.0
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([*command, "--help"], check=True, capture_output=True)
        best = min(best, time.perf_counter() - started)
    assert best < 0.5


def test_columns_of_the_contract_are_those_of_the_test() -> None:
    assert (ID, DATE, AMOUNT, CATEGORY, REGION) == COLUMN_NAMES

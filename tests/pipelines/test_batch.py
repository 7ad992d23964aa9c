from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from celes_beam.commands.batch_options import batch_options
from celes_beam.commands.flags import (
    add_batch_flags,
    add_format_flags,
    add_run_flags,
    add_sales_flags,
    add_warehouse_flags,
    flag_parser,
)
from celes_beam.commands.watch_options import add_watch_flags
from celes_beam.config import Config
from celes_beam.contract import AMOUNT, CATEGORY, COLUMN_NAMES, ID, REGION, mean
from celes_beam.errors import (
    ColumnError,
    ConfigError,
    InputError,
    LakeExistsError,
    UsageError,
)
from celes_beam.sales.generate import Generator
from celes_beam.stores.lake.ingest import draft_manifest
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from pipelines.batch import build, main, run

QUIET = ["--progress", "off"]
HEADER = ",".join(COLUMN_NAMES)
FALSE = shutil.which("false") or "false"
GOOD = "7,2024-05-03,12.34,Hogar,Norte"


def write(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
    return path


def command(*flags: str) -> tuple[int, str]:
    """Exit code and stderr of the command as a user runs it."""
    line = [sys.executable, "-m", "pipelines.batch", *flags, *QUIET]
    ended = subprocess.run(line, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stderr


def rows_of(lake: Path) -> list[dict[str, Any]]:
    table = ds.dataset(lake, format="parquet", partitioning="hive").to_table()
    return in_order(table.select(COLUMN_NAMES).to_pylist())


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: tuple(row.values()))


def test_generated_sales_are_the_generators(tmp_path: Path, runner: list[str]) -> None:
    lake = tmp_path / "lake"
    flags = ["--rows", "20000", "--batch_rows", "3000", "--seed", "7"]

    summary = run(["-o", str(lake), *flags, *runner, *QUIET])

    expected = Generator(Config(seed=7)).batch(0, 20_000).to_pylist()
    assert rows_of(lake) == in_order(expected)
    assert summary.manifest.rows_read == summary.manifest.rows_accepted == 20_000
    check_aggregates(summary.to_dict(), expected)


def check_aggregates(summary: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    groups: dict[str, dict[str, list[Decimal]]] = {c: defaultdict(list) for c in (CATEGORY, REGION)}
    for row in rows:
        for column, amounts in groups.items():
            amounts[row[column]].append(row[AMOUNT])
    assert summary["total"] == str(sum((r[AMOUNT] for r in rows), Decimal("0.00")))
    assert {c[CATEGORY]: (c["rows"], c["total"]) for c in summary["by_category"]} == {
        k: (len(v), str(sum(v))) for k, v in groups[CATEGORY].items()
    }
    assert {r[REGION]: (r["rows"], r["mean"]) for r in summary["by_region"]} == {
        k: (len(v), str(mean(sum(v, Decimal(0)), len(v)))) for k, v in groups[REGION].items()
    }
    totals = [Decimal(c["total"]) for c in summary["by_category"]]
    assert totals == sorted(totals, reverse=True)


def test_files_are_read_and_rejected_rows_kept(tmp_path: Path, runner: list[str]) -> None:
    one = write(tmp_path / "a.csv", HEADER, GOOD, "0,2024-05-03,1.00,Hogar,Sur", "1,2,3")
    two = write(
        tmp_path / "b.ndjson",
        json.dumps(dict(zip(COLUMN_NAMES, (8, "2024-05-04", 1.5, "Ropa", "Sur"), strict=True))),
        "{not json",
    )
    lake = tmp_path / "lake"

    summary = run(["-i", str(one), str(two), "-o", str(lake), *runner, *QUIET]).to_dict()

    assert [r[ID] for r in rows_of(lake)] == [7, 8]
    assert (summary["rows_read"], summary["rows_accepted"], summary["rows_rejected"]) == (5, 2, 3)
    assert summary["rejected_by_reason"] == {"malformed": 2, "out_of_range": 1}
    rejected = pq.read_table(lake / "_rejected" / summary["run_id"]).to_pylist()
    found = {(Path(r["source"]).name, r["position"], r["raw"]) for r in rejected}
    start = len(HEADER) + 1 + len(GOOD) + 1
    assert found == {
        ("a.csv", start, b"0,2024-05-03,1.00,Hogar,Sur"),
        ("a.csv", start + len("0,2024-05-03,1.00,Hogar,Sur\n"), b"1,2,3"),
        ("b.ndjson", two.read_bytes().index(b"{not"), b"{not json"),
    }


def test_bundles_done_again_and_again_make_the_same_lake(tmp_path: Path) -> None:
    adders = (add_batch_flags, add_watch_flags, add_warehouse_flags)
    adders += (add_sales_flags, add_format_flags, add_run_flags)
    source = write(tmp_path / "a.csv", HEADER, *[GOOD] * 50, "x,y")
    for name, extra in {
        "gen": ["--rows", "5000", "--batch_rows", "700"],
        "csv": ["-i", str(source)],
    }.items():
        root = str(tmp_path / name)
        flags = flag_parser("t", "t", *adders).parse_args(["-o", root, *extra])
        options = batch_options(flags)
        lake = Lake.open(root)
        files = [] if name == "gen" else list_files(source)
        draft = draft_manifest(
            run_id=options.run_id,
            if_exists="error",
            staging=lake.staging(options.run_id),
            partition_by=options.layout.partition_by,
            rules=options.rules,
            inputs=files,
        )
        with beam.Pipeline(runner=FnApiRunner(bundle_repeat=2)) as pipeline:
            build(pipeline, options, lake, draft, files)

        manifest = lake.find(options.run_id)
        assert manifest is not None
        assert (manifest.rows_accepted, manifest.rows_rejected) == (
            (5000, 0) if name == "gen" else (50, 1)
        )
        assert len(rows_of(Path(root))) == manifest.rows_accepted
        assert list(Path(root).glob("_staging/*")) == []
        assert verify(lake).problems == ()


def list_files(path: Path) -> list[Any]:
    from celes_beam.stores.inputs.files import list_inputs

    return list_inputs([str(path)])


@pytest.mark.parametrize("partition_by", ["none", "categoria_de_producto,mes", "fecha", "anio"])
def test_any_partition_holds_the_same_rows(
    tmp_path: Path, partition_by: str, runner: list[str]
) -> None:
    plain, parted = tmp_path / "plain", tmp_path / "parted"

    run(["-o", str(plain), "--rows", "3000", *runner, *QUIET])
    run(["-o", str(parted), "--rows", "3000", "-p", partition_by, *runner, *QUIET])

    assert rows_of(plain) == rows_of(parted)
    assert verify(Lake.open(str(parted))).problems == ()


def test_append_reads_only_what_is_new(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], runner: list[str]
) -> None:
    landing, lake = tmp_path / "in", tmp_path / "lake"
    landing.mkdir()
    write(landing / "a.csv", HEADER, GOOD)
    again = ["-i", str(landing), "-o", str(lake), "--if_exists", "append", *runner, *QUIET]

    first = run(again)
    write(landing / "b.csv", HEADER, GOOD, GOOD)
    second = run(again)

    assert (first.manifest.rows_read, second.manifest.rows_read) == (1, 2)
    assert main(again) == 0
    assert "No new files" in capsys.readouterr().out
    assert run([*again, "--reprocess"]).manifest.rows_read == 3
    assert len(rows_of(lake)) == 6


def test_overwrite_replaces_and_error_refuses(tmp_path: Path, runner: list[str]) -> None:
    lake = str(tmp_path / "lake")
    run(["-o", lake, "--rows", "100", *runner, *QUIET])

    with pytest.raises(LakeExistsError, match="--if_exists append"):
        run(["-o", lake, "--rows", "200", *runner, *QUIET])
    run(["-o", lake, "--rows", "200", "-f", *runner, *QUIET])

    assert len(rows_of(Path(lake))) == 200


def test_the_same_run_id_is_done_once(tmp_path: Path, runner: list[str]) -> None:
    lake = str(tmp_path / "lake")
    first = run(["-o", lake, "--rows", "100", "--run_id", "night-1", *runner, *QUIET])
    second = run(["-o", lake, "--rows", "100", "--run_id", "night-1", *runner, *QUIET])

    assert (first.status, second.status) == ("committed", "already_committed")
    assert second.manifest == first.manifest
    assert len(rows_of(Path(lake))) == 100


@pytest.mark.parametrize("limit", ["1", "30%"])
def test_too_many_rejected_rows_commit_nothing(
    tmp_path: Path, limit: str, runner: list[str]
) -> None:
    source = write(tmp_path / "a.csv", HEADER, GOOD, GOOD, "x", "y")
    lake = tmp_path / "lake"

    code, err = command("-i", str(source), "-o", str(lake), "--max_rejected", limit, *runner)

    assert code == 3
    assert "2 of 4 rows (50.00%) were rejected (2 malformed)" in err
    assert len(err.splitlines()) == 1
    assert Lake.open(str(lake)).snapshot().files == ()
    assert list(lake.glob("_staging/*")) == []


def test_a_spanish_export_is_read(tmp_path: Path, runner: list[str]) -> None:
    source = write(
        tmp_path / "export.csv",
        "Id_Cliente;Fecha_de_transacción;Cantidad_de_venta;Categoría_de_producto;Región_de_venta\r",
        "7;03/05/2024;1234,50;Electrónica;Cataluña\r",
        "8;31/12/2023;0,99;Niños;Aragón\r",
        encoding="latin-1",
    )
    flags = "--csv_delimiter ; --csv_decimal , --csv_encoding latin-1 --date_format dd/mm/yyyy"

    run(["-i", str(source), "-o", str(tmp_path / "lake"), *flags.split(), *runner, *QUIET])

    first, second = rows_of(tmp_path / "lake")
    assert (first[AMOUNT], first[CATEGORY], first[REGION]) == (
        Decimal("1234.50"),
        "Electrónica",
        "Cataluña",
    )
    assert f"{second['fecha_de_transaccion']:%Y-%m-%d}" == "2023-12-31"


def test_an_empty_file_is_fine(tmp_path: Path, runner: list[str]) -> None:
    source = tmp_path / "empty.csv"
    source.write_bytes(b"")

    summary = run(["-i", str(source), "-o", str(tmp_path / "lake"), *runner, *QUIET]).to_dict()

    assert (summary["rows_read"], summary["files"], summary["total"]) == (0, 0, "0.00")
    assert not summary["by_category"]
    assert not summary["by_region"]


def test_no_rows_can_be_generated_too(tmp_path: Path, runner: list[str]) -> None:
    assert (
        run(["-o", str(tmp_path / "lake"), "--rows", "0", *runner, *QUIET]).manifest.rows_read == 0
    )


def test_configured_categories_are_the_only_ones(tmp_path: Path, runner: list[str]) -> None:
    source = write(tmp_path / "a.csv", HEADER, GOOD, GOOD.replace("Hogar", "Otra"))
    config = tmp_path / "c.toml"
    config.write_text('categories = ["Hogar"]\n')

    free = run(["-i", str(source), "-o", str(tmp_path / "l1"), *runner, *QUIET]).manifest
    held = run(
        ["-i", str(source), "-o", str(tmp_path / "l2"), "--config", str(config), *runner, *QUIET]
    ).manifest

    assert free.rows_rejected == 0
    assert held.rejected_by_reason == {"unknown": 1}


@pytest.mark.parametrize(
    ("flags", "error", "says"),
    [
        (["--rows", "-1"], ConfigError, "rows=-1"),
        (["--rows", "5", "-i", "x.csv"], ConfigError, "--rows is for generated sales"),
        (["--partition_by", "mes,dia"], ConfigError, "--partition_by dia"),
        (["--outptu", "x"], ConfigError, "perhaps --output"),
        (["--runner", "NoRunner"], ConfigError, "NoRunner"),
        (["--config", "nowhere.yaml"], ConfigError, "no such file"),
        (["--run_id", "../x"], UsageError, "run id"),
        (["-i", "nowhere.csv"], InputError, "nowhere.csv"),
        (["-i", "nowhere/*.csv"], InputError, "nowhere"),
        (["-i", "x.csv", "--csv_delimiter", "ab"], ConfigError, "one character"),
        (["-i", "x.csv", "--csv_encoding", "klingon"], ConfigError, "klingon"),
        (["-i", "x.csv", "--date_format", "soon"], ConfigError, "soon"),
        (["--max_rejected", "half"], ConfigError, "half"),
    ],
)
def test_what_a_user_can_get_wrong_is_one_line(
    tmp_path: Path,
    flags: list[str],
    error: type[Exception],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main([*flags, *QUIET]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert len(err.splitlines()) == 1
    with pytest.raises(error):
        run([*flags, *QUIET])


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--runner", "PrismRunner", "--prism_location", "nowhere"], "--prism_location (make"),
        (["--runner", "PrismRunner", "--prism_location", __file__], "--prism_location (make"),
        (
            ["--runner", "PrismRunner", "--prism_location", shutil.which("false") or ""],
            "with error 1; name its program",
        ),
        (["--runner", "DataflowRunner", "-o", "gs://b/lake"], "--sdk_container_image is missing"),
        (["--runner", "DataflowRunner", "--project", "celes-dev"], "the disk of this machine"),
    ],
)
def test_what_a_runner_lacks_is_one_line(tmp_path: Path, flags: list[str], says: str) -> None:
    code, err = command("-o", str(tmp_path / "lake"), "--rows", "10", *flags)

    assert code == 2
    assert says in err
    assert len(err.splitlines()) == 1


def test_a_missing_column_names_what_is_there_and_the_nearest(
    tmp_path: Path, runner: list[str]
) -> None:
    header = HEADER.replace(ID, "id_clientes")
    source = write(tmp_path / "a.csv", header, GOOD)

    code, err = command("-i", str(source), "-o", str(tmp_path / "lake"), *runner)

    assert code == ColumnError.exit_code
    assert "a.csv" in err
    assert "--columns id_cliente=id_clientes" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("content", [b"\x00\x01\x02\x00" * 100, b"\x89PNG\r\n\x1a\n\x00\x00"])
def test_a_binary_file_is_refused(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "ventas.csv"
    source.write_bytes(content)

    assert main(["-i", str(source), "-o", str(tmp_path / "lake"), *QUIET]) == 2
    assert "binary" in capsys.readouterr().err


def test_an_unreadable_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "ventas.parquet"
    source.write_bytes(b"PAR1 and nothing of the sort")

    assert main(["-i", str(source), "-o", str(tmp_path / "lake"), *QUIET]) == 2
    err = capsys.readouterr().err
    assert "ventas.parquet" in err
    assert len(err.splitlines()) == 1


def test_an_output_that_is_a_file_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lake").write_text("a file")

    assert main(["-o", str(tmp_path / "lake"), "--rows", "10", *QUIET]) in (1, 2)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_summary_that_cannot_be_written_is_told_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["-o", str(tmp_path / "lake"), "--rows", "10", "--summary_json", str(tmp_path)]

    assert main([*flags, *QUIET]) == 2
    assert "--summary_json" in capsys.readouterr().err
    assert not (tmp_path / "lake").exists()


def test_the_summary_is_shown_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], runner: list[str]
) -> None:
    source = write(tmp_path / "a.csv", HEADER, GOOD, "7,ayer,1,Hogar,Norte")
    out = tmp_path / "summary.json"

    code = main(
        [
            "-i",
            str(source),
            "-o",
            str(tmp_path / "lake"),
            "--summary_json",
            str(out),
            *runner,
            *QUIET,
        ]
    )

    shown = capsys.readouterr().out
    summary = json.loads(out.read_text())
    assert code == 0
    for text in ("rows read", "12.34", "Hogar", "unparseable", "'ayer'", "celes-beam lake verify"):
        assert text in shown
    assert set(summary) >= {
        *("run_id", "rows_read", "rows_accepted", "rows_rejected", "rejected_by_reason", "files"),
        *("bytes", "seconds", "total", "by_category", "by_region"),
    }
    assert summary["by_category"] == [
        {CATEGORY: "Hogar", "rows": 1, "total": "12.34", "share": "1.000000"}
    ]
    assert summary["by_region"] == [
        {REGION: "Norte", "rows": 1, "total": "12.34", "mean": "12.340000"}
    ]


def test_help_answers_without_beam() -> None:
    code = (
        "import sys, runpy\n"
        "sys.argv = ['batch', '--help']\n"
        "try: runpy.run_module('pipelines.batch', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "slow = {'apache_beam', 'pyarrow', 'pydantic', 'rich'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert "--partition_by" in ended.stdout


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    limited = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from pipelines.batch import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", limited, "-o", str(tmp_path / "lake"), "--rows", "50000"]
    ended = subprocess.run([*command, *QUIET], capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "could not be written" in ended.stderr
    assert Lake.open(str(tmp_path / "lake")).snapshot().files == ()


def test_killed_anywhere_a_run_done_again_is_right(tmp_path: Path) -> None:
    """Kill whole runs at rising times, each time with the same run id, until one gets through."""
    lake = tmp_path / "lake"
    command = [sys.executable, "-m", "pipelines.batch", "-o", str(lake), "--rows", "300000"]
    command += ["--batch_rows", "20000", "--run_id", "night", *QUIET]
    delay, killed = 0.6, 0
    while True:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ
        )
        deadline = time.monotonic() + delay
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        if process.poll() is not None:
            err = process.communicate()[1]
            assert process.returncode == 0, err
            break
        process.kill()
        process.communicate()
        killed += 1
        delay += 0.15
    assert killed >= 3

    manifest = Lake.open(str(lake)).find("night")
    assert manifest is not None
    expected = Generator(Config()).batch(0, 300_000)
    assert len(rows_of(lake)) == manifest.rows_accepted == 300_000
    assert Decimal(manifest.total) == sum(expected.column(AMOUNT).to_pylist())
    assert verify(Lake.open(str(lake))).problems == ()


def test_two_runs_racing_with_one_run_id_commit_once(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    command = [sys.executable, "-m", "pipelines.batch", "-o", str(lake), "--rows", "200000"]
    command += ["--run_id", "night", *QUIET]
    racers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ends = [(*racer.communicate(timeout=120), racer.returncode) for racer in racers]

    codes = sorted(code for _, _, code in ends)
    assert codes[0] == 0, ends
    loser = next((end for end in ends if end[2] != 0), None)
    if loser is None:
        assert any("was committed at" in out for out, _, _ in ends)
    else:
        assert loser[2] == 1
        assert "night" in loser[1]
        assert len(loser[1].splitlines()) == 1
    assert len(rows_of(lake)) == 200_000
    assert verify(Lake.open(str(lake))).problems == ()


@pytest.mark.parametrize(
    ("sent", "code", "line"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_run_that_is_told_to_stop_tidies_up(
    tmp_path: Path, sent: signal.Signals, code: int, line: str
) -> None:
    lake = tmp_path / "lake"
    command = [sys.executable, "-m", "pipelines.batch", "-o", str(lake), "--rows", "1e9", *QUIET]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(lake.glob("_staging/*/*/*/*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)

    process.send_signal(sent)
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (code, "")
    assert err == f"pipelines.batch: {line}; it is safe to run it again\n"
    assert list(lake.glob("_staging/*")) == []


def test_a_lake_is_never_its_own_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "a.csv", HEADER, GOOD)
    lake = tmp_path / "lake"
    flags = ["-o", str(lake), "-p", "none", *QUIET]
    folder = ["-i", str(tmp_path), *flags]

    # Even before it is there: a first run would be the last one that goes well.
    assert main(folder) == 2
    assert "is inside it" in capsys.readouterr().err
    run(["-i", str(tmp_path / "a.csv"), *flags])
    assert main([*folder, "--if_exists", "append"]) == 2
    assert "lake" in capsys.readouterr().err
    assert len(rows_of(lake)) == 1


def test_a_file_that_grew_is_not_taken_in_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "a.csv", HEADER, GOOD)
    again = ["-i", str(source), "-o", str(tmp_path / "lake"), "--if_exists", "append", *QUIET]
    run(again)
    write(source, HEADER, GOOD, GOOD)

    assert main(again) == 2
    assert "has changed since" in capsys.readouterr().err
    (tmp_path / "link.csv").symlink_to(source)
    assert main([again[0], str(tmp_path / "link.csv"), *again[2:]]) == 2
    assert len(rows_of(tmp_path / "lake")) == 1
    assert run([*again, "--reprocess"]).manifest.rows_read == 2


def test_nothing_does_not_replace_a_lake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "a.csv", HEADER, GOOD)
    bad = write(tmp_path / "b.csv", HEADER, GOOD.replace("2024-05-03", "03/05/2024"))
    empty = write(tmp_path / "c.csv", HEADER)
    lake = ["-o", str(tmp_path / "lake"), *QUIET]
    run(["-i", str(good), *lake])

    assert main(["-i", str(bad), *lake, "-f"]) == 3
    assert main(["-i", str(empty), *lake, "-f"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert len(rows_of(tmp_path / "lake")) == 1

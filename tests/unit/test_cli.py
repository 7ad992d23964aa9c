from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from celes_beam import cli
from celes_beam.commands import lake as commands
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.local_storage import LocalStorage
from celes_beam.stores.lake.manifest import Generated, InputRecord, RejectedExample
from tests.lakes import IMPATIENT, Sale, commit_sales, draft, reject

SALES: list[Sale] = [("Hogar", "Norte", 100), ("Ropa", "Sur", 250), ("Ropa", "Sur", 175)]
MONDAY = InputRecord(
    path="ventas/lunes [1].csv", size=1_500_000, version="1", rows_read=7, rows_accepted=3
)
EXAMPLE = RejectedExample(
    reason="missing", source="ventas/lunes [1].csv", position=9, column="id_cliente", value=" "
)


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A lake of three runs: 9 rows of which 4 were rejected once."""
    root = str(tmp_path / "lake")
    lake = Lake.open(root)
    commit_sales(lake, "uno", SALES, generated=Generated(seed=7, rows=3))
    two = draft(lake, "dos", SALES, inputs=(MONDAY,), rejected_examples=(EXAMPLE,))
    lake.commit(reject(lake, two, 4))
    commit_sales(lake, "tres", SALES, kind="overwrite")
    return root


class Shell:
    """Runs ``celes-beam`` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *argv: str) -> tuple[int, str, str]:
        code = cli.main(argv)
        out, err = self._capsys.readouterr()
        return code, out, err

    def lines(self, *argv: str) -> list[list[str]]:
        """The cells of what is printed; success is expected."""
        code, out, err = self(*argv)
        assert (code, err) == (0, "")
        return [[c.strip() for c in line.strip("│┃ ").split("│")] for line in out.splitlines()]

    def json(self, *argv: str) -> Any:
        code, out, err = self(*argv, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


# ls


def test_ls_lists_runs_and_what_the_lake_holds(shell: Shell, root: str) -> None:
    lines = shell.lines("lake", "ls", root)
    assert lines[0] == [f"{root}: 3 rows in 2 files, 0.0 MB, total 5.25"]
    runs = [line for line in lines if len(line) == 7]
    assert [(r[0], r[1], r[3], r[4], r[6]) for r in runs] == [
        ("uno", "append", "3", "2", "retired"),
        ("dos", "append", "3", "2", "retired"),
        ("tres", "overwrite", "3", "2", "live"),
    ]


def test_ls_as_json(shell: Shell, root: str) -> None:
    content = shell.json("lake", "ls", root)
    assert [r["run_id"] for r in content["runs"]] == ["uno", "dos", "tres"]
    assert content["runs"][2] | {"decided_at": "", "bytes": 0, "bytes_after": 0} == {
        "run_id": "tres",
        "kind": "overwrite",
        "state": "live",
        "decided_at": "",
        "inputs": [],
        "barren_inputs": [],
        "files": 2,
        "rows": 3,
        "bytes": 0,
        "rows_retired": 6,
        "files_after": 2,
        "rows_after": 3,
        "bytes_after": 0,
        "total_after": "5.25",
    }
    assert content["superseded"] == []


def test_ls_shows_superseded_runs(shell: Shell, root: str) -> None:
    lake = Lake(LocalStorage(root), patience=IMPATIENT)
    lake.claim("lento")
    lake.claim("veloz")
    assert shell.lines("lake", "ls", root)[-2][-1] == "superseded by veloz"
    assert shell.json("lake", "ls", root)["superseded"] == [
        {"run_id": "lento", "superseded_by": "veloz"}
    ]
    code, _, err = shell("lake", "show", "lento", root)
    assert code == 1
    assert err == ("celes-beam: run lento was superseded by veloz: run again with a new run id\n")


def test_ls_of_a_lake_without_commits_but_with_superseded_runs(
    shell: Shell, tmp_path: Path
) -> None:
    lake = Lake(LocalStorage(str(tmp_path)), patience=IMPATIENT)
    lake.claim("lento")
    lake.claim("veloz")
    assert shell.lines("lake", "ls", str(tmp_path))[0] == [f"{tmp_path}: no rows"]


# show


def test_show_tells_all_of_a_run(shell: Shell, root: str) -> None:
    lines = shell.lines("lake", "show", "dos", root)
    facts = {line[0]: line[1] for line in lines if len(line) == 2}
    assert facts["run"] == "dos (append, retired)"
    assert facts["partitioned by"] == "region_de_venta"
    assert facts["from"] == "ventas/lunes [1].csv"
    assert facts["rows read"] == "7"
    assert facts["accepted"] == "3"
    assert facts["rejected"] == "4 (missing 4)"
    assert facts["total"] == "5.25"
    assert ["ventas/lunes [1].csv", "1.5", "7", "3"] in lines
    assert ["ventas/lunes [1].csv at 9: id_cliente is missing: ' '"] in lines
    files = [line for line in lines if line[0].startswith("region_de_venta=")]
    assert [(f[1], f[3], f[4]) for f in files] == [
        ("1", "1.00", "2024-05-03..2024-05-03"),
        ("2", "4.25", "2024-05-03..2024-05-03"),
    ]


def test_show_as_json_is_the_commit(shell: Shell, root: str) -> None:
    content = shell.json("lake", "show", "dos", root)
    assert content["run_id"] == "dos"
    assert content["inputs"] == [msgspec.to_builtins(MONDAY)]


@pytest.mark.parametrize("path", ["q[/w].csv", "[bold]z.csv"])
def test_inputs_with_nothing_accepted_are_told(shell: Shell, root: str, path: str) -> None:
    bad = InputRecord(path=path, size=5, version="1", rows_read=2)
    commit_sales(Lake.open(root), "cuatro", SALES, inputs=(bad, MONDAY))
    _, shown, _ = shell("lake", "show", "cuatro", root)
    assert f"note: nothing was accepted of {path}: mend it and append it again, or" in shown
    _, told, _ = shell("lake", "history", root)
    assert f"note: run cuatro accepted nothing of {path}: 'celes-beam lake show cuatro" in told
    assert shell.json("lake", "history", root)[-1]["barren_inputs"] == [path]
    _, other, _ = shell("lake", "show", "dos", root)
    assert "note:" not in other


def test_show_of_a_run_that_is_not_there(shell: Shell, root: str) -> None:
    assert shell("lake", "show", "dso", root) == (
        2,
        "",
        f"celes-beam: {root} has no run dso; perhaps dos\n",
    )
    _, _, err = shell("lake", "show", "x", root)
    assert err == f"celes-beam: {root} has no run x; 'celes-beam lake ls {root}' lists its runs\n"


def test_show_with_run_and_lake_swapped(shell: Shell, root: str) -> None:
    assert shell("lake", "show", root, "dos") == (
        2,
        "",
        f"celes-beam: the run comes before the lake: celes-beam lake show dos {root}\n",
    )


# verify


def test_verify_of_a_sound_lake(shell: Shell, root: str) -> None:
    assert ["2", "3", "0.0", "4", "none"] in shell.lines("lake", "verify", root)
    content = shell.json("lake", "verify", root)
    assert (content["files"], content["rows"], content["problems"]) == (2, 3, [])


def test_verify_tells_each_problem_on_a_line_and_fails(shell: Shell, root: str) -> None:
    lake = Lake.open(root)
    draft(lake, "cuatro", SALES)
    for file in lake.snapshot().files:
        lake.storage.delete(file.path)
    code, out, err = shell("lake", "verify", root)
    assert (code, err) == (1, "")
    assert out.count("\nproblem: region_de_venta=") == 2
    assert "\nnote: run cuatro is going on" in out
    code, out, _ = shell("lake", "verify", root, "--json")
    assert code == 1
    assert len(json.loads(out)["problems"]) == 2


# compact


def test_compact_says_what_it_did(shell: Shell, root: str) -> None:
    commit_sales(Lake.open(root), "cuatro", SALES)
    ((told,),) = shell.lines("lake", "compact", root)
    assert told.startswith(f"{root}: merged 4 files (0.0 MB) into 2 (0.0 MB), 6 rows, in ")
    ((told,),) = shell.lines("lake", "compact", root)
    assert told == f"{root}: nothing to merge, no partition has two small files"
    assert shell.json("lake", "compact", root) == {
        "run_id": None,
        "files_before": 0,
        "files_after": 0,
        "rows": 0,
    }


def test_compact_as_json(shell: Shell, root: str) -> None:
    commit_sales(Lake.open(root), "cuatro", SALES)
    content = shell.json("lake", "compact", root)
    assert content.pop("run_id").startswith("compact-2")
    assert content == {"files_before": 4, "files_after": 2, "rows": 6}


@pytest.mark.parametrize("size", ["0", "-1", "nan", "inf", "1e300"])
def test_compact_wants_a_size(shell: Shell, root: str, size: str) -> None:
    code, _, err = shell("lake", "compact", root, f"--target_file_mb={size}")
    assert code == 2
    assert err.startswith("celes-beam: --target_file_mb ")
    assert err.endswith(": expected more than 0, and at most 1,000,000\n")


# history


def test_history_tells_where_rows_came_from_and_went(shell: Shell, root: str) -> None:
    commit_sales(Lake.open(root), "cuatro", SALES, inputs=(MONDAY, MONDAY))
    assert shell("lake", "compact", root)[0] == 0
    rows = [line[2:] for line in shell.lines("lake", "history", root) if len(line) == 8]
    assert rows == [
        ["append", "generated, seed 7", "+3", "", "3", "5.25"],
        ["append", "ventas/lunes [1].csv", "+3", "", "6", "10.50"],
        ["overwrite", "no input", "+3", "-6", "3", "5.25"],
        ["append", "ventas/lunes [1].csv and 1 more", "+3", "", "6", "10.50"],
        ["compact", "4 files merged", "+6", "-6", "6", "10.50"],
    ]
    states = [s["state"] for s in shell.json("lake", "history", root)]
    assert states == ["retired", "retired", "retired", "retired", "live"]


def test_history_of_runs_partly_live_and_without_rows(shell: Shell, tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    first = commit_sales(lake, "uno", SALES)
    epoch, _ = lake.claim("dos")
    merged = draft(lake, "dos", SALES[:1], kind="compact", epoch=epoch, rows_read=0)
    nothing = {"rows_accepted": 0, "total": "0.00", "retired": (first.files[0].path,)}
    lake.commit(msgspec.structs.replace(merged, **nothing))
    commit_sales(lake, "tres", [])
    states = [s["state"] for s in shell.json("lake", "history", str(tmp_path))]
    assert states == ["1 of 2 files live", "live", "no rows"]


# Wrong use


@pytest.mark.parametrize(
    "argv",
    [
        ("lake", "ls"),
        ("lake", "show"),
        ("lake", "verify"),
        ("lake", "compact"),
        ("lake", "history"),
    ],
)
def test_a_folder_without_a_lake(shell: Shell, tmp_path: Path, argv: tuple[str, ...]) -> None:
    root = str(tmp_path / "nada")
    run = ("uno",) if "show" in argv else ()
    assert shell(*argv, *run, root) == (
        2,
        "",
        f"celes-beam: {root} holds no lake: expected a folder with commits in {root}/_commits; "
        f"make one with python -m pipelines.batch --output {root}\n",
    )
    assert not Path(root).exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("lake",), "the following arguments are required: COMMAND"),
        (("lake", "ls"), "the following arguments are required: ROOT"),
        (("lake", "mend", "x"), "invalid choice: 'mend' (choose from "),
        (("lake", "ls", "gs:///lake"), "gs:///lake: expected gs://BUCKET or gs://BUCKET/FOLDER"),
        (("lake", "show", "gs://b/l", "r"), "run comes before the lake: celes-beam lake show r gs"),
        (("lake", "compact", "x", "--target_file_mb", "big"), "invalid float value: 'big'"),
        (("lake", "ls", "x", "--js"), "unrecognized arguments: --js"),
    ],
)
def test_wrong_use_is_one_line(shell: Shell, argv: tuple[str, ...], message: str) -> None:
    code, out, err = shell(*argv)
    assert (code, out) == (2, "")
    assert err.startswith("celes-beam: ")
    assert err.count("\n") == 1
    assert message in err


def test_a_broken_commit_is_one_line(shell: Shell, root: str) -> None:
    Path(root, "_commits", "uno.json").write_text("{")
    code, _, err = shell("lake", "ls", root)
    assert code == 1
    assert err.startswith("celes-beam: _commits/uno.json is not a commit of this version: ")
    assert err.count("\n") == 1


def test_an_interrupt_is_told(shell: Shell, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "_open", interrupt)
    code, _, err = shell("lake", "ls", root)
    assert code == 130
    assert err.startswith("celes-beam: interrupted")


# As a process


def test_help_needs_no_arrow_and_answers_at_once() -> None:
    probe = (
        "import sys; from celes_beam.cli import main\n"
        "try: main(['lake', 'compact', '--help'])\n"
        "finally: print({'pyarrow', 'rich', 'numpy', 'apache_beam'} & set(sys.modules))"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    # The bound is ten times what it takes, so that a busy machine does not fail it.
    assert time.monotonic() - started < 0.3 * 10
    assert done.stdout.endswith("set()\n")
    assert "--target_file_mb MB" in done.stdout


def test_the_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celes_beam.cli", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("celes-beam 0.")


def test_a_reader_that_goes_away_is_no_error_to_tell(root: str) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "celes_beam.cli", "lake", "ls", root],
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.stderr == ""

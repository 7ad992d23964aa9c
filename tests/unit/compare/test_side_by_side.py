from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from celes_beam.compare.attempt import Question
from celes_beam.compare.catalog import Engine
from celes_beam.compare.side_by_side import Compared, lines_of, run_rounds
from celes_beam.stores.lake.fixed_input import FIXED_INPUT
from celes_beam.stores.lake.lake_input import LakeInput
from celes_beam.stores.lake.lake_reader import LakeReader
from tests.stub_engine import RESULT, changed, stub_engine

WRONG = changed(total="20.22")


def lake(rows: int | None = 3, total: str = "20.21", root: str = "lake") -> LakeInput:
    return LakeInput(root, LakeReader(root), (), rows, None if rows is None else Decimal(total))


def compare(engines: list[Engine], found: LakeInput | None = None, **question: Any) -> Compared:
    found = found or lake()
    rounds = question.pop("rounds", 1)
    asked = Question(root=found.root, table="p-roject:d.t", **question)
    lines = lines_of(engines, found)
    return run_rounds(found, lines, asked, rounds, said.append)


said: list[str] = []


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    said.clear()
    return lambda name, **settings: stub_engine(tmp_path, monkeypatch, name, **settings)


def test_each_engine_is_measured_in_each_round_in_turn(stub: Any) -> None:
    compared = compare([stub("a"), stub("b", code="import time; time.sleep(0.3)")], rounds=2)

    assert [text.partition(" s of")[0].rsplit(" ", 1)[0] for text in said] == [
        "round 1 of 2: a:",
        "round 1 of 2: b:",
        "round 2 of 2: a:",
        "round 2 of 2: b:",
    ]
    assert compared.differences == ()
    a, b = compared.runs
    assert (a.engine, a.rows, a.state, a.why) == ("a", 3, "ok", "")
    assert b.seconds == (0.01, 0.01)
    assert all(0.29 < seconds < 20 for seconds in b.startup_seconds)
    assert all(5 < mb < 100 for mb in a.peak_mb)
    assert a.bytes_read is not None
    assert a.result is not None
    assert a.result.engine == "a"
    assert a.result.by_region == RESULT.by_region


def test_every_engine_is_given_the_same_files(stub: Any, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    code = (
        "import os, sys\n"
        f"with open({str(seen)!r}, 'a') as file:\n"
        f"    print(open(os.environ[{FIXED_INPUT!r}]).read(), sys.argv[1:-3], file=file)"
    )
    compare(
        [stub("a", code=code), stub("b", code=code, of_table=True)],
        flags=("--top", "5"),
        input_flags=("--columns", "x=y"),
        own_flags={"a": ["--master", "local"]},
    )
    first, second = seen.read_text().splitlines()
    files = json.loads(first.partition(" [")[0])
    assert files == {"root": "lake", "files": [], "rows": 3, "total": "20.21"}
    own = ["--columns", "x=y", "--top", "5", "--master", "local", "--summary_json"]
    assert first.endswith(str(["--input", "lake", *own]))
    table = ["--bigquery_table", "p-roject:d.t", "--top", "5", "--summary_json"]
    assert second.endswith(str(table))


def test_the_one_that_differs_is_told(stub: Any) -> None:
    compared = compare([stub("wrong", result=WRONG), stub("a"), stub("b")])

    assert [run.state for run in compared.runs] == ["differs", "ok", "ok"]
    assert compared.runs[0].why == "1 figures are not those of a"
    (one,) = compared.differences
    assert (one.engine, one.against, one.column) == ("wrong", "a", "total")
    assert (one.value, one.expected, one.rows) == ("20.22", "20.21", 3)


def test_all_that_agree_with_each_other_and_not_with_the_commits_differ(stub: Any) -> None:
    compared = compare([stub("a"), stub("b")], lake(rows=4))
    assert [run.state for run in compared.runs] == ["differs", "differs"]
    assert {d.against for d in compared.differences} == {"the commits"}


def test_a_plain_folder_has_no_commits_to_be_held_against(stub: Any) -> None:
    compared = compare([stub("a"), stub("b")], lake(rows=None))
    assert [(run.state, run.rows) for run in compared.runs] == [("ok", 3), ("ok", 3)]


def test_an_engine_that_changes_its_mind_differs_from_itself(stub: Any, tmp_path: Path) -> None:
    code = (
        "import json, os, sys\n"
        f"marker = {str(tmp_path / 'marker')!r}\n"
        "if os.path.exists(marker):\n"
        f"    told = {WRONG.to_dict() | {'seconds': 0}!r}\n"
        "    json.dump(told, open(sys.argv[sys.argv.index('--summary_json') + 1], 'w'))\n"
        "    sys.exit()\n"
        "open(marker, 'w').close()"
    )
    compared = compare([stub("a", code=code)], rounds=2)
    assert [(d.against, d.value) for d in compared.differences] == [("a, round 1", "20.22")]
    assert compared.runs[0].state == "differs"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (
            "import sys; print('noise'); sys.exit('a.job: no such luck; try again')",
            "a.job: no such luck; try again (exit code 1)",
        ),
        (
            "import sys; sys.exit('stub_bad: that is why\\n2026 INFO shutting down')",
            "that is why (exit code 1)",
        ),
        ("raise ValueError('what')", "ValueError: what (exit code 1)"),
        (
            "import os; os.kill(os.getpid(), 9)",
            "it was killed (SIGKILL): the system does that when memory is short",
        ),
        (
            "import os; print('aborting', flush=True); os.kill(os.getpid(), 6)",
            "it was ended by SIGABRT: aborting",
        ),
        ("import sys; sys.exit()", "it ended without a result: look at its --engine_flags"),
        ("import time; time.sleep(60)", "it did not end within 1 s (--timeout)"),
    ],
)
def test_one_that_fails_stops_no_other_and_is_not_run_again(stub: Any, code: str, why: str) -> None:
    compared = compare([stub("bad", code=code), stub("a")], rounds=2, timeout=1)

    bad, good = compared.runs
    assert (bad.state, bad.result, bad.seconds) == ("failed", None, ())
    assert bad.why.startswith(why)
    assert (good.state, len(good.seconds)) == ("ok", 2)
    assert sum("bad" in text for text in said) == 1
    assert compared.differences == ()


def test_one_that_is_not_installed_is_skipped(stub: Any) -> None:
    missing = Engine("new", "stub_new", (("no_such", "none"),), "pip install new")
    compared = compare([missing, stub("a")])
    assert [run.state for run in compared.runs] == ["skipped", "ok"]
    assert compared.runs[0].why == "no_such is not installed: pip install new"


def test_a_table_that_lacks_rows_says_so(stub: Any) -> None:
    fewer = changed(rows=2, total="1234.56")
    compared = compare([stub("a"), stub("q", result=fewer, of_table=True)])
    assert compared.runs[1].why == (
        "the table holds 2 rows of 1,234.56 in all, the lake 3 of 20.21: load what is missing with "
        "celes-beam lake load"
    )
    assert compared.runs[1].bytes_read is None


def test_nobody_tells_how_much_came_from_a_bucket(stub: Any) -> None:
    assert compare([stub("a")], lake(root="gs://bucket/lake")).runs[0].bytes_read is None

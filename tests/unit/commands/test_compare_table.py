from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from celes_beam.commands.compare_table import live_table, print_comparison, showing
from celes_beam.compare.attempt import Attempt
from celes_beam.compare.catalog import ENGINES
from celes_beam.compare.measured import Ended
from celes_beam.compare.side_by_side import Line, Now
from celes_beam.report.comparison import Comparison, Difference, EngineRun, State
from tests.stub_engine import RESULT
from tests.unit.compare.test_conclusion import MACHINE


def run(engine: str, state: State = "ok", rows: int = 3, why: str = "") -> EngineRun:
    measured = state in ("ok", "differs")
    return EngineRun(
        engine=engine,
        rows=rows,
        state=state,
        version="1.2",
        why=why,
        seconds=(1.0, 9.0, 2.0) if measured else (),
        startup_seconds=(0.5, 0.5, 8.0) if measured else (),
        peak_mb=(1100.0, 1200.0, 1300.0) if measured else (),
        bytes_read=2_500_000 if measured else None,
        result=RESULT if measured else None,
    )


def printed(*runs: EngineRun, differences: tuple[Difference, ...] = (), rounds: int = 3) -> str:
    out = io.StringIO()
    comparison = Comparison(
        machine=MACHINE,
        rounds=rounds,
        input="lake",
        agree=not differences,
        runs=runs,
        differences=differences,
    )
    print_comparison(Console(file=out, width=120), comparison)
    return out.getvalue()


def cells(text: str, name: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"│ {name}"))
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_medians_stand_side_by_side() -> None:
    text = printed(run("beam"), run("dask"))
    # All of a round belongs together: its median is not the sum of the others.
    assert cells(text, "beam") == ["beam 1.2", "2.00", "0.50", "9.50", "1,200", "2.5", "equal"]
    assert "3 rows, median of 3 rounds" in text
    assert "All 2 results are equal: 3 rows, 20.21 in all." in text


def test_one_result_is_equal_to_nothing() -> None:
    text = printed(run("beam"), run("dask", "skipped", why="no dask: pip install [dask]"))
    assert cells(text, "beam")[-1] == "ok"
    assert cells(text, "dask")[1:] == ["", "", "", "", "", "not installed"]
    assert "  dask: no dask: pip install [dask]" in text
    assert "equal" not in text


def test_each_size_has_a_table() -> None:
    text = printed(run("beam", rows=3), run("beam", rows=4000), rounds=1)
    assert text.index("3 rows, one round") < text.index("4,000 rows, one round")


def test_differences_are_shown_row_by_row() -> None:
    one = Difference(
        engine="dask",
        against="beam",
        table="by_region",
        key="[bold]",
        column="mean",
        value=None,
        expected="5.055000",
    )
    text = printed(run("beam"), run("dask", "differs", why="so"), differences=(one,) * 25)
    assert "All 2" not in text
    assert cells(text, "dask 1.2")[-1] == "differs"
    lines = [line for line in text.splitlines() if "5.055000" in line]
    assert len(lines) == 20
    assert [cell.strip() for cell in lines[0].strip("│").split("│")] == [
        *("dask", "by_region", "[bold]", "mean", "missing", "5.055000", "beam")
    ]
    assert "… and 5 more, all of them in --json FILE" in text


def test_what_runs_now_is_shown() -> None:
    done = Attempt(Ended(0, 3.0, 150.0, 1), RESULT, 1.25)
    lines = [
        Line(ENGINES["beam"], 1000, Now.WAITS, attempts=[done]),
        Line(ENGINES["dask"], None, Now.RUNS, since=time.monotonic() - 12),
        Line(ENGINES["spark"], None, Now.FAILED),
    ]
    out = io.StringIO()
    Console(file=out, width=100).print(live_table(lines))
    text = out.getvalue()
    assert cells(text, "beam") == ["beam", "1,000", "1", "1.25", "1.75", "150", "waits"]
    assert cells(text, "dask") == ["dask", "", "0", "", "", "", "runs, 12 s"]
    assert cells(text, "spark")[-1] == "failed"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_a_table_that_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    line = Line(ENGINES["dask"], 1000, Now.RUNS, since=time.monotonic())
    with showing([line], "auto"):
        end = time.monotonic() + 10
        while "dask" not in terminal.getvalue():
            assert time.monotonic() < end
            time.sleep(0.01)
    # The last thing is to erase what was shown.
    assert terminal.getvalue().rpartition("\x1b[2K")[2].strip() == ""


def test_off_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with showing([Line(ENGINES["dask"], 1000, Now.RUNS)], "off"):
        time.sleep(0.3)
    assert terminal.getvalue() == ""

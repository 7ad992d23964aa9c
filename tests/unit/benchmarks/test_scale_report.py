"""The tables of docs/scale.md, and their places in it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks.scale import PAGE
from benchmarks.scale_limits import read_limits
from benchmarks.scale_measured import Measured, read_measured, write_measured
from benchmarks.scale_report import flink_predictions, goals, grown_runs, put, run_table, tables
from celes_beam.plan.prices import read_prices
from tests.unit.benchmarks.scale_figures import MEASURED


def all_tables(measured: Measured = MEASURED) -> dict[str, str]:
    return tables(measured, read_prices(None), read_limits())


def test_the_page_has_a_place_for_every_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    filled = put(page, all_tables())
    assert put(filled, all_tables()) == filled
    assert "2 cores." in filled


def test_a_table_without_a_place_is_told() -> None:
    with pytest.raises(ValueError, match="no place named stages"):
        put("<!-- runs -->\n<!-- /runs -->\n", {"stages": "x\n"})


def test_only_places_change() -> None:
    page = "by hand\n<!-- runs -->\nold \\1\n<!-- /runs -->\nmore\n"
    assert put(page, {"runs": r"new \1" + "\n"}) == page.replace("old", "new")


def test_the_error_of_each_prediction_is_told() -> None:
    rows = run_table(MEASURED)
    # 0.1 s and 50 ns a row; 1.2 s of processors and 100 ns a row.
    assert rows[1][:5] == ["generate", "10,000,000", "0.60", "0.60", "-0%"]
    assert rows[1][5:8] == ["2.20", "2.20", "-0%"]
    assert [run.rows for run, _ in grown_runs(MEASURED, "aggregate")] == [10_000_000, 200_000_000]


def test_flink_is_predicted_from_its_own_runs_of_few_rows() -> None:
    (one, alone), (four, shared) = flink_predictions(MEASURED)
    assert (one.slots, four.slots) == (1, 4)
    assert alone == pytest.approx(5.0 + 5.0, rel=1e-3)
    # Four slots of two cores.
    assert shared == pytest.approx(6.0 + 2.5, rel=1e-3)


def test_goals_of_the_largest_run() -> None:
    found = list(goals(MEASURED))
    assert [goal.reached for goal in found] == [True] * 5
    slower = msgspec.structs.replace(MEASURED.runs[2], seconds=(14.0,), peak_mb=400.0)
    runs = (*MEASURED.runs[:2], slower, *MEASURED.runs[3:])
    missed = list(goals(msgspec.structs.replace(MEASURED, runs=runs)))
    assert [goal.reached for goal in missed] == [False, False, True, True, True]


def test_parts_that_were_not_measured_have_no_tables() -> None:
    assert {"flink", "stream", "batch"}.isdisjoint(all_tables(Measured(about="2 cores")))


def test_what_was_measured_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "measured.json"
    assert read_measured(file) == Measured()
    write_measured(MEASURED, file)
    assert read_measured(file) == MEASURED


def test_what_was_measured_last_can_still_be_read() -> None:
    assert all_tables(read_measured())["limits"]

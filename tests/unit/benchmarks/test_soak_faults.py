"""The parts of a soak under kills and faults: what they do, and that they notice what is wrong."""

from __future__ import annotations

import gzip
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from benchmarks import soak_faults_looks, soak_faults_processes
from benchmarks.soak_faults_checks import lake_checks
from benchmarks.soak_faults_ledger import BROKEN, Expected, file_of_sales
from benchmarks.soak_faults_looks import LakeLook
from benchmarks.soak_faults_processes import Command, Errand, Kept, Losses
from celes_beam.sales.breakage import plan_breakage
from celes_beam.stores.lake.lake import Lake
from tests.lakes import commit_sales, draft, reject

LONG = ["http.server", "0", "--bind", "127.0.0.1"]
BAD = ["json.tool", "/nowhere/at/all"]
SALES = [("Hogar", "Norte", 125), ("Hogar", "Sur", 300)]
PATIENCE = 20.0


def until(what: Callable[[], bool], look: Callable[[], None]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        look()
        time.sleep(0.01)


def command(folder: Path, words: list[str]) -> Command:
    return Command("it", words, {}, folder / "log")


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> Losses:
    monkeypatch.setattr(soak_faults_processes, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(soak_faults_processes, "_SURELY_UP_SECONDS", 0.0)
    return Losses()


def test_a_process_is_killed_and_started_again(tmp_path: Path, losses: Losses) -> None:
    with Kept(command(tmp_path, LONG), losses, random.Random(1), (0.05, 0.1)) as kept:
        first = kept.pid
        until(lambda: losses.kills["it"] > 1 and kept.pid is not None, kept.look)
        assert kept.pid != first
        assert kept.end(PATIENCE) == -15
    assert losses.problems == []


def test_one_that_gives_up_is_noted_with_its_last_words(tmp_path: Path, losses: Losses) -> None:
    with Kept(command(tmp_path, BAD), losses, random.Random(1), (90.0, 90.0)) as kept:
        until(lambda: losses.gave_up["it"] > 0, kept.look)
    assert not losses.kills
    assert "No such file or directory: '/nowhere/at/all'" in next(iter(losses.said))


def test_one_that_ends_without_being_asked_to_is_a_problem(tmp_path: Path, losses: Losses) -> None:
    with Kept(command(tmp_path, ["this"]), losses, random.Random(1), (90.0, 90.0)) as kept:
        until(lambda: bool(losses.problems), kept.look)
    assert losses.problems[0] == "it ended without being asked to"


def test_a_traceback_is_a_problem(losses: Losses) -> None:
    losses.note("it", 1, "Traceback (most recent call last):\n  File …\nKeyError: 1\n")
    assert losses.problems == ["it printed a traceback: see its log"]


def test_an_errand_is_run_when_there_is_something_to_do(tmp_path: Path, losses: Losses) -> None:
    ready: list[int] = []
    told: list[tuple[int, str]] = []
    errand = Errand(
        command(tmp_path, ["this"]),
        losses,
        random.Random(1),
        (0.0, 0.0),
        lambda: bool(ready),
        done=lambda code, output: told.append((code, output)),
    )
    with errand:
        errand.look()
        assert not (tmp_path / "log").exists()
        ready.append(1)
        until(lambda: bool(told), errand.look)
    assert told[0][0] == 0
    assert "Namespaces are one honking great idea" in told[0][1]


def test_an_errand_is_killed_with_its_chance(
    tmp_path: Path, losses: Losses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak_faults_processes, "_DYING", (0.0, 0.1))
    rest = (random.Random(1), (0.0, 0.0), lambda: True, 1.0)
    with Errand(command(tmp_path, LONG), losses, *rest) as errand:
        until(lambda: losses.kills["it"] == 1, errand.look)
    assert errand.times == 0


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "ndjson", "ndjson.gz"])
def test_files_hold_what_the_ledger_says(kind: str) -> None:
    expected = Expected()
    accepted = expected.add(7, 800)
    data = file_of_sales(7, 800, kind)
    if kind.endswith("gz"):
        data = gzip.decompress(data)
    lines = data.splitlines()
    assert len(lines) == 800 + kind.startswith("csv")
    assert len(accepted) + expected.rejected_rows == 800
    assert len(plan_breakage(7, 0, 800, BROKEN)[0]) >= expected.rejected_rows > 0


def look_at(lake: Path, most: int, problems: list[str]) -> LakeLook:
    return LakeLook(str(lake), lake, lambda: most, problems)


def test_a_lake_that_is_right_gives_no_problem(tmp_path: Path) -> None:
    problems: list[str] = []
    look = look_at(tmp_path, 4, problems)
    look.look()
    commit_sales(Lake.open(str(tmp_path)), "r1", SALES, kind="create")
    look.look()
    commit_sales(Lake.open(str(tmp_path)), "r2", SALES)
    look.look()
    assert (problems, look.rows, look.looks) == ([], 4, 3)


def test_more_rows_than_were_sent_are_a_problem(tmp_path: Path) -> None:
    problems: list[str] = []
    commit_sales(Lake.open(str(tmp_path)), "r1", SALES, kind="create")
    look_at(tmp_path, 1, problems).look()
    assert problems == [f"{tmp_path}: 2 rows, where 0 to 1 can be"]


def test_fewer_rows_than_before_are_a_problem(tmp_path: Path) -> None:
    problems: list[str] = []
    look = look_at(tmp_path, 9, problems)
    commit_sales(Lake.open(str(tmp_path)), "r1", SALES, kind="create")
    look.look()
    commit_sales(Lake.open(str(tmp_path)), "r2", SALES[:1], kind="overwrite")
    look.look()
    assert problems == [f"{tmp_path}: 1 rows, where 2 to 9 can be"]


def test_files_that_hold_something_else_are_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak_faults_looks, "_PAUSE_SECONDS", 0.0)
    problems: list[str] = []
    lake = Lake.open(str(tmp_path))
    commit_sales(lake, "r1", SALES, kind="create")
    north, south = sorted(tmp_path.glob("region_de_venta=*/*.parquet"))
    south.write_bytes(north.read_bytes())
    look = look_at(tmp_path, 9, problems)
    look.look()
    two, four = Decimal("2.50"), Decimal("4.25")
    assert problems == [f"{tmp_path}: files hold {(2, two)}, their commits say {(2, four)}"]
    south.unlink()
    look.look()
    assert "No files found" in problems[-1]


def test_a_problem_told_through_a_bad_network_counts_if_it_stays(tmp_path: Path) -> None:
    problems: list[str] = []
    commit_sales(Lake.open(str(tmp_path)), "r1", SALES, kind="create")
    look = look_at(tmp_path, 9, problems)
    told = json.dumps({"problems": ["part-1.parquet: reading failed: 503"]})
    look.verified(1, told)
    assert problems == []
    next(tmp_path.glob("*/*.parquet")).unlink()
    look.verified(1, told)
    assert "the file is gone" in problems[0]
    look.verified(1, "celes-beam: error: gs://soak/lago: cannot be listed; run it again")
    assert len(problems) == 1


def test_sums_of_rows_that_cannot_be_are_a_problem(tmp_path: Path) -> None:
    problems: list[str] = []
    summary = tmp_path / "summary.json"
    done = look_at(tmp_path, 9, problems).aggregated(summary)
    done(1, "celes-beam: error: …")
    for rows in (5, 7, 6, 10):
        summary.write_text(json.dumps({"rows": rows}))
        done(0, "")
    assert problems == [
        f"{tmp_path}: aggregate: 6 rows, where 7 to 9 can be",
        f"{tmp_path}: aggregate: 10 rows, where 6 to 9 can be",
    ]


def differs(lake: Path, expected: Expected) -> list[str]:
    """Which checks of the lake do not hold."""
    checks = lake_checks("lake", str(lake), lambda _: lake, expected)
    return [check.what for check in checks if not check.holds]


def test_a_lake_is_compared_with_all_that_was_sent(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    lake.commit(reject(lake, draft(lake, "r1", SALES, kind="create"), 3))
    # Each region counts its ids from 1.
    sent = Expected(2, Decimal("4.25"), [np.array([1, 1])], Counter(missing=3))
    assert differs(tmp_path, sent) == []
    assert differs(tmp_path, replace(sent, accepted=3)) == ["lake: rows and total"]
    assert differs(tmp_path, replace(sent, total=Decimal("4.26"))) == ["lake: rows and total"]
    assert differs(tmp_path, replace(sent, ids=[np.array([1]), np.array([2])])) == [
        "lake: the ids of its files are those that were sent"
    ]
    assert differs(tmp_path, replace(sent, rejected=Counter(missing=2, unknown=1))) == [
        "lake: rejected rows by reason"
    ]
    next(tmp_path.glob("_rejected/*/*")).write_bytes(b"")
    assert differs(tmp_path, sent) == ["lake: problems"]

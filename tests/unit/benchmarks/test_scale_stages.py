"""The stages of real work, at a small size: that each is there, and all rows went through."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.measure import run_process
from benchmarks.scale_measured import AGGREGATE, CSV, FLUSH, GENERATE, MESSAGES, NATIVE
from benchmarks.scale_stages import stages_of
from pipelines.batch import run

ROWS = 20_000
INTO_LAKE = {"add up", "split", "encode", "write"}
STAGES = {
    GENERATE: {"generate", "check", *INTO_LAKE},
    CSV: {"read", "decode", "check", *INTO_LAKE},
    MESSAGES: {
        "decode and check",
        "encode for the journal",
        "write the journal",
        "encode for the table",
    },
    NATIVE: {"parse and join"},
    FLUSH: {"read", *INTO_LAKE},
}


@pytest.mark.parametrize("way", STAGES)
def test_stages_of_a_way(way: str, tmp_path: Path) -> None:
    found = stages_of(way, ROWS, tmp_path)
    assert found.seconds.keys() == STAGES[way]
    assert all(took > 0 for took in found.seconds.values())
    assert found.rows == ROWS
    assert 0 < found.few_rows <= ROWS
    assert found.whole.keys() == found.few.keys()
    assert (found.bytes_read > 0) == (way != GENERATE)
    assert (found.bytes_written > 0) == (way != NATIVE)
    assert (found.bytes_appended > 0) == (way == MESSAGES)


def test_stages_of_reading_a_lake(tmp_path: Path) -> None:
    run(["--rows", str(ROWS), "--output", str(tmp_path / "lake"), "--progress", "off"])
    found = stages_of(AGGREGATE, ROWS, tmp_path / "lake")
    assert found.seconds.keys() == {"read and decode", "add up"}
    assert found.rows == ROWS


def test_an_id_takes_more_memory_than_its_text() -> None:
    # In a process of its own, where no memory is left over from others.
    command = [sys.executable, "-m", "benchmarks.scale_stages", "id", "200000", "."]
    assert 17 < float(run_process(command)[2]) < 2_000

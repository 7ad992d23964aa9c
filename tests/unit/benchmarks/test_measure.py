from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.measure import Contestant, Measured, Runs, measure, run_once, run_process


def script(name: str, text: str) -> Contestant:
    return Contestant(name, lambda _: ["-c", text])


def runs(*seconds: float, name: str = "way", peak_mb: float = 1.0) -> Runs:
    contestant = script(name, "")
    return Runs(contestant, [Measured(s, s + 1, peak_mb, {}) for s in seconds])


def writes_lake(content: str) -> Callable[[Path], list[str]]:
    """A contestant that writes one row to a lake, through pyarrow."""

    def command(folder: Path) -> list[str]:
        text = (
            "import decimal, pathlib, pyarrow as pa, pyarrow.parquet as pq\n"
            f"folder = pathlib.Path({str(folder)!r}) / 'lake' / 'region_de_venta=Norte'\n"
            "folder.mkdir(parents=True)\n"
            "table = pa.table({'categoria_de_producto': ['Ropa'],\n"
            f"  'cantidad_de_venta': [decimal.Decimal({content!r})]}})\n"
            "pq.write_table(table, folder / 'part.parquet')\n"
        )
        return ["-c", text]

    return command


def test_seconds_come_from_the_last_line() -> None:
    run = run_once(script("way", "print('hello'); print('{\"seconds\": 12.5}')"))
    assert run.seconds == 12.5
    assert run.process_seconds < 12.5


def test_seconds_come_from_the_summary() -> None:
    def command(folder: Path) -> list[str]:
        path = str(folder / "summary.json")
        return ["-c", f"open({path!r}, 'w').write('{{\"seconds\": 3.25}}'); print('done')"]

    assert run_once(Contestant("ours", command)).seconds == 3.25


def test_without_a_report_they_are_those_of_the_process() -> None:
    run = run_once(script("help", "print('usage: …')"))
    assert run.seconds == run.process_seconds


def test_peak_memory_is_that_of_the_child() -> None:
    # Measured from a process of its own: a child's peak is never below that of its parent, which
    # here is all the tests that ran before.
    code = (
        "import sys; from benchmarks.measure import run_process\n"
        "for child in ('', \"x = b'1' * 600_000_000\"):\n"
        "    print(run_process([sys.executable, '-c', child])[1])\n"
    )
    _, _, output = run_process([sys.executable, "-c", code])
    small, large = map(float, output.split())
    assert large > 600
    assert large - small > 300


def test_a_failure_shows_what_the_command_said() -> None:
    with pytest.raises(ValueError, match="no such luck"):
        run_once(script("way", "raise SystemExit('no such luck')"))


def test_contestants_take_turns_after_a_round_that_is_not_counted() -> None:
    said: list[str] = []
    contestants = [
        script("a", "print('{\"seconds\": 1}')"),
        script("b", "print('{\"seconds\": 2}')"),
    ]
    measured = measure(contestants, 2, said.append)
    assert [line.split(" ")[2] for line in said] == ["a", "b"] * 3
    assert [len(r.runs) for r in measured] == [2, 2]
    assert measured[1].ratio_to(measured[0]) == 2


def test_a_single_round_is_counted() -> None:
    assert len(measure([script("a", "")], 1, lambda _: None)[0].runs) == 1


def test_other_rows_are_an_error() -> None:
    contestants = [Contestant(name, writes_lake(name)) for name in ("1.10", "1.11")]
    with pytest.raises(ValueError, match=r"1\.11 wrote other rows than 1\.10"):
        measure(contestants, 1, lambda _: None)


def test_ratios_are_of_the_same_round() -> None:
    # Each round is twice as slow as the one before; the ratios of medians would say 1.5 / 2.
    assert runs(3, 2, 12).ratio_to(runs(1, 2, 4)) == 3


def test_the_highest_peak_counts() -> None:
    both = Runs(script("way", ""), [Measured(1, 1, peak, {}) for peak in (5.0, 9.0, 7.0)])
    assert both.peak_mb == 9
    assert both.median(lambda run: run.peak_mb) == 7

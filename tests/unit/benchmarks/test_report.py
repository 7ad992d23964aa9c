from __future__ import annotations

import io
import re

from rich.console import Console

from benchmarks.measure import Contestant, Measured, Runs
from benchmarks.report import machine, markdown, print_section
from benchmarks.section import Goal, Section

CONTENT = {"groups": [], "rows": 10, "files": 12, "bytes": 66_200_000}


def way(name: str, does: str, *seconds: float) -> Runs:
    contestant = Contestant(name, lambda _: [], does)
    return Runs(contestant, [Measured(s, s + 1, 300, CONTENT) for s in seconds])


WORK = Section(
    "Rows to Parquet",
    [way("ours", "all of it.", 0.5, 0.6, 0.7), way("theirs", "some of it.", 1.0, 1.2, 1.4)],
    [Goal("ahead of theirs", "2.00 times as fast", True), Goal("below 200 MB", "300 MB", False)],
)
START = Section("Start-up", [way("--help", "", 0.1)], [], whole=True)


def report() -> str:
    return markdown([WORK, START], command="python -m this", rows=10, rounds=3, about="2 cores")


def test_work_is_a_table_of_medians_and_ratios() -> None:
    assert "| ours | 0.60 | 1.00 | 1.60 | 300 | 12 | 66.2 |\n" in report()
    assert "| theirs | 1.20 | 2.00 | 2.20 | 300 | 12 | 66.2 |\n" in report()


def test_goals_say_whether_they_are_reached() -> None:
    assert "| ahead of theirs | 2.00 times as fast | yes |\n" in report()
    assert "| below 200 MB | 300 MB | **no** |\n" in report()


def test_it_says_what_each_does() -> None:
    assert "What each does:\n\n- **ours**: all of it.\n- **theirs**: some of it.\n" in report()


def test_of_start_up_only_the_process_counts() -> None:
    assert "## Start-up\n\n| Command | seconds |\n| --- | ---: |\n| --help | 1.10 |\n" in report()


def test_it_names_the_command_and_the_machine() -> None:
    assert report().startswith("# Benchmarks\n\nWritten by `python -m this`")
    assert "\n2 cores.\n" in report()


def test_sections_and_tables_stand_apart() -> None:
    for line in re.findall(r"\n(?:\| Way|\| Goal|\| Command|## |What each)", report()):
        assert f"\n{line}" in report()


def test_the_machine_is_named_by_cores_memory_and_versions_alone() -> None:
    named = r"\d+ cores, \d+ GiB of memory; Python 3[\d.]+(, [a-z-]+ [\d.]+){6}"
    assert re.fullmatch(named, machine())


def test_it_prints() -> None:
    out = io.StringIO()
    print_section(WORK, Console(file=out, width=120))
    assert "theirs" in out.getvalue()
    assert "not reached  below 200 MB: 300 MB" in out.getvalue()

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celes_beam.errors import InputError
from celes_beam.stores.inputs.files import InputFile
from celes_beam.stores.inputs.landing import Landing, is_whole

NOW = 1_000_000.0
QUIET = 10.0


def file(path: str = "a.csv", size: int = 10, age: float = 100.0) -> InputFile:
    return InputFile(path, size, str(int((NOW - age) * 1e9)))


def nothing(path: str, why: str) -> None:
    raise AssertionError(why)


@pytest.mark.parametrize(
    ("now", "before", "whole"),
    [
        (file(), None, False),
        (file(), file(), True),
        (file(), file(size=9), False),
        (file(), file(age=101), False),
        (file(age=9.5), file(age=9.5), False),
        (file(age=10), file(age=10), True),
        (file(age=-3600), file(age=-3600), True),
        (file("gs://b/a.csv"), None, True),
    ],
)
def test_what_is_whole(now: InputFile, before: InputFile | None, whole: bool) -> None:
    looks = {} if before is None else {before.path: before}

    assert is_whole(now, looks, NOW, QUIET) is whole


@given(
    writes=st.lists(st.floats(0.01, 9.99), max_size=20),
    seconds=st.floats(0.2, 60),
    start=st.floats(0, 60),
)
def test_no_file_is_taken_between_writes_that_are_closer_than_the_quiet_time(
    writes: list[float], seconds: float, start: float
) -> None:
    """A writer pauses for less than ten seconds each time; looks come at any moments."""
    times = [start]
    for pause in writes:
        times.append(times[-1] + pause)
    before: dict[str, InputFile] = {}
    at = 0.0
    while at < times[-1] + QUIET + 2 * seconds:
        written = [t for t in times if t <= at]
        if written:
            seen = InputFile("a.csv", len(written), str(int((NOW + written[-1]) * 1e9)))
            if is_whole(seen, before, NOW + at, QUIET):
                assert len(written) == len(times)
                return
            before = {seen.path: seen}
        at += seconds
    raise AssertionError("a file that is written to no more was never whole")


def age(path: Path, seconds: float) -> Path:
    when = path.stat().st_mtime - seconds
    os.utime(path, (when, when))
    return path


def test_a_landing_folder_gives_what_two_looks_saw_alike(tmp_path: Path) -> None:
    landing = Landing([str(tmp_path)], None, 60.0)
    assert landing.look(nothing).whole == ()

    old = age(tmp_path / "a.csv" if (tmp_path / "a.csv").write_text("1") else tmp_path, 60)
    (tmp_path / "b.csv").write_text("2")
    (tmp_path / "notes.md").write_text("no input")
    first, second = landing.look(nothing), landing.look(nothing)

    assert (first.whole, first.unfinished) == ((), 2)
    assert [f.path for f in second.whole] == [str(old)]
    assert second.unfinished == 1


def test_a_file_that_went_is_forgotten(tmp_path: Path) -> None:
    landing = Landing([str(tmp_path / "*.csv")], None, 60.0)
    path = tmp_path / "a.csv"
    path.write_text("1")
    age(path, 60)
    landing.look(nothing)
    kept = path.stat()
    path.unlink()
    assert landing.look(nothing).whole == ()

    path.write_text("1")
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))

    assert landing.look(nothing).whole == ()
    assert len(landing.look(nothing).whole) == 1


@pytest.mark.parametrize("name", ["gone", "gone/*.csv"])
def test_a_missing_folder_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="gone"):
        Landing([str(tmp_path / name)], None, 60.0).look(nothing)


def test_what_cannot_be_read_is_told_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1")
    (tmp_path / "b.csv").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "c.csv")
    told: dict[str, str] = {}

    look = Landing([str(tmp_path)], None, 60.0).look(told.setdefault)

    assert look.unfinished == 1
    assert {Path(p).name: why.partition(": ")[2] for p, why in told.items()} == {
        "b.csv": "a link to what is not there; check the path",
        "c.csv": "not a regular file; write it to a file first",
    }

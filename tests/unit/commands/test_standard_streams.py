"""Commands whose standard streams are closed, full, or left by their reader."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")

SUMMARY = """
import logging, os, sys
from celes_beam.commands.command_line import run_and_show

class Summary:
    def print(self, console):
        console.print("the summary " * 2000)

def run(argv):
    logging.getLogger("celes_beam").warning("on the way")
    sys.stderr.isatty()
    with open(sys.argv[1], "w") as done:
        os.system("echo from a child; echo from a child >&2")
        done.write("done")
    return Summary()

sys.exit(run_and_show("p", run))
"""


def run_with(
    done: Path, prepare: Callable[[], object] | None = None, **streams: int
) -> tuple[int, str, str]:
    process = subprocess.run(
        [sys.executable, "-c", SUMMARY, str(done)],
        preexec_fn=prepare,
        text=True,
        check=False,
        timeout=60,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
    )
    assert done.read_text() == "done"
    return process.returncode, process.stdout or "", process.stderr or ""


def close(*numbers: int) -> Callable[[], None]:
    return lambda: [os.close(number) for number in numbers] and None


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_streams_are_no_failure_and_no_file_gets_their_place(
    closed: tuple[int, ...], tmp_path: Path
) -> None:
    code, out, err = run_with(tmp_path / "done", close(*closed))

    assert code == 0
    assert ("the summary" in out) == (1 not in closed)
    assert ("on the way" in err) == (2 not in closed)
    assert "Traceback" not in err


@needs_full
def test_a_log_that_is_full_fails_no_run(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        code, out, _ = run_with(tmp_path / "done", stderr=full.fileno())

    assert code == 0
    assert "the summary" in out


@needs_full
def test_a_full_stdout_is_named_and_the_run_is_said_to_be_done(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        code, _, err = run_with(tmp_path / "done", stdout=full.fileno())

    assert code == 1
    lines = [line for line in err.splitlines() if line.startswith("p: ")]
    assert lines == [
        "p: the run is done, but not its summary: stdout cannot be written: No space left on "
        "device; make room where it goes, or send it elsewhere"
    ]
    assert "Exception ignored" not in err
    assert "Traceback" not in err


def test_a_reader_that_went_away_gets_no_complaint(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    code, _, err = run_with(tmp_path / "done", stdout=write)
    os.close(write)

    assert code == 1
    assert "p: " not in err
    assert "Traceback" not in err
    assert "Exception ignored" not in err

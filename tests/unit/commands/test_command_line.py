import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest

from celes_beam.commands.command_line import (
    explain,
    part_of_command,
    run_command,
    worker_output_held,
)
from celes_beam.errors import ConfigError, StorageError, TooManyRejectedError


def raising(error: BaseException) -> Callable[[Sequence[str]], int]:
    def command(argv: Sequence[str]) -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("rows=-1: expected more"), 2, "p: rows=-1: expected more"),
        (TooManyRejectedError("5 of 6"), 3, "p: 5 of 6"),
        (StorageError("disk\nfull"), 1, "p: disk full"),
        (OSError(28, "No space left on device", "x/y"), 1, "p: x/y: No space left on device"),
        (KeyboardInterrupt(), 130, "p: interrupted; it is safe to run it again"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("p", raising(error), []) == code
    assert capsys.readouterr().err == line + "\n"


@pytest.mark.timeout(20)
def test_an_error_that_is_its_own_cause_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    itself = ValueError("bad")
    itself.__cause__ = itself
    first, second = ValueError("first"), StorageError("second")
    first.__cause__, second.__cause__ = second, first
    assert run_command("p", raising(itself), []) == 1
    assert "ValueError: bad" in capsys.readouterr().err
    assert explain(first) == ("second", 1)


def test_success_passes_the_exit_code_on() -> None:
    assert run_command("p", len, ["a", "b"]) == 2


def test_an_unforeseen_error_says_how_to_see_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("p", raising(ZeroDivisionError("division by zero")), []) == 1
    err = capsys.readouterr().err
    assert err.startswith("p: ZeroDivisionError: division by zero (CELES_TRACEBACK=1")
    assert err.count("\n") == 1


def test_the_cause_that_a_runner_wrapped_is_what_counts() -> None:
    wrapped = RuntimeError("bundle failed")
    wrapped.__cause__ = ConfigError("bad value [while running 'Stage/ParDo(_StageFn)']")

    assert explain(wrapped) == ("bad value", 2)


def test_an_error_of_another_process_is_found_in_the_text() -> None:
    text = (
        "bundle inst001 failed: Traceback\n  File x\n"
        "celes_beam.errors.TooManyRejectedError: 5 of 6 rows [while running 'Commit']\n"
    )

    assert explain(RuntimeError(text)) == ("5 of 6 rows", 3)


def test_what_is_held_back_after_an_error_is_held_for_a_part_of_the_command_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command(_: Sequence[str]) -> int:
        for number in (1, 2):
            try:
                with part_of_command():
                    try:
                        with worker_output_held():
                            raise StorageError("the disk is full")
                    finally:
                        print("a traceback that comes late", file=sys.stderr)
            except StorageError as error:
                print(f"round {number}: {error}", file=sys.stderr)
        return 0

    assert run_command("t", command, []) == 0
    assert capsys.readouterr().err.splitlines() == [
        "round 1: the disk is full",
        "round 2: the disk is full",
    ]


@pytest.mark.parametrize("is_command", [True, False])
def test_imports_are_kept_from_the_collector_by_commands_alone(is_command: bool) -> None:
    code = (
        "import gc, sys; from celes_beam.commands.command_line import *\n"
        "def command(argv):\n"
        "    imports_are_over()\n"
        "    imports_are_over()\n"
        "    return int(gc.get_freeze_count() > 0)\n"
        + ("sys.exit(run_command('p', command, []))" if is_command else "sys.exit(command([]))")
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == is_command

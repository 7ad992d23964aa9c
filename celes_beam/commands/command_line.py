"""How a command line starts and ends: log lines, one-line errors, exit codes."""

from __future__ import annotations

import functools
import gc
import io
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr
from typing import TYPE_CHECKING, Protocol

from celes_beam import errors
from celes_beam.commands.standard_streams import (
    ReaderGoneError,
    settle_stdout,
    standard_streams,
)
from celes_beam.errors import CelesError, StorageError

if TYPE_CHECKING:
    from rich.console import Console

_LOGGER = logging.getLogger(__name__)
_commands: list[ExitStack] = []
"""What the command that is running has to undo when it ends."""
_INTERRUPTED = 130
_INTERRUPT_IN_TEXT = re.compile(r"\bKeyboardInterrupt\b")
_BEAM_SUFFIX = re.compile(r"\s*\[while running [^\]]*\]")
_OUR_ERROR_IN_TEXT = re.compile(r"celes_beam\.errors\.(\w+): ([^\n]+)")


def run_command(
    program: str, command: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None
) -> int:
    """Run ``command(argv)`` and return its exit code; an error becomes one line on stderr.

    Without ``argv`` it is the command line of this process, which ends next.
    Set ``CELES_TRACEBACK=1`` to see the traceback as well.
    """
    with ExitStack() as ending:
        ending.enter_context(standard_streams())
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
        logging.getLogger("celes_beam").setLevel(logging.INFO)
        if not _shows_tracebacks():
            threading.excepthook = _log_thread_failure
        stderr = sys.stderr
        _commands.append(ending)
        ending.callback(_commands.remove, ending)
        ending.enter_context(_terminated_as_interrupt())
        try:
            code = command(sys.argv[1:] if argv is None else argv)
            # What stdout does not take is noticed here, not at interpreter exit.
            sys.stdout.flush()
        except ReaderGoneError:
            return 1
        except (Exception, KeyboardInterrupt) as error:
            message, code = explain(error)
            if _shows_tracebacks():
                logging.getLogger("celes_beam").exception("%s", message)
            print(f"{program}: {message}", file=stderr)
            settle_stdout()
            if argv is None:
                # What is held stays so: threads of a runner print until the very end.
                ending.pop_all()
        return code


@contextmanager
def part_of_command() -> Iterator[None]:
    """Undo at the end of the body what the end of the command would; an error may be handled."""
    with ExitStack() as ending:
        _commands.append(ending)
        ending.callback(_commands.remove, ending)
        yield


def imports_are_over() -> None:
    """Keep what a command has imported from the collector of cycles, which finds nothing there.

    Going through all of Beam takes it a tenth of a second, in the middle of the work. Of a program
    that calls ``run`` by itself, whose objects are its own, nothing is kept.
    """
    if _commands:
        _keep_all_there_is()


@functools.cache
def _keep_all_there_is() -> None:
    # Once, which is not asked of the collector: it would count a hundred thousand objects.
    gc.freeze()


class Summary(Protocol):
    """What a run has to say at its end."""

    def print(self, console: Console) -> None:
        """Print it for people."""
        ...


def run_and_show(
    program: str, run: Callable[[Sequence[str]], Summary], argv: Sequence[str] | None = None
) -> int:
    """Run a pipeline as a command, print its summary on stdout, and return the exit code."""

    def command(arguments: Sequence[str]) -> int:
        summary = run(arguments)
        from celes_beam.commands.console import console_for  # noqa: PLC0415 - not for --help

        try:
            summary.print(console_for(sys.stdout))
            sys.stdout.flush()
        except StorageError as error:
            raise StorageError(f"the run is done, but not its summary: {error}") from error
        return 0

    return run_command(program, command, argv)


@contextmanager
def worker_output_held(*, show: bool = True) -> Iterator[None]:
    """Hold what workers of this process print, and show it only when the error is unknown to us.

    After a run that went well it is shown, but not without ``show``: of workers that a cluster gave
    up and replaced, it tells what is of no consequence.

    Of the log only our own lines pass. Beam logs and prints the traceback of everything that a
    worker raises, once for each wrapping: of an unreadable input as well as of a defect. Some
    comes late, from threads that outlive the pipeline, so after an error of ours it is held until
    the command ends.
    """
    if _shows_tracebacks():
        yield
        return
    held = io.StringIO()
    with ExitStack() as holding:
        for handler in logging.getLogger().handlers:
            handler.addFilter(_is_ours)
            holding.callback(handler.removeFilter, _is_ours)
        stderr = sys.stderr
        holding.enter_context(redirect_stderr(held))
        try:
            yield
        except BaseException as error:
            # What workers say of an interrupt is that they were interrupted.
            if not our_error(error) and not isinstance(error, KeyboardInterrupt):
                stderr.write(held.getvalue())
            elif _commands:
                _commands[-1].push(holding.pop_all())
            raise
        if show:
            stderr.write(held.getvalue())


def explain(error: BaseException) -> tuple[str, int]:
    """One line for an error, and its exit code.

    Runners wrap what a worker raised: the original is looked for among the causes, and in the text
    of the error where the runner is another process.
    """
    stopped = next((e for e in _chain(error) if isinstance(e, KeyboardInterrupt)), None)
    if stopped is not None or _INTERRUPT_IN_TEXT.search(str(error)):
        how, code = stopped.args if stopped and stopped.args else ("interrupted", _INTERRUPTED)
        return f"{_one_line(how)}; it is safe to run it again", code
    ours = our_error(error)
    if ours is not None:
        return _one_line(str(ours)), ours.exit_code
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}", 1
    lines = [line for line in str(error).splitlines() if line.strip()] or [""]
    return (
        f"{type(error).__name__}: {_one_line(lines[-1])} (CELES_TRACEBACK=1 shows where; please "
        "report it)",
        1,
    )


def our_error(error: BaseException) -> CelesError | None:
    """The error of ours that a runner wrapped in another one; ``None`` when there is none."""
    for seen in _chain(error):
        if isinstance(seen, CelesError):
            return seen
    found = _OUR_ERROR_IN_TEXT.findall(str(error))
    if not found:
        return None
    name, message = found[-1]
    kind: type[CelesError] = getattr(errors, name, CelesError)
    return kind(message)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    # An error that was raised from itself, or from one that it caused, has no end.
    passed: set[int] = set()
    while seen is not None and id(seen) not in passed:
        yield seen
        passed.add(id(seen))
        seen = seen.__cause__ or seen.__context__


@contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """Let SIGTERM unwind the command as Ctrl-C does, so that it tidies up after itself."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt("terminated", 128 + signum)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _shows_tracebacks() -> bool:
    return bool(os.environ.get("CELES_TRACEBACK"))


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.startswith("celes_beam")


def _log_thread_failure(args: threading.ExceptHookArgs) -> None:
    """Connections to a runner that has failed fail too, each in a thread of its own."""
    name = args.thread.name if args.thread else "a thread"
    _LOGGER.debug("%s ended with %r", name, args.exc_value)


def _one_line(message: str) -> str:
    return " ".join(_BEAM_SUFFIX.sub("", message).split())

"""stdin, stdout and stderr of a command, in whatever state they were given to it."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from celes_beam.errors import StorageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_NAMES = ("stdin", "stdout", "stderr")


class ReaderGoneError(Exception):
    """Who read our stdout went away."""


@contextmanager
def standard_streams() -> Iterator[None]:
    """Make the streams of this process fit to be used while the body runs.

    One that is closed is opened on the null device. What stderr does not take is dropped, for no
    work may fail for want of a log. What stdout does not take raises ``StorageError``, or
    ``ReaderGoneError``; streams that are not the process's own, as in tests, are left as they are.
    """
    _open_closed()
    before = sys.stdout, sys.stderr
    sys.stdout = _with_raw(sys.stdout, 1, _Stdout)
    sys.stderr = _with_raw(sys.stderr, 2, _Stderr)
    try:
        yield
    finally:
        settle_stdout()
        sys.stdout, sys.stderr = before


def settle_stdout() -> None:
    """Write what waits for stdout; what it does not take is dropped, without a word at exit."""
    try:
        sys.stdout.flush()
    except (StorageError, ReaderGoneError):
        with open(os.devnull, "wb") as null:  # noqa: PTH123
            os.dup2(null.fileno(), sys.stdout.fileno())


class _Stdout(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError as error:
            raise ReaderGoneError from error
        except OSError as error:
            raise StorageError(
                f"stdout cannot be written: {error.strerror}; make room where it goes, or send it "
                "elsewhere"
            ) from error


class _Stderr(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        with suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


def _open_closed() -> None:
    # The next file would get the number of a closed one, and what a library, or a program that we
    # start, prints there would go into the middle of it.
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for number, name in enumerate(_NAMES):
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _with_raw(stream: TextIO, number: int, raw: type[io.FileIO]) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    # A terminal that cannot show a letter is no reason to fail after the work is done.
    stream.reconfigure(errors="replace")
    try:
        if stream.fileno() != number:
            return stream
        stream.flush()
    except (OSError, ValueError):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(raw(number, "w", closefd=False)),
        encoding=stream.encoding,
        errors="replace",
        line_buffering=stream.line_buffering,
    )

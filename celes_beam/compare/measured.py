"""A command run to its end in a process of its own, and what it and all below it took."""

from __future__ import annotations

import os
import resource
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from celes_beam.compare.process_tree import ProcessTree

LOOK_SECONDS = 0.1
_FIRST_LOOK_SECONDS = 0.005
_POLITE_SECONDS = 5.0
_BYTES_PER_MB = 1_000_000
_KIB = 1024


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: the signal), ``None`` when it took too long.

    ``seconds`` are those of the whole process; ``peak_mb`` is the most memory of the process and
    all below it at one moment, in units of 10**6 bytes; ``bytes_read`` what they read in all, their
    own programs as well, ``None`` where the system does not tell.
    """

    code: int | None
    seconds: float
    peak_mb: float
    bytes_read: int | None


def run_measured(
    command: Sequence[str],
    out: IO[bytes],
    err: IO[bytes],
    *,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Ended:
    """Run a command, and measure it; its output goes to files.

    Nothing of it runs any more when this returns, or raises: it is ended when the body is
    interrupted, or after ``timeout`` seconds. Raises ``MissingProgramError`` without psutil.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        env=environment,
        # Ctrl-C in the terminal is for us, who end all of it; a group is ended at once.
        start_new_session=True,
    )
    try:
        tree = ProcessTree(process.pid)
        with _Waiting(process) as waiting:
            try:
                in_time = _look_on(tree, waiting, started, timeout)
                seconds = time.perf_counter() - started
                if not in_time:
                    _ask_to_end(process, waiting)
            except BaseException:
                _ask_to_end(process, waiting)
                raise
            finally:
                if not waiting.ended_within(0):
                    tree.end()
                tree.look()
                kernel = _reap(process)
                tree.leave()
    except BaseException:
        # Also without psutil, where there is no tree to look at.
        if process.returncode is None:
            process.kill()
            process.wait()
        raise
    peak = max(tree.peak, kernel if kernel > _own_peak() else 0)
    return Ended(process.returncode if in_time else None, seconds, peak / _BYTES_PER_MB, tree.read)


class _Waiting:
    """Waits for a child, and leaves it to be looked at once it has ended, where that can be."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._descriptor = -1
        if sys.platform == "linux":
            # An old kernel has none, and some sandboxes give none.
            with suppress(OSError):
                self._descriptor = os.pidfd_open(process.pid)

    def __enter__(self) -> _Waiting:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def ended_within(self, seconds: float) -> bool:
        """Wait so long at most."""
        if self._process.returncode is not None:
            return True
        if self._descriptor >= 0:
            return bool(select.select([self._descriptor], [], [], seconds)[0])
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None


def _look_on(tree: ProcessTree, waiting: _Waiting, started: float, timeout: float | None) -> bool:
    """Look at a tree until its root ends; whether it does in time."""
    elapsed = 0.0
    # Of a short run, too, there is to be a look shortly before its end.
    while not waiting.ended_within(min(LOOK_SECONDS, elapsed / 10 + _FIRST_LOOK_SECONDS)):
        elapsed = time.perf_counter() - started
        if timeout is not None and elapsed > timeout:
            return False
        tree.look()
    return True


def _ask_to_end(process: subprocess.Popen[bytes], waiting: _Waiting) -> None:
    """Let a process stop what it has started itself, such as a cluster; it may take some time."""
    process.terminate()
    waiting.ended_within(_POLITE_SECONDS)


def _reap(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process; the most memory, in bytes, of it or of one of its own children."""
    if process.returncode is not None:
        return 0
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return _bytes(usage)


def _own_peak() -> int:
    # On Linux the memory of a child counts from that of its parent on: below that nothing is known.
    return _bytes(resource.getrusage(resource.RUSAGE_SELF))


def _bytes(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else _KIB)

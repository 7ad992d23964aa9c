"""What a process and all below it take while they run, and how they are ended for sure."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from celes_beam.local.processes import process_library

_KIB = 1024
_LEAVE_SECONDS = 5.0
_KILL_SECONDS = 5.0
_POLL_SECONDS = 0.02
_LISTS_CHILDREN = Path("/proc/thread-self/children").exists()
"""A kernel may have been built without."""


class ProcessTree:
    """The tree below a child of this process, which leads a group of its own.

    ``peak`` is the most memory seen so far, in bytes; ``read`` the bytes read, ``None`` where the
    system does not tell. Each is right as of the last ``look``. Raises ``MissingProgramError``
    without psutil.
    """

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self.read: int | None = None
        self._pid = pid
        self._psutil = process_library()
        self._root = self._psutil.Process(pid)
        self._below: set[Any] = set()

    def look(self) -> None:
        """Look at all that run now. The root may have ended, but not been waited for."""
        resident = 0
        read: list[int] = []
        for process in self._all():
            with suppress(self._psutil.Error):
                resident += process.memory_info().rss
            with suppress(OSError):
                # What a process alone reached between two looks, the kernel remembers.
                self.peak = max(self.peak, _high_water(process.pid))
                read.append(_read_calls(process.pid))
        self.peak = max(self.peak, resident)
        if read:
            # A process that was waited for is counted in its parent from then on.
            self.read = max(self.read or 0, sum(read))

    def end(self) -> None:
        """Kill all that are left of the tree, the root as well, at once."""
        self._all()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)
        for process in self._below:
            self._kill(process)

    def leave(self) -> None:
        """Let what is below an ended root end by itself, for some seconds, and then kill it."""
        for process in self._left_after(_LEAVE_SECONDS):
            self._kill(process)
        self._left_after(_KILL_SECONDS)

    def _left_after(self, seconds: float) -> list[Any]:
        """Which of those below run still, after so many seconds at most."""
        end = time.monotonic() + seconds
        while (left := [p for p in self._below if self._runs(p)]) and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
        return left

    def _runs(self, process: Any) -> bool:
        try:
            # One that nobody waits for stays in the list after it ended.
            return bool(process.is_running() and process.status() != self._psutil.STATUS_ZOMBIE)
        except self._psutil.Error:
            return False

    def _all(self) -> list[Any]:
        found: list[Any] = []
        with suppress(self._psutil.Error):
            if _LISTS_CHILDREN:
                found = [self._psutil.Process(pid) for pid in _descendants(self._pid)]
            else:
                found = self._root.children(recursive=True)
        self._below.update(found)
        return [self._root, *found]

    def _kill(self, process: Any) -> None:
        # psutil kills no other process that has the same id by now.
        with suppress(self._psutil.Error):
            process.kill()


def _descendants(pid: int) -> list[int]:
    """All processes below one of Linux; psutil would look at every process of the machine."""
    found: list[int] = []
    # A thread or process may end while it is looked at.
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                text = (thread / "children").read_text(encoding="utf-8")
                for child in map(int, text.split()):
                    found += [child, *_descendants(child)]
    return found


def _high_water(pid: int) -> int:
    """The most memory that a process of Linux ever had, in bytes; 0 once it has ended."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * _KIB
    return 0


def _read_calls(pid: int) -> int:
    """Bytes that a process of Linux got by reading, from the disk or from memory."""
    line = Path(f"/proc/{pid}/io").read_text(encoding="utf-8").partition("\n")[0]
    return int(line.removeprefix("rchar: "))

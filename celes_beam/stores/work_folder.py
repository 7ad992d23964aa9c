"""Hidden names beside an output, to write under until it is whole; and what killed runs left there.

A run that is killed cannot tidy up, so the next one that writes the same output does.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

STALE_SECONDS = 86_400.0
"""What stands under a hidden name is swept when nothing in it changed for this long."""
_REMOVE_SECONDS = 5
_REMOVE_POLL_SECONDS = 0.05


def hidden_beside(path: Path) -> Path:
    """A new hidden name in the folder of ``path``, which ``sweep_beside`` knows again."""
    return path.with_name(f".{path.name}.celes-{uuid.uuid4().hex}")


@contextmanager
def work_folder_beside(path: Path) -> Iterator[Path]:
    """A hidden folder beside ``path``, removed at the end with all in it.

    Sweeps what killed runs left first. Raises ``OSError`` when it cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_beside(path, time.time())
    folder = hidden_beside(path)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    # Workers in threads of this process may outlive a job that failed, and go on writing a while.
    end = time.monotonic() + _REMOVE_SECONDS
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists() or time.monotonic() > end:
            return
        time.sleep(_REMOVE_POLL_SECONDS)


@contextmanager
def placing_beside(path: Path) -> Iterator[None]:
    """Let no other process of this machine put an output in the folder of ``path`` meanwhile.

    To look at what stands there and to replace it are several steps. Where the file system has no
    such locks nobody waits.
    """
    with ExitStack() as held:
        with suppress(OSError):
            descriptor = os.open(path.parent, os.O_RDONLY)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def sweep_beside(path: Path, at: float) -> None:
    """Delete what stood beside ``path`` under hidden names of ours a day before ``at``.

    ``at`` is in seconds since 1970. What cannot be deleted, since others made it, stays.
    """
    ours = re.compile(rf"\.{re.escape(path.name)}\.celes-[0-9a-f]{{32}}")
    with suppress(OSError):
        for entry in list(path.parent.iterdir()):
            if ours.fullmatch(entry.name) and _last_change(entry) < at - STALE_SECONDS:
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    with suppress(OSError):
                        entry.unlink()


def _last_change(entry: Path) -> float:
    newest = entry.lstat().st_mtime
    for inside in entry.rglob("*"):
        # Gone meanwhile: whoever deletes there is at work.
        with suppress(FileNotFoundError):
            newest = max(newest, inside.lstat().st_mtime)
    return newest

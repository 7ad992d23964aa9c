"""What the local cloud of a folder remembers: which processes it started, one command at a time.

FOLDER
├── celes-beam-local.lock   held while servers are started or ended; marks the folder as ours
├── state.json              the servers that were started and not yet ended
└── .gitignore              nothing here belongs into a repository
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from celes_beam.errors import LocalServerError, UsageError
from celes_beam.local.processes import process_library

LOCK = "celes-beam-local.lock"
STATE = "state.json"
IGNORE = ".gitignore"
_LOGGER = logging.getLogger(__name__)
_LOCK_SECONDS = 180
_ATTEMPTS = 100
_POLL_SECONDS = 0.1
_SAME_START_SECONDS = 0.05
_TAKES_NO_MORE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Record(msgspec.Struct, frozen=True):
    """A server that was started. ``started`` is in seconds after the boot of the machine.

    Its process is told from another one with a recycled id by when it started; counted from the
    boot, because the time of day may be set anew, as a laptop does that wakes up.
    """

    service: str
    pid: int
    started: float
    ports: dict[str, int]
    log: str
    environment: dict[str, str]


class _State(msgspec.Struct, frozen=True):
    servers: list[Record]


def load(folder: Path) -> dict[str, Record]:
    """The records of a folder, by service; none when nothing was started there.

    Raises ``UsageError`` when the file is not what ``save`` wrote.
    """
    file = folder / STATE
    try:
        state = msgspec.json.decode(file.read_bytes(), type=_State)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except msgspec.MsgspecError as error:
        raise UsageError(
            f"{file} does not tell which servers run: {error}; end them by hand, and delete it"
        ) from error
    return {record.service: record for record in state.servers}


def save(folder: Path, records: dict[str, Record]) -> None:
    """Write the records of a folder, all or nothing; without records there is no file."""
    file = folder / STATE
    if not records:
        file.unlink(missing_ok=True)
        return
    draft = folder / f"{STATE}.new"
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(_State([*records.values()]))))
    draft.replace(file)


def is_ours(folder: Path) -> bool:
    """Whether a local cloud was ever started in this folder."""
    return (folder / LOCK).is_file()


def prepare(folder: Path) -> None:
    """Make the folder. Raises ``UsageError`` when it holds what is not ours."""
    for left in reversed(range(_ATTEMPTS)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            break
        except (FileExistsError, NotADirectoryError) as error:
            # It may have been a folder that another command deleted just then: it is made again.
            if not left:
                raise UsageError(f"--folder {folder} is not a folder: name another") from error
    names = {path.name for path in folder.iterdir()}
    if names and LOCK not in names:
        raise UsageError(
            f"--folder {folder} holds other files ({min(names)}, …): name a new folder, or an "
            "empty one"
        )


@contextlib.contextmanager
def writing_in(folder: Path) -> Iterator[None]:
    """Turn the error of a disk that takes no more into a ``LocalServerError`` with a remedy."""
    try:
        yield
    except OSError as error:
        # A full disk does not say of which file it speaks.
        if error.errno not in _TAKES_NO_MORE:
            raise
        raise LocalServerError(
            f"--folder {folder} cannot be written: {error.strerror}; make room there, or "
            "name a folder that can be written"
        ) from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let no other command start or end servers of this folder meanwhile.

    Makes the folder. Raises ``UsageError`` as ``prepare``, ``LocalServerError`` when another
    command has not finished in three minutes.
    """
    end = time.monotonic() + _LOCK_SECONDS
    told = False
    while True:
        with _open_lock(folder) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise LocalServerError(
                        f"another celes-beam local has been at work in {folder} for "
                        f"{_LOCK_SECONDS} s: wait for it, or end it"
                    ) from None
                if not told:
                    _LOGGER.info("waiting: another celes-beam local is at work in %s", folder)
                    told = True
                time.sleep(_POLL_SECONDS)
                continue
            # Whoever held it may have deleted the folder, and with it the file that we opened.
            if _is_same_file(file.fileno(), folder / LOCK):
                (folder / IGNORE).write_text("*\n")
                yield
                return


def _open_lock(folder: Path) -> IO[bytes]:
    while True:
        # The folder may be deleted by another command at any moment before it is locked.
        with contextlib.suppress(FileNotFoundError):
            prepare(folder)
            return (folder / LOCK).open("ab")


def started_after_boot(pid: int) -> float:
    """When a process started. Raises ``psutil.Error`` when there is none."""
    psutil = process_library()
    return float(psutil.Process(pid).create_time() - psutil.boot_time())


def process_of(record: Record) -> Any | None:
    """The ``psutil.Process`` of a record; ``None`` when it ended, or its id is another's now."""
    psutil = process_library()
    try:
        process = psutil.Process(record.pid)
        same = abs(started_after_boot(record.pid) - record.started) < _SAME_START_SECONDS
        # A process that ended stays in the list until its parent looks, which may be never.
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False

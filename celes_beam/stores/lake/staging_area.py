"""Where the writers of one attempt leave their files: in a folder of this machine, or for upload.

A writer asks for a place on this machine (``path``), writes there, measures what it wrote, and says
so (``deliver``). Only what was delivered counts. Names are relative to the attempt's staging.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from celes_beam.errors import StorageError

Item = TypeVar("Item")
Done = TypeVar("Done")


class StagingArea(Protocol):
    """Takes the files of one attempt; small, picklable, and safe to use from several threads."""

    @property
    def at_once(self) -> int:
        """How many deliveries are worth doing at once; 1 where nothing has to travel."""
        ...

    @property
    def remedy(self) -> str:
        """What helps when a file cannot be written here, for messages."""
        ...

    def path(self, name: str) -> Path:
        """Make ready a place on this machine to write a new file to.

        Raises ``StorageError`` naming it when the disk refuses.
        """
        ...

    def deliver(self, name: str, *, size: int, crc32c: str) -> None:
        """Take over a file that is written and closed: bytes, and CRC32C as ``checksum`` gives it.

        Raises ``StorageError`` when it could not be made durable whole. Nothing of it is left on
        this machine then, unless it rests here.
        """
        ...

    def abandon(self, name: str) -> None:
        """Let go of a file that is not going to be delivered; never fails."""
        ...


@dataclass(frozen=True)
class LocalStagingArea:
    """A folder of this machine: files are written where they rest, and staging is swept later."""

    folder: str

    @property
    def at_once(self) -> int:
        """One: nothing travels."""
        return 1

    @property
    def remedy(self) -> str:
        """What helps when the disk refuses."""
        return "free some room or choose another --output"

    def path(self, name: str) -> Path:
        """The path in the folder; the folders down to it are there then."""
        path = Path(self.folder) / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_failed(path, error, self.remedy) from error
        return path

    def deliver(self, name: str, *, size: int, crc32c: str) -> None:
        """Make a file survive a power failure."""
        path = Path(self.folder) / name
        try:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise write_failed(path, error, self.remedy) from error

    def abandon(self, name: str) -> None:
        """Nothing: staging is swept later."""


class Deliveries:
    """The deliveries of one writer: in the background, a few at once, where files travel.

    A writer that is faster than they are waits for them, so that few files wait on this machine.
    """

    def __init__(self, area: StagingArea) -> None:
        self._area = area
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: set[Future[None]] = set()

    def add(self, name: str, *, size: int, crc32c: str) -> None:
        """Deliver a file, or begin to. Raises what a delivery begun before has failed with."""
        if self._area.at_once == 1:
            self._area.deliver(name, size=size, crc32c=crc32c)
            return
        self._pool = self._pool or ThreadPoolExecutor(
            self._area.at_once, thread_name_prefix="deliver"
        )
        try:
            self._wait_for_room()
        except BaseException:
            # It would take as long as those that failed.
            self._area.abandon(name)
            raise
        self._under_way.add(self._pool.submit(self._area.deliver, name, size=size, crc32c=crc32c))

    def finish(self) -> None:
        """Wait for all; raises what the first of them failed with."""
        try:
            done, _ = wait(self._under_way, return_when=FIRST_EXCEPTION)
            for delivery in done:
                delivery.result()
        finally:
            self.abandon()

    def _wait_for_room(self) -> None:
        while len(self._under_way) >= self._area.at_once:
            done, self._under_way = wait(self._under_way, return_when=FIRST_COMPLETED)
            for delivery in done:
                delivery.result()

    def abandon(self) -> None:
        """Wait for those under way, so that none leaves anything behind; their outcome is lost."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
        self._pool, self._under_way = None, set()


def each(work: Callable[[Item], Done], items: Iterable[Item], *, at_once: int) -> list[Done]:
    """Call ``work`` for each item, up to ``at_once`` at a time; the results are in order.

    Raises the first error, in order; what had not begun then is not begun.
    """
    waiting = list(items)
    if at_once == 1 or len(waiting) <= 1:
        return [work(item) for item in waiting]
    with ThreadPoolExecutor(min(at_once, len(waiting)), thread_name_prefix="store") as pool:
        try:
            return list(pool.map(work, waiting))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def write_failed(path: Path | str, error: OSError, remedy: str) -> StorageError:
    """The error that names a staged file the disk refused, and the remedy."""
    return StorageError(
        f"{path} could not be written: {error.strerror or error}; nothing was committed, "
        f"{remedy}, and run again"
    )

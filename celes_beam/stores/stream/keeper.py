"""Keeps a journal in order while batches are delivered: recovers, flushes to the lake, cleans."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from celes_beam.errors import StorageError
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import Manifest
from celes_beam.stores.lake.parquet_writer import Layout
from celes_beam.stores.stream.flush import Flusher
from celes_beam.stores.stream.journal import Journal, Listing, writer_of
from celes_beam.stores.stream.writer import JournalWriter


class Keeper:
    """Keeps one journal for one writer, in a thread of its own once ``begin`` was called.

    Entries older than ``window_us`` are deleted when they are applied and, if there is a lake,
    flushed. The window is one of activity: the time between the last entry and our start does not
    count, for messages that were not acknowledged then come again now. ``on_commits`` hears how
    many commits of the lake were made, each time that the journal is kept.
    """

    def __init__(
        self,
        journal: Journal,
        writer: JournalWriter,
        *,
        lake: str | None,
        run_id: str,
        layout: Layout,
        source: str,
        window_us: int,
        now_us: Callable[[], int],
        on_commits: Callable[[int], object],
    ) -> None:
        self._journal = journal
        self._writer = writer
        self._flusher = (
            None if lake is None else Flusher(Lake.open(lake), journal, run_id, layout, source)
        )
        self._window_us = window_us
        self._now_us = now_us
        self._on_commits = on_commits
        self._found = Listing()
        self._idle_us = 0
        self._marked: str | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def recover(self) -> int:
        """Apply what other writers left; returns how many batches that were."""
        if self._flusher is not None:
            self._flusher.prepare()
        found = self._found = self._journal.listing()
        self._idle_us = max(0, self._now_us() - round(found.newest * 1e6)) if found.entries else 0
        waiting = found.unapplied()
        if self._flusher is not None and waiting:
            flushed = self._flusher.named(waiting)
            waiting = [name for name in waiting if name not in flushed]
        recovered = sum(map(self._recover, waiting))
        self._journal.sweep(found)
        return recovered

    def lately(self) -> Iterator[tuple[list[str], int]]:
        """Keys of messages of entries within the window, oldest first, and when they were put."""
        before = self._now_us() - self._window_us
        entries = self._found.entries
        young = [n for n in entries if self._put_at(self._found, n) >= before]
        young.sort(key=lambda name: entries[name].modified)
        for name, header in zip(young, self._journal.headers(young), strict=True):
            if header is not None:
                yield header.keys, self._put_at(self._found, name)

    def begin(self, seconds: float) -> None:
        """Keep the journal every so often, until ``end``."""
        self._thread = threading.Thread(
            target=self._run, args=(seconds,), name="keep-journal", daemon=True
        )
        self._thread.start()

    def raise_failure(self) -> None:
        """Raise what keeping the journal failed with, if it did."""
        if self._failure is not None:
            raise self._failure

    def keep(self) -> list[Manifest]:
        """Mark, flush, clean; returns the commits."""
        with self._lock:
            mine = self._writer.applied
            if mine is not None and mine != self._marked:
                self._journal.mark_applied(mine)
                self._marked = mine
            listing = self._journal.listing()
            applied = self._applied(listing, mine)
            commits = self._flusher.flush(listing, applied) if self._flusher is not None else []
            self._on_commits(len(commits))
            before = self._now_us() - self._window_us
            over = [name for name in applied if self._put_at(listing, name) < before]
            self._journal.delete(listing, over)
            return commits

    def end(self) -> list[Manifest]:
        """Stop, and keep the journal once more. Raises what failed meanwhile, or does now."""
        self.abandon()
        self.raise_failure()
        return self.keep()

    def abandon(self) -> None:
        """Stop; what is not flushed stays in the journal."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            try:
                self.keep()
            except Exception as error:  # noqa: BLE001 - raised where it is heard
                self._failure = error
                return

    def _recover(self, name: str) -> bool:
        """Apply an entry; False when another process has, and deleted it since."""
        try:
            self._writer.recover(name)
        except StorageError:
            if self._journal.holds(name):
                raise
            return False
        return True

    def _applied(self, listing: Listing, mine: str | None) -> list[str]:
        unapplied = set(listing.unapplied())
        # Our last entry when this began may have been applied; what came later waits.
        return [
            name
            for name in listing.entries
            if name not in unapplied
            and (writer_of(name) != self._writer.name or (mine is not None and name <= mine))
        ]

    def _put_at(self, listing: Listing, name: str) -> int:
        """When an entry was put, in µs since 1970, not counting the time before our start."""
        at_us = round(listing.entries[name].modified * 1e6)
        return at_us + self._idle_us if name in self._found.entries else at_us

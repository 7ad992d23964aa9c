"""A writer of a journal: puts entries one after another, and applies each before the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from celes_beam.contract import EPOCH
from celes_beam.errors import IntegrityError, UsageError
from celes_beam.stores.stream.apply import Applied, Refusals, Sinks, apply_entry
from celes_beam.stores.stream.entry import Entry, Place, Places
from celes_beam.stores.stream.journal import Journal, entry_name, new_writer

_STREAM_SECONDS = 3600.0
"""A write stream that was not used for so long is left for a new one, before it is forgotten."""


class JournalWriter:
    """Writes to a journal under names of its own; used by one thread.

    ``last`` names its last entry, ``applied`` the last of those that were applied.
    """

    def __init__(
        self,
        journal: Journal,
        sinks: Sinks,
        *,
        source: str,
        table: str,
        is_exactly_once: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = new_writer()
        self.last: str | None = None
        self.applied: str | None = None
        self.table = table
        self._journal = journal
        self._sinks = sinks
        self._source = source
        self._is_exactly_once = is_exactly_once
        self._clock = clock
        self._used_at = 0.0
        self._number = 0
        self._places: Places | None = None
        self._begun: Entry | None = None

    def places(self) -> Places | None:
        """Where the next entry goes: at the end of this writer's streams, which are opened here."""
        if not self._is_exactly_once or self._sinks.sales is None or self._sinks.rejected is None:
            return None
        now = self._clock()
        if self._places is None or now - self._used_at > _STREAM_SECONDS:
            streams = self._sinks.sales.open(), self._sinks.rejected.open()
            self._places = Places(Place(streams[0], 0), Place(streams[1], 0))
        self._used_at = now
        return self._places

    def begin(self, entry: Entry) -> None:
        """Take the next entry; the one before must be finished."""
        if self._begun is not None:
            raise AssertionError("an entry was begun before the last one was applied")
        self._number += 1
        self.last = entry_name(self.name, self._number)
        self._begun = entry

    def finish(self) -> Applied | None:
        """Put and apply an entry that failed before; None when there is none."""
        return None if self._begun is None else self.finish_begun()

    def finish_begun(self) -> Applied:
        """Put and apply the entry that was begun. When this raises it can be called again."""
        entry, name = self._begun, self.last
        if entry is None or name is None:
            raise AssertionError("no entry was begun")
        # An entry of ours that is there already was put by a try of which we heard no answer.
        is_new = self._journal.put(name, entry)
        applied = self._apply(name, entry, [] if is_new else self._journal.refused(name))
        if self._places is not None and entry.places is not None:
            self._places = _after(entry.places, applied)
        self._begun, self.applied = None, name
        return applied

    def recover(self, name: str) -> None:
        """Apply the last entry of a writer that is gone, or is at it, and mark it.

        Raises ``UsageError`` when it is for another table than ours.
        """
        entry, _ = self._journal.read(name)
        if entry.table != self.table:
            raise _other_table(self._journal, name, entry.table, self.table)
        try:
            self._apply(name, entry, self._journal.refused(name))
        except IntegrityError as error:
            raise _cannot_tell(self._journal, name, entry, error) from error
        self._journal.mark_applied(name)

    def _apply(self, name: str, entry: Entry, noted: Sequence[Refusals]) -> Applied:
        return apply_entry(
            entry,
            self._sinks,
            source=self._source,
            noted=noted,
            note=lambda number, why: self._journal.note_refused(name, number, why),
        )


def _after(places: Places, applied: Applied) -> Places:
    return Places(
        Place(places.sales.stream, places.sales.offset + applied.checked.accepted.num_rows),
        Place(places.rejected.stream, places.rejected.offset + applied.checked.rejected.num_rows),
    )


def _cannot_tell(
    journal: Journal, name: str, entry: Entry, error: IntegrityError
) -> IntegrityError:
    # What is not wholly there was not acknowledged.
    checked, at = entry.checked, EPOCH + timedelta(microseconds=entry.ingested_at)
    return IntegrityError(
        f"{error}. If the {checked.accepted.num_rows:,} rows with the _ingested_at "
        f"{at.isoformat()} and their {checked.rejected.num_rows:,} rejected ones are all there, "
        f"make an empty file {journal.mark_uri(name)}; if not, delete those that are, and "
        f"{journal.uri(name)}: the messages come again"
    )


def _other_table(journal: Journal, name: str, wanted: str, given: str) -> UsageError:
    there = f"table {wanted.replace('+', ':')}" if wanted else "no table"
    asked = f"table {given.replace('+', ':')}" if given else "no table"
    return UsageError(
        f"{journal.uri(name)} is a batch for {there}, which may not be there yet, and this run "
        f"writes to {asked}: run once more as before, until it has ended by itself, or give "
        "another --journal, or another --output where the journal is a lake's"
    )

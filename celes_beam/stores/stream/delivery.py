"""Messages on their last way: checked, put into the journal, and from there to everywhere.

Where nothing is lost and nothing is double, and why, is in ``docs/streaming-journal.md``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from celes_beam.errors import ConfigError, IntegrityError
from celes_beam.sales.live import WindowSum, window_sums
from celes_beam.sales.messages import (
    CheckedMessages,
    MessageRules,
    Messages,
    check_messages,
    message_keys,
)
from celes_beam.stores.lake.manifest import Manifest
from celes_beam.stores.lake.rejects import count_rejections
from celes_beam.stores.stream.apply import Applied, Sinks, apply_entry, apply_unnoted
from celes_beam.stores.stream.entry import Entry, Places, make_entry, taken
from celes_beam.stores.stream.journal import Journal, batch_name
from celes_beam.stores.stream.keeper import Keeper
from celes_beam.stores.stream.seen import SeenIds
from celes_beam.stores.stream.sinks import StreamPlaces, open_sinks
from celes_beam.stores.stream.spec import DeliverySpec
from celes_beam.stores.stream.writer import JournalWriter

__all__ = ["Delivered", "Delivery", "DeliverySpec"]


@dataclass(frozen=True, eq=False)
class Delivered:
    """What became of one batch: messages = fresh + duplicates, rows = accepted + rejected.

    ``rows`` are those of fresh messages, ``refused`` is a part of ``rejected``. ``latencies`` are
    the microseconds (int64) of each fresh message from its publication until all was written.
    ``entry`` is the name of the batch in the journal, if it is there. ``live`` are the sums of what
    was accepted, where live windows are asked for, and ``batch`` is a name for them that no other
    batch has.
    """

    messages: int
    duplicates: int
    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    refused: int = 0
    dead_letters: int = 0
    rows_with_unknown_fields: int = 0
    by_reason: Mapping[str, int] = field(default_factory=dict)
    latencies: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    entry: str | None = None
    live: tuple[WindowSum, ...] = ()
    batch: str = ""


class Delivery:
    """Delivers batches, one at a time; one for each DoFn instance. ``start`` comes first.

    ``sinks`` opens what is written to; ``now_us`` is the time in microseconds since 1970;
    ``on_commits`` hears of commits to the lake, in whatever thread makes them: how many.
    """

    def __init__(
        self,
        spec: DeliverySpec,
        *,
        sinks: Callable[[DeliverySpec], Sinks] | None = None,
        check: Callable[[Messages, MessageRules], CheckedMessages] = check_messages,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        on_commits: Callable[[int], object] = lambda commits: None,
    ) -> None:
        self._spec = spec
        self._open_sinks = sinks or open_spec_sinks
        self._check = check
        self._now_us = now_us
        self._on_commits = on_commits
        self._sinks = Sinks()
        self._writer: JournalWriter | None = None
        self._keeper: Keeper | None = None
        self._seen: SeenIds | None = None
        self._journal: Journal | None = None

    def start(self) -> int:
        """Open all, and finish what a killed process left; returns how many batches that were.

        Raises what a store raises, and ``UsageError`` for batches that wait for another table.
        """
        self._sinks = self._open_sinks(self._spec)
        try:
            return self._start()
        except BaseException:
            self._sinks.close()
            raise

    def _start(self) -> int:
        spec, root = self._spec, self._spec.journal_root
        if root is None:
            return 0
        journal = self._journal = Journal.open(root)
        if spec.journal is not None:
            journal.take_for(spec.message_rules.source, spec.lake)
        if spec.stable_batches:
            return 0
        source = spec.message_rules.source
        self._writer = JournalWriter(
            journal,
            self._sinks,
            source=source,
            table=spec.table_key,
            is_exactly_once=spec.is_exactly_once,
        )
        window_us = round(spec.dedupe_minutes * 60e6)
        self._keeper = Keeper(
            journal,
            self._writer,
            lake=spec.lake,
            run_id=spec.run_id,
            layout=spec.layout,
            source=source,
            window_us=window_us,
            now_us=self._now_us,
            on_commits=self._on_commits,
        )
        recovered = self._keeper.recover()
        self._seen = SeenIds(window_us)
        for keys, at_us in self._keeper.lately():
            self._seen.add(keys, at_us)
        self._keeper.begin(spec.flush_seconds)
        return recovered

    def deliver(self, messages: Messages, streams: StreamPlaces | None = None) -> Delivered:
        """Bring a batch everywhere; when this returns its messages may be acknowledged.

        ``streams`` are write streams that were opened for this very batch, where batches are
        stable. Raises what a store raises; nothing may be acknowledged then. The same messages may
        be delivered again, here or elsewhere.
        """
        if self._keeper is not None:
            self._keeper.raise_failure()
        before = None
        if self._writer is not None:
            # What failed before goes first: its messages count as seen.
            before = self._writer.finish()
        keys = message_keys(messages, self._spec.message_rules.id_attribute)
        batch = "" if self._spec.live is None else batch_name(keys)
        fresh = self._fresh(keys)
        count = len(messages)
        if len(fresh) < count:
            messages, keys = taken(messages, fresh), [keys[i] for i in fresh]
        if not len(messages):
            return Delivered(count, count, live=self._live(before), batch=batch)
        checked = self._check(messages, self._spec.message_rules)
        if checked.messages != len(messages):
            raise IntegrityError(
                f"{len(messages)} messages were to be checked, and {checked.messages} were: report "
                "this as a bug, with the messages"
            )
        name, applied = self._put_and_apply(keys, messages, checked, streams)
        now_us = self._now_us()
        result = applied.checked
        return Delivered(
            messages=count,
            duplicates=count - len(messages),
            rows=result.rows,
            accepted=result.accepted.num_rows,
            rejected=result.rejected.num_rows,
            refused=applied.refused,
            dead_letters=applied.dead_letters,
            rows_with_unknown_fields=checked.rows_with_unknown_fields,
            by_reason=count_rejections(result.rejected).by_reason,
            latencies=now_us - np.array(messages.published, np.int64),
            entry=name,
            live=self._live(before, applied),
            batch=batch,
        )

    def _live(self, *applied: Applied | None) -> tuple[WindowSum, ...]:
        live = self._spec.live
        if live is None:
            return ()
        accepted = [one.checked.accepted for one in applied if one is not None]
        return window_sums(pa.concat_batches(accepted), live.seconds) if accepted else ()

    def open_streams(self) -> StreamPlaces:
        """Open the write streams of one batch, for ``deliver`` of stable batches."""
        return StreamPlaces.opened(self._sinks)

    def flush(self) -> list[Manifest]:
        """Commit to the lake now what has been delivered; nothing without a lake."""
        return self._keeper.keep() if self._keeper is not None else []

    def close(self) -> list[Manifest]:
        """Flush the rest, and let go of everything. Raises what failed meanwhile, or does now."""
        try:
            return self._keeper.end() if self._keeper is not None else []
        finally:
            self._sinks.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
            return
        if self._keeper is not None:
            self._keeper.abandon()
        self._sinks.close()

    def _fresh(self, keys: Sequence[str]) -> list[int]:
        """The indexes of messages that were not written before, each once."""
        if self._journal is None and not self._spec.is_exactly_once:
            return list(range(len(keys)))
        firsts = list(range(len(keys)))
        if len(set(keys)) < len(keys):
            firsts = sorted({key: index for index, key in reversed(list(enumerate(keys)))}.values())
        if self._seen is None or not len(self._seen):
            return firsts
        seen = self._seen.seen(keys)
        return [index for index in firsts if not seen[index]] if seen.any() else firsts

    def _put_and_apply(
        self,
        keys: list[str],
        messages: Messages,
        checked: CheckedMessages,
        streams: StreamPlaces | None,
    ) -> tuple[str | None, Applied]:
        now_us = self._now_us()
        if self._writer is not None:
            if self._seen is not None:
                self._seen.forget(now_us)
            entry = self._entry(keys, messages, checked, now_us, self._writer.places())
            self._writer.begin(entry)
            if self._seen is not None:
                self._seen.add(keys, now_us)
            return self._writer.last, self._writer.finish_begun()
        places = streams.places if streams is not None else None
        if places is None and self._spec.is_exactly_once:
            raise ConfigError("exactly once takes write streams that were opened for the batch")
        entry = self._entry(keys, messages, checked, now_us, places)
        source = self._spec.message_rules.source
        if self._journal is None:
            return None, apply_unnoted(entry, self._sinks, source=source)
        journal, name = self._journal, batch_name(keys)
        # Refused rows were noted only if a try before this one has put the entry.
        noted = [] if journal.put(name, entry) else journal.refused(name)
        applied = apply_entry(
            entry,
            self._sinks,
            source=source,
            noted=noted,
            note=lambda number, why: journal.note_refused(name, number, why),
        )
        return name, applied

    def _entry(
        self,
        keys: list[str],
        messages: Messages,
        checked: CheckedMessages,
        now_us: int,
        places: Places | None,
    ) -> Entry:
        return make_entry(
            keys,
            messages,
            checked,
            ingested_at=now_us,
            table=self._spec.table_key,
            places=places if self._spec.is_exactly_once else None,
        )


def open_spec_sinks(spec: DeliverySpec) -> Sinks:
    """Open what a spec names: the tables of BigQuery, and the dead-letter topic."""
    return open_sinks(
        spec.table, spec.dead_letter_topic, id_attribute=spec.message_rules.id_attribute
    )

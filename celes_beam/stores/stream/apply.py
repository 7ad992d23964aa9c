"""One entry applied: its rows appended, its rejected rows beside them, its dead letters sent.

Done again it changes nothing where there are write streams, and is at least once elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import numpy as np
import pyarrow as pa

from celes_beam.contract import EPOCH
from celes_beam.errors import UsageError
from celes_beam.sales.messages import CheckedMessages, Messages, attempt_of, key_of_row
from celes_beam.sales.refused_rows import refused_batch
from celes_beam.sales.rejected import NONE_REJECTED, Checked
from celes_beam.stores.stream.entry import Entry, Place
from celes_beam.stores.warehouse.write_streams import Refused

Refusals = Mapping[int, str]
"""Rows that BigQuery did not take: by index among the accepted rows of an entry, why."""


class RowWriter(Protocol):
    """Appends rows to one table; for BigQuery it is ``warehouse.write_streams.WriteStreams``."""

    def open(self) -> str:
        """Make a write stream, and return its name."""
        ...

    def append(
        self,
        rows: pa.RecordBatch,
        stream: str | None,
        *,
        offset: int,
        on_refused: Callable[[Sequence[Refused]], None],
        refused: Collection[int],
    ) -> object:
        """Append rows to a stream once, or without one at least once."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class LetterSender(Protocol):
    """Sends dead letters; to Pub/Sub it is ``messages.dead_letters.DeadLetters``."""

    def send(self, messages: Messages, checked: CheckedMessages) -> int:
        """Send the rejected rows of messages; returns how many there were."""
        ...

    def send_refused(self, refused: pa.RecordBatch, ids: pa.Array) -> int:
        """Send rows that BigQuery did not take; returns how many there were."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True)
class Sinks:
    """Where rows go; ``None`` is nowhere. ``stream_rows`` makes the rows of the streamed table.

    ``beyond`` tells of those (``contract.SCHEMA``) that the table is known to refuse, given when
    they are written, in µs since 1970.
    """

    sales: RowWriter | None = None
    rejected: RowWriter | None = None
    dead_letters: LetterSender | None = None
    stream_rows: Callable[[CheckedMessages, int], pa.RecordBatch] | None = None
    beyond: Callable[[pa.RecordBatch, int], Sequence[Refused]] | None = None

    def close(self) -> None:
        """Let go of all connections."""
        for sink in (self.sales, self.rejected, self.dead_letters):
            if sink is not None:
                sink.close()


@dataclass(frozen=True, eq=False)
class Applied:
    """What became of an entry: refused rows are among the rejected ones of ``checked``."""

    checked: Checked
    refused: int
    dead_letters: int


def apply_entry(
    entry: Entry,
    sinks: Sinks,
    *,
    source: str,
    noted: Sequence[Refusals] = (),
    note: Callable[[int, Refusals], None],
) -> Applied:
    """Bring an entry where it is to go.

    ``note`` makes refusals survive a crash, with the number of those before; ``noted`` are those of
    earlier calls. Raises what a sink raises; it can be called again then.
    """
    refused = _append_sales(entry, sinks, noted, note)
    checked, rows, ids = settle(entry, refused, source)
    _append_rejected(checked.rejected, sinks.rejected, _place(entry))
    sent = _send_rejected(entry, sinks)
    if sinks.dead_letters is not None and refused:
        sent += sinks.dead_letters.send_refused(rows, ids)
    return Applied(checked, len(refused), sent)


def apply_unnoted(entry: Entry, sinks: Sinks, *, source: str) -> Applied:
    """As ``apply_entry``, where there is no journal: what is refused is brought on its way at once.

    Such a row may come twice, and is not lost, if the process ends before the others are appended.
    """
    letters = 0

    def send(number: int, refused: Refusals) -> None:
        nonlocal letters
        _, rows, ids = settle(entry, refused, source)
        _append_rejected(rows, sinks.rejected, None)
        if sinks.dead_letters is not None:
            letters += sinks.dead_letters.send_refused(rows, ids)

    refused = _append_sales(entry, sinks, (), send)
    _append_rejected(entry.checked.rejected, sinks.rejected, _place(entry))
    letters += _send_rejected(entry, sinks)
    return Applied(settle(entry, refused, source)[0], len(refused), letters)


def settle(
    entry: Entry, refused: Refusals, source: str
) -> tuple[Checked, pa.RecordBatch, pa.StringArray]:
    """What became of the rows of an entry, with refused rows among the rejected ones.

    Returns the refused ones also by themselves, and their ids.
    """
    checked = entry.checked
    if not refused:
        nothing = pa.array([], pa.string())
        whole = Checked(checked.rows, checked.accepted, checked.rejected)
        return whole, NONE_REJECTED, nothing
    indexes = pa.array(sorted(refused), pa.int64())
    ids = checked.accepted_ids.take(indexes)
    others = checked.other_fields
    rows = refused_batch(
        checked.accepted.take(indexes),
        ids,
        [refused[i] for i in sorted(refused)],
        source=source,
        rejected_at=EPOCH + timedelta(microseconds=entry.rejected_at),
        other_fields=None if others is None else others.take(indexes),
        attempts=_attempts(entry, ids),
    )
    taken = np.ones(checked.accepted.num_rows, np.bool_)
    taken[sorted(refused)] = False
    rejected = pa.concat_batches([checked.rejected, rows])
    return Checked(checked.rows, checked.accepted.filter(pa.array(taken)), rejected), rows, ids


def _append_sales(
    entry: Entry,
    sinks: Sinks,
    noted: Sequence[Refusals],
    note: Callable[[int, Refusals], None],
) -> dict[int, str]:
    """Append the accepted rows; returns all that were refused, now and before."""
    refused = {index: why for refusals in noted for index, why in refusals.items()}
    if sinks.sales is None or sinks.stream_rows is None or not entry.checked.accepted.num_rows:
        return refused
    notes = len(noted)

    def on_refused(found: Sequence[Refused]) -> None:
        nonlocal notes
        new = {row.index: row.why for row in found}
        note(notes, new)
        notes += 1
        refused.update(new)

    if sinks.beyond is not None:
        found = sinks.beyond(entry.checked.accepted, entry.ingested_at)
        if new := [row for row in found if row.index not in refused]:
            on_refused(new)
    place = entry.places.sales if entry.places else None
    sinks.sales.append(
        sinks.stream_rows(entry.checked, entry.ingested_at),
        place.stream if place else None,
        offset=place.offset if place else 0,
        on_refused=on_refused,
        refused=tuple(refused),
    )
    return refused


def _append_rejected(rows: pa.RecordBatch, writer: RowWriter | None, place: Place | None) -> None:
    if writer is None or not rows.num_rows:
        return

    def fail(found: Sequence[Refused]) -> None:
        raise UsageError(
            f"BigQuery does not take a rejected row of {rows.column('source')[found[0].index]}: "
            f"{found[0].why}; compare the table's columns with docs/warehouse.md, or delete it: it "
            "is made anew then"
        )

    writer.append(
        rows,
        place.stream if place else None,
        offset=place.offset if place else 0,
        on_refused=fail,
        refused=(),
    )


def _send_rejected(entry: Entry, sinks: Sinks) -> int:
    if sinks.dead_letters is None or not entry.checked.rejected.num_rows:
        return 0
    return sinks.dead_letters.send(entry.messages, entry.checked)


def _place(entry: Entry) -> Place | None:
    return entry.places.rejected if entry.places else None


def _attempts(entry: Entry, ids: pa.StringArray) -> list[int]:
    tries = {
        entry.keys[index]: attempt_of(attributes)
        for index, attributes in zip(entry.kept, entry.messages.attributes, strict=True)
    }
    return [tries.get(key_of_row(i), 1) for i in ids.to_pylist()]

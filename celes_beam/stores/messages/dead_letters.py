"""Rejected rows to the dead-letter topic, each as a message that can be sent through again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from celes_beam.contract import MAX_RAW_BYTES
from celes_beam.sales.message_records import MessageRecords, read_records
from celes_beam.sales.messages import Messages
from celes_beam.stores.messages.dead_letter_format import (
    CUT,
    attributes_of_row,
    fit,
    is_compressed,
    read_dead_letters,
    without_encoding,
)
from celes_beam.stores.messages.topic_writer import Outgoing, TopicWriter, most_message_bytes

if TYPE_CHECKING:
    from celes_beam.sales.messages import CheckedMessages

__all__ = ["DeadLetters", "read_dead_letters"]

_ROWS_AT_ONCE = 1_000


class DeadLetters:
    """Writes to a dead-letter topic (``projects/P/topics/T``); a context manager.

    ``id_attribute`` is that by which messages are told apart, if there is one. All methods wait
    until Pub/Sub has taken everything. They raise ``UsageError`` when the topic is missing or
    closed to us, and ``StorageError`` when ``seconds`` did not suffice: then nothing may be
    acknowledged, and what comes of the messages later may be in the topic twice.
    """

    def __init__(
        self, topic: str, *, id_attribute: str | None = None, seconds: float = 60.0
    ) -> None:
        self._writer = TopicWriter(topic, seconds=seconds)
        self._most = most_message_bytes(topic)
        self._id_attribute = id_attribute

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up the connection."""
        self._writer.close()

    def send(self, messages: Messages, checked: CheckedMessages) -> int:
        """Write the rejected rows of some messages; returns how many there were.

        A row that was its whole message goes as it came, data and attributes; of a message of
        several, the row's own bytes with the message's attributes.
        """
        if not checked.rejected.num_rows:
            return 0
        return self._writer.write(self._letters(messages, checked))

    def send_refused(self, refused: pa.RecordBatch, ids: pa.Array) -> int:
        """Write rows that BigQuery refused, as ``sales.refused_rows.refused_batch`` makes them.

        ``ids`` (string) has that of each row. Returns how many there were.
        """
        return self._writer.write(
            self._letter(row["raw"], self._named({}, row_id), attributes_of_row(row, row_id))
            for row, row_id in zip(refused.to_pylist(), ids.to_pylist(), strict=True)
        )

    def _letters(self, messages: Messages, checked: CheckedMessages) -> Iterator[Outgoing]:
        long_records = _LongRecords(messages)
        rows = zip(
            _rows_of(checked.rejected),
            checked.rejected_messages.tolist(),
            checked.rejected_whole.tolist(),
            strict=True,
        )
        for row, message, is_whole in rows:
            data, theirs = messages.data[message], messages.attributes[message]
            ours = attributes_of_row(row, messages.ids[message])
            if not is_whole:
                data, cut = long_records.record(row, message)
                ours |= cut
                # Each row becomes a message of its own, and must not be taken for another's copy.
                name = theirs.get(self._id_attribute or "")
                if name is not None:
                    theirs = self._named(theirs, f"{name}/at{row['position']}")
                theirs = without_encoding(theirs)
            yield self._letter(data, theirs, ours)

    def _letter(self, data: bytes, theirs: Mapping[str, str], ours: Mapping[str, str]) -> Outgoing:
        return fit(data, theirs, ours, self._most)

    def _named(self, attributes: Mapping[str, str], name: str) -> dict[str, str]:
        return {**attributes, **({self._id_attribute: name} if self._id_attribute else {})}


def _rows_of(rejected: pa.RecordBatch) -> Iterator[Mapping[str, Any]]:
    """Its rows, of which a thousand are in memory at a time."""
    for start in range(0, rejected.num_rows, _ROWS_AT_ONCE):
        yield from rejected.slice(start, _ROWS_AT_ONCE).to_pylist()


class _LongRecords:
    """Looks up records that a rejected row holds but the beginning of, in a message of several.

    The message asked for last stays decoded: one of a few kB that is gzip may hold hundreds.
    """

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._message = -1
        self._found: dict[int, tuple[MessageRecords, int]] = {}

    def record(self, row: Mapping[str, Any], message: int) -> tuple[bytes, dict[str, str]]:
        """The bytes of a row's record, and where they were cut, if they were."""
        raw: bytes = row["raw"]
        # A rejected row keeps no more than this, so one of just this size may have been longer.
        if len(raw) < MAX_RAW_BYTES:
            return raw, {}
        if message != self._message:
            self._decode(message)
        if row["position"] not in self._found:
            return raw, {CUT: str(len(raw))}
        records, index = self._found[row["position"]]
        return records.line(index), {}

    def _decode(self, message: int) -> None:
        data, attributes = self._messages.data[message], self._messages.attributes[message]
        self._message = message
        self._found = {
            int(records.positions[record]): (records, index)
            for records in read_records([data], {0} if is_compressed(attributes) else set())
            for index, record in enumerate(records.readable.tolist())
        }

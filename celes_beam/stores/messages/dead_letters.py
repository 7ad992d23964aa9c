"""Rejected rows to the dead-letter topic, each as a message that can be sent through again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from celes_beam.contract import MAX_RAW_BYTES
from celes_beam.sales.messages import Messages
from celes_beam.stores.messages.dead_letter_format import (
    CUT,
    attributes_of_row,
    fit,
    read_dead_letters,
)
from celes_beam.stores.messages.topic_writer import Outgoing, TopicWriter, most_message_bytes

if TYPE_CHECKING:
    from celes_beam.sales.messages import CheckedMessages

__all__ = ["DeadLetters", "read_dead_letters"]

_ENCODING = "content-encoding"


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
        rows = checked.rejected.to_pylist()
        of_message = checked.rejected_messages.tolist()
        for row, message, is_whole in zip(
            rows, of_message, checked.rejected_whole.tolist(), strict=True
        ):
            ours = attributes_of_row(row, messages.ids[message])
            theirs = messages.attributes[message]
            if is_whole:
                yield self._letter(messages.data[message], theirs, ours)
                continue
            # Each row becomes a message of its own, and must not be taken for another's copy.
            name = theirs.get(self._id_attribute or "")
            if name is not None:
                theirs = self._named(theirs, f"{name}/at{row['position']}")
            theirs = {key: value for key, value in theirs.items() if key != _ENCODING}
            yield self._letter(row["raw"], theirs, ours | _cut(row))

    def _letter(self, data: bytes, theirs: Mapping[str, str], ours: Mapping[str, str]) -> Outgoing:
        return fit(data, theirs, ours, self._most)

    def _named(self, attributes: Mapping[str, str], name: str) -> dict[str, str]:
        return {**attributes, **({self._id_attribute: name} if self._id_attribute else {})}


def _cut(row: Mapping[str, Any]) -> dict[str, str]:
    # A rejected row keeps no more than this, so one of just this size may have been longer.
    return {CUT: str(MAX_RAW_BYTES)} if len(row["raw"]) >= MAX_RAW_BYTES else {}

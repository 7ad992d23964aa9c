"""Batches of messages in parts of bounded memory: a few kB may be hundreds of thousands of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from celes_beam.sales.message_records import MAX_MESSAGE_BYTES, MAX_MESSAGE_RECORDS, decompress
from celes_beam.sales.messages import Messages, compressed_messages

_SHORTEST_RECORD = 2
"""Bytes of a record and of what parts it from the next."""


def parts(
    messages: Messages,
    *,
    most_bytes: int = MAX_MESSAGE_BYTES,
    most_records: int = MAX_MESSAGE_RECORDS,
) -> Iterator[Messages]:
    """Cut messages, in their order, so that no part holds more text or records than one may.

    ``most_bytes`` are those of decompressed data. Records are bounded, not counted: there may be
    less. A message of more is a part of its own. The same messages are cut alike again.
    """
    compressed = compressed_messages(messages)
    if not compressed and _are_few(messages, most_bytes, most_records):
        yield messages
        return
    start = size = records = 0
    for at, data in enumerate(messages.data):
        text = data if at not in compressed else decompress(data) or b""
        # Records stand in lines of their own, or are the items of one array.
        found = 1 + max(text.count(b"\n"), text.count(b","))
        if at > start and (size + len(text) > most_bytes or records + found > most_records):
            yield _cut(messages, start, at)
            start, size, records = at, 0, 0
        size += len(text)
        records += found
    yield _cut(messages, start, len(messages))


def _are_few(messages: Messages, most_bytes: int, most_records: int) -> bool:
    """Whether it can be told at a glance that all are one part."""
    size = messages.size
    if size > most_bytes or size <= _SHORTEST_RECORD * most_records:
        return size <= most_bytes
    return _marks(messages.data) + len(messages) <= most_records


def _marks(data: Sequence[bytes]) -> int:
    text = np.frombuffer(b"".join(data), np.uint8)
    return int(np.count_nonzero(text == ord("\n")) + np.count_nonzero(text == ord(",")))


def _cut(messages: Messages, start: int, end: int) -> Messages:
    return Messages(
        messages.data[start:end],
        messages.attributes[start:end],
        messages.ids[start:end],
        messages.published[start:end],
    )

"""Messages into records: the JSON objects that they hold, one a line, as files of NDJSON have them.

A message is an object, an array of objects, or NDJSON; perhaps compressed with gzip.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np

from celes_beam.contract import MAX_RAW_BYTES, MAX_RECORD_BYTES
from celes_beam.sales.json_lines import MAX_DEPTH, decode_object, is_too_deep
from celes_beam.sales.records import Block, Ints, Mask, line_ends

MAX_MESSAGE_BYTES = 1 << 25
"""A message that is more than this once it is decompressed is malformed: Pub/Sub takes 10 MB, but
gzip makes a thousandth of zeros."""
MAX_MESSAGE_RECORDS = 1 << 18
"""A message of more records than this is malformed: an empty object is two bytes in a message, and
hundreds as a rejected row."""

# At most so much text is looked at in one, whatever the messages decompress to.
_PIECE_BYTES = 1 << 23
# No array of so many records that have names and values holds more commas.
_MAX_COMMAS = 8 * MAX_MESSAGE_RECORDS
_GZIP = 16 + zlib.MAX_WBITS
_SPACE = b" \t\r\n"
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
_BETWEEN_ITEMS = re.compile(rb"[ \t\r\n,]*")
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, eq=False)
class MessageRecords:
    """The records of some messages, in their order; of each message at least one.

    For each record ``messages`` (int64) is the index of the message it is of, ``positions`` (int64)
    its offset in the decoded data of that in bytes, ``numbers`` (int64) how many of the message
    come before it, and ``alone`` says that it is the only one. ``block`` has the readable ones,
    each in one line; ``readable`` (int64) says which those are, and ``ends`` (int64) where each
    line ends, past its line feed. The others are malformed.
    """

    messages: Ints
    positions: Ints
    numbers: Ints
    alone: Mask
    block: Block
    ends: Ints
    readable: Ints
    _raws: dict[int, bytes] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.messages)

    def line(self, index: int) -> bytes:
        """The object of a readable record, without its line feed."""
        start = int(self.ends[index - 1]) if index else 0
        return bytes(self.block.view[start : int(self.ends[index]) - 1])

    def raws(self, records: Ints) -> list[bytes]:
        """The bytes of some records as they stood, at most ``contract.MAX_RAW_BYTES`` of each."""
        indexes = np.searchsorted(self.readable, records).tolist()
        return [
            (self._raws[record] if record in self._raws else self.line(index).removesuffix(b"\r"))[
                :MAX_RAW_BYTES
            ]
            for record, index in zip(records.tolist(), indexes, strict=True)
        ]


def read_records(
    data: Sequence[bytes], compressed: Set[int] = frozenset()
) -> Iterator[MessageRecords]:
    """Find the records of messages, in pieces of whole messages.

    ``compressed`` has the indexes of those that are said to be gzip. A message that cannot be
    read, or holds nothing, is one record that is not readable: it is no gzip, blank, an empty
    array, more than ``MAX_MESSAGE_BYTES`` or ``MAX_MESSAGE_RECORDS``. So is an array in which an
    item is nested deeper than ``json_lines.MAX_DEPTH``, and a message of several lines of which
    none is an object. Other items of an array that are no objects are such records of their own.
    """
    plain = None if compressed else _one_line_objects(data)
    if plain is not None:
        yield plain
        return
    found = _Found()
    for i, message in enumerate(data):
        if i not in compressed and message[:1] == b"{" and b"\n" not in message:
            found.add(i, [_Record(0, message)])
        else:
            decoded = decompress(message) if i in compressed else message
            found.add(i, [_unreadable(message)] if decoded is None else _split(decoded))
        if found.size >= _PIECE_BYTES:
            yield found.records()
            found = _Found()
    if found.messages:
        yield found.records()


def _one_line_objects(data: Sequence[bytes]) -> MessageRecords | None:
    """Take each message for one record, when they all look like objects in one line."""
    if not data or sum(map(len, data)) > _PIECE_BYTES:
        return None
    block = Block.of(b"\n".join([*data, b""]))
    ends = line_ends(block.data)
    if len(ends) != len(data):
        return None
    starts = np.concatenate([[0], ends[:-1]])
    if (ends - starts > MAX_RECORD_BYTES).any() or (block.data[starts] != ord("{")).any():
        return None
    every = np.arange(len(data), dtype=np.int64)
    zeros = np.zeros(len(data), np.int64)
    return MessageRecords(every, zeros, zeros, np.ones(len(data), np.bool_), block, ends, every)


class _Record(NamedTuple):
    """One record of a message: its line, if it is readable, and its bytes where those differ."""

    position: int
    line: bytes | None
    raw: bytes | None = None


def _unreadable(message: bytes, position: int = 0) -> _Record:
    return _Record(position, None, message)


class _Found:
    """Records, as they are found."""

    def __init__(self) -> None:
        self.messages: list[int] = []
        self.size = 0
        self._positions: list[int] = []
        self._numbers: list[int] = []
        self._lines: list[bytes] = []
        self._readable: list[int] = []
        self._raws: dict[int, bytes] = {}

    def add(self, message: int, records: Iterable[_Record]) -> None:
        """Take the records of one message."""
        for number, record in enumerate(records):
            index = len(self.messages)
            self.messages.append(message)
            self._positions.append(record.position)
            self._numbers.append(number)
            # With its line feed; longer ones are malformed whatever they hold.
            if record.line is not None and len(record.line) < MAX_RECORD_BYTES:
                self._readable.append(index)
                self._lines.append(record.line)
                self.size += len(record.line)
                raw = record.raw
            else:
                raw = record.line if record.raw is None else record.raw
            if raw is not None:
                self._raws[index] = raw
                self.size += len(raw)

    def records(self) -> MessageRecords:
        """All that were taken."""
        block = Block.of(b"\n".join([*self._lines, b""]) if self._lines else b"")
        numbers = np.array(self._numbers, np.int64)
        return MessageRecords(
            np.array(self.messages, np.int64),
            np.array(self._positions, np.int64),
            numbers,
            (numbers == 0) & (np.append(numbers[1:], 0) == 0),
            block,
            line_ends(block.data),
            np.array(self._readable, np.int64),
            self._raws,
        )


def decompress(message: bytes) -> bytes | None:
    """The data of a message that is gzip; ``None`` when they are none, or too large."""
    member = zlib.decompressobj(_GZIP)
    try:
        decoded = member.decompress(message, MAX_MESSAGE_BYTES + 1)
        if len(decoded) <= MAX_MESSAGE_BYTES and not (member.eof and not member.unused_data):
            # Of several members, or cut short; ten times as slow.
            with gzip.GzipFile(fileobj=io.BytesIO(message)) as file:
                decoded = file.read(MAX_MESSAGE_BYTES + 1)
    except (OSError, EOFError, zlib.error):
        return None
    return decoded if len(decoded) <= MAX_MESSAGE_BYTES else None


def _split(message: bytes) -> list[_Record]:
    """Find the records of a decoded message."""
    if len(message) > MAX_MESSAGE_BYTES:
        return [_unreadable(message)]
    text = message.removeprefix(BOM_UTF8).lstrip(b"\r\n")
    start = len(message) - len(text)
    text = text.rstrip(b"\r\n")
    first = text.lstrip(_SPACE)[:1]
    items = _items(text) if first == b"[" else None
    if items is not None:
        return _records_of_items(message, text, items, start)
    if b"\n" not in text:
        return [_Record(start, text) if first == b"{" else _unreadable(text, start)]
    if first == b"{" and _is_object(text):
        start += len(text) - len(text.lstrip(_SPACE))
        text = text.strip(_SPACE)
        return [_Record(start, text.translate(_ONE_LINE), text)]
    return _records_of_lines(text, start) or [_unreadable(message)]


def _records_of_items(message: bytes, text: bytes, items: list[bytes], start: int) -> list[_Record]:
    if not items or len(items) > MAX_MESSAGE_RECORDS or _has_deep_item(text, items):
        return [_unreadable(message)]
    records = []
    at = text.index(b"[") + 1
    for item in items:
        between = _BETWEEN_ITEMS.match(text, at)
        at = between.end() if between else at
        is_object = item[:1] == b"{"
        several = is_object and (b"\n" in item or b"\r" in item)
        line = (item.translate(_ONE_LINE) if several else item) if is_object else None
        records.append(_Record(start + at, line, item if several or line is None else None))
        at += len(item)
    return records


def _items(text: bytes) -> list[bytes] | None:
    """The values of an array as they stand; ``None`` when it is none, none when it is too much."""
    if text.count(b",") > _MAX_COMMAS:
        return []
    try:
        return [bytes(item) for item in _decode_items(text)]
    except RecursionError:
        return []
    except _NOT_JSON:
        return None


def _has_deep_item(text: bytes, items: list[bytes]) -> bool:
    # Each object opens once: where few more stand open, none can be too deep.
    objects = sum(item[:1] == b"{" for item in items)
    if text.count(b"{") + text.count(b"[") <= objects + MAX_DEPTH:
        return False
    return any(
        item.count(b"{") + item.count(b"[") > MAX_DEPTH
        # Longer ones are malformed by themselves.
        and len(item) <= MAX_RECORD_BYTES
        and is_too_deep(item)
        for item in items
    )


def _records_of_lines(text: bytes, start: int) -> list[_Record] | None:
    """The lines that are not blank; ``None`` when none of them is an object, or they are many."""
    if text.count(b"\n") >= MAX_MESSAGE_RECORDS:
        return None
    records = []
    for line in text.split(b"\n"):
        if line.strip():
            is_open = line.lstrip(_SPACE)[:1] == b"{"
            raw = line.removesuffix(b"\r")
            records.append(_Record(start, line) if is_open else _unreadable(raw, start))
        start += len(line) + 1
    has_object = any(record.line is not None and _is_object(record.line) for record in records)
    return records if has_object else None


def _is_object(text: bytes) -> bool:
    try:
        decode_object(text)
    except _NOT_JSON:
        return False
    return True

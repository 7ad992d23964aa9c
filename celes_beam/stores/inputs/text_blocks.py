"""A stream of text cut into blocks of whole records, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from celes_beam.contract import MAX_RAW_BYTES, MAX_RECORD_BYTES
from celes_beam.sales.record_ends import find_records
from celes_beam.sales.records import Block, Records
from celes_beam.stores.inputs.text_stream import TextStream


@dataclass(frozen=True)
class TextBlock:
    """Whole records, valid until the next block is asked for, and where they begin in the text.

    ``records`` says where each ends, when quotes made that necessary to find out.
    """

    block: Block
    offset: int
    records: Records | None


@dataclass(frozen=True)
class LongLine:
    """A line longer than a record may be: where it begins, and its first bytes."""

    offset: int
    raw: bytes


def read_blocks(
    stream: TextStream, chunk_bytes: int, offset: int, delimiter: int | None
) -> Iterator[TextBlock | LongLine]:
    """Read a stream as blocks of about ``chunk_bytes``, and the lines that are too long for one.

    ``offset`` is the place of the stream's first byte in the text. ``delimiter`` is the byte
    between the fields of CSV; ``None`` says that each line is a record, whatever quotes it holds.
    """
    buffer = bytearray(chunk_bytes + 1)
    filled = 0
    final = False
    while not final:
        if filled + 1 >= len(buffer):
            # A record that is longer than a chunk; at most MAX_RECORD_BYTES of it are kept.
            buffer = buffer + bytearray(len(buffer))
        # One byte is left for a line feed after the last line.
        got = stream.read(memoryview(buffer)[filled:-1])
        final = got < len(buffer) - 1 - filled
        filled += got
        if final and filled and buffer[filled - 1] != ord("\n"):
            buffer[filled] = ord("\n")
            filled += 1
        records = None
        if delimiter is not None and buffer.find(b'"', 0, filled) >= 0:
            records = find_records(np.frombuffer(buffer, np.uint8, filled), delimiter, final=final)
            end = int(records.ends[-1]) if len(records.ends) else 0
        else:
            end = buffer.rfind(b"\n", 0, filled) + 1
        if end:
            yield TextBlock(Block(buffer, end), offset, records)
        left = bytes(memoryview(buffer)[end:filled])
        offset += end
        filled = len(left)
        if filled > MAX_RECORD_BYTES and b"\n" not in left:
            yield LongLine(offset, left[:MAX_RAW_BYTES])
            skipped, left = _skip_line(stream, chunk_bytes)
            offset += filled + skipped
            filled = len(left)
            buffer = bytearray(max(len(buffer), filled + 1))
        buffer[:filled] = left


def _skip_line(stream: TextStream, chunk_bytes: int) -> tuple[int, bytes]:
    """Read on to the next line; returns how many bytes that took, and those read past it."""
    skipped = 0
    while part := stream.read_up_to(chunk_bytes):
        found = part.find(b"\n")
        if found >= 0:
            return skipped + found + 1, part[found + 1 :]
        skipped += len(part)
    return skipped, b""

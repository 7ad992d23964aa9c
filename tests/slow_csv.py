"""CSV read one byte at a time: what the fast ways are compared with."""

from __future__ import annotations

from collections.abc import Iterator


def next_end(data: bytes, start: int) -> int | None:
    """Where the record that begins at ``start`` ends; ``None`` when its quotes never close."""
    at, quoted, field_begins = start, False, True
    while at < len(data):
        byte = data[at : at + 1]
        if quoted:
            if byte == b'"' and data[at + 1 : at + 2] == b'"':
                at += 1
            elif byte == b'"':
                quoted = False
        elif byte == b"\n":
            return at + 1
        elif byte == b'"' and field_begins:
            quoted, field_begins = True, False
        else:
            field_begins = byte == b","
        at += 1
    return None


def slow_ends(data: bytes, limit: int) -> list[int]:
    """Where each record of ``data``, which ends with a line feed, ends."""
    ends, start = [], 0
    while start < len(data):
        end = next_end(data, start)
        if end is None or end - start > limit:
            end = data.index(b"\n", start) + 1
        ends.append(end)
        start = end
    return ends


def slow_split(record: bytes) -> list[bytes] | None:
    """The fields of a record without its line end; ``None`` when its quotes are not as they may be.

    Blanks and carriage returns may stand between a closing quote and the next comma.
    """
    fields = []
    at = 0
    while True:
        if record[at : at + 1] == b'"':
            field, at = b"", at + 1
            while record[at : at + 1] != b'"' or record[at : at + 2] == b'""':
                if at >= len(record):
                    return None
                field += record[at : at + 1]
                at += 2 if record[at : at + 1] == b'"' else 1
            at += 1
            while record[at : at + 1] in (b" ", b"\r"):
                at += 1
            if at < len(record) and record[at : at + 1] != b",":
                return None
        else:
            end = record.find(b",", at)
            end = len(record) if end < 0 else end
            field, at = record[at:end], end
        fields.append(field)
        if at >= len(record):
            return fields
        at += 1


def slow_rows(data: bytes, limit: int) -> Iterator[tuple[int, bytes, list[bytes] | None]]:
    """Each record that is not blank: its offset, its bytes without line end, and its fields."""
    if data and not data.endswith(b"\n"):
        data += b"\n"
    start = 0
    for end in slow_ends(data, limit):
        record = data[start : end - 1]
        record = record.removesuffix(b"\r")
        if record:
            yield start, record, None if end - start > limit else slow_split(record)
        start = end

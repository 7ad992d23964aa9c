"""One batch of messages as the journal keeps it: what was read of them, and where it is to go.

    magic, length and checksum of the header | header (msgpack) | accepted | rejected | messages

The rows are Arrow IPC. Ids stand in the header, so that they can be read without the rows.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import msgspec
import numpy as np
import pyarrow as pa

from celes_beam.contract import COLUMN_NAMES, MESSAGE_ID, OTHER_FIELDS, REJECTED_SCHEMA
from celes_beam.errors import IntegrityError
from celes_beam.sales.messages import ATTEMPT, CheckedMessages, Messages

_MAGIC = b"celes-1\n"
_PREFIX = struct.Struct(">8sII")
_FIRST_READ = 262_144
_MESSAGE = "_message"
_WHOLE = "_whole"
_COMPRESSION = "lz4"
_IPC = pa.ipc.IpcWriteOptions(compression=_COMPRESSION)


class Place(msgspec.Struct, frozen=True):
    """Where rows go in a write stream: its name, and the offset of the first row."""

    stream: str
    offset: int


class Places(msgspec.Struct, frozen=True):
    """The places of the accepted and of the rejected rows of a batch."""

    sales: Place
    rejected: Place


@dataclass(frozen=True, eq=False)
class Entry:
    """A checked batch. ``keys`` tell its messages from all others; times are in µs since 1970.

    Of the messages those are ``kept`` (by index) that dead letters may be made of;
    ``rejected_messages`` of ``checked`` are indexes among these. ``table`` is the key of the table
    that the rows are for, empty without one; ``places`` are of exactly once.
    """

    keys: list[str]
    kept: list[int]
    messages: Messages
    checked: CheckedMessages
    ingested_at: int
    rejected_at: int
    table: str = ""
    places: Places | None = None


def taken(messages: Messages, indexes: Sequence[int]) -> Messages:
    """Some of the messages, by index."""
    return Messages(
        [messages.data[i] for i in indexes],
        [messages.attributes[i] for i in indexes],
        [messages.ids[i] for i in indexes],
        [messages.published[i] for i in indexes],
    )


def make_entry(
    keys: list[str],
    messages: Messages,
    checked: CheckedMessages,
    *,
    ingested_at: int,
    table: str = "",
    places: Places | None = None,
) -> Entry:
    """Make the entry of messages that were checked."""
    retried = [i for i, attributes in enumerate(messages.attributes) if ATTEMPT in attributes]
    kept = np.union1d(checked.rejected_messages, np.array(retried, np.int64))
    return Entry(
        keys,
        kept.tolist(),
        taken(messages, kept.tolist()),
        replace(checked, rejected_messages=np.searchsorted(kept, checked.rejected_messages)),
        ingested_at,
        messages.newest,
        table,
        places,
    )


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What can be read of an entry without its rows."""

    keys: list[str]
    kept: list[int]
    ingested_at: int
    rejected_at: int
    table: str
    places: Places | None
    counts: tuple[int, int, int]
    """Messages, rows, rows with unknown fields."""
    sizes: tuple[int, int, int, int]
    """Bytes of the accepted and of the rejected rows, of the messages, and these not compressed."""
    crc32: int


def encode_entry(entry: Entry) -> bytes:
    """Write an entry."""
    checked = entry.checked
    accepted = _ipc(_accepted_columns(checked))
    rejected = _ipc(_rejected_columns(checked))
    plain = msgspec.msgpack.encode(entry.messages)
    messages = pa.compress(plain, _COMPRESSION, asbytes=True)
    body = b"".join((accepted, rejected, messages))
    header = msgspec.msgpack.encode(
        Header(
            keys=entry.keys,
            kept=entry.kept,
            ingested_at=entry.ingested_at,
            rejected_at=entry.rejected_at,
            table=entry.table,
            places=entry.places,
            counts=(checked.messages, checked.rows, checked.rows_with_unknown_fields),
            sizes=(len(accepted), len(rejected), len(messages), len(plain)),
            crc32=zlib.crc32(body),
        )
    )
    return b"".join((_PREFIX.pack(_MAGIC, len(header), zlib.crc32(header)), header, body))


def decode_entry(data: bytes, name: str) -> Entry:
    """Read an entry. Raises ``IntegrityError`` naming it when it is damaged."""
    try:
        header, start = _header(data)
        body = memoryview(data)[start:]
        accepted_size, rejected_size, messages_size, plain_size = header.sizes
        whole = accepted_size + rejected_size + messages_size
        if len(body) != whole or zlib.crc32(body) != header.crc32:
            raise _damaged(name, "its checksum does not agree")
        rejected_end = accepted_size + rejected_size
        plain = pa.decompress(
            pa.py_buffer(body[rejected_end:]), plain_size, _COMPRESSION, asbytes=True
        )
        messages = msgspec.msgpack.decode(plain, type=Messages)
        checked = _checked(
            header,
            pa.ipc.open_stream(body[:accepted_size]).read_next_batch(),
            pa.ipc.open_stream(body[accepted_size:rejected_end]).read_next_batch(),
        )
    except (struct.error, msgspec.MsgspecError, pa.ArrowException, KeyError) as error:
        raise _damaged(name, error) from error
    return Entry(
        header.keys,
        header.kept,
        messages,
        checked,
        header.ingested_at,
        header.rejected_at,
        header.table,
        header.places,
    )


def read_header(file: BinaryIO, name: str) -> Header:
    """Read the header alone. Raises ``IntegrityError`` naming the entry when it is damaged."""
    try:
        data = file.read(_FIRST_READ)
        magic, length, _ = _PREFIX.unpack_from(data)
        if magic == _MAGIC and len(data) < _PREFIX.size + length:
            data += file.read(_PREFIX.size + length - len(data))
        return _header(data)[0]
    except (struct.error, msgspec.MsgspecError) as error:
        raise _damaged(name, error) from error


def _header(data: bytes) -> tuple[Header, int]:
    magic, length, crc32 = _PREFIX.unpack_from(data)
    start = _PREFIX.size + int(length)
    header = data[_PREFIX.size : start]
    if magic != _MAGIC or len(header) != length or zlib.crc32(header) != crc32:
        raise msgspec.DecodeError("its header is not whole")
    return msgspec.msgpack.decode(header, type=Header), start


def _accepted_columns(checked: CheckedMessages) -> pa.RecordBatch:
    batch = checked.accepted.append_column(MESSAGE_ID, checked.accepted_ids)
    if checked.other_fields is None:
        return batch
    return batch.append_column(OTHER_FIELDS, checked.other_fields)


def _rejected_columns(checked: CheckedMessages) -> pa.RecordBatch:
    of_message = pa.array(np.asarray(checked.rejected_messages, np.int64))
    whole = pa.array(np.asarray(checked.rejected_whole, np.bool_))
    return checked.rejected.append_column(_MESSAGE, of_message).append_column(_WHOLE, whole)


def _checked(header: Header, accepted: Any, rejected: Any) -> CheckedMessages:
    messages, rows, with_unknown_fields = header.counts
    names = accepted.schema.names
    return CheckedMessages(
        messages=messages,
        rows=rows,
        accepted=accepted.select(list(COLUMN_NAMES)),
        accepted_ids=accepted.column(MESSAGE_ID),
        other_fields=accepted.column(OTHER_FIELDS) if OTHER_FIELDS in names else None,
        rejected=rejected.select(REJECTED_SCHEMA.names),
        rejected_messages=rejected.column(_MESSAGE).to_numpy(),
        rejected_whole=rejected.column(_WHOLE).to_numpy(zero_copy_only=False),
        rows_with_unknown_fields=with_unknown_fields,
    )


def _ipc(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=_IPC) as writer:
        writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _damaged(name: str, why: object) -> IntegrityError:
    return IntegrityError(
        f"{name} is not an entry of a journal as this program writes it ({why}): its messages are "
        "acknowledged perhaps, so keep it, and move it away when no stream is going on"
    )

"""Messages of Pub/Sub on Dataflow, whose own source acks once they are safe in its shuffle."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.transforms.window import GlobalWindow
from apache_beam.typehints import KV
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from celes_beam.errors import ConfigError
from celes_beam.sales.message_parts import parts
from celes_beam.sales.messages import MAX_BATCH_BYTES, Messages
from celes_beam.stores.messages.paths import check_path
from celes_beam.transforms import metrics

_CHUNKS = 100
"""Chunks of a batch. A chunk is what a bundle had: some hundred messages when there are many."""
_CHUNK_ROWS = 1_000
_CHUNK_BYTES = 2**18


@dataclass(eq=False)
class ReadNativeBatches(beam.PTransform):
    """The beginning of a pipeline -> PCollection of ``Messages``; for Dataflow alone.

    ``id_attribute`` names the attribute by which Dataflow leaves out messages that were published
    twice within ten minutes. Batches are of ``max_batch_rows`` messages and ``max_batch_bytes`` at
    most (unless one message is larger), with no more rows than one message may hold, gathered for
    ``max_batch_seconds`` at most. They are stable: a bundle that is done again gets the same ones.
    Raises ``ConfigError`` for arguments out of bounds.
    """

    subscription: str
    id_attribute: str | None = None
    max_batch_rows: int = 5_000
    max_batch_seconds: float = 1.0
    max_batch_bytes: int = MAX_BATCH_BYTES

    def __post_init__(self) -> None:
        check_path(self.subscription, "subscription")
        for name in ("max_batch_rows", "max_batch_seconds", "max_batch_bytes"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}={getattr(self, name)}: expected more than 0")

    def expand(self, start: beam.pvalue.PBegin) -> beam.PCollection[Messages]:
        read = beam.io.ReadFromPubSub(
            subscription=self.subscription, with_attributes=True, id_label=self.id_attribute
        )
        gather = GatherMessages(self.max_batch_rows, self.max_batch_seconds, self.max_batch_bytes)
        return start | "Read" >> read | "Batch" >> gather


@dataclass(eq=False)
class GatherMessages(beam.PTransform):
    """PCollection of ``PubsubMessage`` -> of ``Messages``, as ``ReadNativeBatches`` says."""

    max_batch_rows: int
    max_batch_seconds: float
    max_batch_bytes: int

    def expand(self, messages: beam.PCollection[PubsubMessage]) -> beam.PCollection[Messages]:
        # Gathering needs state, which is written for each element: so messages are joined to chunks
        # first, which costs nothing. Dataflow itself decides how many gather side by side.
        gather = beam.GroupIntoBatches.WithShardedKey(
            max(1, min(_CHUNKS, self.max_batch_rows)), self.max_batch_seconds
        )
        return (
            messages
            | "Join" >> beam.ParDo(_JoinFn()).with_output_types(KV[bytes, Messages])
            | "Gather" >> gather
            | "Cut"
            >> beam.ParDo(_CutFn(self.max_batch_rows, self.max_batch_bytes)).with_output_types(
                Messages
            )
            | "Make stable" >> beam.Reshuffle()
        )


class _JoinFn(beam.DoFn):
    """Joins the messages of a bundle to chunks."""

    def start_bundle(self) -> None:
        self._begin()

    def process(
        self, message: PubsubMessage, timestamp: Any = beam.DoFn.TimestampParam
    ) -> Iterator[tuple[bytes, Messages]]:
        data = message.data or b""
        attributes = dict(message.attributes or {})
        published = _micros(message.publish_time, timestamp)
        self._chunk.data.append(data)
        self._chunk.attributes.append(attributes)
        self._chunk.ids.append(message.message_id or _digest(data, attributes, published))
        self._chunk.published.append(published)
        self._bytes += len(data)
        if len(self._chunk) >= _CHUNK_ROWS or self._bytes >= _CHUNK_BYTES:
            yield b"", self._chunk
            self._begin()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if len(self._chunk):
            window = GlobalWindow()
            reached = Timestamp(micros=min(self._chunk.published))
            yield WindowedValue((b"", self._chunk), reached, (window,))
        self._begin()

    def _begin(self) -> None:
        self._chunk = Messages([], [], [], [])
        self._bytes = 0


class _CutFn(beam.DoFn):
    """Joins chunks that were gathered, and cuts them to size."""

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes

    def process(self, gathered: tuple[Any, Iterable[Messages]]) -> Iterator[Messages]:
        chunks = tuple(gathered[1])
        joined = Messages(
            [data for chunk in chunks for data in chunk.data],
            [attributes for chunk in chunks for attributes in chunk.attributes],
            [message_id for chunk in chunks for message_id in chunk.ids],
            [published for chunk in chunks for published in chunk.published],
        )
        for start, end in self._cuts(joined.data):
            part = Messages(
                joined.data[start:end],
                joined.attributes[start:end],
                joined.ids[start:end],
                joined.published[start:end],
            )
            metrics.count_pulled(part)
            yield from parts(part)

    def _cuts(self, data: list[bytes]) -> Iterator[tuple[int, int]]:
        start = size = 0
        for at, one in enumerate(data):
            if at > start and (at - start == self._max_rows or size + len(one) > self._max_bytes):
                yield start, at
                start, size = at, 0
            size += len(one)
        if data:
            yield start, len(data)


def _micros(published: datetime | None, timestamp: Timestamp) -> int:
    """When it was published, in microseconds since 1970; a source that hides it has it as time."""
    if published is None:
        return int(timestamp.micros)
    # Google's datetime has nanoseconds beyond those of Python.
    return int(Timestamp.from_utc_datetime(published).micros)


def _digest(data: bytes, attributes: dict[str, str], published: int) -> str:
    """An id for a message that came without one, always the same."""
    digest = hashlib.blake2b(data, digest_size=16)
    digest.update(repr((sorted(attributes.items()), published)).encode())
    return digest.hexdigest()

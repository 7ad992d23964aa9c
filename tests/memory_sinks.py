"""Tables and dead letters in memory that keep what BigQuery and Pub/Sub promise, and can fail.

A table has streams with offsets: rows at an offset that it has already are there, a gap is an
error. ``Faults`` counts the steps of a delivery, and ends it at one of them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from celes_beam.contract import AMOUNT, MESSAGE_ID
from celes_beam.sales.messages import CheckedMessages, Messages
from celes_beam.stores.stream.apply import Sinks
from celes_beam.stores.warehouse.stream_tables import stream_batch
from celes_beam.stores.warehouse.write_streams import Refused


class Killed(BaseException):
    """What SIGKILL is to a process; nothing catches it."""


@dataclass
class Faults:
    """Raises at the ``at``-th step, before it has any effect."""

    at: int = 0
    error: type[BaseException] = Killed
    steps: list[str] = field(default_factory=list)

    def step(self, name: str, work: Callable[[], Any]) -> Any:
        self.steps.append(name)
        if len(self.steps) == self.at:
            raise self.error(name)
        return work()


@dataclass
class MemoryTable:
    """One table. ``pieces`` is the number of rows that are written at once."""

    name: str
    faults: Faults = field(default_factory=Faults)
    refuses: Callable[[dict[str, Any]], str | None] = lambda row: None
    pieces: int = 1000
    rows: list[dict[str, Any]] = field(default_factory=list)
    streams: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def open(self) -> str:
        name = f"{self.name}/streams/{uuid.uuid4().hex}"
        self.faults.step(f"open {self.name}", lambda: self.streams.setdefault(name, []))
        return name

    def append(
        self,
        rows: pa.RecordBatch,
        stream: str | None,
        *,
        offset: int,
        on_refused: Callable[[Sequence[Refused]], None],
        refused: Collection[int],
    ) -> None:
        records = rows.to_pylist()
        left = [i for i in range(len(records)) if i not in refused]
        done = 0
        while done < len(left):
            piece = left[done : done + self.pieces]
            if stream is None or offset + done >= len(self.streams[stream]):
                why = {i: self.refuses(records[i]) for i in piece}
                found = [Refused(i, text) for i, text in why.items() if text is not None]
                if found:
                    on_refused(found)
                    left = [i for i in left if i not in {f.index for f in found}]
                    continue
            self._write([records[i] for i in piece], stream, offset + done)
            done += len(piece)

    def _write(self, records: list[dict[str, Any]], stream: str | None, offset: int) -> None:
        def write() -> None:
            if stream is not None:
                there = self.streams[stream]
                if offset < len(there):
                    same = [_without_time(r) for r in there[offset : offset + len(records)]]
                    assert same == [_without_time(r) for r in records]
                    return
                assert offset == len(there), "a gap"
                there.extend(records)
            self.rows.extend(records)

        self.faults.step(f"append {self.name}", write)

    def close(self) -> None:
        pass

    @property
    def ids(self) -> list[str]:
        return sorted(row[MESSAGE_ID] for row in self.rows)

    @property
    def cents(self) -> int:
        return sum(int(row[AMOUNT] * 100) for row in self.rows)


@dataclass
class MemoryLetters:
    """A dead-letter topic: (message id, reasons) of each letter."""

    faults: Faults = field(default_factory=Faults)
    letters: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def send(self, messages: Messages, checked: CheckedMessages) -> int:
        ids = [messages.ids[i] for i in checked.rejected_messages]
        return self._send(ids, checked.rejected)

    def send_refused(self, refused: pa.RecordBatch, ids: pa.Array) -> int:
        return self._send(ids.to_pylist(), refused)

    def _send(self, ids: list[str], rows: pa.RecordBatch) -> int:
        reasons = rows.column("reasons").to_pylist()
        new = [(i, tuple(r)) for i, r in zip(ids, reasons, strict=True)]
        self.faults.step("dead letters", lambda: self.letters.extend(new))
        return len(new)

    def close(self) -> None:
        pass


@dataclass
class MemoryCloud:
    """What outlives processes."""

    faults: Faults = field(default_factory=Faults)
    sales: MemoryTable = field(init=False)
    rejected: MemoryTable = field(init=False)
    topic: MemoryLetters = field(init=False)

    def __post_init__(self) -> None:
        self.sales = MemoryTable("sales")
        self.rejected = MemoryTable("rejected")
        self.topic = MemoryLetters()
        self.use(self.faults)

    def use(self, faults: Faults) -> None:
        self.faults = faults
        self.sales.faults = self.rejected.faults = self.topic.faults = faults

    def sinks(self, *, tables: bool = True, topic: bool = True) -> Sinks:
        return Sinks(
            sales=self.sales if tables else None,
            rejected=self.rejected if tables else None,
            dead_letters=self.topic if topic else None,
            stream_rows=lambda checked, at: stream_batch(
                checked.accepted, checked.accepted_ids, at, checked.other_fields
            ),
        )


def _without_time(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "_ingested_at"}

"""Messages to try streaming with: generated sales as JSON, some of them broken, late or double.

What happens to a row is a pure function of the seed and the row, so what must arrive is known
beforehand (``what_was_published``). Time is counted in places: the message of the n-th rows has
place n. A late message is held back by 1,000 to 10,000 places, a copy of a double one follows it by
1 to 1,000. A message of several rows is NDJSON, and late or double when its first row is.
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from celes_beam.config import Config, load_config
from celes_beam.contract import CATEGORY, REGION, SCHEMA, Reason
from celes_beam.errors import ConfigError
from celes_beam.sales.breakage import KINDS, break_json, count_by_reason, plan_breakage
from celes_beam.sales.chance import Indexes, choose_rows, one_of
from celes_beam.sales.generate import Generator

SALE = "sale"
"""Attribute that names a message, ``<seed>-<first row>``; a copy has the same."""
LATE = "late"
"""Attribute of a late message: by how many places it was held back."""
ENCODING = "content-encoding"

_CHUNK_ROWS = 2_000
_GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True)
class _Delay:
    """What delays a message: by ``shortest`` to ``longest`` places."""

    stream: int
    name: str
    shortest: int
    longest: int


_LATE = _Delay(2, "late_share", 1_000, 10_000)
_COPY = _Delay(3, "duplicate_share", 1, 1_000)


@dataclass(frozen=True)
class Traffic:
    """Which messages are sent: of the rows of ``config`` from ``first_row`` on.

    Shares are from 0 to 1: of rows that are broken, of messages that are late, and of messages that
    are sent twice. Raises ``ConfigError`` for what cannot be.
    """

    config: Config
    first_row: int = 0
    error_rate: float = 0.0
    late_share: float = 0.0
    duplicate_share: float = 0.0
    rows_per_message: int = 1
    gzip: bool = False

    def __post_init__(self) -> None:
        if self.first_row < 0:
            raise ConfigError(f"first_row={self.first_row}: expected 0 or more")
        if self.rows_per_message < 1:
            raise ConfigError(f"rows_per_message={self.rows_per_message}: expected 1 or more")


@dataclass(frozen=True, slots=True)
class Message:
    """A message of ``rows`` rows."""

    rows: int
    data: bytes
    attributes: dict[str, str]
    is_copy: bool = False


class Schedule:
    """The messages of ``rows`` rows of some traffic, in the order of their turns."""

    def __init__(self, traffic: Traffic, rows: int) -> None:
        self._traffic = traffic
        self._rows = rows
        self._generator = Generator(traffic.config)
        self._places = -(-rows // traffic.rows_per_message)
        self._made = 0
        self._passed = 0
        # By turn and place; a message and its copy differ in turn.
        self._waiting: list[tuple[int, int, Message]] = []

    @property
    def rows_passed(self) -> int:
        """Rows of places that have passed: their messages were given out, or are in ``rest``."""
        return min(self._passed * self._traffic.rows_per_message, self._rows)

    def __iter__(self) -> Iterator[Message]:
        """Each message when its turn is; those that are held back beyond the end come last."""
        while self._made < self._places or self._waiting:
            self._make()
            ended = self._made >= self._places
            # What is made later has its turn at its place, or after it.
            while self._waiting and (ended or self._waiting[0][0] < self._made):
                turn, _, message = heapq.heappop(self._waiting)
                self._passed = max(self._passed, min(turn + 1, self._places))
                yield message

    def rest(self) -> list[Message]:
        """End early, with the messages held back whose place has passed: no row is left out."""
        rest = [message for _, place, message in sorted(self._waiting) if place < self._passed]
        self._waiting = []
        self._made = self._places
        return rest

    def _make(self) -> None:
        traffic = self._traffic
        size = traffic.rows_per_message
        places = min(max(1, _CHUNK_ROWS // size), self._places - self._made)
        if places <= 0:
            return
        start = self._made * size
        rows = min(places * size, self._rows - start)
        first = traffic.first_row + start
        objects = break_json(
            self._generator.columns(first, rows),
            *plan_breakage(traffic.config.seed, first, rows, traffic.error_rate),
        )
        late = self._delays(_LATE, traffic.late_share, first, rows)
        copies = self._delays(_COPY, traffic.duplicate_share, first, rows)
        for i in range(places):
            place = self._made + i
            turn = place + late.get(i, 0)
            message = self._message(place, turn, objects[i * size : (i + 1) * size])
            heapq.heappush(self._waiting, (turn, place, message))
            if i in copies:
                copy = replace(message, is_copy=True)
                heapq.heappush(self._waiting, (turn + copies[i], place, copy))
        self._made += places

    def _message(self, place: int, turn: int, texts: list[bytes]) -> Message:
        traffic = self._traffic
        row = traffic.first_row + place * traffic.rows_per_message
        attributes = {SALE: sale_name(traffic.config.seed, row)}
        if turn > place:
            attributes[LATE] = str(turn - place)
        data = b"\n".join(texts)
        if traffic.gzip:
            attributes[ENCODING] = "gzip"
            data = _gzipped(data)
        return Message(len(texts), data, attributes)

    def _delays(self, delay: _Delay, share: float, first: int, rows: int) -> dict[int, int]:
        """Of each message chosen among those of some rows, by how many places it is delayed."""
        seed, size = self._traffic.config.seed, self._traffic.rows_per_message
        chosen, draws = choose_rows(seed, delay.stream, first, rows, share, name=delay.name)
        leading = chosen % size == 0
        places = delay.shortest + one_of(draws[leading], delay.longest - delay.shortest + 1)
        return dict(zip((chosen[leading] // size).tolist(), places.tolist(), strict=True))


@dataclass(frozen=True)
class Published:
    """What must come of messages: the accepted rows (``contract.SCHEMA``) in order of their rows.

    ``rows`` are the numbers of these in the generated table (int64), ``rejected`` counts the other
    ones by their reason.
    """

    accepted: pa.RecordBatch
    rows: pa.Array
    rejected: dict[Reason, int]


def what_was_published(
    seed: int,
    first_row: int,
    rows: int,
    error_rate: float = 0.0,
    *,
    config: Config | None = None,
    knows_names: bool = True,
) -> Published:
    """Say what must arrive, each row once, of ``rows`` rows from ``first_row`` on.

    ``config`` is that of the traffic but for its seed. Without ``knows_names``, that of whoever
    receives the rows accepts any category and region.
    """
    config = (config or load_config()).model_copy(update={"seed": seed})
    batch = Generator(config).batch(first_row, rows)
    indexes, kinds = plan_breakage(seed, first_row, rows, error_rate)
    if not knows_names:
        unknown = np.array([kind.reason is Reason.UNKNOWN for kind in KINDS])[kinds]
        for column in (CATEGORY, REGION):
            here = unknown & np.array([kind.column == column for kind in KINDS])[kinds]
            batch = _with_texts(batch, column, indexes[here], [KINDS[k].text for k in kinds[here]])
        indexes, kinds = indexes[~unknown], kinds[~unknown]
    accepted = np.delete(np.arange(rows), indexes)
    return Published(
        batch.take(pa.array(accepted)), pa.array(accepted + first_row), count_by_reason(kinds)
    )


def sale_name(seed: int, row: int) -> str:
    """The attribute ``sale`` of the message that begins with a row."""
    return f"{seed}-{row}"


def _with_texts(
    batch: pa.RecordBatch, column: str, indexes: Indexes, texts: list[str | None]
) -> pa.RecordBatch:
    values = batch.column(column).to_pylist()
    for index, text in zip(indexes.tolist(), texts, strict=True):
        values[index] = text
    place = SCHEMA.get_field_index(column)
    return batch.set_column(place, SCHEMA.field(column), pa.array(values, pa.string()))


def _gzipped(data: bytes) -> bytes:
    # Without the time of day, the same rows make the same bytes.
    packer = zlib.compressobj(1, wbits=_GZIP)
    return packer.compress(data) + packer.flush()

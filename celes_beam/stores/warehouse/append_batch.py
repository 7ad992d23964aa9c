"""One batch on its way into a write stream: request by request, until each row is told of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from celes_beam.errors import IntegrityError
from celes_beam.stores.warehouse.append_answers import Answer, Said
from celes_beam.stores.warehouse.append_requests import (
    REQUEST_BYTES,
    ROWS_BYTES,
    piece_starts,
    taken,
)

_MOST_GAPS = 3
"""How often a stream may tell that rows are missing which it had taken."""


@dataclass(frozen=True)
class Refused:
    """A row that the service does not take: its index in the batch, and the reason given."""

    index: int
    why: str


@dataclass(frozen=True)
class Appended:
    """What became of a batch: its rows are ``rows`` + ``refused`` + ``refused_before``.

    ``rows`` are in the table. ``refused_before`` counts rows that an earlier call for the same
    stream had reported as refused, which this one can only tell by their absence.
    """

    rows: int
    refused: tuple[Refused, ...] = ()
    refused_before: int = 0


OnRefused = Callable[[Sequence[Refused]], None]


@dataclass(frozen=True)
class Target:
    """Where a batch goes. ``name`` is for messages.

    ``ask`` sends rows as one request, with the offset that the first of them has, and returns what
    is known of them. ``finalized_rows`` returns how many rows a finalized stream has taken.
    """

    name: str
    ask: Callable[[pa.RecordBatch, int], Answer]
    finalized_rows: Callable[[], int]
    rows_bytes: int = ROWS_BYTES


class BatchAppend:
    """Appends one batch; ``run`` is called once.

    ``_order`` are the indices of rows that the service takes, as far as is known: the row at
    ``_order[i]`` has the offset ``offset + i``, whoever appended it. Those before ``_done`` are
    written.
    """

    def __init__(
        self,
        target: Target,
        rows: pa.RecordBatch,
        offset: int,
        on_refused: OnRefused,
        refused: Collection[int],
    ) -> None:
        self._target = target
        self._rows = rows
        self._offset = offset
        self._on_refused = on_refused
        known = np.array(sorted(refused), dtype=np.int64)
        self._order = np.setdiff1d(np.arange(rows.num_rows, dtype=np.int64), known)
        # Of all rows, refused or not, so that the requests are the same ones again.
        self._starts = piece_starts(rows, target.rows_bytes)
        self._done = 0
        self._gaps = 0
        self._refused: list[Refused] = []

    def run(self) -> Appended:
        """Append what is not there; raises what ``ask`` does, and ``IntegrityError``."""
        while self._done < len(self._order):
            end = self._request_end()
            rows = taken(self._rows, self._order[self._done : end])
            if rows.num_rows == 1 and pa.ipc.get_record_batch_size(rows) > self._target.rows_bytes:
                self._refuse([(0, f"larger than a request of {REQUEST_BYTES:,} bytes may be")])
                continue
            answer = self._target.ask(rows, self._offset + self._done)
            match answer.said:
                case Said.WRITTEN:
                    self._done = end
                case Said.ROWS_REFUSED:
                    self._refuse(self._checked(answer, end))
                case Said.THERE:
                    self._skip(end, answer.stream_rows)
                case Said.FINALIZED:
                    self._skip(len(self._order), self._target.finalized_rows())
                case _:
                    self._go_back(answer.stream_rows)
        refused = tuple(sorted(self._refused, key=lambda r: r.index))
        return Appended(self._done, refused, self._rows.num_rows - self._done - len(refused))

    def _request_end(self) -> int:
        """Where the request ends that begins at ``_done``: with the piece that its row is in."""
        piece = int(np.searchsorted(self._starts, self._order[self._done], side="right"))
        if piece == len(self._starts):
            return len(self._order)
        return int(np.searchsorted(self._order, self._starts[piece]))

    def _refuse(self, errors: Sequence[tuple[int, str]]) -> None:
        places = {self._done + index: why for index, why in errors}
        refused = [Refused(int(self._order[place]), places[place]) for place in sorted(places)]
        self._on_refused(refused)
        self._refused += refused
        self._order = np.delete(self._order, list(places))

    def _checked(self, answer: Answer, end: int) -> Sequence[tuple[int, str]]:
        wrong = [i for i, _ in answer.row_errors if not 0 <= i < end - self._done]
        if wrong:
            raise IntegrityError(
                f"BigQuery refused row {wrong[0]:,} of a request of {end - self._done:,} rows to "
                f"{self._target.name}: it cannot be told which one it means; run it again"
            )
        return answer.row_errors

    def _skip(self, end: int, stream_rows: int | None) -> None:
        """Rows up to ``end`` were appended before. Those that are not there were refused then.

        Nothing else can be missing: a request is written whole or not at all, and a stream is
        finalized once all rows are in it.
        """
        there = end if stream_rows is None else min(end, stream_rows - self._offset)
        if there < self._done:
            raise self._inconsistent(stream_rows)
        self._order = np.delete(self._order, np.s_[there:end])
        self._done = there

    def _go_back(self, stream_rows: int | None) -> None:
        """The stream ends before the offset: the rows from its end on are sent again."""
        self._gaps += 1
        there = -1 if stream_rows is None else stream_rows - self._offset
        if not 0 <= there < self._done or self._gaps > _MOST_GAPS:
            raise self._inconsistent(stream_rows)
        self._done = there

    def _inconsistent(self, stream_rows: int | None) -> IntegrityError:
        has = "another number of rows" if stream_rows is None else f"{stream_rows:,} rows"
        return IntegrityError(
            f"{self._target.name} has {has}, where {self._offset + self._done:,} were appended: "
            "look for the rows' _message_id in the table before you go on"
        )

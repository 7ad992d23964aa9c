"""Rows into a table of BigQuery by the Storage Write API: at least once, or exactly once.

At least once is the table's default stream. Exactly once is a stream for each batch and an offset
with every request, by which the service tells what it has: a batch can be appended again, by any
process and after any fault, and is there once.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Any

import pyarrow as pa

from celes_beam.errors import IntegrityError, UsageError
from celes_beam.stores.cloud.clients import write_client
from celes_beam.stores.cloud.failures import cloud_errors
from celes_beam.stores.warehouse.append_answers import (
    Answer,
    Said,
    answer_of,
    answer_of_error,
    passes,
)
from celes_beam.stores.warehouse.append_batch import (
    Appended,
    BatchAppend,
    OnRefused,
    Refused,
    Target,
)
from celes_beam.stores.warehouse.append_connection import AppendConnection
from celes_beam.stores.warehouse.append_requests import ROWS_BYTES
from celes_beam.stores.warehouse.table_name import TableName

__all__ = ["Appended", "OnRefused", "Refused", "WriteStreams"]

_NEEDS = "roles/bigquery.dataEditor"
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0


def no_matter(_: Sequence[Refused]) -> None:
    """Do nothing about refused rows until ``Appended`` tells of them."""


class WriteStreams:
    """Appends batches of rows to one table, for one user at a time; ``close`` ends it.

    A connection is kept open from one append to the next. A fault that passes is outlasted for
    ``patience_seconds``, with growing pauses; an answer is waited for ``answer_seconds``.
    """

    def __init__(
        self,
        table: TableName,
        *,
        patience_seconds: float = 60.0,
        answer_seconds: float = 30.0,
        rows_bytes: int = ROWS_BYTES,
    ) -> None:
        self.table = table
        self._patience_seconds = patience_seconds
        self._answer_seconds = answer_seconds
        self._rows_bytes = rows_bytes
        self._parent = f"projects/{table.project}/datasets/{table.dataset}/tables/{table.table}"
        self._lock = threading.RLock()
        self._client: Any = None
        self._connection: AppendConnection | None = None

    def open(self) -> str:
        """Make a write stream whose rows are in the table at once; returns its name.

        Raises ``UsageError`` when the table is missing or may not be written, ``StorageError`` when
        the service fails for longer than it is waited for.
        """
        from google.cloud.bigquery_storage_v1 import types  # noqa: PLC0415

        with self._lock, cloud_errors("open a write stream of", str(self.table), needs=_NEEDS):
            made = self._write_client().create_write_stream(
                parent=self._parent,
                write_stream=types.WriteStream(type_=types.WriteStream.Type.COMMITTED),
                retry=self._retry(),
                timeout=self._answer_seconds,
            )
        return str(made.name)

    def append(
        self,
        rows: pa.RecordBatch,
        stream: str | None = None,
        *,
        offset: int = 0,
        on_refused: OnRefused = no_matter,
        refused: Collection[int] = (),
    ) -> Appended:
        """Append a batch, in as many requests as its size asks for.

        Without a ``stream`` rows are there at least once. With one they are there once, ``offset``
        being the rows that earlier batches have put into it: the same call may be repeated, also
        by another process or after ``finalize``. ``on_refused`` is told of rows that the service
        refuses, or that are too large for a request, before any other row of their request is
        written. ``refused`` are the indices that it was told of when the batch was appended
        before, if they were kept: a batch over one request is then told exactly.

        Raises ``UsageError`` when the table is missing, does not fit or may not be written,
        ``StorageError`` when the service fails for longer than it is waited for, and
        ``IntegrityError`` when the stream is gone or does not hold what it should.
        """
        with self._lock:
            target = Target(
                name=str(self.table) if stream is None else f"write stream {stream}",
                ask=lambda part, at: self._ask(part, stream, at),
                finalized_rows=lambda: self.finalize(str(stream)),
                rows_bytes=self._rows_bytes,
            )
            return BatchAppend(target, rows, offset, on_refused, refused).run()

    def finalize(self, stream: str) -> int:
        """Let a stream take no more rows, which may be repeated; returns the rows it has taken.

        Raises as ``append``.
        """
        with self._lock:
            self._disconnect()
            return self._finalize(stream)

    def close(self) -> None:
        """End the connections; what was appended stays."""
        with self._lock:
            self._disconnect()
            if self._client is not None:
                self._client.transport.close()
                self._client = None

    def __enter__(self) -> WriteStreams:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def default_stream(self) -> str:
        """The name of the stream that every table has."""
        return f"{self._parent}/streams/_default"

    def _ask(self, rows: pa.RecordBatch, stream: str | None, offset: int) -> Answer:
        """Send a request until something is known of its rows."""
        from google.api_core.exceptions import (  # noqa: PLC0415
            DeadlineExceeded,
            ServiceUnavailable,
        )

        def once() -> Answer:
            answer = self._ask_once(rows, stream or self.default_stream, offset if stream else None)
            if answer.said is Said.PASSING and answer.error is not None:
                if isinstance(answer.error, (DeadlineExceeded, ServiceUnavailable)):
                    # The network on the way may be gone: the next try is to find a new one. A
                    # channel would wait with that for as long as the outage has lasted already.
                    self.close()
                self._disconnect()
                raise answer.error
            return answer

        with cloud_errors("append to", str(self.table), needs=_NEEDS):
            answer: Answer = self._retry()(once)()
            offsets = (Said.THERE, Said.GAP, Said.FINALIZED)
            if answer.said is Said.FAILED or (stream is None and answer.said in offsets):
                self._disconnect()
                failure = self._failure(answer, stream)
                raise failure from (None if failure is answer.error else answer.error)
            return answer

    def _ask_once(self, rows: pa.RecordBatch, stream: str, offset: int | None) -> Answer:
        from google.api_core.exceptions import GoogleAPICallError  # noqa: PLC0415

        try:
            return answer_of(self._connected(stream).ask(rows, offset, self._answer_seconds))
        except GoogleAPICallError as error:
            self._disconnect()
            return answer_of_error(error)

    def _failure(self, answer: Answer, stream: str | None) -> Exception:
        from google.api_core import exceptions  # noqa: PLC0415

        if isinstance(answer.error, exceptions.NotFound):
            if stream is not None:
                return self._gone(stream)
            return UsageError(
                f"cannot append to {self.table}: the table is not there, or was deleted "
                "meanwhile: start the pipeline again, which makes it, or name another one"
            )
        if isinstance(answer.error, exceptions.InvalidArgument):
            return UsageError(
                f"cannot append to {self.table}: the rows do not fit the table "
                f"({' '.join(answer.error.message.split())[:500]}): compare its columns with those "
                "of the contract (docs/warehouse.md), or name another table, which is made"
            )
        return answer.error or AssertionError(f"{answer.said} without an error")

    def _gone(self, stream: str) -> IntegrityError:
        """That a stream cannot tell any more which rows it has taken."""
        return IntegrityError(
            f"write stream {stream} is gone, so it cannot be told whether its rows are in "
            f"{self.table}: look for their _message_id there before you go on (a local stand-in "
            "forgets its streams when it ends)"
        )

    def _finalize(self, stream: str) -> int:
        from google.api_core.exceptions import NotFound  # noqa: PLC0415

        with cloud_errors("finalize a write stream of", str(self.table), needs=_NEEDS):
            try:
                answer = self._write_client().finalize_write_stream(
                    name=stream, retry=self._retry(), timeout=self._answer_seconds
                )
            except NotFound as error:
                raise self._gone(stream) from error
        return int(answer.row_count)

    def _connected(self, stream: str) -> AppendConnection:
        # One at a time: a stream of its own takes no rows for another, and the stand-in serves
        # few connections at once.
        if self._connection is None or self._connection.stream != stream:
            self._disconnect()
            self._connection = AppendConnection(self._write_client(), stream)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _write_client(self) -> Any:
        if self._client is None:
            self._client = write_client()
        return self._client

    def _retry(self) -> Any:
        from google.api_core.retry import Retry  # noqa: PLC0415

        return Retry(
            predicate=passes,
            initial=_FIRST_PAUSE_SECONDS,
            maximum=_LONGEST_PAUSE_SECONDS,
            multiplier=2,
            timeout=self._patience_seconds,
        )

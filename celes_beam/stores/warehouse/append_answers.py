"""What the Storage Write API says of an append: written, there already, rows refused, try again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

_EXPECTED = re.compile(r"expected (?:offset )?(\d+)")
"""Google: "expected offset 6, received 4"; the stand-in: "next expected 6"."""


class Said(Enum):
    """Kinds of answers."""

    WRITTEN = auto()
    THERE = auto()
    """The stream has rows at the offset already."""
    GAP = auto()
    """The stream ends before the offset."""
    FINALIZED = auto()
    """The stream takes no more rows."""
    ROWS_REFUSED = auto()
    """Nothing was written, for some rows are not right."""
    PASSING = auto()
    """Nothing is known of the rows; a repetition may go well."""
    FAILED = auto()


@dataclass(frozen=True)
class Answer:
    """One answer. ``stream_rows`` is the offset that the stream expects next, where it is told.

    ``row_errors`` are (index in the request, why). ``error`` is that of Google's client.
    """

    said: Said
    stream_rows: int | None = None
    row_errors: tuple[tuple[int, str], ...] = ()
    error: Exception | None = None


def answer_of(response: Any) -> Answer:
    """What an ``AppendRowsResponse`` says."""
    from google.api_core.exceptions import from_grpc_status  # noqa: PLC0415

    # Row errors come with an error, and are the answer also where they came alone.
    if response.row_errors:
        refused = tuple((int(e.index), _line(e.message)) for e in response.row_errors)
        return Answer(Said.ROWS_REFUSED, row_errors=refused)
    status = response.error
    if not status.code:
        return Answer(Said.WRITTEN)
    error = from_grpc_status(status.code, status.message)
    return answer_of_error(error, _storage_code(status.details))


def answer_of_error(error: Exception, storage_code: str | None = None) -> Answer:
    """What a ``GoogleAPICallError`` says; ``storage_code`` is that of a ``StorageError`` in it."""
    from google.api_core import exceptions  # noqa: PLC0415

    told = _EXPECTED.search(str(error))
    stream_rows = int(told[1]) if told else None
    if isinstance(error, exceptions.AlreadyExists) or storage_code == "OFFSET_ALREADY_EXISTS":
        return Answer(Said.THERE, stream_rows, error=error)
    if isinstance(error, exceptions.OutOfRange) or storage_code == "OFFSET_OUT_OF_RANGE":
        return Answer(Said.GAP, stream_rows, error=error)
    if storage_code == "STREAM_FINALIZED" or (
        isinstance(error, exceptions.FailedPrecondition) and "finalized" in str(error).lower()
    ):
        return Answer(Said.FINALIZED, error=error)
    return Answer(Said.PASSING if passes(error) else Said.FAILED, error=error)


def passes(error: Exception) -> bool:
    """Whether a request that failed so may go well when it is repeated."""
    from google.api_core import exceptions  # noqa: PLC0415

    return isinstance(
        error,
        (
            exceptions.ServiceUnavailable,
            exceptions.Aborted,
            exceptions.InternalServerError,
            exceptions.DeadlineExceeded,
            exceptions.ResourceExhausted,
            exceptions.Cancelled,
        ),
    )


def _storage_code(details: Any) -> str | None:
    from google.cloud.bigquery_storage_v1 import types  # noqa: PLC0415

    for detail in details:
        found = types.StorageError.pb(types.StorageError())
        if detail.Unpack(found):
            return str(types.StorageError.StorageErrorCode(found.code).name)
    return None


def _line(text: str) -> str:
    return " ".join(text.split())[:1000] or "no reason given"

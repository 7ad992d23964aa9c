from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from google.api_core import exceptions
from google.cloud.bigquery_storage_v1 import types
from google.protobuf import any_pb2
from google.rpc import status_pb2

from celes_beam.stores.warehouse.append_answers import Said, answer_of, answer_of_error
from celes_beam.stores.warehouse.append_requests import append_request


def response(code: int, message: str = "", storage: str = "", rows: tuple[int, ...] = ()) -> Any:
    status = status_pb2.Status(code=code, message=message)
    if storage:
        detail = any_pb2.Any()
        error = types.StorageError(code=types.StorageError.StorageErrorCode[storage])
        detail.Pack(types.StorageError.pb(error))
        status.details.append(detail)
    errors = [types.RowError(index=i, message=f"row\n {i}") for i in rows]
    return types.AppendRowsResponse(error=status, row_errors=errors)


@pytest.mark.parametrize(
    ("given", "said", "stream_rows"),
    [
        (types.AppendRowsResponse(append_result={"offset": 3}), Said.WRITTEN, None),
        (types.AppendRowsResponse(append_result={}), Said.WRITTEN, None),
        (response(6, "The offset is within stream, expected offset 6, received 4"), Said.THERE, 6),
        (response(6, "Offset 0 already committed; next expected 3"), Said.THERE, 3),
        (response(6, "409"), Said.THERE, None),
        (response(11, "beyond stream, expected offset 0, received 2"), Said.GAP, 0),
        (response(3, "", "OFFSET_ALREADY_EXISTS"), Said.THERE, None),
        (response(3, "", "OFFSET_OUT_OF_RANGE"), Said.GAP, None),
        (response(3, "", "STREAM_FINALIZED"), Said.FINALIZED, None),
        (response(9, "Stream is FINALIZED"), Said.FINALIZED, None),
        (response(9, "something else"), Said.FAILED, None),
        (response(3, "bad schema"), Said.FAILED, None),
        (response(2, "unknown"), Said.FAILED, None),
        (response(5, "not found"), Said.FAILED, None),
        (response(7, "denied"), Said.FAILED, None),
        *((response(code), Said.PASSING, None) for code in (1, 4, 8, 10, 13, 14)),
    ],
)
def test_what_an_answer_says(given: Any, said: Said, stream_rows: int | None) -> None:
    answer = answer_of(given)
    assert (answer.said, answer.stream_rows) == (said, stream_rows)
    assert (answer.error is None) == (said is Said.WRITTEN)


def test_refused_rows_are_listed() -> None:
    answer = answer_of(response(3, "some rows", rows=(2, 0)))
    assert answer.said is Said.ROWS_REFUSED
    assert answer.row_errors == ((2, "row 2"), (0, "row 0"))


def test_a_connection_that_ended_says_the_same() -> None:
    error = exceptions.AlreadyExists("expected offset 6, received 4")
    assert answer_of_error(error).stream_rows == 6
    assert answer_of_error(exceptions.ServiceUnavailable("gone")).said is Said.PASSING


def test_a_request_holds_rows_schema_and_offset() -> None:
    rows = pa.record_batch({"a": [1, 2]})
    first = append_request(rows, "s", 0, with_schema=True)
    later = append_request(rows, "s", None, with_schema=False)
    data = first.arrow_rows
    schema = pa.ipc.read_schema(pa.py_buffer(data.writer_schema.serialized_schema))
    batch = pa.ipc.read_record_batch(pa.py_buffer(data.rows.serialized_record_batch), schema)
    assert batch.equals(rows)
    assert types.AppendRowsRequest.pb(first).HasField("offset")
    assert not types.AppendRowsRequest.pb(later).HasField("offset")
    assert not later.arrow_rows.writer_schema.serialized_schema
    assert first.write_stream == later.write_stream == "s"

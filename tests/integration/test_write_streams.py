"""Appends by the Storage Write API to a real server of its protocol: at least and exactly once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from celes_beam.contract import OTHER_FIELDS, REJECTED_SCHEMA, SCHEMA
from celes_beam.errors import IntegrityError, StorageError, UsageError
from celes_beam.sales.columns import decimal_array
from celes_beam.stores.cloud.clients import LOCAL_PROJECT, bigquery_client
from celes_beam.stores.warehouse.stream_tables import make_stream, stream_batch
from celes_beam.stores.warehouse.table_name import TableName, parse_table_name
from celes_beam.stores.warehouse.tables import Destination
from celes_beam.stores.warehouse.write_streams import Refused, WriteStreams
from tests.sales import sales_batch

SALES = [("Hogar", "Norte", 100), ("Ropa", "Sur", 250), ("Ropa", "Este", 175)]
NOW_US = 1_700_000_000_123_456


@pytest.fixture
def table(dataset: str) -> TableName:
    """A table that is there, with the columns of a stream."""
    name = parse_table_name(f"{dataset}.ventas")
    make_stream(Destination(name), keep_other_fields=True)
    return name


@pytest.fixture
def streams(table: TableName) -> Iterator[WriteStreams]:
    with WriteStreams(table, patience_seconds=3) as streams:
        yield streams


def rows(*ids: str | None, others: Sequence[str | None] | None = None) -> pa.RecordBatch:
    """A row for each id."""
    sales = sales_batch([SALES[i % 3] for i in range(len(ids))])
    texts = None if others is None else pa.array(others, pa.string())
    return stream_batch(sales, pa.array(ids, pa.string()), NOW_US, texts)


def query(sql: str) -> list[Any]:
    found = bigquery_client(LOCAL_PROJECT).query(sql, job_retry=None).result()
    return [tuple(row.values()) for row in found]


def held(table: TableName, source: str = "") -> list[str | None]:
    """The message ids in a table or view, in order, nulls first."""
    path = table.beside(source).path if source else table.path
    return [i for (i,) in query(f"SELECT _message_id FROM `{path}` ORDER BY 1")]


def test_rows_are_appended_at_least_once(streams: WriteStreams) -> None:
    assert streams.append(rows("a", "b")).rows == 2
    assert streams.append(rows("c")).rows == 1
    assert streams.append(rows("c")).rows == 1
    assert held(streams.table) == ["a", "b", "c", "c"]


def test_a_batch_of_a_stream_is_appended_once_however_often(
    streams: WriteStreams, table: TableName
) -> None:
    stream = streams.open()
    first = streams.append(rows("a", "b"), stream)
    with WriteStreams(table) as other:
        again = other.append(rows("a", "b"), stream)
    assert (first.rows, again.rows) == (2, 2)
    assert streams.append(rows("c"), stream, offset=2).rows == 1
    assert streams.append(rows("c"), stream, offset=2).rows == 1
    assert held(table) == ["a", "b", "c"]


def test_a_batch_of_a_finalized_stream_is_there(streams: WriteStreams, table: TableName) -> None:
    stream = streams.open()
    streams.append(rows("a", "b"), stream)
    assert streams.finalize(stream) == streams.finalize(stream) == 2
    assert streams.append(rows("a", "b"), stream).rows == 2
    assert held(table) == ["a", "b"]


def test_rows_before_an_offset_may_not_be_missing(streams: WriteStreams) -> None:
    with pytest.raises(IntegrityError, match="has 0 rows, where 5 were appended"):
        streams.append(rows("a"), streams.open(), offset=5)
    assert held(streams.table) == []


def test_amounts_times_nulls_and_json_arrive_exactly(streams: WriteStreams) -> None:
    times = [
        datetime(2000, 1, 1, tzinfo=UTC),
        datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=1),
    ]
    cents = [1, 10**12 - 1, 12_345]
    sales = pa.RecordBatch.from_arrays(
        [
            pa.array([1, 2**63 - 1, 3], pa.int64()),
            pa.array(times, SCHEMA.field(1).type),
            decimal_array(pa.array(cents, pa.int64()).to_numpy()),
            pa.array(["Niñez ☕", "a\nb", "x" * 1000]),
            pa.array(["", "Norte", "Sur"]),
        ],
        schema=SCHEMA,
    )
    others = pa.array(['{"k": [1, "é"]}', None, "{}"])
    streams.append(stream_batch(sales, pa.array(["m", None, "m/1"]), NOW_US, others))
    found = query(f"SELECT * FROM `{streams.table.path}` ORDER BY fecha_de_transaccion")
    assert [r[1] for r in found] == times
    assert [r[2] for r in found] == [Decimal(c) / 100 for c in cents]
    assert [r[0] for r in found] == [1, 2**63 - 1, 3]
    assert [(r[3], r[4]) for r in found] == [
        ("Niñez ☕", ""),
        ("a\nb", "Norte"),
        ("x" * 1000, "Sur"),
    ]
    assert [r[5] for r in found] == ["m", None, "m/1"]
    assert {r[6] for r in found} == {
        datetime.fromtimestamp(0, UTC) + timedelta(microseconds=NOW_US)
    }
    assert [r[7] for r in found] == [{"k": [1, "é"]}, None, {}]


def test_rows_without_other_fields_fit_a_table_that_keeps_them(streams: WriteStreams) -> None:
    streams.append(rows("a", others=['{"x": 1}']))
    streams.append(rows("b"))
    streams.append(rows("c", others=[None]))
    found = query(f"SELECT _message_id, {OTHER_FIELDS} FROM `{streams.table.path}` ORDER BY 1")
    assert found == [("a", {"x": 1}), ("b", None), ("c", None)]


def test_rejected_rows_are_appended_to_their_table(table: TableName) -> None:
    record = {
        "source": "pubsub:s/1",
        "position": 7,
        "reasons": ["missing", "unparseable"],
        "column": None,
        "value": "é",
        "raw": b"\x00\xff",
        "rejected_at": NOW_US,
        "rules_version": 1,
        "attempt": 2,
    }
    with WriteStreams(table.rejected) as streams:
        streams.append(pa.RecordBatch.from_pylist([record], schema=REJECTED_SCHEMA))
    (found,) = query(f"SELECT * FROM `{table.rejected.path}`")
    at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=NOW_US)
    assert found == (*tuple(record.values())[:6], at, 1, 2)


def test_what_is_over_a_request_goes_in_several(streams: WriteStreams, table: TableName) -> None:
    text = "x" * 3_000_000
    batch = rows(*"abcdefgh", others=[f'"{text}"'] * 8)
    stream = streams.open()
    assert streams.append(batch, stream).rows == 8
    assert streams.append(batch, stream).rows == 8
    assert streams.append(batch).rows == 8
    assert held(table) == sorted("abcdefgh" * 2)


def test_a_row_over_a_request_is_refused_and_the_rest_goes_on(streams: WriteStreams) -> None:
    told: list[Refused] = []
    batch = rows("a", "big", "c", others=[None, f'"{"x" * 11_000_000}"', None])
    done = streams.append(batch, streams.open(), on_refused=told.extend)
    assert (done.rows, [r.index for r in done.refused]) == (2, [1])
    assert told == list(done.refused)
    assert "larger than a request" in told[0].why
    assert held(streams.table) == ["a", "c"]


def test_no_rows_are_no_request(streams: WriteStreams) -> None:
    assert streams.append(rows()).rows == 0


def test_a_missing_table_is_the_callers_to_mend(dataset: str) -> None:
    missing = parse_table_name(f"{dataset}.nada")
    with WriteStreams(missing) as streams:
        with pytest.raises(UsageError, match="the table is not there"):
            streams.append(rows("a"))
        with pytest.raises(UsageError, match=r"cannot open a write stream of .*not found"):
            streams.open()


def test_rows_that_do_not_fit_the_table_are_told(streams: WriteStreams) -> None:
    wrong = rows("a").set_column(0, "id_cliente", pa.array(["no number"]))
    with pytest.raises(UsageError, match=r"rows do not fit the table .*name another table"):
        streams.append(wrong)
    assert streams.append(rows("b")).rows == 1


def test_a_table_that_is_deleted_meanwhile_is_told(table: TableName) -> None:
    with WriteStreams(table, patience_seconds=0.3) as streams:
        streams.append(rows("a"))
        bigquery_client(LOCAL_PROJECT).delete_table(table.path)
        with pytest.raises((StorageError, UsageError), match=f"cannot append to {table}") as failed:
            streams.append(rows("b"))
    seen: list[BaseException] = []
    cause: BaseException | None = failed.value
    while cause is not None:
        assert cause not in seen, "an error is its own cause"
        seen.append(cause)
        cause = cause.__cause__


def test_rows_that_met_a_deleted_table_are_not_taken_for_written(table: TableName) -> None:
    """The stand-in counted rows before it had them, and said afterwards that they were there."""
    with WriteStreams(table, patience_seconds=0.3) as streams:
        stream = streams.open()
        streams.append(rows("a"), stream)
        bigquery_client(LOCAL_PROJECT).delete_table(table.path)
        with pytest.raises(StorageError, match="does not exist"):
            streams.append(rows("b"), stream, offset=1)
    make_stream(Destination(table), keep_other_fields=True)
    with WriteStreams(table) as streams:
        streams.append(rows("b"), stream, offset=1)
    assert held(table) == ["b"]


def test_a_stream_that_is_gone_cannot_be_told_about(streams: WriteStreams) -> None:
    gone = streams.default_stream.replace("_default", "0123456789abcdef")
    with pytest.raises(IntegrityError, match=r"is gone.*_message_id"):
        streams.append(rows("a"), gone)
    with pytest.raises(IntegrityError, match="is gone"):
        streams.finalize(gone)


def test_a_server_that_is_not_there_is_not_waited_for_for_ever(
    table: TableName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIGQUERY_GRPC_EMULATOR_HOST", "127.0.0.1:9")
    with (
        WriteStreams(table, patience_seconds=0.3) as streams,
        pytest.raises(StorageError, match=r"cannot append to .*run it again"),
    ):
        streams.append(rows("a"))


def test_rows_do_not_go_to_google_when_there_is_a_stand_in(
    table: TableName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BIGQUERY_GRPC_EMULATOR_HOST")
    with (
        WriteStreams(table) as streams,
        pytest.raises(UsageError, match="BIGQUERY_GRPC_EMULATOR_HOST is not: set it"),
    ):
        streams.append(rows("a"))


def test_the_view_has_each_message_once_and_all_rows_without_one(
    streams: WriteStreams, table: TableName
) -> None:
    streams.append(rows("a", "b", "b/1", None, None))
    streams.append(rows("a", "c", None))
    assert held(table, "ventas_unicas") == [None, None, None, "a", "b", "b/1", "c"]
    ((total,),) = query(
        f"SELECT SUM(cantidad_de_venta) FROM `{table.beside('ventas_unicas').path}`"
    )
    assert total == Decimal(13)

"""Appends through a proxy that refuses, breaks connections and loses answers.

Exactly once holds whatever happens; the default stream may repeat rows, and loses none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pyarrow as pa
import pytest

from celes_beam.errors import IntegrityError, StorageError, UsageError
from celes_beam.local.processes import Server
from celes_beam.stores.cloud.clients import BIGQUERY_GRPC_EMULATOR
from celes_beam.stores.warehouse.append_requests import REQUEST_BYTES
from celes_beam.stores.warehouse.stream_tables import make_stream
from celes_beam.stores.warehouse.table_name import TableName, parse_table_name
from celes_beam.stores.warehouse.tables import Destination
from celes_beam.stores.warehouse.write_streams import Appended, Refused, WriteStreams
from tests.faults import at_random, nth
from tests.grpc_faults import GrpcFaultProxy
from tests.integration.test_write_streams import held, rows

IDS = ("a", "b", "c", "d", "e")
PASSING = ["UNAVAILABLE", "ABORTED", "INTERNAL", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"]
BROKEN = [
    *({"how": "answer", "code": code} for code in PASSING),
    *({"how": "answer", "code": code, "ends": True} for code in (*PASSING, "CANCELLED")),
    *({"how": how} for how in ("break", "lose_answer", "finish", "silence")),
]


@pytest.fixture
def proxy(
    bigquery_server: Server, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[GrpcFaultProxy]:
    with GrpcFaultProxy(bigquery_server.environment[BIGQUERY_GRPC_EMULATOR]) as proxy:
        monkeypatch.setenv(BIGQUERY_GRPC_EMULATOR, proxy.address)
        yield proxy


@pytest.fixture
def table(proxy: GrpcFaultProxy, dataset: str) -> TableName:
    name = parse_table_name(f"{dataset}.ventas")
    make_stream(Destination(name), keep_other_fields=True)
    return name


@pytest.fixture
def streams(table: TableName) -> Iterator[WriteStreams]:
    with WriteStreams(table, patience_seconds=10, answer_seconds=0.5) as streams:
        yield streams


def a_fault(proxy: GrpcFaultProxy, when: Any, how: str, code: str = "", **about: Any) -> Any:
    if code:
        about["code"] = grpc.StatusCode[code]
    return proxy.add(how, when, **about)  # type: ignore[arg-type]


def names(fault: dict[str, Any]) -> str:
    return "-".join(str(part) for part in fault.values())


@pytest.mark.parametrize("about", BROKEN, ids=names)
def test_a_stream_has_each_row_once_whatever_breaks(
    proxy: GrpcFaultProxy, streams: WriteStreams, about: dict[str, Any]
) -> None:
    fault = a_fault(proxy, nth(1, 3), **about)
    stream = streams.open()
    assert streams.append(rows(*IDS), stream).rows == 5
    assert streams.append(rows("f"), stream, offset=5).rows == 1
    assert fault.happened == 2
    assert held(streams.table) == [*IDS, "f"]


@pytest.mark.parametrize("about", BROKEN, ids=names)
def test_the_default_stream_loses_no_row_whatever_breaks(
    proxy: GrpcFaultProxy, streams: WriteStreams, about: dict[str, Any]
) -> None:
    fault = a_fault(proxy, nth(2), **about)
    assert streams.append(rows("a", "b")).rows == 2
    assert streams.append(rows("c", "d", "e")).rows == 3
    assert fault.happened == 1
    lost_answer = about["how"] in ("lose_answer", "silence")
    assert sorted(set(held(streams.table))) == list(IDS)  # type: ignore[type-var]
    assert len(held(streams.table)) == (8 if lost_answer else 5)


def test_a_request_that_came_twice_is_there_once(
    proxy: GrpcFaultProxy, streams: WriteStreams
) -> None:
    fault = proxy.add("twice")
    stream = streams.open()
    assert streams.append(rows(*IDS), stream).rows == 5
    assert fault.happened
    assert held(streams.table) == list(IDS)


def test_a_conflict_without_its_offset_is_success(
    proxy: GrpcFaultProxy, streams: WriteStreams
) -> None:
    stream = streams.open()
    streams.append(rows(*IDS), stream)
    proxy.add("answer", code=grpc.StatusCode.ALREADY_EXISTS, message="409")
    assert streams.append(rows(*IDS), stream).rows == 5
    assert held(streams.table) == list(IDS)


def test_what_a_service_fails_at_for_long_is_told(proxy: GrpcFaultProxy, table: TableName) -> None:
    proxy.add("answer")
    with (
        WriteStreams(table, patience_seconds=0.3) as streams,
        pytest.raises(StorageError, match=r"the proxy says so; run it again"),
    ):
        streams.append(rows("a"))
    assert held(table) == []


def test_a_server_that_does_not_answer_is_not_waited_for_for_ever(
    proxy: GrpcFaultProxy, table: TableName
) -> None:
    proxy.add("silence")
    with (
        WriteStreams(table, patience_seconds=0.3, answer_seconds=0.3) as streams,
        pytest.raises(StorageError, match=r"no answer to an append within 0.3 s"),
    ):
        streams.append(rows("a"))


def test_a_server_that_has_gone_is_looked_for_anew(
    bigquery_server: Server, table: TableName, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WriteStreams(table) as streams:
        with GrpcFaultProxy(bigquery_server.environment[BIGQUERY_GRPC_EMULATOR]) as first:
            monkeypatch.setenv(BIGQUERY_GRPC_EMULATOR, first.address)
            streams.append(rows("a"))
        with GrpcFaultProxy(bigquery_server.environment[BIGQUERY_GRPC_EMULATOR]) as second:
            monkeypatch.setenv(BIGQUERY_GRPC_EMULATOR, second.address)
            streams.append(rows("b"))
            assert len(second.appends) == 1
    assert held(table) == ["a", "b"]


def test_a_refusal_names_the_role(proxy: GrpcFaultProxy, streams: WriteStreams) -> None:
    for ends in (False, True):
        proxy.clear()
        proxy.add("answer", code=grpc.StatusCode.PERMISSION_DENIED, ends=ends)
        with pytest.raises(UsageError, match=r"not allowed .*grant roles/bigquery.dataEditor"):
            streams.append(rows("a"))


def test_what_is_no_passing_fault_is_not_repeated(
    proxy: GrpcFaultProxy, streams: WriteStreams
) -> None:
    fault = proxy.add("answer", code=grpc.StatusCode.UNKNOWN, ends=True)
    with pytest.raises(StorageError, match="the proxy says so"):
        streams.append(rows("a"), streams.open())
    assert fault.happened == 1


def test_opening_and_finalizing_outlast_faults(
    proxy: GrpcFaultProxy, streams: WriteStreams
) -> None:
    faults = [
        proxy.add("answer", nth(1), method="CreateWriteStream"),
        proxy.add("lose_answer", nth(1), method="FinalizeWriteStream"),
    ]
    stream = streams.open()
    streams.append(rows("a"), stream)
    assert streams.finalize(stream) == 1
    assert [f.happened for f in faults] == [1, 1]


def wrong_rows(*ids: str, like: pa.RecordBatch | None = None) -> Any:
    """Tells the indices of rows in a request whose id is one of some."""
    schema = (like or rows("a")).schema

    def find(request: Any) -> list[int]:
        data = pa.py_buffer(request.arrow_rows.rows.serialized_record_batch)
        found = pa.ipc.read_record_batch(data, schema).column("_message_id").to_pylist()
        return [i for i, value in enumerate(found) if value in ids]

    return find


@pytest.mark.parametrize("own", [True, False])
def test_rows_that_are_refused_are_told_before_the_others_are_there(
    proxy: GrpcFaultProxy, streams: WriteStreams, own: bool
) -> None:
    proxy.add("refuse", rows=wrong_rows("b", "e"))
    told: list[Any] = []

    def on_refused(refused: Any) -> None:
        told.append((held(streams.table), [(r.index, r.why) for r in refused]))

    stream = streams.open() if own else None
    done = streams.append(rows(*IDS), stream, on_refused=on_refused)
    assert told == [([], [(1, "the proxy says so"), (4, "the proxy says so")])]
    assert done == Appended(3, (Refused(1, told[0][1][0][1]), Refused(4, told[0][1][1][1])))
    assert held(streams.table) == ["a", "c", "d"]


def test_a_batch_of_refused_rows_leaves_nothing(
    proxy: GrpcFaultProxy, streams: WriteStreams
) -> None:
    proxy.add("refuse", rows=wrong_rows(*IDS))
    done = streams.append(rows(*IDS), streams.open())
    assert (done.rows, len(done.refused)) == (0, 5)
    assert held(streams.table) == []


@pytest.mark.parametrize("finalized", [False, True])
@pytest.mark.parametrize("told_again", [False, True])
def test_a_batch_with_refused_rows_is_taken_up_again(
    proxy: GrpcFaultProxy, streams: WriteStreams, finalized: bool, told_again: bool
) -> None:
    fault = proxy.add("refuse", rows=wrong_rows("b", "e"))
    stream = streams.open()
    streams.append(rows(*IDS), stream)
    if finalized:
        streams.finalize(stream)
    if not told_again:
        # A service that looks at the offset first says nothing of the rows.
        fault.rows = wrong_rows()
    done = streams.append(rows(*IDS), stream)
    assert (done.rows, len(done.refused) + done.refused_before) == (3, 2)
    assert bool(done.refused) == told_again
    assert streams.append(rows(*IDS), stream, refused={1, 4}) == Appended(3, (), 2)
    assert held(streams.table) == ["a", "c", "d"]


def big(*ids: str) -> Any:
    return rows(*ids, others=[f'"{"x" * 4_000_000}"'] * len(ids))


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_batch_of_several_requests_is_taken_up_where_it_was_cut(
    proxy: GrpcFaultProxy, streams: WriteStreams, table: TableName, cut: int
) -> None:
    proxy.add("lose_answer", lambda n: n >= cut)
    stream = streams.open()
    with (
        WriteStreams(table, patience_seconds=0.01, answer_seconds=5) as first,
        pytest.raises(StorageError),
    ):
        first.append(big(*"abcdef"), stream)
    there = held(table)
    assert there == list("abcdef")[: 2 * cut]
    proxy.clear()
    with WriteStreams(table) as second:
        assert second.append(big(*"abcdef"), stream).rows == 6
    assert held(table) == list("abcdef")
    assert max(proxy.appends) <= REQUEST_BYTES


def test_a_batch_with_refused_rows_is_taken_up_where_it_was_cut(
    proxy: GrpcFaultProxy, streams: WriteStreams, table: TableName
) -> None:
    batch = big(*"abcdef")
    proxy.add("refuse", rows=wrong_rows("a", like=batch))
    lost = proxy.add("break", lambda n: n >= 3)
    stream = streams.open()
    told: list[int] = []
    with WriteStreams(table, patience_seconds=0.01) as first, pytest.raises(StorageError):
        first.append(
            batch, stream, on_refused=lambda refused: told.extend(r.index for r in refused)
        )
    assert lost.happened
    assert (told, held(table)) == ([0], ["b"])
    proxy.clear()
    with WriteStreams(table) as second:
        done = second.append(batch, stream)
    assert (done.rows, done.refused_before) == (5, 1)
    assert held(table) == list("bcdef")


def test_rows_that_a_stream_lost_are_sent_again(
    proxy: GrpcFaultProxy, streams: WriteStreams
) -> None:
    # As if the first request had been taken and then forgotten.
    stream = streams.open()
    message = "The offset is beyond stream, expected offset 0, received 2"
    proxy.add("answer", nth(1), code=grpc.StatusCode.OK)
    proxy.add("answer", nth(2), code=grpc.StatusCode.OUT_OF_RANGE, message=message, ends=True)
    assert streams.append(big(*"abcd"), stream).rows == 4
    assert held(streams.table) == list("abcd")


def test_a_stream_that_contradicts_itself_is_told(
    proxy: GrpcFaultProxy, streams: WriteStreams
) -> None:
    message = "The offset is beyond stream, expected offset 9, received 0"
    proxy.add("answer", code=grpc.StatusCode.OUT_OF_RANGE, message=message)
    with pytest.raises(IntegrityError, match=r"has 9 rows, where 0 were appended"):
        streams.append(rows("a"), streams.open())


def test_a_connection_is_kept_from_one_append_to_the_next(
    proxy: GrpcFaultProxy, streams: WriteStreams
) -> None:
    for name in IDS:
        streams.append(rows(name))
    assert proxy.connections == 1
    assert held(streams.table) == list(IDS)


@pytest.mark.parametrize("seed", range(2))
def test_on_a_bad_network_every_batch_is_there_once(
    proxy: GrpcFaultProxy, streams: WriteStreams, seed: int
) -> None:
    faults = [
        proxy.add(how, at_random(0.1, seed * 10 + i))
        for i, how in enumerate(("answer", "break", "lose_answer", "finish", "twice"))
    ]
    expected = []
    for number in range(10):
        ids = [f"{number:02d}-{i}" for i in range(3)]
        stream = streams.open()
        streams.append(rows(*ids), stream)
        streams.append(rows(*ids), stream)
        streams.finalize(stream)
        expected += ids
    assert sum(f.happened for f in faults) > 3
    assert held(streams.table) == expected

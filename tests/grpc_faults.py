"""A proxy of gRPC that does what networks and services do, between appends and a local server.

It forwards bytes, looks at nothing but the requests of AppendRows, and is the counterpart of
``tests.faults`` for BigQuery's Storage Write API.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import grpc  # type: ignore[import-untyped]
from google.cloud.bigquery_storage_v1 import types
from google.rpc import status_pb2

from tests.faults import When, always

How = Literal["answer", "break", "lose_answer", "twice", "refuse", "silence", "finish"]

_APPEND = "AppendRows"
_UPSTREAM_SECONDS = 60
_SIZES = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@dataclass
class Fault:
    """Something that happens to requests whose method ends in ``method``.

    ``answer`` says ``code`` in the server's place: within the stream for an append, or (``ends``)
    as the end of the call. ``break`` ends the connection before the server hears of the request,
    ``lose_answer`` after it did the work. ``twice`` forwards the request two times and answers
    what the server says the second time, as networks that repeat do. ``refuse`` says that rows are
    wrong: those for which ``rows`` (given the request) returns indices; a request with none passes.
    ``silence`` never answers, and ``finish`` ends the call as if all were well.
    """

    how: How
    when: When = always
    method: str = _APPEND
    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    message: str = "the proxy says so"
    ends: bool = False
    rows: Callable[[Any], list[int]] = lambda _: []
    happened: int = 0
    _seen: int = field(default=0, repr=False)

    def strikes(self, method: str, request: Any) -> bool:
        """Count a request, and say whether the fault happens to it."""
        if not method.endswith(self.method):
            return False
        if self.how == "refuse" and not self.rows(request):
            return False
        self._seen += 1
        strikes = self.when(self._seen)
        self.happened += strikes
        return strikes


class GrpcFaultProxy:
    """Passes gRPC calls on to ``upstream`` ("127.0.0.1:P") unless one of its faults strikes."""

    def __init__(self, upstream: str) -> None:
        self.appends: list[int] = []
        """Bytes of every append request that came by."""
        self.connections = 0
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._channel = grpc.insecure_channel(upstream, options=_SIZES)
        self._server = grpc.server(ThreadPoolExecutor(32), options=_SIZES)
        self._server.add_generic_rpc_handlers([_Handler(self)])
        self._port = self._server.add_insecure_port("127.0.0.1:0")

    @property
    def address(self) -> str:
        """Host and port, for BIGQUERY_GRPC_EMULATOR_HOST."""
        return f"127.0.0.1:{self._port}"

    def add(self, how: How, when: When = always, **about: Any) -> Fault:
        """Add a fault; of several that strike, the first one added does."""
        fault = Fault(how, when, **about)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Let everything pass from now on."""
        with self._lock:
            self._faults.clear()

    def fate_of(self, method: str, request: Any) -> Fault | None:
        """The fault that strikes a request."""
        with self._lock:
            struck = [fault for fault in self._faults if fault.strikes(method, request)]
        return struck[0] if struck else None

    def unary(self, method: str, body: bytes, context: grpc.ServicerContext) -> bytes:
        """Pass a call on."""
        fault = self.fate_of(method, None)
        if fault is not None and fault.how == "answer":
            context.abort(fault.code, fault.message)
        if fault is not None and fault.how == "silence":
            self._wait_for_the_end(context)
            context.abort(grpc.StatusCode.CANCELLED, "nobody listens")
        call = self._channel.unary_unary(method)
        # The emulator of Pub/Sub goes by the time that the client has.
        seconds = min(context.time_remaining() or _UPSTREAM_SECONDS, _UPSTREAM_SECONDS)
        try:
            answer: bytes = call(body, timeout=seconds)
            if fault is not None and fault.how == "twice":
                answer = call(body, timeout=seconds)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())
        if fault is not None and fault.how == "lose_answer":
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        return answer

    def append(
        self, method: str, requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        """Pass a connection on, a request at a time, on which faults go by."""
        self.connections += 1
        upstream = _Upstream(self._channel, method)
        context.add_callback(upstream.close)
        try:
            for body in requests:
                request = types.AppendRowsRequest.deserialize(body)
                self.appends.append(len(body))
                fault = self.fate_of(method, request)
                answer = self._strike(fault, upstream, request, body, context)
                if answer is None:
                    return
                yield answer
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())
        finally:
            upstream.close()

    def _strike(
        self,
        fault: Fault | None,
        upstream: _Upstream,
        request: Any,
        body: bytes,
        context: grpc.ServicerContext,
    ) -> bytes | None:
        match fault.how if fault else None:
            case "answer" if fault is not None:
                if fault.ends:
                    context.abort(fault.code, fault.message)
                return _error(request, fault.code, fault.message)
            case "refuse" if fault is not None:
                rows = fault.rows(request)
                return _error(request, grpc.StatusCode.INVALID_ARGUMENT, fault.message, rows)
            case "break":
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            case "lose_answer":
                upstream.ask(body)
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            case "silence":
                upstream.ask(body)
                self._wait_for_the_end(context)
                return None
            case "finish":
                return None
            case "twice":
                upstream.ask(body)
        return upstream.ask(body)

    def _wait_for_the_end(self, context: grpc.ServicerContext) -> None:
        """Until the client gives up, and not longer than the test."""
        while context.is_active() and not self.closing.wait(0.02):
            pass

    def __enter__(self) -> GrpcFaultProxy:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.stop(grace=None).wait()
        self._channel.close()


class _Upstream:
    """A connection to the server, opened when it is first needed."""

    def __init__(self, channel: grpc.Channel, method: str) -> None:
        self._channel = channel
        self._method = method
        self._requests: Any = None
        self._call: Any = None

    def ask(self, body: bytes) -> bytes:
        if self._call is None:
            self._requests = queue.SimpleQueue()
            self._call = self._channel.stream_stream(self._method)(
                iter(self._requests.get, None), timeout=_UPSTREAM_SECONDS
            )
        self._requests.put(body)
        answer: bytes = next(self._call)
        return answer

    def close(self) -> None:
        if self._call is not None:
            self._requests.put(None)
            self._call.cancel()
            self._call = None


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, proxy: GrpcFaultProxy) -> None:
        self._proxy = proxy

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = details.method
        if method.endswith(_APPEND):
            return grpc.stream_stream_rpc_method_handler(
                lambda requests, context: self._proxy.append(method, requests, context)
            )
        return grpc.unary_unary_rpc_method_handler(
            lambda body, context: self._proxy.unary(method, body, context)
        )


def _error(
    request: Any, code: grpc.StatusCode, message: str, rows: list[int] | None = None
) -> bytes:
    response = types.AppendRowsResponse(
        write_stream=request.write_stream,
        error=status_pb2.Status(code=code.value[0], message=message),
        row_errors=[
            types.RowError(index=i, code=types.RowError.RowErrorCode.FIELDS_ERROR, message=message)
            for i in rows or []
        ],
    )
    encoded: bytes = types.AppendRowsResponse.serialize(response)
    return encoded

"""One connection of the Storage Write API that appends rows, kept open between requests."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pyarrow as pa

from celes_beam.stores.warehouse.append_requests import append_request

_CLOSE_SECONDS = 10.0


class AppendConnection:
    """Appends to one write stream, a request at a time, and waits for each answer.

    What is over (an error, an answer that did not come) is closed, and is not to be used again.
    """

    def __init__(self, client: Any, stream: str) -> None:
        from google.api_core.gapic_v1 import routing_header  # noqa: PLC0415

        self.stream = stream
        self._schema: pa.Schema | None = None
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # By the transport: the client's own method waits for the first answer, for ever.
        self._call = client.transport.append_rows(
            iter(self._requests.get, None),
            metadata=[routing_header.to_grpc_metadata({"write_stream": stream})],
        )
        self._reader = threading.Thread(target=self._read, name="append-answers", daemon=True)
        self._reader.start()

    def ask(self, rows: pa.RecordBatch, offset: int | None, seconds: float) -> Any:
        """Append rows, and return the ``AppendRowsResponse`` that comes within ``seconds``.

        Raises ``GoogleAPICallError`` when the connection is over, of which ``DeadlineExceeded``
        when no answer came.
        """
        from google.api_core.exceptions import DeadlineExceeded  # noqa: PLC0415

        known = self._schema is not None and rows.schema.equals(self._schema)
        self._requests.put(append_request(rows, self.stream, offset, with_schema=not known))
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            self.close()
            raise DeadlineExceeded(f"no answer to an append within {seconds:g} s") from None
        if isinstance(answer, Exception):
            self.close()
            raise answer
        # Whether the schema of a request that was refused is kept is not said.
        if not answer.error.code and not answer.row_errors:
            self._schema = rows.schema
        return answer

    def close(self) -> None:
        """End the connection, whatever it is at."""
        self._requests.put(None)
        self._call.cancel()
        self._reader.join(_CLOSE_SECONDS)

    def _read(self) -> None:
        import grpc  # type: ignore[import-untyped]  # noqa: PLC0415
        from google.api_core.exceptions import Aborted, from_grpc_error  # noqa: PLC0415

        try:
            for answer in self._call:
                self._answers.put(answer)
            self._answers.put(Aborted("the service ended the connection"))
        except grpc.RpcError as error:
            self._answers.put(from_grpc_error(error))

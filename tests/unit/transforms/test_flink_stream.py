"""A stream that Flink will not stop: said, cancelled, and never waited for without end.

What a real Flink answers is in ``tests/integration/test_flink_streaming.py``; here are the answers
that a healthy one does not give.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from celes_beam.errors import ConfigError, StorageError
from celes_beam.transforms.flink_stream import check_end, drained_when

JOB = "a" * 32


class Flink:
    """Answers by path, a list of answers for each request of it in turn, the last for ever."""

    def __init__(self, answers: dict[str, list[tuple[int, Any]]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        self.asked.append(f"{method} {path}")
        rest = self.answers[path.split("?", maxsplit=1)[0]]
        return rest.pop(0) if len(rest) > 1 else rest[0]


@contextmanager
def serving(flink: Flink) -> Iterator[PipelineOptions]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, answer = flink.answer(self.command, self.path)
            body = json.dumps(answer).encode()
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PATCH = do_GET  # noqa: N815 - http.server goes by these names

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            place = f"127.0.0.1:{server.server_address[1]}"
            yield PipelineOptions(["--flink_master", place, "--job_name", "stream-1"])
        finally:
            server.shutdown()
            thread.join()


def job(state: str = "RUNNING") -> dict[str, Any]:
    return {"jid": JOB, "name": "stream-1", "state": state, "start-time": 1000 * time.time()}


def stopped(**operation: Any) -> tuple[int, Any]:
    return 200, {"status": {"id": "COMPLETED"}, "operation": operation}


def test_it_is_stopped_and_the_checkpoint_thrown_away() -> None:
    flink = Flink(
        {
            "/jobs/overview": [(200, {"jobs": [job(), job("FINISHED") | {"jid": "b" * 32}]})],
            f"/jobs/{JOB}/stop": [(202, {"request-id": "7"})],
            f"/jobs/{JOB}/savepoints/7": [
                (200, {"status": {"id": "IN_PROGRESS"}}),
                stopped(location="file:/savepoint-7"),
            ],
            "/savepoint-disposal": [(202, {"request-id": "8"})],
        }
    )
    ended = threading.Event()
    with serving(flink) as options, drained_when(options, ended.is_set):
        assert flink.asked == []
        ended.set()
        until = time.monotonic() + 20
        while "POST /savepoint-disposal" not in flink.asked:
            assert time.monotonic() < until
            time.sleep(0.01)
    assert flink.asked.count(f"POST /jobs/{JOB}/stop") == 1


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (
            {
                f"/jobs/{JOB}/stop": [(202, {"request-id": "7"})],
                f"/jobs/{JOB}/savepoints/7": [
                    stopped(**{"failure-cause": {"stack-trace": "java.io.IOException: full\n"}})
                ],
            },
            r"stream-1 could not be stopped: .* java.io.IOException: full; .*comes again",
        ),
        (
            {
                f"/jobs/{JOB}/stop": [
                    (400, {"errors": ["Config key [state.savepoints.dir] is not"]})
                ]
            },
            r"state.savepoints.dir",
        ),
    ],
)
def test_what_cannot_be_stopped_is_cancelled_and_told(
    answers: dict[str, list[tuple[int, Any]]], said: str
) -> None:
    flink = Flink(
        {"/jobs/overview": [(200, {"jobs": [job()]})], f"/jobs/{JOB}": [(202, {})]} | answers
    )
    with serving(flink) as options, pytest.raises(StorageError, match=said):
        wait_for_a_job(flink, options, f"PATCH /jobs/{JOB}?mode=cancel")


def test_a_job_that_is_not_there_is_told() -> None:
    flink = Flink({"/jobs/overview": [(200, {"jobs": []})]})
    with serving(flink) as options, pytest.raises(StorageError, match="has no job of this name"):
        wait_for_a_job(flink, options, "GET /jobs/overview")


def test_a_job_that_has_failed_is_told_by_what_it_failed_with() -> None:
    flink = Flink({"/jobs/overview": [(500, {}), (200, {"jobs": [job("FAILED")]})]})
    with serving(flink) as options, pytest.raises(RuntimeError, match="in state CANCELLED"):
        wait_for_a_job(flink, options, "GET /jobs/overview")


def wait_for_a_job(flink: Flink, options: PipelineOptions, last: str) -> None:
    """Wait for a job whose source is over, as Beam does, which says so when it was cancelled."""
    with drained_when(options, lambda: True):
        until = time.monotonic() + 20
        while last not in flink.asked:
            assert time.monotonic() < until
            time.sleep(0.01)
        raise RuntimeError("Pipeline failed in state CANCELLED")


def test_a_stream_whose_flink_nobody_names_is_refused() -> None:
    flags = ["--runner", "PortableRunner", "--job_endpoint", "127.0.0.1:1"]
    with pytest.raises(ConfigError, match=r"--flink_master \[auto\]: a stream is ended"):
        check_end(PipelineOptions(flags))
    check_end(PipelineOptions([*flags, "--flink_master", "127.0.0.1:2"]))
    check_end(PipelineOptions([]))


def test_an_error_of_the_job_stays_what_it_is() -> None:
    flink = Flink({})
    with (
        serving(flink) as options,
        pytest.raises(RuntimeError, match="a worker failed"),
        drained_when(options, lambda: False),
    ):
        raise RuntimeError("a worker failed")
    assert flink.asked == []

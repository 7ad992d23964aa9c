"""Workers in threads of the launcher: each task manager stops its own."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2 as api
from apache_beam.portability.api import beam_fn_api_pb2_grpc as grpc_api
from apache_beam.runners.worker import sdk_worker

from celes_beam.transforms.loopback import LoopbackPool

PATIENCE = 20
NAME = "6-1"


class Worker:
    """Stands for a harness: it is over once it is told so."""

    started: dict[str, Worker]

    def __init__(self, control_address: str, **_: Any) -> None:
        self._responses: queue.Queue[Any] = queue.Queue()
        self.started[control_address] = self

    def run(self) -> None:
        """Work, which is nothing here."""

    @property
    def is_told_to_stop(self) -> bool:
        return not self._responses.empty()


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Worker]:
    monkeypatch.setattr(Worker, "started", {}, raising=False)
    monkeypatch.setattr(sdk_worker, "SdkHarness", Worker)
    return Worker.started


@pytest.fixture
def task_managers() -> Iterator[list[grpc_api.BeamFnExternalWorkerPoolStub]]:
    """Three who know the pool, over a connection each."""
    with ExitStack() as stack:
        address, server = LoopbackPool.start()
        stack.callback(lambda: server.stop(None).wait())
        # Those of one process would share a connection by themselves.
        alone = [("grpc.use_local_subchannel_pool", 1)]
        channels = [
            stack.enter_context(grpc.insecure_channel(address, options=alone)) for _ in range(3)
        ]
        yield [grpc_api.BeamFnExternalWorkerPoolStub(channel) for channel in channels]


def start(task_manager: grpc_api.BeamFnExternalWorkerPoolStub, control: str) -> None:
    endpoint = {"url": control}
    request = api.StartWorkerRequest(worker_id=NAME, control_endpoint=endpoint)
    assert not task_manager.StartWorker(request, timeout=PATIENCE).error


def stop(task_manager: grpc_api.BeamFnExternalWorkerPoolStub) -> None:
    request = api.StopWorkerRequest(worker_id=NAME)
    assert not task_manager.StopWorker(request, timeout=PATIENCE).error


def test_each_stops_its_own_of_two_workers_of_one_name(
    workers: dict[str, Worker], task_managers: list[grpc_api.BeamFnExternalWorkerPoolStub]
) -> None:
    first, second, stranger = task_managers
    start(first, "first")
    start(second, "second")

    def stopped() -> list[str]:
        return sorted(name for name, worker in workers.items() if worker.is_told_to_stop)

    stop(stranger)
    assert stopped() == []
    stop(first)
    assert stopped() == ["first"]
    stop(first)
    assert stopped() == ["first"]
    stop(second)
    assert stopped() == ["first", "second"]

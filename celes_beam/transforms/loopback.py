"""Workers in threads of the launcher, for several task managers at once.

Each task manager counts its workers from 1, so two of them ask for workers of the same name. Beam's
pool knows a worker by its name alone: the task manager that is done first would stop the other's,
whose part of the job fails with "SDK harness closed connection". Here a worker is known by who
asked for it, too: a task manager starts and stops a worker over one connection
(``ExternalEnvironmentFactory`` of Beam's Java).
"""

from __future__ import annotations

import threading
from typing import Any

from apache_beam.portability.api import beam_fn_api_pb2 as api
from apache_beam.runners.worker import worker_pool_main
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer


class LoopbackPool(BeamFnExternalWorkerPoolServicer):
    """Beam's pool of workers, asked by several who do not know of each other."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lock = threading.Lock()
        self._asked_for: dict[tuple[str, str], Any] = {}

    def StartWorker(self, request: api.StartWorkerRequest, context: Any) -> api.StartWorkerResponse:  # noqa: N802
        """Start a worker for whoever asks."""
        with self._lock:
            answer = super().StartWorker(request, context)
            worker = self._worker_threads.pop(request.worker_id, None)
            if worker is not None:
                self._asked_for[context.peer(), request.worker_id] = worker
        return answer

    def StopWorker(self, request: api.StopWorkerRequest, context: Any) -> api.StopWorkerResponse:  # noqa: N802
        """Stop the worker that the same one has asked for.

        One that cannot be told, after a connection was lost, ends when its task manager hangs up.
        """
        with self._lock:
            worker = self._asked_for.pop((context.peer(), request.worker_id), None)
            if worker is not None:
                self._worker_threads[request.worker_id] = worker
            return super().StopWorker(request, context)


def know_workers_by_who_asked() -> None:
    """Let Beam's portable runner start this pool; it has no setting for it."""
    worker_pool_main.BeamFnExternalWorkerPoolServicer = LoopbackPool

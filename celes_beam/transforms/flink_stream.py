"""The end of a stream on Flink: its source never ends by itself there, so the cluster is told to.

A source that Flink has ended is followed by no checkpoint, and no message would be acknowledged any
more. So the source stays, and once our part of it pulls no more the job is stopped by a last
checkpoint (``POST /jobs/:id/stop`` with ``drain`` of Flink's REST interface), which acknowledges
what was written, and closes the windows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
)

from celes_beam.commands.launched import FlinkJob
from celes_beam.errors import CelesError, ConfigError, StorageError
from celes_beam.transforms.artifacts import artifacts_gathered
from celes_beam.transforms.flink_cluster import NO_ANSWER, cluster_of
from celes_beam.transforms.flink_job import name_job
from celes_beam.transforms.portable import is_portable

_POLL_SECONDS = 0.2
_STOP_SECONDS = 120
_ANSWER_SECONDS = 30


def launch(pipeline: beam.Pipeline, run_id: str) -> FlinkJob:
    """Start a job on a cluster and leave it running; ``name_job`` names it."""
    name = name_job(pipeline, run_id)
    with artifacts_gathered():
        pipeline.run()
    return FlinkJob(name)


def check_end(options: PipelineOptions) -> None:
    """Raise ``ConfigError`` when a stream could not be ended, for nobody says where Flink is."""
    if is_portable(options) and cluster_of(options) is None:
        raise ConfigError(
            f"--flink_master {options.view_as(FlinkRunnerOptions).flink_master}: a stream is "
            "ended by Flink's REST interface: expected its HOST:PORT"
        )


@contextmanager
def drained_when(options: PipelineOptions, is_over: Callable[[], bool]) -> Iterator[None]:
    """While the body waits for a job, watch whether it ``is_over``, and have it stopped then.

    The job is known by ``--job_name``. Raises ``StorageError`` when Flink cannot stop it.
    """
    stop = _Stop(options, is_over)
    thread = threading.Thread(target=stop.run, name="flink-stop", daemon=True)
    thread.start()
    try:
        yield
    except RuntimeError as error:
        # A job that was cancelled by us for it could not be stopped: why is what counts.
        stop.left.set()
        thread.join()
        if stop.failure is not None:
            raise stop.failure from error
        raise
    finally:
        stop.left.set()
        thread.join()
    if stop.failure is not None:
        raise stop.failure


class _Stop:
    def __init__(self, options: PipelineOptions, is_over: Callable[[], bool]) -> None:
        cluster = cluster_of(options)
        if cluster is None:
            raise ConfigError("there is no --flink_master: check_end comes first")
        self._cluster = cluster
        self._name = str(options.view_as(GoogleCloudOptions).job_name)
        self._started = time.time()
        self._is_over = is_over
        self.left = threading.Event()
        self.failure: CelesError | None = None

    def run(self) -> None:
        """Wait for the end, then stop the job; for a thread."""
        while not self._is_over():
            if self.left.wait(_POLL_SECONDS):
                return
        try:
            jobs = self._jobs()
        except NO_ANSWER as error:
            if not self.left.is_set():
                self._fail(f"Flink at {self._cluster.url} does not answer: {error}")
            return
        if not jobs:
            self._fail(f"Flink at {self._cluster.url} has no job of this name")
        for job in (job for job, is_over in jobs.items() if not is_over):
            try:
                self._stop(job)
            except NO_ANSWER as error:
                self._fail(f"Flink at {self._cluster.url} does not do it: {error}")
            if self.failure is not None:
                # Else whoever waits for it would do so for ever.
                with suppress(*NO_ANSWER):
                    self._cluster.cancel(job)

    def _jobs(self) -> dict[str, bool]:
        until = time.monotonic() + _ANSWER_SECONDS
        while True:
            try:
                return self._cluster.jobs(self._name, self._started)
            except NO_ANSWER:
                if self.left.wait(_POLL_SECONDS) or time.monotonic() > until:
                    raise

    def _stop(self, job: str) -> None:
        trigger = self._cluster.stop(job)
        until = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < until:
            why = self._cluster.why_not_stopped(job, trigger)
            if why is not None:
                if why:
                    self._fail(f"Flink could not take the last checkpoint: {why}")
                return
            time.sleep(_POLL_SECONDS)
        self._fail(f"Flink took no last checkpoint in {_STOP_SECONDS} s")

    def _fail(self, why: str) -> None:
        self.failure = StorageError(
            f"job {self._name} could not be stopped: {' '.join(why.split())[:500]}; what was not "
            "acknowledged comes again: run it once more"
        )

"""A job on Flink and its launcher: one that is interrupted does not leave the job running.

Beam's job server says that it has cancelled a job, and leaves it on the cluster, where it would
commit later what its launcher has taken back. So the cluster is asked, at ``--flink_master``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
)

from celes_beam.commands.interrupts import interrupts_wait
from celes_beam.errors import ConfigError
from celes_beam.transforms.flink_cluster import NO_ANSWER, FlinkCluster, cluster_of

_LOGGER = logging.getLogger(__name__)
_APPEAR_SECONDS = 10
_END_SECONDS = 60
_POLL_SECONDS = 0.2


def check_slots(options: PipelineOptions) -> None:
    """Raise ``ConfigError`` when the cluster has fewer slots than the job needs to begin at all.

    A cluster that is not named by ``--flink_master`` is not asked.
    """
    flink = options.view_as(FlinkRunnerOptions)
    cluster = cluster_of(options)
    if cluster is None:
        return
    try:
        slots = cluster.slots()
    except NO_ANSWER as error:
        raise ConfigError(
            f"--flink_master {flink.flink_master}: no Flink is there ({error}): give HOST:PORT "
            "of its REST interface, or leave it out"
        ) from error
    if not slots:
        raise ConfigError(
            f"--flink_master {flink.flink_master}: no task manager is there, so no job would begin:"
            " start some (on this machine celes-beam local up), or wait for those that come back"
        )
    if slots < flink.parallelism:
        raise ConfigError(
            f"--parallelism {flink.parallelism}: the cluster has {slots} slots, and the job would "
            f"wait for more in vain: give {slots} or fewer, or start more task managers"
        )


def name_job(pipeline: beam.Pipeline, run_id: str) -> str:
    """Give a job the name of its run, behind that of ``--job_name``; returns the whole."""
    options = pipeline.options.view_as(GoogleCloudOptions)
    name = f"{options.job_name}-{run_id}" if options.job_name else run_id
    options.job_name = name
    return name


@contextmanager
def ended_with_us(pipeline: beam.Pipeline, run_id: str) -> Iterator[None]:
    """Run a pipeline in the body; a job that is still there after an error is cancelled.

    The job is known by its name, which ``name_job`` gives it. Interrupts that follow the first wait
    until that is done.
    """
    name = name_job(pipeline, run_id)
    started = time.time()
    try:
        yield
    except Exception:
        # The job has failed, or never began; but its job server may be what is gone.
        if cluster_of(pipeline.options) is not None:
            _cancel(pipeline.options, name, started, appear_seconds=0)
        raise
    except BaseException:
        # A second Ctrl-C would leave the job to itself, which then commits what it likes.
        with interrupts_wait():
            _cancel(pipeline.options, name, started, appear_seconds=_APPEAR_SECONDS)
        raise


def _cancel(options: PipelineOptions, name: str, started: float, *, appear_seconds: float) -> None:
    cluster = cluster_of(options)
    if cluster is None:
        _LOGGER.warning(
            "job %s may still run on the cluster: cancel it there; with --flink_master HOST:PORT "
            "that is done here",
            name,
        )
        return
    try:
        _cancel_at(cluster, name, started, appear_seconds)
    except NO_ANSWER as error:
        _LOGGER.warning("job %s may still run on the cluster at %s: %s", name, cluster.url, error)


def _cancel_at(cluster: FlinkCluster, name: str, started: float, appear_seconds: float) -> None:
    end = time.monotonic() + appear_seconds
    while not cluster.jobs(name, started) and time.monotonic() < end:
        # The job server may be about to hand it on.
        time.sleep(_POLL_SECONDS)
    running = cluster.running(name, started)
    for job in running:
        cluster.cancel(job)
    end = time.monotonic() + _END_SECONDS
    while running and time.monotonic() < end:
        running = [job for job in running if job in cluster.running(name, started)]
        time.sleep(_POLL_SECONDS)
    if running:
        _LOGGER.warning("job %s was told to end, and has not in %d s", name, _END_SECONDS)

"""A job on Flink and its launcher: one that is interrupted does not leave the job running.

Beam's job server says that it has cancelled a job, and leaves it on the cluster, where it would
commit later what its launcher has taken back. So the cluster is asked, at ``--flink_master``.
"""

from __future__ import annotations

import http.client
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
)

from celes_beam.errors import ConfigError

_LOGGER = logging.getLogger(__name__)
_NO_ANSWER = (OSError, ValueError, KeyError, http.client.HTTPException)
_OVER = {"FINISHED", "FAILED", "CANCELED", "SUSPENDED"}
_ANSWER_SECONDS = 5
_APPEAR_SECONDS = 10
_END_SECONDS = 60
_POLL_SECONDS = 0.2


def check_slots(options: PipelineOptions) -> None:
    """Raise ``ConfigError`` when the cluster has fewer slots than the job needs to begin at all.

    A cluster that is not named by ``--flink_master`` is not asked.
    """
    flink = options.view_as(FlinkRunnerOptions)
    url = _url_of(options)
    if url is None:
        return
    try:
        slots = int(_ask(f"{url}/overview", "GET")["slots-total"])
    except _NO_ANSWER as error:
        raise ConfigError(
            f"--flink_master {flink.flink_master}: no Flink is there ({error}): give HOST:PORT "
            "of its REST interface, or leave it out"
        ) from error
    if slots < flink.parallelism:
        raise ConfigError(
            f"--parallelism {flink.parallelism}: the cluster has {slots} slots, and the job would "
            f"wait for more in vain: give {slots} or fewer, or start more task managers"
        )


@contextmanager
def ended_with_us(pipeline: beam.Pipeline, run_id: str) -> Iterator[None]:
    """Run a pipeline in the body; a job that is still there after an error is cancelled.

    The job gets the name of the run unless it has another.
    """
    options = pipeline.options.view_as(GoogleCloudOptions)
    options.job_name = options.job_name or run_id
    started = time.time()
    try:
        yield
    except Exception:
        # The job has failed, or never began: nothing to wait for.
        _cancel(pipeline.options, options.job_name, started, appear_seconds=0)
        raise
    except BaseException:
        _cancel(pipeline.options, options.job_name, started, appear_seconds=_APPEAR_SECONDS)
        raise


def _cancel(options: PipelineOptions, name: str, started: float, *, appear_seconds: float) -> None:
    url = _url_of(options)
    if url is None:
        _LOGGER.warning(
            "job %s may still run on the cluster: cancel it there; with --flink_master HOST:PORT "
            "that is done here",
            name,
        )
        return
    try:
        _cancel_at(url, name, started, appear_seconds)
    except _NO_ANSWER as error:
        _LOGGER.warning("job %s may still run on the cluster at %s: %s", name, url, error)


def _url_of(options: PipelineOptions) -> str | None:
    """Where the cluster's REST interface is; None when that is left to the job server."""
    master = str(options.view_as(FlinkRunnerOptions).flink_master)
    if ":" not in master:
        return None
    return (master if "://" in master else f"http://{master}").rstrip("/")


def _cancel_at(url: str, name: str, started: float, appear_seconds: float) -> None:
    end = time.monotonic() + appear_seconds
    while not (jobs := _jobs(url, name, started)) and time.monotonic() < end:
        # The job server may be about to hand it on.
        time.sleep(_POLL_SECONDS)
    running = [job["jid"] for job in jobs if job["state"] not in _OVER]
    for job in running:
        _ask(f"{url}/jobs/{job}?mode=cancel", "PATCH")
    end = time.monotonic() + _END_SECONDS
    while running and time.monotonic() < end:
        states = {job["jid"]: job["state"] for job in _jobs(url, name, started)}
        running = [job for job in running if states.get(job, "FINISHED") not in _OVER]
        time.sleep(_POLL_SECONDS)
    if running:
        _LOGGER.warning("job %s was told to end, and has not in %d s", name, _END_SECONDS)


def _jobs(url: str, name: str, started: float) -> list[dict[str, Any]]:
    """The jobs of this name that began with us, by clocks that may differ by a minute."""
    found: list[dict[str, Any]] = _ask(f"{url}/jobs/overview", "GET")["jobs"]
    return [
        job for job in found if job["name"] == name and job["start-time"] > 1000 * (started - 60)
    ]


def _ask(url: str, method: str) -> Any:
    request = urllib.request.Request(url, method=method)
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        # A job that ended meanwhile cannot be cancelled any more.
        if method == "PATCH" and error.code in {404, 409}:
            return {}
        raise

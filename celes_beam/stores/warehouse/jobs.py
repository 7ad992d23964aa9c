"""Jobs of BigQuery that run once: their ids are fixed, and looked up before they are started."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celes_beam.errors import LakeConflictError, StorageError, UsageError
from celes_beam.stores.cloud.clients import bigquery_retry
from celes_beam.stores.cloud.failures import cloud_errors

MOST_SECONDS = 7 * 3600.0
"""Google ends a load job after six hours."""
KEY_LABEL = "celes_job"
_TRIES = 4
"""Jobs that one call starts for one key, when they fail for reasons that pass."""
_REQUESTS = 6
"""Requests to start one job, when they fail for reasons that pass."""
_PASSING = {
    "backendError",
    "internalError",
    "rateLimitExceeded",
    "jobBackendError",
    "jobInternalError",
    "jobRateLimitExceeded",
}
_FIRST_PAUSE_SECONDS = 1.0
_NEEDS = "roles/bigquery.jobUser, roles/bigquery.dataEditor and, on the bucket, "
_NEEDS += "roles/storage.objectViewer"


@dataclass(frozen=True)
class Jobs:
    """Runs load jobs in one place, each key's at most once with success.

    The n-th attempt at a key has the id ``celes_<key>_<n>``. Google refuses an id that was used,
    so of two processes that start one, both wait for the same job.
    """

    client: Any
    location: str
    emulated: bool
    sleep: Callable[[float], object] = time.sleep

    def run(self, key: str, start: Callable[[str], Any], what: str) -> Any:
        """Return the job of ``key`` that succeeded; ``start`` begins one under the given id.

        Raises ``LakeConflictError`` when the key was forbidden, ``StorageError`` or ``UsageError``
        when the job fails, saying why.
        """
        tries = 0
        for job_id in _ids(key):
            with cloud_errors("look up", f"the job that loads {what}", needs=_NEEDS):
                job = self._find(job_id)
            ours = job is None
            if job is None:
                tries += 1
                with cloud_errors("load", what, needs=_NEEDS):
                    job = self._start(job_id, start)
            if job.job_type != "load":
                raise LakeConflictError(f"{what} was given up: an overwrite replaced it meanwhile")
            failure = self._failure(job, what)
            if failure is None:
                return job
            reason = failure.get("reason", "")
            if not ours:
                continue
            if reason not in _PASSING or tries == _TRIES:
                raise _failed(what, failure)
            self.sleep(_FIRST_PAUSE_SECONDS * 2 ** (tries - 1))
        raise AssertionError("ids do not end")

    def forbid(self, key: str) -> None:
        """See to it that no job of ``key`` starts any more, and wait for one that has started.

        Its next id is used up by a query of no rows.
        """
        for job_id in _ids(key):
            with cloud_errors("look up", f"job {job_id}", needs=_NEEDS):
                job = self._find(job_id)
                if job is None:
                    job = self._start(job_id, self._nothing)
            if self._failure(job, f"job {job_id}") is None:
                return

    def _nothing(self, job_id: str) -> Any:
        return self.client.query(
            "SELECT 1 LIMIT 0", job_id=job_id, location=self.location, job_retry=None, retry=None
        )

    def _start(self, job_id: str, start: Callable[[str], Any]) -> Any:
        if not self.emulated:
            return self._request(job_id, start)
        # The stand-in refuses no id, so that of two processes of this machine both would start it.
        with _one_at_a_time():
            return self._find(job_id) or self._request(job_id, start)

    def _request(self, job_id: str, start: Callable[[str], Any]) -> Any:
        from google.api_core.exceptions import Conflict, GoogleAPIError  # noqa: PLC0415
        from requests.exceptions import RequestException  # noqa: PLC0415

        for tried in range(_REQUESTS):
            try:
                return start(job_id)
            except Conflict:
                return self.client.get_job(job_id, location=self.location, retry=bigquery_retry())
            except (GoogleAPIError, RequestException) as error:
                if not _passes(error) or tried == _REQUESTS - 1:
                    raise
            self.sleep(_FIRST_PAUSE_SECONDS * 2**tried)
            # The job may have started, and only the answer was lost.
            job = self._find(job_id)
            if job is not None:
                return job
        raise AssertionError("the last request returned or raised")

    def _find(self, job_id: str) -> Any:
        from google.api_core.exceptions import NotFound  # noqa: PLC0415

        retry = bigquery_retry()
        try:
            return self.client.get_job(job_id, location=self.location, retry=retry)
        except NotFound:
            if not self.emulated:
                return None
        # The stand-in gives jobs with an uploaded file ids of its own, but keeps their labels.
        jobs = self.client.list_jobs(retry=retry)
        return next((j for j in jobs if j.labels.get(KEY_LABEL) == job_id), None)

    def _failure(self, job: Any, what: str) -> dict[str, Any] | None:
        """Wait for a job's end; what went wrong with it, or None."""
        from google.api_core.exceptions import GoogleAPICallError  # noqa: PLC0415

        with cloud_errors("wait for", f"the job that loads {what}", needs=_NEEDS):
            try:
                job.result(timeout=MOST_SECONDS, retry=bigquery_retry())
            except GoogleAPICallError:
                if job.state != "DONE" or not job.error_result:
                    raise
        return dict(job.error_result) if job.error_result else None


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Hold what only one process of this user has; the system lets go of it for a killed one."""
    path = Path(tempfile.gettempdir(), f"celes-bigquery-{os.getuid()}.lock")
    with path.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _passes(error: Exception) -> bool:
    """Whether a request may go well the next time."""
    from google.api_core.exceptions import (  # noqa: PLC0415
        GoogleAPICallError,
        ServerError,
        TooManyRequests,
    )
    from requests.exceptions import RequestException  # noqa: PLC0415

    if isinstance(error, GoogleAPICallError):
        reasons = {str(e.get("reason")) for e in error.errors if isinstance(e, dict)}
        return isinstance(error, (ServerError, TooManyRequests)) or bool(reasons & _PASSING)
    return isinstance(error, RequestException)


def _ids(key: str) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"celes_{key}_{number}"


def _failed(what: str, failure: dict[str, Any]) -> StorageError | UsageError:
    message = " ".join(str(failure.get("message", "")).split())[:500]
    reason = failure.get("reason", "")
    if reason in ("accessDenied", "notFound"):
        return UsageError(f"BigQuery could not load {what} ({reason}): {message}")
    return StorageError(
        f"BigQuery could not load {what} ({reason or 'no reason given'}): {message}"
    )

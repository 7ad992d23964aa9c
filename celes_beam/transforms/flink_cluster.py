"""Flink's REST interface: what jobs it has, and how they are ended.

https://nightlies.apache.org/flink/flink-docs-release-1.19/docs/ops/rest_api/
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions

NO_ANSWER = (OSError, ValueError, KeyError, http.client.HTTPException)
"""What asking raises when there is no Flink, or none that can be understood."""
_OVER = {"FINISHED", "FAILED", "CANCELED", "SUSPENDED"}
_ANSWER_SECONDS = 5
_CLOCKS_DIFFER = 60


@dataclass(frozen=True)
class FlinkCluster:
    """A cluster by the URL of its REST interface. All raise one of ``NO_ANSWER``."""

    url: str

    def slots(self) -> int:
        """How many it has in all."""
        return int(self._ask("/overview")["slots-total"])

    def jobs(self, name: str, started: float) -> dict[str, bool]:
        """The jobs of this name that began after ``started`` (seconds since 1970), by clocks that
        may differ by a minute: their ids, and whether each is over."""
        return {
            job["jid"]: job["state"] in _OVER
            for job in self._ask("/jobs/overview")["jobs"]
            if job["name"] == name and job["start-time"] > 1000 * (started - _CLOCKS_DIFFER)
        }

    def running(self, name: str, started: float) -> list[str]:
        """Those of ``jobs`` that are not over."""
        return [job for job, is_over in self.jobs(name, started).items() if not is_over]

    def cancel(self, job: str) -> None:
        """End a job at once."""
        self._ask(f"/jobs/{job}?mode=cancel", "PATCH", is_over_already={404, 409})

    def stop(self, job: str) -> str:
        """Have a job end by a last checkpoint, with all windows closed; an id of the attempt."""
        asked = self._ask(f"/jobs/{job}/stop", "POST", {"drain": True})
        return str(asked["request-id"])

    def why_not_stopped(self, job: str, attempt: str) -> str | None:
        """Empty when an attempt succeeded, what failed when it did not, None while it lasts."""
        found = self._ask(f"/jobs/{job}/savepoints/{attempt}")
        if found["status"]["id"] != "COMPLETED":
            return None
        operation = found["operation"]
        if "location" in operation:
            # Nothing goes on from a job that was drained.
            self._ask("/savepoint-disposal", "POST", {"savepoint-path": operation["location"]})
            return ""
        return str(operation["failure-cause"]["stack-trace"])

    def _ask(
        self,
        path: str,
        method: str = "GET",
        sent: object = None,
        is_over_already: frozenset[int] | set[int] = frozenset(),
    ) -> Any:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if sent is None else json.dumps(sent).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            if error.code in is_over_already:
                return {}
            raise OSError(f"{error}: {error.read().decode(errors='replace')}") from error


def cluster_of(options: PipelineOptions) -> FlinkCluster | None:
    """That which ``--flink_master`` names; None when it is left to the job server."""
    master = str(options.view_as(FlinkRunnerOptions).flink_master)
    if ":" not in master:
        return None
    return FlinkCluster((master if "://" in master else f"http://{master}").rstrip("/"))

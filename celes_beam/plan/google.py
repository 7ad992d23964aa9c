"""Questions to Google's services for which this package has no client: quotas, backlog, rights.

None of them has a stand-in, so they are asked only where all of the cloud is Google's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from celes_beam.doctor.check import REQUEST_SECONDS
from celes_beam.stores.cloud.failures import cloud_errors

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_BACKLOG = "pubsub.googleapis.com/subscription/num_undelivered_messages"
_OLDEST = "pubsub.googleapis.com/subscription/oldest_unacked_message_age"
LAUNCHES = ("dataflow.jobs.create", "dataflow.jobs.get")


@dataclass(frozen=True)
class Backlog:
    """Messages that wait in a subscription, and the age of the oldest in seconds."""

    messages: int
    oldest_seconds: int


@dataclass(frozen=True)
class Quota:
    """A quota of a region: how much of it is in use, and how much there may be."""

    usage: float
    limit: float


class Google:
    """Answers of Google's services by plain requests.

    ``session`` is a ``requests.Session`` that brings the credentials; the URLs are for tests.
    Every question raises ``UsageError`` for missing rights and ``StorageError`` for what may pass.
    """

    def __init__(
        self,
        session: Any,
        *,
        compute: str = "https://compute.googleapis.com",
        monitoring: str = "https://monitoring.googleapis.com",
        projects: str = "https://cloudresourcemanager.googleapis.com",
        iam: str = "https://iam.googleapis.com",
    ) -> None:
        self._session = session
        self._compute, self._monitoring = compute, monitoring
        self._projects, self._iam = projects, iam

    @classmethod
    def of_this_machine(cls) -> Google:
        """With the credentials in use. Raises ``UsageError`` without any."""
        import google.auth  # noqa: PLC0415 - slow to import: not for --help
        from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415

        with cloud_errors("ask", "Google"):
            credentials, _ = google.auth.default(scopes=[_SCOPE])
        return cls(AuthorizedSession(credentials))

    def quotas(self, project: str, region: str) -> dict[str, Quota]:
        """The quotas of a region by Compute Engine's names, such as CPUS."""
        url = f"{self._compute}/compute/v1/projects/{project}/regions/{region}"
        found = self._ask("look at quotas of", f"{project}, {region}", "GET", url)
        return {
            one["metric"]: Quota(float(one["usage"]), float(one["limit"]))
            for one in found.get("quotas", ())
        }

    def backlog(self, subscription: str, start: str, end: str) -> Backlog | None:
        """What waited last between two times (RFC 3339); None when nothing was counted."""
        messages = self._last_point(subscription, _BACKLOG, start, end)
        if messages is None:
            return None
        return Backlog(messages, self._last_point(subscription, _OLDEST, start, end) or 0)

    def lacking(self, project: str) -> list[str]:
        """Those of the rights to launch jobs that the account in use lacks in a project."""
        url = f"{self._projects}/v1/projects/{project}:testIamPermissions"
        return self._not_granted(url, LAUNCHES, f"project {project}")

    def may_act_as(self, account: str) -> bool:
        """Whether the account in use may launch jobs that run as a service account."""
        url = f"{self._iam}/v1/projects/-/serviceAccounts/{account}:testIamPermissions"
        return not self._not_granted(url, ("iam.serviceAccounts.actAs",), account)

    def _not_granted(self, url: str, asked: tuple[str, ...], what: str) -> list[str]:
        body = {"permissions": list(asked)}
        found = self._ask("ask for permissions on", what, "POST", url, json=body)
        return [one for one in asked if one not in found.get("permissions", ())]

    def _last_point(self, subscription: str, metric: str, start: str, end: str) -> int | None:
        _, project, _, name = subscription.split("/")
        asked = {
            "filter": f'metric.type="{metric}" AND resource.labels.subscription_id="{name}"',
            "interval.startTime": start,
            "interval.endTime": end,
        }
        url = f"{self._monitoring}/v3/projects/{project}/timeSeries"
        found = self._ask("look at the backlog of", subscription, "GET", url, params=asked)
        # The newest point comes first.
        points = [one for series in found.get("timeSeries", ()) for one in series["points"]]
        return int(points[0]["value"]["int64Value"]) if points else None

    def _ask(self, verb: str, what: str, method: str, url: str, **more: Any) -> dict[str, Any]:
        from google.api_core.exceptions import from_http_response  # noqa: PLC0415

        with cloud_errors(verb, what):
            answer = self._session.request(method, url, timeout=REQUEST_SECONDS, **more)
            if not answer.ok:
                raise from_http_response(answer)
            # A proxy between us may answer with a page.
            found = answer.json()
        return dict(found) if isinstance(found, dict) else {}

"""What Google tells of a job before it is launched: quotas, rights, backlog; a check for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta

from celes_beam.doctor.check import Check, State, within_deadline
from celes_beam.plan.google import LAUNCHES, Backlog, Google, Quota
from celes_beam.plan.job import Job

_COUNTED = timedelta(minutes=10)
"""Pub/Sub counts its backlog each minute, and tells of it some minutes later."""


class Asked:
    """Answers of Google about one job; what was not answered is a check that says why."""

    def __init__(self, google: Callable[[], Google]) -> None:
        self._google = google
        self.quotas: dict[str, Quota] = {}
        self.backlog: Backlog | None = None

    def about(self, job: Job, subscription: str | None) -> Iterator[Check]:
        """Ask everything; each question ends within the doctor's deadline."""
        looks: list[tuple[str, Callable[[Google], Iterable[Check]]]] = []
        if job.project and job.region:
            project, region = job.project, job.region
            looks.append(("launch", lambda google: self._may_launch(google, project)))
            looks.append(("quotas", lambda google: self._look_at_quotas(google, project, region)))
        if account := job.service_account:
            looks.append(("service account", lambda google: self._may_act(google, account)))
        if subscription:
            looks.append(("backlog", lambda google: self._look_at_backlog(google, subscription)))
        for name, look in looks:
            yield from within_deadline(name, lambda look=look: look(self._google()))  # type: ignore[misc]

    def _may_launch(self, google: Google, project: str) -> Iterator[Check]:
        lacking = google.lacking(project)
        if lacking:
            said = f"the account in use lacks {', '.join(lacking)} in project {project}"
            yield Check("launch", State.FAILED, said, "grant it roles/dataflow.developer there")
        else:
            yield Check("launch", State.OK, ", ".join(LAUNCHES))

    def _may_act(self, google: Google, account: str) -> Iterator[Check]:
        if google.may_act_as(account):
            yield Check("service account", State.OK, f"the account in use may act as {account}")
            return
        said = f"the account in use may not launch jobs that act as {account}"
        remedy = f"grant it roles/iam.serviceAccountUser on {account}"
        yield Check("service account", State.FAILED, said, remedy)

    def _look_at_quotas(self, google: Google, project: str, region: str) -> Iterator[Check]:
        self.quotas.update(google.quotas(project, region))
        yield Check("quotas", State.OK, f"{len(self.quotas)} of {region} are known")

    def _look_at_backlog(self, google: Google, subscription: str) -> Iterator[Check]:
        now = datetime.now(UTC)
        start, end = (f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in (now - _COUNTED, now))
        self.backlog = google.backlog(subscription, start, end)
        if self.backlog is None:
            said = "Cloud Monitoring has not counted it in the last ten minutes"
            yield Check("backlog", State.NOT_CHECKED, said)
            return
        said = f"{self.backlog.messages:,} messages, the oldest {self.backlog.oldest_seconds:,} s"
        yield Check("backlog", State.OK, said)

"""Quotas of Google's services that a job may run into: what it needs of each, and the limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from celes_beam.doctor.check import Check, State
from celes_beam.plan.google import Quota
from celes_beam.plan.job import Job
from celes_beam.plan.refusals import STREAMS_PER_HOUR, StreamShape

LOADS_PER_TABLE_AND_DAY = 1_500
"""Load jobs that BigQuery takes for one table in a day, failed ones as well."""
_CPUS = {"n2": "N2_CPUS", "n2d": "N2D_CPUS", "c2": "C2_CPUS", "c2d": "C2D_CPUS", "e2": "CPUS"}


@dataclass(frozen=True)
class Need:
    """How much of a quota a job needs at most; ``limit`` is None where it could not be told.

    ``metric`` is Compute Engine's name of it, empty for a limit that Google publishes. The need is
    more than is left when ``exceeded``: fewer workers start then.
    """

    name: str
    needed: float
    limit: float | None = None
    used: float = 0.0
    metric: str = ""

    @property
    def exceeded(self) -> bool:
        """Whether the need is more than what is left."""
        return self.limit is not None and self.needed > self.limit - self.used


def needs_of(
    job: Job, found: Mapping[str, Quota], shape: StreamShape | None, *, loads: bool
) -> Iterator[Need]:
    """All needs of a job; ``found`` are the quotas of its region as far as Google told."""
    most, machine = job.most_workers, job.machine
    cpus = _CPUS.get(machine.name.split("-")[0], "CPUS")
    wanted = [
        (f"vCPUs in {job.region}", cpus, most * machine.cpus),
        (
            f"disk in {job.region}, GB",
            "SSD_TOTAL_GB" if job.is_ssd else "DISKS_TOTAL_GB",
            most * job.disk_gb,
        ),
    ]
    if job.public_ips:
        wanted.append((f"public addresses in {job.region}", "IN_USE_ADDRESSES", most))
    for name, metric, needed in wanted:
        quota = found.get(metric)
        yield Need(
            name,
            needed,
            quota.limit if quota else None,
            quota.usage if quota else 0.0,
            metric,
        )
    if shape is not None and shape.streams_per_hour:
        yield Need(
            "BigQuery write streams an hour",
            shape.streams_per_hour,
            STREAMS_PER_HOUR,
        )
    if loads:
        yield Need("BigQuery load jobs of the table a day, this run", 1, LOADS_PER_TABLE_AND_DAY)


def stream_doubts(shape: StreamShape) -> Iterator[Check]:
    """A warning where a second key that gathers would make more write streams than are allowed."""
    if shape.streams_per_hour * 2 <= STREAMS_PER_HOUR:
        return
    said = (
        f"{shape.streams_per_hour:,.0f} an hour for each key that gathers batches, and Dataflow "
        f"may gather on several at once: the quota is {STREAMS_PER_HOUR:,}"
    )
    remedy = "give --max_batch_seconds 5, and --max_batch_rows that are not full before that"
    yield Check("write streams", State.WARNING, said, remedy)

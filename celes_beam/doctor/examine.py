"""All checks of a set-up, one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from celes_beam.doctor.account import SERVICES, check_credentials, check_emulators
from celes_beam.doctor.bucket_access import BucketUse, check_bucket
from celes_beam.doctor.check import Check, within_deadline
from celes_beam.doctor.folders import check_input_path, check_output_folder
from celes_beam.doctor.machine import check_packages, check_python
from celes_beam.doctor.pubsub_access import check_subscription, check_topic
from celes_beam.doctor.table_access import check_table
from celes_beam.stores.cloud.clients import GCS_SCHEME


@dataclass(frozen=True)
class Setup:
    """What a run would use."""

    inputs: tuple[str, ...] = ()
    output: str | None = None
    table: str | None = None
    topic: str | None = None
    subscription: str | None = None
    project: str | None = None

    @property
    def places(self) -> tuple[tuple[str, bool], ...]:
        """Paths and URLs, and whether the run writes there."""
        written = ((self.output, True),) if self.output else ()
        return (*((path, False) for path in self.inputs), *written)

    @property
    def buckets(self) -> tuple[BucketUse, ...]:
        """The places in Cloud Storage."""
        return tuple(
            BucketUse(place, writes, self.project)
            for place, writes in self.places
            if place.startswith(GCS_SCHEME)
        )

    @property
    def services(self) -> frozenset[str]:
        """The services that are used, named as in ``account.SERVICES``."""
        used = {
            "Cloud Storage": bool(self.buckets),
            "BigQuery": self.table is not None,
            "Pub/Sub": bool(self.topic or self.subscription),
        }
        return frozenset(service for service, is_used in used.items() if is_used)


def examine(setup: Setup) -> Iterator[Check]:
    """Check this machine, the account, and then each thing the run would use.

    Whoever does not answer within ``check.DEADLINE_SECONDS`` has failed.
    """
    yield check_python()
    yield from check_packages()
    yield from check_emulators()
    needed = any(not os.environ.get(SERVICES[service]) for service in setup.services)
    yield from within_deadline(
        "credentials", lambda: check_credentials(setup.project, needed=needed)
    )
    for place, writes in setup.places:
        yield from _place(place, writes, setup.project)
    if table := setup.table:
        written = tuple(use for use in setup.buckets if use.writes)
        yield from within_deadline(f"table {table}", lambda: check_table(table, written))
    if topic := setup.topic:
        yield from within_deadline(f"topic {topic}", lambda: check_topic(topic))
    if subscription := setup.subscription:
        yield from within_deadline(
            f"subscription {subscription}", lambda: check_subscription(subscription, setup.topic)
        )


def _place(place: str, writes: bool, project: str | None) -> list[Check]:
    name = f"{'output' if writes else 'input'} {place}"
    if place.startswith(GCS_SCHEME):
        return within_deadline(name, lambda: check_bucket(BucketUse(place, writes, project)))
    # A disk of another machine may not answer either.
    remedy = "look at the disk: is it one of another machine?"
    look = check_output_folder if writes else check_input_path
    return within_deadline(name, lambda: look(place), remedy=remedy)

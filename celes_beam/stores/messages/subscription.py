"""The subscription that a stream reads: looked at before the run, or made for a topic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from celes_beam.errors import StorageError, UsageError
from celes_beam.stores.cloud.clients import (
    publisher_client,
    pubsub_is_emulated,
    subscriber_client,
)
from celes_beam.stores.cloud.failures import cloud_errors
from celes_beam.stores.messages.paths import DELETED_TOPIC, check_path, full_path, project_of

ACK_SECONDS = 60
"""Ack deadline of a subscription that is made: how soon messages come again after a crash."""
SHORTEST_ACK_SECONDS = 10
RETENTION_DAYS = 7
_VIEWER = "roles/pubsub.viewer"
_EDITOR = "roles/pubsub.editor"
REQUEST_SECONDS = 20.0


@dataclass(frozen=True)
class SubscriptionFacts:
    """What is known of a subscription.

    ``topic`` is None when the account may pull from it, but not look at it; the rest is then what
    is safe to suppose. It is ``paths.DELETED_TOPIC`` when what waits in it is all there will be.
    """

    path: str
    topic: str | None = None
    ack_deadline_seconds: int = SHORTEST_ACK_SECONDS
    exactly_once: bool = False
    ordered: bool = False
    dead_letter_topic: str | None = None
    filter: str = ""


def check_subscription(
    path: str, *, native: bool = False, otherwise: str = "give --topic to have one made"
) -> SubscriptionFacts:
    """Look at a subscription that is to be pulled from; see ``paths.full_path`` for its name.

    With ``native``, Dataflow's own source is to read it: an account that may not look at it, and a
    topic that was deleted, are errors then. ``otherwise`` is what may be done where there is none,
    but for making it.
    Raises ``ConfigError`` for another form than ``projects/P/subscriptions/S``, ``UsageError``
    when there is none or nothing can be pulled from it, ``StorageError`` when the service fails.
    """
    from google.api_core import exceptions  # noqa: PLC0415 - slow to import

    path = full_path(path, "subscription")
    try:
        with cloud_errors("look at", path, needs=_VIEWER), subscriber_client() as client:
            found = client.get_subscription(
                request={"subscription": path}, timeout=REQUEST_SECONDS, retry=_retry()
            )
    except UsageError as error:
        if isinstance(error.__cause__, exceptions.NotFound):
            raise UsageError(
                f"there is no subscription {path}: make it (gcloud pubsub subscriptions create "
                f"{path} --topic TOPIC), or {otherwise}"
            ) from error
        if isinstance(error.__cause__, exceptions.Forbidden) and not native:
            return SubscriptionFacts(path)
        raise
    facts = _facts(path, found)
    if native and facts.topic == DELETED_TOPIC:
        raise UsageError(
            f"nothing comes to {path} any more, for its topic was deleted: take what waits in it "
            "with --runner DirectRunner, then delete it (gcloud pubsub subscriptions delete "
            f"{path}), and make it again"
        )
    return facts


def subscription_for_topic(topic: str, name: str) -> SubscriptionFacts:
    """Make the subscription ``name`` in the topic's project, unless it is there; tell of it.

    It keeps messages for 7 days, leases them for a minute, and does not expire. A topic that is
    missing is made where Pub/Sub is a stand-in, and nowhere else.
    Raises ``ConfigError`` for wrong forms, ``UsageError`` when the topic is missing, or the
    subscription belongs to another, ``StorageError`` when the service fails.
    """
    from google.api_core import exceptions  # noqa: PLC0415

    topic = full_path(topic, "topic")
    path = check_path(
        f"projects/{project_of(topic)}/subscriptions/{name}", "subscription", "subscription"
    )
    needs = f"{_EDITOR} (pubsub.subscriptions.create, pubsub.topics.attachSubscription)"
    with cloud_errors("make", path, needs=needs), subscriber_client() as client:
        for is_second in (False, True):
            try:
                client.create_subscription(
                    request=_wanted(path, topic), timeout=REQUEST_SECONDS, retry=_retry()
                )
                break
            except exceptions.AlreadyExists:
                break
            except exceptions.NotFound as error:
                if is_second or not pubsub_is_emulated():
                    raise UsageError(
                        f"there is no topic {topic}: make it (gcloud pubsub topics create {topic})"
                    ) from error
                _make_topic(topic)
    facts = check_subscription(path)
    if facts.topic == DELETED_TOPIC:
        raise UsageError(
            f"{path} is there, but its topic was deleted, and another one made: take what waits "
            f"in it with --subscription {path}, then gcloud pubsub subscriptions delete {path}"
        )
    if facts.topic not in (None, topic):
        raise UsageError(
            f"{path} is there, but belongs to {facts.topic}, not to {topic}: give the topic it "
            "belongs to, or --subscription"
        )
    return facts


def _wanted(path: str, topic: str) -> dict[str, Any]:
    from google.protobuf import duration_pb2  # noqa: PLC0415

    return {
        "name": path,
        "topic": topic,
        "ack_deadline_seconds": ACK_SECONDS,
        "message_retention_duration": duration_pb2.Duration(seconds=RETENTION_DAYS * 86_400),
        # Without a policy it would be deleted after 31 days without a run; an empty one is never.
        "expiration_policy": {},
    }


def _make_topic(topic: str) -> None:
    from google.api_core import exceptions  # noqa: PLC0415

    with publisher_client() as client:
        try:
            client.create_topic(request={"name": topic}, timeout=REQUEST_SECONDS, retry=_retry())
        except exceptions.AlreadyExists:
            return


def _facts(path: str, found: Any) -> SubscriptionFacts:
    if found.detached:
        raise UsageError(
            f"nothing is in {path} any more, for it was detached: gcloud pubsub subscriptions "
            f"delete {path}, and make it again"
        )
    # Asked for by name: clients of other versions know other kinds.
    for kind, field in (
        ("pushes to an endpoint", "push_endpoint"),
        ("writes to BigQuery", "bigquery_config"),
        ("writes to Cloud Storage", "cloud_storage_config"),
    ):
        owner = found.push_config if field == "push_endpoint" else found
        if getattr(owner, field, None):
            raise UsageError(
                f"nothing can be pulled from {path}, which {kind}: make another subscription of "
                f"{found.topic} (gcloud pubsub subscriptions create NAME --topic {found.topic})"
            )
    if not found.topic:
        raise StorageError(f"Pub/Sub told nothing of {path}; run it again")
    return SubscriptionFacts(
        path=path,
        topic=found.topic,
        ack_deadline_seconds=found.ack_deadline_seconds or SHORTEST_ACK_SECONDS,
        exactly_once=bool(found.enable_exactly_once_delivery),
        ordered=bool(found.enable_message_ordering),
        dead_letter_topic=found.dead_letter_policy.dead_letter_topic or None,
        filter=found.filter,
    )


def _retry() -> Any:
    from google.api_core.retry import Retry  # noqa: PLC0415

    return Retry(timeout=REQUEST_SECONDS)

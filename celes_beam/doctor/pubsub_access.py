"""Topics and subscriptions of Pub/Sub that a run would use."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

from celes_beam.doctor.account import unanswered
from celes_beam.doctor.bucket_access import permissions_check, refused
from celes_beam.doctor.check import REQUEST_SECONDS, Check, State
from celes_beam.errors import StorageError, UsageError
from celes_beam.stores.cloud.clients import (
    publisher_client,
    pubsub_is_emulated,
    subscriber_client,
)
from celes_beam.stores.cloud.failures import cloud_errors
from celes_beam.stores.messages.paths import DELETED_TOPIC, check_path


def check_topic(topic: str) -> Iterator[Check]:
    """Whether a topic is there and takes messages of the account in use.

    Raises ``ConfigError`` for another form than ``projects/P/topics/T``.
    """
    check_path(topic, "topic")
    name = f"topic {topic}"
    with _opened(publisher_client, topic) as client:
        seen, found = yield from _look(name, client.get_topic, "topic", topic)
        if not seen:
            return
        if found:
            yield Check(name, State.OK, "it is there")
        role = f"roles/pubsub.publisher on {topic}"
        yield _permitted(client, name, topic, ("pubsub.topics.publish",), role)


def check_subscription(subscription: str, topic: str | None) -> Iterator[Check]:
    """Whether a subscription is there, belongs to ``topic`` if one is given, and may be read.

    Raises ``ConfigError`` for another form than ``projects/P/subscriptions/S``.
    """
    check_path(subscription, "subscription")
    name = f"subscription {subscription}"
    with _opened(subscriber_client, subscription) as client:
        seen, found = yield from _look(name, client.get_subscription, "subscription", subscription)
        if not seen:
            return
        if found:
            yield _belongs(name, subscription, found.topic, topic)
        role = f"roles/pubsub.subscriber on {subscription}"
        asked = ("pubsub.subscriptions.consume",)
        yield _permitted(client, name, subscription, asked, role)


def _belongs(name: str, subscription: str, found: str, topic: str | None) -> Check:
    if found == DELETED_TOPIC:
        remedy = (
            "take what waits in it with python -m pipelines.streaming --subscription, then gcloud "
            f"pubsub subscriptions delete {subscription}, and make it again"
        )
        return Check(name, State.FAILED, "it is there, but its topic was deleted", remedy)
    if topic and found != topic:
        said = f"it belongs to {found}, not to {topic}"
        return Check(name, State.FAILED, said, "give the topic it belongs to, or another")
    return Check(name, State.OK, f"it is there, of {found}")


def _opened(make: Callable[[], Any], path: str) -> Any:
    with cloud_errors("look at", path):
        return make()


def _look(
    name: str, get: Callable[..., Any], kind: str, path: str
) -> Generator[Check, None, tuple[bool, Any | None]]:
    """Whether it may be there, and what it is, which not everybody may see who may use it."""
    from google.api_core.exceptions import NotFound  # noqa: PLC0415 - slow to import

    try:
        with cloud_errors("look at", path, needs="roles/pubsub.viewer"):
            return True, get(request={kind: path}, retry=None, timeout=REQUEST_SECONDS)
    except UsageError as error:
        if refused(error):
            said = f"the account in use may not look at it: it may be there or no such {kind}"
            remedy = f"grant it roles/pubsub.viewer on {path} to have it checked"
            yield Check(name, State.WARNING, said, remedy)
            return True, None
        if not isinstance(error.__cause__, NotFound):
            raise
        remedy = f"gcloud pubsub {kind}s create {path}"
        if kind == "subscription":
            remedy += " --topic TOPIC"
        yield Check(name, State.FAILED, f"there is no such {kind}", remedy)
    except StorageError as error:
        yield unanswered(name, "Pub/Sub", error)
    return False, None


def _permitted(client: Any, name: str, path: str, asked: tuple[str, ...], role: str) -> Check:
    from google.api_core import exceptions  # noqa: PLC0415 - slow to import

    request = {"resource": path, "permissions": list(asked)}
    absent = (exceptions.NotFound, exceptions.MethodNotImplemented)
    with cloud_errors("ask for permissions on", path):
        try:
            answer = client.test_iam_permissions(
                request=request, retry=None, timeout=REQUEST_SECONDS
            )
        except absent:
            if not pubsub_is_emulated():
                raise
            said = "not checked here: the local Pub/Sub has no permissions"
            return Check(f"{name}: permissions", State.NOT_CHECKED, said)
    return permissions_check(f"{name}: permissions", asked, answer.permissions, role)

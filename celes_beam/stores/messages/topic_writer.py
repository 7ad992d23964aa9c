"""Writes messages to a topic: requests as large as they may be, and none forgotten.

Google's own publishing client takes one message at a time through queues and futures; a whole batch
put into a request costs a tenth of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from celes_beam.errors import UsageError
from celes_beam.stores.cloud.clients import topic_client
from celes_beam.stores.cloud.failures import cloud_errors

MOST_MESSAGES = 1_000
"""In a request; a limit of Pub/Sub, as those below."""
MOST_BYTES = 10_000_000
"""Of a message with its attributes, and of a request."""
MOST_ATTRIBUTES = 100
MOST_KEY_BYTES = 256
MOST_VALUE_BYTES = 1024

PUBLISHER = "roles/pubsub.publisher"
_RETRY_SECONDS = 60.0
_ANSWER_SECONDS = 15.0
"""A request without an answer is sent again after so long: it must not use up the time for all."""
_FRAME_BYTES = 16
"""At most this much stands around a field of a message."""
Outgoing = tuple[bytes, Mapping[str, str]]
"""Data and attributes of a message."""


class TopicWriter:
    """Writes to one topic, from any number of threads; a context manager.

    What may pass is tried again, with growing pauses, up to ``seconds``; then a message may be
    there twice. Raises as ``cloud_errors``.
    """

    def __init__(self, topic: str, *, seconds: float = _RETRY_SECONDS) -> None:
        from google.api_core import exceptions, retry  # noqa: PLC0415 - slow to import

        self.topic = topic
        self._timeout = min(seconds, _ANSWER_SECONDS)
        self._retry = retry.Retry(
            predicate=retry.if_exception_type(
                exceptions.Aborted,
                exceptions.Cancelled,
                exceptions.DeadlineExceeded,
                exceptions.InternalServerError,
                exceptions.ResourceExhausted,
                exceptions.ServiceUnavailable,
                exceptions.Unknown,
            ),
            initial=0.1,
            maximum=5.0,
            timeout=seconds,
        )
        with cloud_errors("write to", topic):
            self._client = topic_client()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up the connection."""
        self._client.transport.close()

    def write(self, messages: Iterable[Outgoing]) -> int:
        """Write all of the messages; returns how many there were.

        Each must keep the limits of Pub/Sub. When it raises, some may be there.
        """
        return sum(self.send(request) for request in self.requests(messages))

    def requests(self, messages: Iterable[Outgoing]) -> Iterator[Any]:
        """Put messages into as few requests as may be."""
        from google.pubsub_v1.types import PublishRequest  # noqa: PLC0415

        make = PublishRequest.pb()
        most = most_message_bytes(self.topic)
        request, room = make(topic=self.topic), most
        for data, attributes in messages:
            size = message_size(data, attributes)
            if request.messages and (size > room or len(request.messages) == MOST_MESSAGES):
                yield request
                request, room = make(topic=self.topic), most
            message = request.messages.add()
            message.data = data
            message.attributes.update(attributes)
            room -= size
        if request.messages:
            yield request

    def send(self, request: Any) -> int:
        """Send one of ``requests`` and wait for the answer; returns how many messages it holds."""
        from google.api_core import exceptions  # noqa: PLC0415
        from google.pubsub_v1.types import PublishRequest  # noqa: PLC0415

        try:
            with cloud_errors("write to", self.topic, needs=PUBLISHER):
                answer = self._client.publish(
                    request=PublishRequest.wrap(request), retry=self._retry, timeout=self._timeout
                )
        except UsageError as error:
            if isinstance(error.__cause__, exceptions.NotFound):
                raise no_topic(self.topic) from error
            raise
        return len(answer.message_ids)


def most_message_bytes(topic: str) -> int:
    """The largest ``message_size`` that goes into a request for a topic."""
    return MOST_BYTES - len(topic.encode()) - _FRAME_BYTES


def message_size(data: bytes, attributes: Mapping[str, str]) -> int:
    """What a message takes in a request, or a little more; in bytes."""
    size = len(data) + 2 * _FRAME_BYTES
    for key, value in attributes.items():
        size += len(key.encode()) + len(value.encode()) + _FRAME_BYTES
    return size


def check_topic(topic: str, *, may_create: bool = False) -> bool:
    """Say whether a topic had to be made, which is done with ``may_create`` alone.

    Raises ``UsageError`` when it is missing, ``StorageError`` when the service fails. A topic that
    the account may not look at is supposed to be there.
    """
    from google.api_core import exceptions, retry  # noqa: PLC0415

    how = {"retry": retry.Retry(timeout=10.0), "timeout": 10.0}
    try:
        with cloud_errors("look at", topic, needs="roles/pubsub.viewer"), topic_client() as client:
            client.get_topic(request={"topic": topic}, **how)
            return False
    except UsageError as error:
        if isinstance(error.__cause__, exceptions.Forbidden):
            return False
        if not isinstance(error.__cause__, exceptions.NotFound):
            raise
        if not may_create:
            raise no_topic(topic) from error
    with cloud_errors("make", topic, needs="roles/pubsub.editor"), topic_client() as client:
        client.create_topic(request={"name": topic}, **how)
    return True


def has_subscription(topic: str) -> bool:
    """Whether anybody keeps what is sent to a topic. Raises as ``check_topic``; makes nothing."""
    with cloud_errors("look at", topic, needs="roles/pubsub.viewer"), topic_client() as client:
        # The local stand-in lists no subscriptions of a topic that is not there, too.
        client.get_topic(request={"topic": topic}, timeout=10.0)
        found = client.list_topic_subscriptions(request={"topic": topic}, timeout=10.0)
        return next(iter(found), None) is not None


def wait_for_subscription(topic: str, seconds: float) -> None:
    """Wait until a topic has a subscription. Raises ``UsageError`` when it has none in time."""
    from google.api_core import exceptions, retry  # noqa: PLC0415

    def look() -> None:
        if not has_subscription(topic):
            raise LookupError(topic)

    patience = retry.Retry(
        predicate=retry.if_exception_type(LookupError), initial=0.2, maximum=1.0, timeout=seconds
    )
    try:
        patience(look)()
    except exceptions.RetryError as error:
        raise UsageError(
            f"{topic} has no subscription yet after {seconds:g} s: start who reads it, or "
            "leave out --wait_for_subscription"
        ) from error


def no_topic(topic: str) -> UsageError:
    """The error of a topic that is not there."""
    return UsageError(f"there is no topic {topic}: make it (gcloud pubsub topics create {topic})")

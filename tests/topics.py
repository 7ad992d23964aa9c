"""Topics of the local Pub/Sub for tests, and all that arrives there."""

from __future__ import annotations

import time
from dataclasses import dataclass

from celes_beam.sales.messages import Messages
from celes_beam.stores.cloud.clients import LOCAL_PROJECT, publisher_client, subscriber_client
from tests.cloud import fresh_name

_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Topic:
    """A fresh topic with one subscription; clients must find the local Pub/Sub."""

    path: str
    subscription: str

    @staticmethod
    def make() -> Topic:
        name = fresh_name("t")
        topic = f"projects/{LOCAL_PROJECT}/topics/{name}"
        subscription = f"projects/{LOCAL_PROJECT}/subscriptions/{name}"
        with publisher_client() as publisher, subscriber_client() as subscriber:
            publisher.create_topic(name=topic)
            subscriber.create_subscription(name=subscription, topic=topic, ack_deadline_seconds=60)
        return Topic(topic, subscription)

    def delete(self) -> None:
        with publisher_client() as publisher:
            publisher.delete_topic(topic=self.path)

    def pull(self, expected: int, *, then_no_more: bool = True) -> Messages:
        """All messages, once as many as expected were there and then no more come.

        Without ``then_no_more`` the first ones, as many or a few more.
        """
        from google.api_core.exceptions import DeadlineExceeded

        pulled = Messages([], [], [], [])
        deadline = time.monotonic() + _PATIENCE_SECONDS
        with subscriber_client() as client:
            while True:
                request = {"subscription": self.subscription, "max_messages": 1000}
                try:
                    # The emulator says that there is nothing a second before the time is up.
                    found = client.pull(request=request, timeout=1.3, retry=None).received_messages
                except DeadlineExceeded:
                    found = []
                if not found and (len(pulled) >= expected or time.monotonic() > deadline):
                    return pulled
                for received in found:
                    message = received.message
                    pulled.data.append(message.data)
                    pulled.attributes.append(dict(message.attributes))
                    pulled.ids.append(message.message_id)
                    pulled.published.append(int(message.publish_time.timestamp() * 1e6))
                if found:
                    client.acknowledge(
                        request={
                            "subscription": self.subscription,
                            "ack_ids": [received.ack_id for received in found],
                        }
                    )
                if not then_no_more and len(pulled) >= expected:
                    return pulled

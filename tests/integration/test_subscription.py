"""Subscriptions that are looked at, and made for a topic, in the local Pub/Sub."""

from __future__ import annotations

import grpc
import pytest

from celes_beam.errors import ConfigError, UsageError
from celes_beam.stores.cloud.clients import LOCAL_PROJECT, publisher_client, subscriber_client
from celes_beam.stores.messages.paths import DELETED_TOPIC
from celes_beam.stores.messages.subscription import check_subscription, subscription_for_topic
from tests.cloud import fresh_name
from tests.grpc_faults import GrpcFaultProxy
from tests.numbered import Numbered


def test_one_is_made_with_its_topic_and_found_again(pubsub: str) -> None:
    name = fresh_name("t")
    topic = f"projects/{LOCAL_PROJECT}/topics/{name}"

    made = subscription_for_topic(name, "celes-one")
    again = subscription_for_topic(topic, "celes-one")

    assert made == again == check_subscription(made.path) == check_subscription("celes-one")
    assert made.path == f"projects/{LOCAL_PROJECT}/subscriptions/celes-one"
    assert (made.topic, made.ack_deadline_seconds) == (topic, 60)
    assert (made.exactly_once, made.dead_letter_topic, made.filter) == (False, None, "")
    with subscriber_client() as client:
        found = client.get_subscription(subscription=made.path)
    assert found.message_retention_duration.days == 7
    assert not found.expiration_policy.ttl

    with pytest.raises(UsageError, match=r"belongs to .*, not to "):
        subscription_for_topic(f"projects/{LOCAL_PROJECT}/topics/{fresh_name('t')}", "celes-one")
    with publisher_client() as publisher:
        publisher.delete_topic(topic=topic)
    with pytest.raises(UsageError, match="another one made: take what waits in it with --subscr"):
        subscription_for_topic(topic, "celes-one")


def test_facts_are_told(pubsub: str) -> None:
    numbered = Numbered.make()
    dead = f"projects/{LOCAL_PROJECT}/topics/{fresh_name('dead')}"
    path = f"{numbered.subscription}-2"
    with publisher_client() as publisher, subscriber_client() as subscriber:
        publisher.create_topic(name=dead)
        subscriber.create_subscription(
            request={
                "name": path,
                "topic": numbered.topic,
                "ack_deadline_seconds": 42,
                "enable_message_ordering": True,
                "enable_exactly_once_delivery": True,
                "filter": 'attributes.a = "b"',
                "dead_letter_policy": {"dead_letter_topic": dead, "max_delivery_attempts": 5},
            }
        )

    facts = check_subscription(path)

    assert (facts.topic, facts.ack_deadline_seconds) == (numbered.topic, 42)
    assert facts.ordered
    assert facts.exactly_once
    assert facts.dead_letter_topic == dead
    assert facts.filter == 'attributes.a = "b"'


def test_one_that_cannot_be_pulled_from_says_why(pubsub: str) -> None:
    numbered = Numbered.make()
    with pytest.raises(UsageError, match=r"there is no subscription .*-no: make it \(gcloud"):
        check_subscription(f"{numbered.subscription}-no")
    with pytest.raises(ConfigError, match="expected projects/PROJECT/subscriptions/NAME"):
        check_subscription(numbered.topic)
    with subscriber_client() as client:
        client.create_subscription(
            request={
                "name": f"{numbered.subscription}-push",
                "topic": numbered.topic,
                "push_config": {"push_endpoint": "https://example.com/push"},
            }
        )
    with pytest.raises(UsageError, match="which pushes to an endpoint: make another"):
        check_subscription(f"{numbered.subscription}-push")
    with publisher_client() as publisher:
        publisher.delete_topic(topic=numbered.topic)
    assert check_subscription(numbered.subscription).topic == DELETED_TOPIC
    with pytest.raises(UsageError, match="its topic was deleted: take what waits in it"):
        check_subscription(numbered.subscription, native=True)


def test_one_that_may_not_be_looked_at_may_still_be_pulled_from(
    pubsub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbered = Numbered.make()
    with GrpcFaultProxy(pubsub) as proxy:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", proxy.address)
        proxy.add("answer", method="GetSubscription", code=grpc.StatusCode.PERMISSION_DENIED)

        facts = check_subscription(numbered.subscription)
        assert (facts.topic, facts.ack_deadline_seconds) == (None, 10)
        with pytest.raises(UsageError, match=r"grant roles/pubsub.viewer on it"):
            check_subscription(numbered.subscription, native=True)


def test_a_topic_is_made_on_the_local_one_alone(
    pubsub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celes_beam.stores.messages.subscription.pubsub_is_emulated", lambda: False)
    topic = f"projects/{LOCAL_PROJECT}/topics/{fresh_name('t')}"
    with pytest.raises(UsageError, match=r"there is no topic .*: make it \(gcloud pubsub topics"):
        subscription_for_topic(topic, "celes-two")

"""The topic of dead letters: looked at before a run, so that none is sent where nobody reads."""

from __future__ import annotations

import logging
from typing import Any

from celes_beam.errors import ConfigError, UsageError
from celes_beam.stores.cloud.clients import publisher_client, pubsub_is_emulated
from celes_beam.stores.cloud.failures import cloud_errors
from celes_beam.stores.messages.paths import check_path
from celes_beam.stores.messages.subscription import (
    REQUEST_SECONDS,
    SubscriptionFacts,
    subscription_for_topic,
)

_LOGGER = logging.getLogger(__name__)
_NEEDS = "roles/pubsub.publisher and roles/pubsub.viewer"


def check_dead_letter_topic(topic: str, read: SubscriptionFacts) -> None:
    """Look at the dead-letter topic of a run that reads from ``read``.

    Where Pub/Sub is a stand-in a missing one is made, with a subscription ``<topic>-sub``. Warns of
    a topic without subscriptions. Raises ``ConfigError`` for the topic that is read, which would
    give each rejected row back to us for ever, and ``UsageError`` when it is missing.
    """
    from google.api_core import exceptions  # noqa: PLC0415 - slow to import

    check_path(topic, "topic", "--dead_letter_topic")
    if topic == read.topic:
        raise ConfigError(
            f"--dead_letter_topic {topic} is the topic that {read.path} belongs to: rejected rows "
            "would come back for ever; give another"
        )
    try:
        with cloud_errors("look at", topic, needs=_NEEDS), publisher_client() as client:
            readers = _first_reader(client, topic)
    except UsageError as error:
        if isinstance(error.__cause__, exceptions.Forbidden):
            # Whoever may publish need not be allowed to look.
            return
        if not isinstance(error.__cause__, exceptions.NotFound):
            raise
        if not pubsub_is_emulated():
            raise UsageError(
                f"there is no topic {topic}: make it (gcloud pubsub topics create {topic}), and a "
                "subscription that keeps what is sent there"
            ) from error
        subscription_for_topic(topic, f"{topic.rsplit('/', maxsplit=1)[-1]}-sub")
        return
    if readers is None:
        _LOGGER.warning(
            "%s has no subscription, so what is sent there is kept nowhere: gcloud pubsub "
            "subscriptions create NAME --topic %s",
            topic,
            topic,
        )


def _first_reader(client: Any, topic: str) -> str | None:
    # The local stand-in lists no subscriptions of a topic that is not there, too.
    client.get_topic(request={"topic": topic}, timeout=REQUEST_SECONDS)
    return next(
        iter(client.list_topic_subscriptions(request={"topic": topic}, timeout=REQUEST_SECONDS)),
        None,
    )

"""The topic of dead letters: looked at before a run, so that none is sent where nobody reads."""

from __future__ import annotations

import logging

from celes_beam.errors import ConfigError, UsageError
from celes_beam.stores.cloud.clients import pubsub_is_emulated
from celes_beam.stores.messages.paths import check_path
from celes_beam.stores.messages.subscription import (
    SubscriptionFacts,
    subscription_for_topic,
)
from celes_beam.stores.messages.topic_writer import has_subscription, no_topic

_LOGGER = logging.getLogger(__name__)


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
        is_read = has_subscription(topic)
    except UsageError as error:
        if isinstance(error.__cause__, exceptions.Forbidden):
            # Whoever may publish need not be allowed to look.
            return
        if not isinstance(error.__cause__, exceptions.NotFound):
            raise
        if not pubsub_is_emulated():
            raise no_topic(topic) from error
        subscription_for_topic(topic, f"{topic.rsplit('/', maxsplit=1)[-1]}-sub")
        return
    if not is_read:
        _LOGGER.warning(
            "%s has no subscription, so what is sent there is kept nowhere: gcloud pubsub "
            "subscriptions create NAME --topic %s",
            topic,
            topic,
        )

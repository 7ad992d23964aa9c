"""Requests to one subscription: pull, ack, extend; and which failures of theirs stay."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from celes_beam.errors import CelesError, StorageError, UsageError
from celes_beam.stores.cloud.clients import pubsub_is_emulated, subscriber_client
from celes_beam.stores.cloud.failures import cloud_errors
from celes_beam.stores.messages.holding import Pulled
from celes_beam.stores.messages.paths import DELETED_TOPIC

_ROLE = "roles/pubsub.subscriber"
_POLL_SECONDS = 20.0
_EMULATOR_PAUSE_SECONDS = 0.1
"""The emulator lets a pull wait for messages until a second before the client's deadline. One whose
client has gone it answers too, and leases messages that nobody sees, for as long as the ack
deadline; and an answer may take seconds. So it is asked for what is there now, again and again."""
_ACK_SECONDS = 20.0
_MODIFY_SECONDS = 3.0
_LOOK_SECONDS = 5.0


class Connection:
    """A client of its own for one subscription; for any thread.

    Its methods raise ``google.api_core.exceptions.GoogleAPICallError``.
    """

    def __init__(self, subscription: str) -> None:
        """Raises ``UsageError`` when there are no credentials."""
        from google.api_core.gapic_v1 import routing_header  # noqa: PLC0415 - slow to import

        self.subscription = subscription
        with cloud_errors("pull from", subscription, needs=_ROLE):
            self._client = subscriber_client()
        self._route = (routing_header.to_grpc_metadata((("subscription", subscription),)),)
        self._is_emulated = pubsub_is_emulated()
        self._calls: set[Any] = set()

    def pull(self, most: int) -> list[Pulled]:
        """Up to ``most`` messages as soon as there are any; none after some seconds without."""
        from google.api_core import exceptions  # noqa: PLC0415
        from google.pubsub_v1 import types  # noqa: PLC0415

        request = types.PullRequest(
            subscription=self.subscription,
            max_messages=most,
            return_immediately=self._is_emulated,
        )
        # Past the client's own method, whose calls cannot be cancelled.
        call = self._client.transport.pull.future(
            request, timeout=_POLL_SECONDS, metadata=self._route
        )
        self._calls.add(call)
        try:
            pulled = _unpack(call.result())
        except Exception as error:
            known = exceptions.from_grpc_error(error)
            if isinstance(known, exceptions.DeadlineExceeded) and not self._is_emulated:
                return []
            raise known from error
        finally:
            self._calls.discard(call)
        if self._is_emulated and not pulled:
            time.sleep(_EMULATOR_PAUSE_SECONDS)
        return pulled

    def check_answers(self) -> str | None:
        """Raise what the service says unless it answers, be it by a refusal.

        A pull that finds nothing, and one that nobody has heard of, end alike. Returns why nothing
        is published to the subscription any more, None when that goes on or is not known.
        """
        from google.api_core import exceptions  # noqa: PLC0415

        try:
            found = self._client.get_subscription(
                request={"subscription": self.subscription}, timeout=_LOOK_SECONDS, retry=None
            )
        except (exceptions.Forbidden, exceptions.Unauthorized, exceptions.NotFound):
            return None
        if found.topic == DELETED_TOPIC:
            return "its topic was deleted"
        return "it was detached from its topic" if found.detached else None

    def cancel_pulls(self) -> None:
        """End pulls that are under way; what Pub/Sub leased for them comes again."""
        for call in tuple(self._calls):
            call.cancel()

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """Ack messages of one request (see ``lease.pieces``), trying a few times."""
        from google.pubsub_v1.types import AcknowledgeRequest  # noqa: PLC0415

        self._send(AcknowledgeRequest, self._client.acknowledge, ack_ids, _ACK_SECONDS)

    def modify(self, ack_ids: Sequence[str], seconds: int) -> None:
        """Let the leases of messages of one request end in so many seconds; 0 gives them back."""
        from google.pubsub_v1.types import ModifyAckDeadlineRequest  # noqa: PLC0415

        method, settings = self._client.modify_ack_deadline, {"ack_deadline_seconds": seconds}
        self._send(ModifyAckDeadlineRequest, method, ack_ids, _MODIFY_SECONDS, **settings)

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def _send(
        self, kind: Any, call: Any, ids: Sequence[str], seconds: float, **settings: int
    ) -> None:
        from google.api_core.retry import Retry, if_transient_error  # noqa: PLC0415

        # As in ``_unpack``: the wrapper looks at every id.
        plain = kind.pb()(subscription=self.subscription, ack_ids=ids, **settings)
        call(
            request=kind.wrap(plain),
            timeout=seconds,
            retry=Retry(if_transient_error, initial=0.1, maximum=2.0, timeout=seconds),
        )


def lasting_error(
    error: Exception, verb: str, subscription: str, *, of_ids: bool = False
) -> CelesError | None:
    """What to tell of a failure that no further try mends; None for those that may pass.

    A request ``of_ids`` is called bad also when some of them are too old, which the next are not.
    It is a ``StorageError`` when the subscription is gone, and a ``UsageError`` otherwise.
    """
    from google.api_core import exceptions  # noqa: PLC0415

    if isinstance(error, exceptions.BadRequest):
        if of_ids:
            return None
        said = " ".join(str(error.message).split())
        return UsageError(f"cannot {verb} {subscription}: {said}")
    if isinstance(error, exceptions.NotFound):
        said = " ".join(str(error.message).split())
        return StorageError(
            f"cannot {verb} {subscription}: not found ({said}): make it again, or give another"
        )
    if isinstance(error, (exceptions.Forbidden, exceptions.Unauthorized)):
        try:
            with cloud_errors(verb, subscription, needs=_ROLE):
                raise error
        except CelesError as known:
            return known
    return None


def _unpack(answer: Any) -> list[Pulled]:
    now = time.monotonic()
    pulled = []
    # The bare protocol buffer: the wrapper's attributes are ten times slower.
    for received in answer._pb.received_messages:
        message = received.message
        attributes = dict(message.attributes)
        size = len(message.data) + sum(len(key) + len(attributes[key]) for key in attributes)
        stamp = message.publish_time
        published = stamp.seconds * 1_000_000 + stamp.nanos // 1_000
        pulled.append(
            Pulled(
                message.data, attributes, message.message_id, published, received.ack_id, size, now
            )
        )
    return pulled

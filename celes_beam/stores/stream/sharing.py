"""One ``Delivery`` for all workers of a run in this process.

A runner may give each bundle to another worker, and what one of them has seen, or put into the
journal, the others have to know.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from celes_beam.sales.messages import Messages
from celes_beam.stores.stream.delivery import Delivered, Delivery, DeliverySpec
from celes_beam.stores.stream.sinks import StreamPlaces

_LOGGER = logging.getLogger(__name__)


class SharedDelivery:
    """A delivery that is started by the first batch, and used by one worker at a time."""

    def __init__(self) -> None:
        self.recovered = 0
        self._on_commits: Callable[[int], object] = lambda commits: None
        self._lock = threading.Lock()
        self._delivery: Delivery | None = None
        self._users = 0
        self._failure: BaseException | None = None

    def tell_commits(self, to: Callable[[int], object]) -> None:
        """Let ``to`` hear of commits to the lake from now on: how many, in any thread."""
        self._on_commits = to

    def join(self) -> None:
        """Count in a worker, which must ``leave`` once."""
        with self._lock:
            self._users += 1

    def deliver(
        self, spec: DeliverySpec, messages: Messages, places: StreamPlaces | None
    ) -> Delivered:
        """See ``Delivery.deliver``."""
        with self._lock:
            return self._started(spec).deliver(messages, places)

    def open_streams(self, spec: DeliverySpec) -> StreamPlaces:
        """See ``Delivery.open_streams``."""
        with self._lock:
            return self._started(spec).open_streams()

    def leave(self) -> None:
        """Count out a worker; the last one flushes, and ``finish`` tells what went wrong then."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
            try:
                self._close()
            except Exception as error:  # noqa: BLE001 - runners do not tell what this would raise
                _LOGGER.warning("the journal is left for the next run: %s", error)
                self._failure = error

    def finish(self, spec: DeliverySpec) -> None:
        """Flush what is left, also of a run that was killed when this one got no message at all.

        Raises what could not be done, now or when the last worker left.
        """
        with self._lock:
            if self._failure is not None:
                raise self._failure
            self._started(spec)
            self._close()

    def _started(self, spec: DeliverySpec) -> Delivery:
        if self._delivery is None:
            delivery = Delivery(spec, on_commits=self._on_commits)
            self.recovered += delivery.start()
            self._delivery = delivery
        return self._delivery

    def _close(self) -> None:
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            delivery.close()


_shared: dict[str, SharedDelivery] = {}
_lock = threading.Lock()


def shared_delivery(run_id: str) -> SharedDelivery:
    """That of a run, made when it is first asked for."""
    with _lock:
        return _shared.setdefault(run_id, SharedDelivery())


def forget_delivery(run_id: str) -> None:
    """Let go of it: the run is over, and another may have its id."""
    with _lock:
        _shared.pop(run_id, None)

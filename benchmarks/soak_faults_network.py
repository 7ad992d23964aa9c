"""A network between our processes and the local servers that fails now and then, and heals at once.

Single requests are dropped, reset, cut, late, refused, not answered, or lose their answer, at a few
percent in all; now and then a whole service is away for some seconds.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import grpc  # type: ignore[import-untyped]

from celes_beam.stores.cloud.clients import (
    BIGQUERY_EMULATOR,
    BIGQUERY_GRPC_EMULATOR,
    PUBSUB_EMULATOR,
    STORAGE_EMULATOR,
)
from tests.faults import FaultProxy, at_random
from tests.grpc_faults import GrpcFaultProxy

if TYPE_CHECKING:
    from celes_beam.local.servers import Server

_HTTP = ("drop", "reset", "half", "cut", "lose_answer", "delay", "busy", "failing", "away")
_STATUS = {"busy": 429, "failing": 500, "away": 503}
# Of a piece that is sent again, for its answer was lost, the local server may make an object twice
# as long: Cloud Storage goes by the piece's range.
_HEARD = {"cut": r"^(?!.*upload_id=)", "lose_answer": r"^(?!.*upload_id=)"}
_APPENDS: tuple[dict[str, Any], ...] = (
    {"how": "break"},
    {"how": "lose_answer"},
    {"how": "finish"},
    {"how": "silence"},
    {"how": "answer", "code": grpc.StatusCode.UNAVAILABLE},
    {"how": "answer", "code": grpc.StatusCode.RESOURCE_EXHAUSTED, "ends": True},
)
_CALLS: tuple[dict[str, Any], ...] = tuple(
    {"how": how, "method": method}
    for method in ("Publish", "Pull", "Acknowledge", "ModifyAckDeadline")
    for how in ("answer", "lose_answer", "silence")
)
_DELAY_SECONDS = 3.0
_MORE_APPENDS = 3
"""There are few of them, one or two for each batch."""
_PAUSE_SECONDS = (60.0, 180.0)
_AWAY_SECONDS = (3.0, 15.0)


class Network:
    """Proxies in front of the servers; a context manager. ``share`` is that of each kind of fault.

    ``environment`` is what processes find the proxies by. ``look`` is to be called all the time.
    """

    def __init__(
        self, storage: Server, bigquery: Server, pubsub: Server, chance: random.Random, share: float
    ) -> None:
        self.outages: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self._chance = chance
        self._away = ""
        self._next = time.monotonic() + chance.uniform(*_PAUSE_SECONDS)
        self._stack = ExitStack()
        self._faults: dict[str, list[Any]] = {}
        files, queries = FaultProxy(storage.address), FaultProxy(bigquery.address)
        appends = GrpcFaultProxy(bigquery.environment[BIGQUERY_GRPC_EMULATOR])
        messages = GrpcFaultProxy(pubsub.address)
        self._proxies: dict[str, FaultProxy | GrpcFaultProxy] = {
            "storage": files,
            "bigquery": queries,
            "appends": appends,
            "pubsub": messages,
        }
        self.environment = {
            STORAGE_EMULATOR: files.url,
            BIGQUERY_EMULATOR: queries.url,
            BIGQUERY_GRPC_EMULATOR: appends.address,
            PUBSUB_EMULATOR: messages.address,
        }
        for name in self._proxies:
            self._faults[name] = [self._outage(name)]
        for proxy in (files, queries):
            name = "storage" if proxy is files else "bigquery"
            for kind in _HTTP:
                self._faults[name].append(_http_fault(proxy, kind, self._sometimes(share)))
        for name, kinds, of_kind in (
            ("appends", _APPENDS, _MORE_APPENDS * share),
            ("pubsub", _CALLS, share),
        ):
            for about in kinds:
                fault = self._proxies[name].add(when=self._sometimes(of_kind), **about)
                self._faults[name].append(fault)

    def _sometimes(self, share: float) -> Callable[[int], bool]:
        return at_random(share, self._chance.randrange(10**6))

    def _outage(self, name: str) -> Any:
        """All requests to a service are refused while it is the one that is away."""
        proxy = self._proxies[name]

        def is_away(request: int) -> bool:
            self.requests[name] = request
            return self._away == name

        if isinstance(proxy, FaultProxy):
            return proxy.add("answer", is_away)
        # A method ends with nothing, whatever it is.
        return proxy.add("answer", is_away, method="", ends=True)

    @property
    def happened(self) -> dict[str, int]:
        """How many faults each service had so far."""
        return {name: sum(f.happened for f in faults) for name, faults in self._faults.items()}

    def look(self) -> None:
        """Let a service go away, or come back, when it is time."""
        if time.monotonic() < self._next:
            return
        if self._away:
            self._away = ""
            self._next = time.monotonic() + self._chance.uniform(*_PAUSE_SECONDS)
        else:
            self._away = self._chance.choice(list(self._proxies))
            self.outages[self._away] += 1
            self._next = time.monotonic() + self._chance.uniform(*_AWAY_SECONDS)

    def heal(self) -> None:
        """Let everything pass from now on."""
        self._away = ""
        for proxy in self._proxies.values():
            proxy.clear()

    def __enter__(self) -> Self:
        for proxy in self._proxies.values():
            self._stack.enter_context(proxy)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _http_fault(proxy: FaultProxy, kind: str, when: Callable[[int], bool]) -> Any:
    if kind in _STATUS:
        return proxy.add("answer", when, status=_STATUS[kind])
    how: Any = kind
    return proxy.add(how, when, path=_HEARD.get(kind, ""), seconds=_DELAY_SECONDS)

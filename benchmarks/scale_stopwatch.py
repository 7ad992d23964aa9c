"""What each stage of some work takes by itself, where stages call one another on one thread."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

Item = TypeVar("Item")


class Stopwatch:
    """Seconds of stages, each without those of the stages it calls; not thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._inner: list[float] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """The body is a stage, or a part of it."""
        self._inner.append(0.0)
        started = self._clock()
        try:
            yield
        finally:
            took = self._clock() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + took - self._inner.pop()
            if self._inner:
                self._inner[-1] += took

    @contextmanager
    def calls(self, name: str, owner: object, function: str) -> Iterator[None]:
        """While the body runs, calls of ``owner``'s function are a stage.

        Raises ``AttributeError`` when ``owner`` has none of that name.
        """
        called = getattr(owner, function)

        @functools.wraps(called)
        def timed(*given: Any, **named: Any) -> Any:
            with self.stage(name):
                return called(*given, **named)

        with patch.object(owner, function, timed):
            yield

    def each(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """The items; to get the next one is a stage, what is done with it is not."""
        iterator = iter(items)
        while True:
            with self.stage(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

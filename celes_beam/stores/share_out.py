"""Share work among threads, since Arrow and numpy release the GIL."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")


def share_out(
    items: Iterable[Item], work: Callable[[Iterator[Item]], Done], *, threads: int = 0
) -> list[Done]:
    """Call ``work`` on up to ``threads`` threads (0: one a core); return what each call returned.

    Each call gets an iterator that takes the next item of all. There is always one call at least.
    When a call raises, the iterators of the others end early, and its error is raised here.
    """
    waiting = deque(items)
    failed = threading.Event()

    def take() -> Iterator[Item]:
        while not failed.is_set():
            try:
                item = waiting.popleft()
            except IndexError:
                return
            yield item

    def call() -> Done:
        try:
            return work(take())
        except BaseException:
            failed.set()
            raise

    count = min(threads or os.cpu_count() or 1, len(waiting))
    if count <= 1:
        return [call()]
    with ThreadPoolExecutor(count, thread_name_prefix="share") as pool:
        futures = [pool.submit(call) for _ in range(count)]
        try:
            wait(futures)
        except BaseException:
            # An interrupt reaches the thread that waits, not those that work.
            failed.set()
            raise
    return [future.result() for future in futures]

"""Numbered messages in a topic of the local Pub/Sub, and which of them have not been acked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from celes_beam.stores.cloud.clients import LOCAL_PROJECT, publisher_client, subscriber_client
from celes_beam.stores.messages.pulling import pulling
from celes_beam.stores.messages.receiver import Receiver
from tests.cloud import fresh_name

PATIENCE = 90.0


@dataclass(frozen=True)
class Numbered:
    """A fresh topic with one subscription."""

    topic: str
    subscription: str

    @staticmethod
    def make(ack_seconds: int = 60) -> Numbered:
        name = fresh_name("n")
        made = Numbered(
            f"projects/{LOCAL_PROJECT}/topics/{name}",
            f"projects/{LOCAL_PROJECT}/subscriptions/{name}",
        )
        with publisher_client() as publisher, subscriber_client() as subscriber:
            publisher.create_topic(name=made.topic)
            subscriber.create_subscription(
                name=made.subscription, topic=made.topic, ack_deadline_seconds=ack_seconds
            )
        return made

    def publish(self, numbers: Iterable[int], size: int = 8) -> None:
        """Publish a message for each number."""
        from google.pubsub_v1 import types

        messages = [
            types.PubsubMessage(
                data=b"%d" % n + b" " * (size - len(b"%d" % n)), attributes={"n": str(n)}
            )
            for n in numbers
        ]
        with publisher_client() as client:
            for start in range(0, len(messages), 1_000):
                # The client's own publish gathers and waits.
                client.transport.publish(
                    types.PublishRequest(topic=self.topic, messages=messages[start : start + 1_000])
                )

    def left(self, *, expected: int = 0, seconds: float = 1.0) -> list[int]:
        """Numbers that can be pulled now, sorted; waits until as many as expected came."""
        found: list[int] = []
        until = time.monotonic() + PATIENCE
        with receiving(self.subscription, ack_deadline=60) as receiver:
            while True:
                assert time.monotonic() < until, f"{len(found)} of {expected}"
                held = receiver.take(
                    max_rows=5_000, max_bytes=2**23, max_seconds=0, wait_seconds=seconds
                )
                if held is not None:
                    found += numbers_of(held.messages.data)
                    receiver.ack(held)
                elif len(found) >= expected:
                    break
        return sorted(found)


def numbers_of(data: Iterable[bytes]) -> list[int]:
    """The numbers of messages."""
    return [int(one) for one in data]


@contextmanager
def receiving(
    subscription: str,
    *,
    ack_deadline: int = 10,
    max_messages: int = 20_000,
    max_bytes: int = 64 * 2**20,
    limit: int | None = None,
    pullers: int = 2,
) -> Iterator[Receiver]:
    """A receiver that pulls, closed at the end."""
    receiver = Receiver(
        subscription,
        ack_deadline=ack_deadline,
        max_messages=max_messages,
        max_bytes=max_bytes,
        limit=limit,
        pullers=pullers,
    )
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.close()


@contextmanager
def deleted_once_pulled(subscription: str, run_id: str, messages: int) -> Iterator[None]:
    """Delete a subscription when so many of its messages wait in this process for their batch."""

    def delete() -> None:
        until(lambda: pulling(run_id).figures().waiting == messages)
        with subscriber_client() as client:
            client.delete_subscription(subscription=subscription)

    deleting = threading.Thread(target=delete)
    deleting.start()
    yield
    deleting.join()


def until(
    what: Callable[[], object],
    seconds: float = PATIENCE,
    *,
    running: subprocess.Popen[bytes] | None = None,
) -> None:
    """Wait until something is so, while the process that is to bring it about is ``running``."""
    deadline = time.monotonic() + seconds
    while not what():
        assert running is None or running.poll() is None, "the stream ended by itself"
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.01)


class Pulled:
    """``tests.pull_process`` as a process group, which writes the numbers it gets to a file."""

    def __init__(self, subscription: str, out: Path, *flags: str) -> None:
        self.out = out
        self._log = out.with_suffix(".log")
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.pull_process", subscription, str(out), *flags],
                stdout=log,
                stderr=log,
                # Prism is a child, and dies with the group.
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    @property
    def numbers(self) -> list[int]:
        """What was written so far; the last line may be cut short."""
        if not self.out.exists():
            return []
        whole, _, _ = self.out.read_bytes().rpartition(b"\n")
        return [int(line) for line in whole.split()]

    def until(self, what: Callable[[], bool]) -> None:
        """Wait until something is so while it runs."""
        deadline = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < deadline, self.said
            assert self.process.poll() is None, self.said
            time.sleep(0.01)

    def kill(self) -> None:
        """End the whole group at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)


@contextmanager
def pull_process(subscription: str, out: Path, *flags: str) -> Iterator[Pulled]:
    """A process that pulls; nothing of it is left afterwards."""
    pulled = Pulled(subscription, out, *flags)
    try:
        yield pulled
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pulled.process.pid, signal.SIGKILL)
        pulled.process.wait(PATIENCE)

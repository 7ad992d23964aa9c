"""What becomes of rejected rows when Pub/Sub refuses them, or its answers are lost."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from celes_beam.errors import StorageError, UsageError
from celes_beam.sales.messages import MessageRules, check_messages
from celes_beam.stores.messages import topic_writer
from celes_beam.stores.messages.dead_letters import DeadLetters
from tests.faults import nth
from tests.grpc_faults import GrpcFaultProxy
from tests.messages import SOURCE, messages_of
from tests.topics import Topic

DATA = [b"{%d" % i for i in range(2_500)]


@pytest.fixture
def topic(pubsub: str) -> Topic:
    return Topic.make()


@pytest.fixture
def proxy(pubsub: str, topic: Topic) -> Iterator[GrpcFaultProxy]:
    with GrpcFaultProxy(pubsub) as proxy:
        yield proxy


def send(topic: Topic, proxy: GrpcFaultProxy, monkeypatch: pytest.MonkeyPatch) -> int:
    messages = messages_of(DATA)
    with monkeypatch.context() as patch:
        patch.setenv("PUBSUB_EMULATOR_HOST", proxy.address)
        with DeadLetters(topic.path, seconds=10) as letters:
            return letters.send(messages, check_messages(messages, MessageRules(SOURCE)))


def test_what_may_pass_is_tried_again(
    topic: Topic, proxy: GrpcFaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = proxy.add(
        "answer", nth(1, 3, 4), method="Publish", code=grpc.StatusCode.RESOURCE_EXHAUSTED
    )
    assert send(topic, proxy, monkeypatch) == len(DATA)
    assert fault.happened == 3
    assert sorted(topic.pull(len(DATA)).data) == sorted(DATA)


def test_after_a_lost_answer_rows_may_be_there_twice_and_none_is_missing(
    topic: Topic, proxy: GrpcFaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = proxy.add("lose_answer", nth(2), method="Publish")
    assert send(topic, proxy, monkeypatch) == len(DATA)
    assert fault.happened == 1
    assert sorted(topic.pull(len(DATA) + 1_000).data) == sorted(DATA + DATA[1_000:2_000])


def test_a_request_that_is_not_answered_is_sent_again(
    topic: Topic, proxy: GrpcFaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_writer, "_ANSWER_SECONDS", 0.3)
    fault = proxy.add("silence", nth(1, 3), method="Publish")
    assert send(topic, proxy, monkeypatch) == len(DATA)
    assert fault.happened == 2
    assert sorted(topic.pull(len(DATA)).data) == sorted(DATA)


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (
            grpc.StatusCode.PERMISSION_DENIED,
            UsageError,
            "cannot write to .*: not allowed .*; grant roles/pubsub.publisher on it",
        ),
        (grpc.StatusCode.INVALID_ARGUMENT, StorageError, "cannot write to .*the proxy says so"),
    ],
)
def test_what_does_not_pass_is_told_at_once(
    topic: Topic,
    proxy: GrpcFaultProxy,
    monkeypatch: pytest.MonkeyPatch,
    code: grpc.StatusCode,
    kind: type[Exception],
    message: str,
) -> None:
    fault = proxy.add("answer", method="Publish", code=code)
    with pytest.raises(kind, match=message):
        send(topic, proxy, monkeypatch)
    assert fault.happened == 1

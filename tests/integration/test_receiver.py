"""The receiver against the local Pub/Sub: leases, bounds, giving back, and failures."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import grpc
import pytest

from celes_beam.errors import StorageError, UsageError
from celes_beam.stores.cloud.clients import publisher_client, subscriber_client
from celes_beam.stores.messages import connection
from celes_beam.stores.messages import receiver as receiver_module
from celes_beam.stores.messages.holding import Held
from celes_beam.stores.messages.pulling import pulling
from celes_beam.stores.messages.receiver import Figures, Receiver
from tests.cloud import fresh_name
from tests.faults import nth
from tests.grpc_faults import GrpcFaultProxy
from tests.numbered import Numbered, numbers_of, receiving, until


@pytest.fixture
def numbered(pubsub: str) -> Numbered:
    return Numbered.make()


@pytest.fixture
def proxy(pubsub: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[GrpcFaultProxy]:
    with GrpcFaultProxy(pubsub) as made:
        yield made


def take(receiver: Receiver, rows: int = 5_000, seconds: float = 0.0, wait: float = 10.0) -> Held:
    held = receiver.take(max_rows=rows, max_bytes=2**23, max_seconds=seconds, wait_seconds=wait)
    assert held is not None
    return held


def test_everything_comes_with_what_belongs_to_it_and_is_acked(numbered: Numbered) -> None:
    before = time.time()
    numbered.publish(range(1_234))
    found: list[int] = []

    with receiving(numbered.subscription) as receiver:
        while len(found) < 1_234:
            held = take(receiver, rows=100)
            assert held.messages.attributes == [
                {"n": str(n)} for n in numbers_of(held.messages.data)
            ]
            assert len(set(held.messages.ids)) == len(held) <= 100
            assert all(before - 5 < p / 1e6 < time.time() + 5 for p in held.messages.published)
            found += numbers_of(held.messages.data)
            assert receiver.figures().oldest_unacked_seconds > 0
            receiver.ack(held)
        assert receiver.take(max_rows=1, max_bytes=1, max_seconds=0, wait_seconds=0.5) is None
        until(lambda: receiver.empty_at is not None)
    assert sorted(found) == list(range(1_234))
    figures = receiver.figures()
    assert (figures.pulled, figures.acked, figures.held) == (1_234, 1_234, 0)
    assert (figures.failed_acks, figures.given_back, figures.oldest_unacked_seconds) == (0, 0, 0)


def test_a_batch_waits_for_its_age_or_its_size(numbered: Numbered) -> None:
    with receiving(numbered.subscription) as receiver:
        numbered.publish(range(10))
        began = time.monotonic()
        assert len(take(receiver, rows=10, seconds=30.0)) == 10
        assert time.monotonic() - began < 10

        numbered.publish(range(3))
        began = time.monotonic()
        assert len(take(receiver, rows=10, seconds=1.0)) == 3
        assert time.monotonic() - began > 0.9


def test_no_more_is_held_than_may_be(numbered: Numbered) -> None:
    numbered.publish(range(2_000), size=100)

    with receiving(numbered.subscription, max_messages=150) as receiver:
        held = []
        for _ in range(3):
            until(lambda: receiver.figures().held == 150)
            held.append(take(receiver, rows=40))
        # What can get no fuller is given at once, however long it might have waited.
        assert len(take(receiver, rows=40, seconds=60.0)) == 30
        assert receiver.take(max_rows=1, max_bytes=9, max_seconds=0, wait_seconds=0.3) is None
        assert receiver.figures().held == 150
        receiver.ack(held[0])
        until(lambda: receiver.figures().waiting == 40)
        assert receiver.figures().held == 150

    with receiving(numbered.subscription, max_bytes=5_000, pullers=1) as receiver:
        # The first answer tells how large messages are.
        until(lambda: receiver.figures().held_bytes >= 5_000)
        time.sleep(0.3)
        assert receiver.figures().held_bytes <= 5_000 + 100 * 110


def test_a_limit_is_exact_and_the_rest_stays_available(numbered: Numbered) -> None:
    numbered.publish(range(500))

    with receiving(numbered.subscription, limit=123) as receiver:
        found = []
        while len(found) < 123:
            held = take(receiver, rows=50, seconds=5.0)
            found += numbers_of(held.messages.data)
            receiver.ack(held)
        assert receiver.take(max_rows=1, max_bytes=9, max_seconds=0, wait_seconds=0.5) is None
        assert receiver.figures().pulled == 123
        # Nothing waits for anything to run out: the other ones were never leased.
        rest = numbered.left(expected=377)
    assert sorted(found + rest) == list(range(500))


def test_what_is_given_back_comes_again_at_once(numbered: Numbered) -> None:
    numbered.publish(range(300))

    with receiving(numbered.subscription, ack_deadline=60) as receiver:
        until(lambda: receiver.figures().waiting == 300)
        kept = take(receiver, rows=100)
        returned = take(receiver, rows=50)
        receiver.give_back(returned)
        receiver.give_back(returned)
        receiver.give_back()
        began = time.monotonic()
        rest = numbered.left(expected=200)
        assert time.monotonic() - began < 15
        # What was taken may still be acked after the end of pulling.
        receiver.ack(kept)
        receiver.ack(kept)
    assert sorted(numbers_of(kept.messages.data) + rest) == list(range(300))
    figures = receiver.figures()
    assert (figures.acked, figures.held) == (100, 0)
    assert figures.given_back >= 200


def test_workers_share_a_receiver_and_the_last_one_closes_it(numbered: Numbered) -> None:
    shared = pulling(fresh_name("run"))
    made: list[Receiver] = []

    def make() -> Receiver:
        made.append(Receiver(numbered.subscription))
        return made[-1]

    assert shared.figures() == Figures()
    numbered.publish(range(10))
    first, second = shared.open(make), shared.open(make)
    assert first is second
    held = take(first, rows=10, seconds=5.0)
    assert shared.figures().held == 10
    first.ack(held)
    shared.leave()
    assert threads_of_pubsub() > 0
    shared.leave()
    assert threads_of_pubsub() == 0
    assert (shared.figures().acked, shared.figures().held) == (10, 0)

    numbered.publish(range(10))
    third = shared.open(make)
    assert third is not first
    third.ack(take(third, rows=10, seconds=5.0))
    assert shared.figures().acked == 20
    shared.leave()
    assert len(made) == 2


def threads_of_pubsub() -> int:
    return sum(thread.name.startswith("pubsub-") for thread in threading.enumerate())


def test_closing_gives_back_what_nobody_took(numbered: Numbered) -> None:
    numbered.publish(range(200))
    with receiving(numbered.subscription, ack_deadline=60) as receiver:
        until(lambda: receiver.figures().waiting == 200)
    receiver.close()

    assert numbered.left(expected=200) == list(range(200))


@pytest.mark.slow
def test_what_is_held_beyond_the_ack_deadline_does_not_come_again(pubsub: str) -> None:
    numbered = Numbered.make(ack_seconds=10)
    numbered.publish(range(120))

    with receiving(numbered.subscription) as receiver:
        until(lambda: receiver.figures().waiting == 120)
        held = take(receiver, rows=60)
        # Another who pulls gets nothing, neither what was taken nor what waits.
        assert numbered.left(seconds=15.0) == []
        assert receiver.figures().extended >= 120
        receiver.ack(held)
        receiver.ack(take(receiver))
    figures = receiver.figures()
    assert (figures.acked, figures.expired, figures.failed_extensions) == (120, 0, 0)
    # Leased for 30 s at the last extension, 10 of which are over; acked all the same.
    assert numbered.left(seconds=35.0) == []


def test_a_subscription_that_is_deleted_ends_it_with_a_line_after_what_was_pulled(
    numbered: Numbered, caplog: pytest.LogCaptureFixture
) -> None:
    with receiving(numbered.subscription) as receiver:
        numbered.publish(range(5))
        until(lambda: receiver.figures().waiting == 5)
        with subscriber_client() as client:
            client.delete_subscription(subscription=numbered.subscription)
        held = take(receiver, seconds=60.0, wait=30.0)
        assert len(held) == 5
        receiver.ack(held)
        with pytest.raises(StorageError) as raised:
            take(receiver, wait=30.0)
    assert not [record for record in caplog.records if "come again" in record.message]
    said = str(raised.value)
    assert "\n" not in said
    assert said.startswith(f"cannot pull from {numbered.subscription}: not found")


def test_a_topic_that_is_deleted_is_told_and_ends_it_when_leases_are_over(
    numbered: Numbered, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("celes_beam.stores.messages.receiver._LOOK_EVERY", 0.1)
    numbered.publish(range(5))
    with publisher_client() as client:
        client.delete_topic(topic=numbered.topic)
    with receiving(numbered.subscription, ack_deadline=1) as receiver:
        receiver.ack(take(receiver))
        with pytest.raises(StorageError, match=r"nothing comes to .*, for its topic was deleted"):
            take(receiver, wait=30.0)
    assert receiver.figures().acked == 5
    told = [record.message for record in caplog.records if "topic was deleted" in record.message]
    assert len(told) == 1


def test_a_subscription_that_is_forbidden_names_the_role(
    numbered: Numbered, proxy: GrpcFaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", proxy.address)
    proxy.add("answer", method="Pull", code=grpc.StatusCode.PERMISSION_DENIED)

    refused = pytest.raises(UsageError, match=r"not allowed .*; grant roles/pubsub.subscriber on")
    with receiving(numbered.subscription) as receiver, refused:
        take(receiver, wait=30.0)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN])
def test_pulls_that_fail_are_tried_again(
    numbered: Numbered,
    proxy: GrpcFaultProxy,
    monkeypatch: pytest.MonkeyPatch,
    code: grpc.StatusCode,
) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", proxy.address)
    fault = proxy.add("answer", nth(1, 2, 3, 4), method="Pull", code=code)
    numbered.publish(range(5))

    with receiving(numbered.subscription) as receiver:
        held = take(receiver, rows=5, seconds=5.0)
        receiver.ack(held)
    assert sorted(numbers_of(held.messages.data)) == list(range(5))
    assert receiver.figures().failed_pulls == fault.happened == 4


@pytest.mark.parametrize("jump", [-3_600.0, 3_600.0])
def test_a_clock_that_is_set_anew_makes_nothing_quiet_or_busy(
    jump: float, numbered: Numbered, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving(numbered.subscription) as receiver:
        until(lambda: receiver.empty_at is not None)
        clock = SimpleNamespace(time=lambda: time.time() + jump, monotonic=time.monotonic)
        monkeypatch.setattr(receiver_module, "time", clock)

        assert not receiver.is_quiet(1_800.0)
        until(lambda: receiver.is_quiet(0.01))


def test_a_service_that_does_not_answer_is_not_quiet(
    numbered: Numbered,
    proxy: GrpcFaultProxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "celes_beam")
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", proxy.address)
    monkeypatch.setattr(connection, "_LOOK_SECONDS", 0.3)
    monkeypatch.setattr(connection, "_POLL_SECONDS", 1.0)
    with receiving(numbered.subscription) as receiver:
        until(lambda: receiver.is_quiet(0.1))
        frozen = [proxy.add("silence", method=m) for m in ("Pull", "GetSubscription")]
        # Both of those that pull.
        until(lambda: frozen[0].happened >= 2)
        numbered.publish(range(3))
        for _ in range(3):
            time.sleep(0.15)
            assert not receiver.is_quiet(0.1)
        assert frozen[1].happened > 1
        with pytest.raises(StorageError, match=f"ask for messages of {numbered.subscription}"):
            receiver.check_answers()
        proxy.clear()
        receiver.ack(take(receiver, rows=3, seconds=5.0))
        # That we may not look is an answer, too.
        proxy.add("answer", method="GetSubscription", code=grpc.StatusCode.PERMISSION_DENIED)
        until(lambda: receiver.is_quiet(0.1))
    told = [r for r in caplog.records if "Pub/Sub does not answer" in r.message]
    assert len(told) == 1


def test_acks_and_extensions_that_fail_are_tried_again_then_counted(
    numbered: Numbered,
    proxy: GrpcFaultProxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "celes_beam")
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", proxy.address)
    passing = proxy.add("answer", nth(1, 2), method="Acknowledge")
    numbered.publish(range(10))

    # Said to be leased for two seconds, so that extending begins at once.
    with receiving(numbered.subscription, ack_deadline=2) as receiver:
        proxy.add("answer", method="ModifyAckDeadline", code=grpc.StatusCode.INVALID_ARGUMENT)
        first = take(receiver, rows=4, seconds=5.0)
        receiver.ack(first)
        assert passing.happened == 2
        assert receiver.figures().acked == 4

        until(lambda: receiver.figures().expired == 6)
        assert receiver.figures().failed_extensions >= 6
        assert any("leases could not be extended" in r.message for r in caplog.records)

        # Too old an id is no reason to end; that nothing may be acked is one.
        too_old = proxy.add(
            "answer", nth(1), method="Acknowledge", code=grpc.StatusCode.FAILED_PRECONDITION
        )
        receiver.ack(take(receiver, rows=2))
        assert too_old.happened == 1
        second = take(receiver, rows=2)
        proxy.add("answer", method="Acknowledge", code=grpc.StatusCode.PERMISSION_DENIED)
        receiver.ack(second)
        assert sum("2 messages could not be acked" in r.message for r in caplog.records) == 2
        with pytest.raises(UsageError, match=r"cannot ack messages of projects/.*: not allowed"):
            take(receiver, wait=5.0)
    figures = receiver.figures()
    assert (figures.acked, figures.failed_acks, figures.held) == (4, 4, 0)
    # Not even giving back works here: they come again when their leases end.
    assert figures.given_back == 0

"""An interrupt that comes in the middle is heeded at the end."""

from __future__ import annotations

import signal
import threading

import pytest

from celes_beam.commands.interrupts import interrupts_wait


def test_an_interrupt_waits_for_the_end() -> None:
    done: list[str] = []

    def half_a_start() -> None:
        with interrupts_wait():
            signal.raise_signal(signal.SIGINT)
            done.append("the other half")

    with pytest.raises(KeyboardInterrupt):
        half_a_start()
    assert done == ["the other half"]


def test_handlers_are_there_again_also_after_an_error() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="no start"), interrupts_wait():
        raise ValueError("no start")
    assert signal.getsignal(signal.SIGTERM) is before


def test_elsewhere_than_in_the_main_thread_it_does_nothing() -> None:
    seen: list[object] = []

    def work() -> None:
        with interrupts_wait():
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]

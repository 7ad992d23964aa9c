from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from celes_beam.commands.stop_request import StopRequest

LONG = 60.0


def signal_soon(number: int) -> threading.Timer:
    timer = threading.Timer(0.1, os.kill, (os.getpid(), number))
    timer.start()
    return timer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_ends_the_wait(number: int) -> None:
    before = signal.getsignal(number)
    began = time.monotonic()
    with StopRequest() as stop:
        timer = signal_soon(number)
        stop.wait(LONG)
        assert stop.asked
        # And there is no waiting any more.
        stop.wait(LONG)
        timer.join()
    assert time.monotonic() - began < LONG / 2
    assert signal.getsignal(number) == before


def test_the_second_signal_interrupts() -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt) as caught:
            os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.args == ("terminated", 128 + signal.SIGTERM)


def test_without_a_signal_the_wait_ends_by_itself_and_nothing_stays_open() -> None:
    before = open_files()
    for _ in range(5):
        with StopRequest() as stop:
            stop.wait(0.01)
            assert not stop.asked
    assert open_files() == before


def open_files() -> int:
    """The next number that a file would get; they are given out from the lowest."""
    number = os.open(os.devnull, os.O_RDONLY)
    os.close(number)
    return number


def test_other_threads_note_no_signals_but_can_wait() -> None:
    asked = []

    def work() -> None:
        with StopRequest() as stop:
            stop.wait(0.01)
            asked.append(stop.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert asked == [False]

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from celes_beam.doctor.check import Check, State, within_deadline
from celes_beam.errors import UsageError

FIRST = Check("first", State.OK, "fine")


def test_what_is_made_in_time_is_kept_and_silence_fails() -> None:
    answered = threading.Event()

    def look() -> Iterator[Check]:
        yield FIRST
        answered.wait(30)

    start = time.monotonic()
    checks = within_deadline("bucket", look, 0.2, remedy="look at the network")
    answered.set()
    assert time.monotonic() - start < 5
    assert checks == [
        FIRST,
        Check("bucket", State.FAILED, "nobody answered within 0.2 s", "look at the network"),
    ]


def test_our_errors_are_failed_checks_and_what_came_before_stays() -> None:
    def look() -> Iterator[Check]:
        yield FIRST
        raise UsageError("not allowed; grant a role")

    assert within_deadline("bucket", look) == [
        FIRST,
        Check("bucket", State.FAILED, "not allowed; grant a role"),
    ]


def test_errors_of_the_program_are_raised() -> None:
    def look() -> Iterator[Check]:
        yield FIRST
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        within_deadline("bucket", look)

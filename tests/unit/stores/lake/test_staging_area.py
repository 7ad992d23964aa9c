"""Deliveries in the background: a few at once, and none after one has failed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from celes_beam.errors import StorageError
from celes_beam.stores.lake.staging_area import Deliveries

PATIENCE = 30.0


class SlowArea:
    """Delivers two at once, each when it is let go; those called "bad" fail."""

    at_once = 2
    remedy = ""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.abandoned: list[str] = []
        self.let_go = {name: threading.Event() for name in ("a", "b", "bad", "d")}

    def path(self, name: str) -> Path:
        return Path(name)

    def deliver(self, name: str, *, size: int, crc32c: str) -> None:
        self.begun.append(name)
        assert self.let_go[name].wait(PATIENCE)
        if name == "bad":
            raise StorageError("it is full")

    def abandon(self, name: str) -> None:
        self.abandoned.append(name)


def add(deliveries: Deliveries, *names: str) -> None:
    for name in names:
        deliveries.add(name, size=1, crc32c="")


def test_all_are_delivered() -> None:
    area = SlowArea()
    deliveries = Deliveries(area)
    for event in area.let_go.values():
        event.set()
    add(deliveries, "a", "b", "d")
    deliveries.finish()
    assert sorted(area.begun) == ["a", "b", "d"]
    assert area.abandoned == []


def test_once_one_has_failed_no_other_begins() -> None:
    area = SlowArea()
    deliveries = Deliveries(area)
    add(deliveries, "a", "bad")
    area.let_go["bad"].set()
    with pytest.raises(StorageError, match="it is full"):
        add(deliveries, "d")
    area.let_go["a"].set()
    deliveries.abandon()
    assert sorted(area.begun) == ["a", "bad"]
    assert area.abandoned == ["d"]


def test_a_failure_is_told_at_the_end() -> None:
    area = SlowArea()
    deliveries = Deliveries(area)
    add(deliveries, "a", "bad")
    area.let_go["bad"].set()
    threading.Timer(0.2, area.let_go["a"].set).start()
    with pytest.raises(StorageError, match="it is full"):
        deliveries.finish()
    assert area.abandoned == []

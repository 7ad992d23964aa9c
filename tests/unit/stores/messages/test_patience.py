import logging

import pytest

from celes_beam.stores.messages import patience
from celes_beam.stores.messages.patience import Patience


def test_pauses_grow_to_half_a_minute_and_begin_anew_after_a_success(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr(patience.time, "monotonic", lambda: now)
    waits = Patience("nothing comes")
    caplog.set_level(logging.WARNING)

    pauses = []
    for _ in range(20):
        pauses.append(waits.failed(OSError("no\nroute")))
        now += pauses[-1]
    assert pauses[0] <= 0.1
    assert all(15 <= pause <= 30 for pause in pauses[10:])
    told = [record.message for record in caplog.records]
    assert 3 <= len(told) <= 6
    assert told[0].startswith("nothing comes for ")
    assert told[0].endswith("; it is tried again and again: no route")

    waits.succeeded()
    assert "works again" in caplog.records[-1].message
    assert waits.failed(OSError()) <= 0.1
    told_twice = len(caplog.records)
    waits.succeeded()
    assert len(caplog.records) == told_twice

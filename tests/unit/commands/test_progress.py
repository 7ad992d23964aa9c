import io
import logging
import sys
import threading
import time

import pytest

from celes_beam.commands import viewing
from celes_beam.commands.progress import BYTES, meter, watch


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and tells when a text was written."""

    def __init__(self, awaited: str = "rows/s") -> None:
        super().__init__()
        self.awaited = awaited
        self.written = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.awaited in text:
            self.written.set()
        return super().write(text)


def test_workers_of_a_run_share_one_meter() -> None:
    meter("shared").add(rows=3, done=10)
    meter("shared").add(rows=4)

    assert (meter("shared").rows, meter("shared").done) == (7, 10)
    assert meter("other").rows == 0


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewing, "_REFRESH_SECONDS", 0.01)
    terminal = Terminal()
    before = sys.stdout, sys.stderr
    with watch("bar", 100, mode="auto", stream=terminal):
        meter("bar").add(rows=50, done=50)
        assert terminal.written.wait(10)
        assert (sys.stdout, sys.stderr) == before


def test_bytes_are_shown_as_megabytes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(viewing, "_LOG_SECONDS", 0.01)
    with (
        caplog.at_level(logging.INFO, "celes_beam.commands.progress"),
        watch("bytes", 4_000_000, mode="auto", unit=BYTES, stream=io.StringIO()),
    ):
        meter("bytes").add(done=3_000_000)
        end = time.monotonic() + 10
        while "3.0 MB, 75%" not in caplog.text and time.monotonic() < end:
            time.sleep(0.01)
    assert "3.0 MB, 75%" in caplog.text


def test_elsewhere_it_is_log_lines(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(viewing, "_LOG_SECONDS", 0.01)
    logged = threading.Event()

    class Tell(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "50 rows, 50%" in record.getMessage():
                logged.set()

    handler = Tell()
    logging.getLogger("celes_beam.commands.progress").addHandler(handler)
    try:
        with (
            caplog.at_level(logging.INFO, "celes_beam.commands.progress"),
            watch("log", 100, mode="auto", stream=io.StringIO()),
        ):
            meter("log").add(rows=50, done=50)
            assert logged.wait(10)
    finally:
        logging.getLogger("celes_beam.commands.progress").removeHandler(handler)


def test_off_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    terminal = Terminal()
    with watch("off", 100, mode="off", stream=terminal):
        meter("off").add(rows=1, done=1)

    assert terminal.getvalue() == ""
    assert caplog.records == []

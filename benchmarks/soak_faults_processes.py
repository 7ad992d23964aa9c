"""Processes under random kills: one that is to run for good, and errands that end by themselves."""

from __future__ import annotations

import math
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_PAUSE_SECONDS = 1.0
_DYING = (0.5, 8.0)
"""Seconds after which an errand is killed; most take no longer."""
_SURELY_UP_SECONDS = 25.0
TRACEBACK = "Traceback (most recent call last)"


@dataclass
class Losses:
    """What processes came to: by their names, how many were killed, and how many gave up.

    ``said`` are the last words of those that gave up, ``problems`` what must not be.
    """

    kills: Counter[str] = field(default_factory=Counter)
    gave_up: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def note(self, name: str, code: int, output: str) -> None:
        """Note how a process ended that was not killed by us."""
        if TRACEBACK in output:
            self.problems.append(f"{name} printed a traceback: see its log")
        if code:
            self.gave_up[name] += 1
            lines = output.strip().splitlines()
            self.said[f"{name}: {lines[-1] if lines else f'exit code {code}'}"] += 1


@dataclass(frozen=True)
class Command:
    """What Python is to run (``-m`` is added), in which environment, and where its output goes."""

    name: str
    words: Sequence[str]
    environment: Mapping[str, str]
    log: Path

    def start(self) -> Running:
        """Start it."""
        return Running(self)


class Running:
    """A command in a process group of its own, whose output goes to the end of its log."""

    def __init__(self, command: Command) -> None:
        self.began = time.monotonic()
        self._log = command.log
        self._from = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as written:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command.words],
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                env={**os.environ, **command.environment},
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it said so far."""
        with self._log.open("rb") as file:
            file.seek(self._from)
            return file.read().decode(errors="replace")

    def kill(self) -> None:
        """End it and all that it started, at once, as a machine that fails does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Kept:
    """A process that runs for good: it is killed at random, and started again whenever it ends.

    A context manager. ``between`` are the fewest and the most seconds that it is let live.
    """

    def __init__(
        self,
        command: Command,
        losses: Losses,
        chance: random.Random,
        between: tuple[float, float],
    ) -> None:
        self.name = command.name
        self._command = command
        self._losses = losses
        self._chance = chance
        self._between = between
        self._start_at = 0.0
        self._kill_at = 0.0
        self._running: Running | None = None
        self.look()

    @property
    def pid(self) -> int | None:
        """Its process, if it runs now."""
        return self._running.process.pid if self._running else None

    def look(self) -> None:
        """Start it, or kill it, when it is time."""
        now = time.monotonic()
        running = self._running
        if running is None:
            if now >= self._start_at:
                self._running = self._command.start()
                self._kill_at = now + self._chance.uniform(*self._between)
            return
        code = running.process.poll()
        if code is None and now < self._kill_at:
            return
        if code is None:
            running.kill()
            self._losses.kills[self.name] += 1
        else:
            self._losses.note(self.name, code, running.output)
            if not code:
                self._losses.problems.append(f"{self.name} ended without being asked to")
        self._running = None
        self._start_at = now + _PAUSE_SECONDS

    def end(self, seconds: float) -> int:
        """Let it end as an operator would, within some seconds; returns its exit code."""
        if self._running is None:
            self._running = self._command.start()
        process = self._running.process
        # One that has not begun to listen to signals would just die.
        time.sleep(max(0.0, self._running.began + _SURELY_UP_SECONDS - time.monotonic()))
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._losses.problems.append(f"{self.name} did not end within {seconds:.0f} s")
            self._running.kill()
            code = -signal.SIGKILL
        self._losses.note(self.name, code, self._running.output)
        self._running = None
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._running is not None:
            self._running.kill()


@dataclass
class Errand:
    """A command that is run every so many seconds, and killed with a chance of ``killed``.

    It begins once there is something to do. ``done`` is told the exit code and the output of one
    that was not killed.
    """

    command: Command
    losses: Losses
    chance: random.Random
    every: tuple[float, float]
    ready: Callable[[], bool]
    killed: float = 0.0
    done: Callable[[int, str], None] = lambda code, output: None
    times: int = 0
    _next: float = 0.0
    _kill_at: float = 0.0
    _running: Running | None = None

    def __post_init__(self) -> None:
        self._next = time.monotonic() + self.chance.uniform(*self.every)

    def look(self) -> None:
        """Start it, or see how it ended, when it is time."""
        now = time.monotonic()
        if self._running is None:
            if now >= self._next and self.ready():
                self._running = self.command.start()
                dies = self.chance.random() < self.killed
                self._kill_at = now + self.chance.uniform(*_DYING) if dies else math.inf
            return
        code = self._running.process.poll()
        if code is None and now < self._kill_at:
            return
        if code is None:
            self._running.kill()
            self.losses.kills[self.command.name] += 1
        else:
            self.times += 1
            output = self._running.output
            self.losses.note(self.command.name, code, output)
            self.done(code, output)
        self._running = None
        self._next = now + self.chance.uniform(*self.every)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._running is not None:
            self._running.kill()

"""A subject's figures, and what they were to reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.measure import Runs

Say = Callable[[str], None]


@dataclass(frozen=True)
class Goal:
    """What was to be reached, what was measured, and whether it will do."""

    text: str
    measured: str
    reached: bool


@dataclass(frozen=True)
class Section:
    """A subject's figures; ``whole`` when only whole processes were measured.

    ``table`` is printed, head first, where seconds of work are not what a subject is about.
    """

    title: str
    runs: Sequence[Runs]
    goals: Sequence[Goal]
    whole: bool = False
    table: Sequence[Sequence[str]] = ()

"""The work of which stages are measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Done:
    """What was done: rows (or messages), and bytes read, written, and sent to a table."""

    rows: int
    read: int
    written: int = 0
    appended: int = 0


Work = Callable[[float, int], Done]
"""Does a share of the work on so many threads."""

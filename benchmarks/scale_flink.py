"""Whole runs on the Flink cluster of this machine, with few and with more slots."""

from __future__ import annotations

from pathlib import Path

from benchmarks.scale_measured import Run
from benchmarks.section import Say


def flink_runs(share: float, folder: Path, say: Say) -> list[Run]:
    """Not there yet."""
    raise NotImplementedError

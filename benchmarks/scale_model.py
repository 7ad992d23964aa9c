"""What a forecast is made of: a part of a limit, and the time of rows on the machine measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.scale_limits import Limits
from benchmarks.scale_measured import Run, Stages

MACHINE = "n2-standard-2"
"""The machine of a worker that is reckoned with."""


@dataclass(frozen=True)
class Traffic:
    """What one kind of request to a service comes to in a second; bytes where they matter."""

    service: str
    what: str
    requests: float
    bytes: float = 0.0


@dataclass(frozen=True)
class Pressure:
    """How much of a limit is needed, and what to do when that is too much."""

    what: str
    needed: float
    limit: float
    unit: str
    remedy: str

    @property
    def share(self) -> float:
        """The part of the limit."""
        return self.needed / self.limit

    @property
    def breaks(self) -> bool:
        """Whether it is more than there may be."""
        return self.share > 1


def worst(pressures: Sequence[Pressure]) -> Pressure:
    """The one that breaks first."""
    return max(pressures, key=lambda one: one.share)


def predicted_seconds(stages: Stages, few: Run, rows: float, slots: int) -> float:
    """Seconds of a pipeline on the machine that was measured: a fixed part, and one for each row.

    ``few`` is a run of few rows, which tells the fixed part.
    """
    per_row = stages.per_row(slots)
    return max(0.0, few.middle - per_row * few.rows) + per_row * rows


def predicted_cpu(stages: Stages, few: Run, rows: float, slots: int) -> float:
    """Seconds of processors of a whole process there, likewise."""
    per_row = stages.cpu_per_row(slots)
    return max(0.0, few.cpu - per_row * few.rows) + per_row * rows


def of_core(limits: Limits) -> float:
    """How much of a core of the machine measured a vCPU is, by what is supposed."""
    supposed = limits.supposed
    return supposed.cores_of_vcpu * supposed.pace_of_core * supposed.python_share

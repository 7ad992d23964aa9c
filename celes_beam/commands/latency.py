"""How long things took, in bounded memory: counts of durations by their order of magnitude."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

_PER_DECADE = 20
_DECADES = 7
_SHORTEST_US = 1_000
_BOUNDS_US: Final = _SHORTEST_US * 10 ** (
    np.arange(_PER_DECADE * _DECADES + 1, dtype=np.float64) / _PER_DECADE
)
"""A duration is counted under the first bound that is not shorter: 1 ms to 10,000 s, each an eighth
more than the one before. What is longer has a count of its own."""
_MICROS = 1e6
_TOLD_EACH = 5


@dataclass(frozen=True, eq=False)
class Latency:
    """Durations of some things, as they were counted. The difference of two is what came between.

    ``counts`` has one int64 for each bound and one for what is longer; ``total_us`` is their sum.
    """

    counts: npt.NDArray[np.int64]
    total_us: int = 0

    @classmethod
    def none(cls) -> Latency:
        """Of nothing."""
        return cls(np.zeros(len(_BOUNDS_US) + 1, np.int64))

    def and_also(self, micros: npt.NDArray[np.int64]) -> Latency:
        """These and further durations; one below 0, which clocks that differ make, is 0."""
        if not len(micros):
            return self
        micros = np.maximum(micros, 0)
        counts = np.bincount(np.searchsorted(_BOUNDS_US, micros), minlength=len(self.counts))
        return Latency(self.counts + counts, self.total_us + int(micros.sum()))

    def __sub__(self, before: Latency) -> Latency:
        return Latency(self.counts - before.counts, self.total_us - before.total_us)

    @property
    def count(self) -> int:
        """How many things."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float | None:
        """Their mean in seconds, exact; None of nothing."""
        count = self.count
        return self.total_us / count / _MICROS if count else None

    def quantile(self, share: float) -> float | None:
        """The seconds within which a share (0 to 1) of them was done, to 6%; None of nothing.

        At most 10,000 s, the last bound.
        """
        reached = np.cumsum(self.counts)
        if not reached[-1]:
            return None
        wanted = max(share * reached[-1], 1)
        place = int(np.searchsorted(reached, wanted))
        if place >= len(_BOUNDS_US):
            return float(_BOUNDS_US[-1]) / _MICROS
        upper = float(_BOUNDS_US[place])
        lower = float(_BOUNDS_US[place - 1]) if place else upper / 10
        before = int(reached[place - 1]) if place else 0
        part = (wanted - before) / int(self.counts[place])
        micros: float = lower * (upper / lower) ** part
        return micros / _MICROS

    def at_most(self) -> list[tuple[float, int]]:
        """Some bounds in seconds, the last infinite, and how many things took no longer."""
        reached = np.cumsum(self.counts)
        told = range(0, len(_BOUNDS_US), _TOLD_EACH)
        finite = [(round(float(_BOUNDS_US[i]) / _MICROS, 6), int(reached[i])) for i in told]
        return [*finite, (float("inf"), int(reached[-1]))]

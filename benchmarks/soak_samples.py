"""How a stream did over time: a sample every few seconds, as a table and as curves."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Self

_BYTES_PER_MB = 1_000_000
_BUCKET = "bucket "
_WIDTH, _HEIGHT, _LEFT = 720, 130, 90


@dataclass(frozen=True)
class Sample:
    """A moment, in seconds since the first message, and what came since the one before.

    ``processor`` is the share of a core; latencies are in seconds, 0 when nothing came.
    """

    seconds: float
    memory_mb: float
    messages: int
    per_second: float
    latency_mean: float
    latency_p99: float
    processor: float
    oldest_unacked: float

    @classmethod
    def between(
        cls, before: Mapping[str, float], now: Mapping[str, float], seconds: float, took: float
    ) -> Self:
        """Make one of two readings of a stream's figures, ``took`` seconds apart."""

        def more(name: str) -> float:
            return now.get(name, 0.0) - before.get(name, 0.0)

        told = more("latency_seconds_count")
        return cls(
            round(seconds, 1),
            round(now["process_resident_memory_bytes"] / _BYTES_PER_MB, 1),
            int(now["messages_total"]),
            round(more("messages_total") / took, 1),
            round(more("latency_seconds_sum") / told, 3) if told else 0.0,
            _quantile({name: more(name) for name in now if name.startswith(_BUCKET)}, 0.99),
            round(more("process_cpu_seconds_total") / took, 3),
            round(now["oldest_unacked_seconds"], 2),
        )


def _quantile(at_most: Mapping[str, float], share: float) -> float:
    bounds = sorted((float(name.removeprefix(_BUCKET)), count) for name, count in at_most.items())
    if not bounds or not bounds[-1][1]:
        return 0.0
    return round(next(bound for bound, count in bounds if count >= share * bounds[-1][1]), 3)


def growth(samples: Sequence[Sample]) -> float:
    """By which part the memory of the last third is above that of the middle one (medians)."""
    size = len(samples) // 3
    if not size:
        raise ValueError(f"{len(samples)} samples are too few to tell whether memory grows")
    middle, last = samples[size : 2 * size], samples[-size:]
    return median(s.memory_mb for s in last) / median(s.memory_mb for s in middle) - 1


def write_csv(samples: Sequence[Sample], path: Path) -> None:
    """Write a line for each sample."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(Sample))
        writer.writerows(astuple(sample) for sample in samples)


def write_svg(samples: Sequence[Sample], path: Path) -> None:
    """Draw memory, speed and latency over time."""
    panels: list[tuple[str, Callable[[Sample], float]]] = [
        ("memory, MB", lambda s: s.memory_mb),
        ("messages/s", lambda s: s.per_second),
        ("mean latency, s", lambda s: s.latency_mean),
        ("p99 latency, s", lambda s: s.latency_p99),
    ]
    height = len(panels) * _HEIGHT + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">'
    ]
    for number, (name, value) in enumerate(panels):
        values = [value(sample) for sample in samples]
        parts.append(_panel(name, [s.seconds for s in samples], values, number * _HEIGHT))
    parts.append(
        f'<text x="{_LEFT}" y="{height - 5}">0 to {samples[-1].seconds / 60:.1f} minutes</text>'
    )
    path.write_text("\n".join([*parts, "</svg>\n"]), encoding="utf-8")


def _panel(name: str, times: Sequence[float], values: Sequence[float], top: float) -> str:
    most, end = max(*values, 1e-9) * 1.05, max(times[-1], 1e-9)
    bottom, high = top + _HEIGHT - 10, _HEIGHT - 30
    points = " ".join(
        f"{_LEFT + (_WIDTH - _LEFT - 10) * at / end:.1f},{bottom - high * value / most:.1f}"
        for at, value in zip(times, values, strict=True)
    )
    return (
        f'<text x="4" y="{top + 16}" font-weight="bold">{name}</text>'
        f'<text x="4" y="{top + 34}">{max(values):,.4g}</text><text x="4" y="{bottom}">0</text>'
        f'<line x1="{_LEFT}" y1="{bottom}" x2="{_WIDTH - 10}" y2="{bottom}" stroke="#999"/>'
        f'<polyline points="{points}" fill="none" stroke="#0969da" stroke-width="1.5"/>'
    )

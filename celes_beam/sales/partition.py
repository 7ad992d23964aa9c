"""Lake partitions: which partition each row belongs to, and what its folder is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from celes_beam.contract import CATEGORY, REGION, hive_escape
from celes_beam.errors import ConfigError
from celes_beam.sales.columns import Codes, Ints

DAY = "fecha"
MONTH = "mes"
YEAR = "anio"
PARTITION_COLUMNS: tuple[str, ...] = (REGION, CATEGORY, DAY, MONTH, YEAR)
"""What a lake can be partitioned by: two columns of the contract and three derived from the date.

``fecha`` is the day (2024-05-03), ``mes`` the month (2024-05), ``anio`` the year (2024), in UTC.
"""
MAX_PARTITIONS = 20_000

_MICROS_PER_DAY = 86_400_000_000
_EPOCH_DAY = datetime(1970, 1, 1, tzinfo=UTC)


def parse_partition_by(text: str) -> tuple[str, ...]:
    """Read ``region_de_venta,mes`` or ``none``. Raises ``ConfigError`` naming what is not known."""
    names = tuple(n.strip() for n in text.split(",") if n.strip())
    if names == ("none",):
        return ()
    for name in names:
        if name not in PARTITION_COLUMNS:
            known = ", ".join(PARTITION_COLUMNS)
            raise ConfigError(f"--partition_by {name}: expected some of {known}, or none")
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"--partition_by {text!r}: expected each column once, or none")
    return names


def hive_path(partition: Mapping[str, str]) -> str:
    """Name the folder of a partition: ``region_de_venta=Norte/mes=2024-05``; empty for none."""
    return "/".join(f"{name}={hive_escape(value)}" for name, value in partition.items())


def parse_hive_path(path: str) -> dict[str, str]:
    """Read the partition values back from a file's path relative to the lake."""
    pairs = (part.partition("=") for part in path.split("/")[:-1])
    return {name: unquote(value) for name, equals, value in pairs if equals}


@dataclass(frozen=True)
class PartitionKeys:
    """The partition of each of n rows: n codes, and what the partition of each code is called."""

    codes: npt.NDArray[np.unsignedinteger[Any]]
    count: int
    labels: Sequence[Sequence[str]]
    names: tuple[str, ...]

    def partition(self, code: int) -> dict[str, str]:
        """Partition column -> value of one code."""
        values: list[str] = []
        for labels in reversed(self.labels):
            code, index = divmod(code, len(labels))
            values.append(labels[index])
        return dict(zip(self.names, reversed(values), strict=True))


def partition_keys(
    names: tuple[str, ...],
    texts: Mapping[str, tuple[Codes, Sequence[str]]],
    micros: Ints,
) -> PartitionKeys:
    """Give each row the code of its partition.

    ``texts`` holds codes and texts of the two text columns; ``micros`` the dates.
    """
    combined: npt.NDArray[Any] = np.zeros(len(micros), dtype=np.uint8)
    count = 1
    all_labels: list[Sequence[str]] = []
    days = micros // _MICROS_PER_DAY if {DAY, MONTH, YEAR} & set(names) else None
    for name in names:
        codes, labels = texts[name] if days is None or name in texts else _date_codes(name, days)
        all_labels.append(labels)
        count *= len(labels)
        combined = combined.astype(_code_type(count), copy=False) * _code_type(count)(len(labels))
        combined += codes.astype(combined.dtype, copy=False)
    return PartitionKeys(combined, count, all_labels, names)


def _code_type(count: int) -> type[np.unsignedinteger[Any]]:
    if count < 2**8:
        return np.uint8
    return np.uint16 if count < 2**16 else np.uint64


def _date_codes(name: str, days: Ints) -> tuple[Codes, list[str]]:
    if not len(days):
        return days, [""]
    first, last = int(days.min()), int(days.max())
    calendar = [_EPOCH_DAY + timedelta(days=d) for d in range(first, last + 1)]
    form = {DAY: "%Y-%m-%d", MONTH: "%Y-%m", YEAR: "%Y"}[name]
    by_day = [d.strftime(form) for d in calendar]
    labels = list(dict.fromkeys(by_day))
    code_of = {label: i for i, label in enumerate(labels)}
    of_day = np.array([code_of[label] for label in by_day], dtype=np.int32)
    return np.take(of_day, days - first, mode="clip"), labels

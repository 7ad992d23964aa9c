"""Values of flags, read from their text: numbers, lists, pairs. Errors name the flag."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from celes_beam.errors import ConfigError


def whole_number(flag: str) -> Callable[[str], int]:
    """Read a whole number, such as 10000000, 10_000_000 or 1e7."""

    def parse(text: str) -> int:
        try:
            value = float(text) if "e" in text.lower() else int(text)
        except ValueError:
            value = 0.5
        if value % 1 != 0:  # also of nan and inf, whose rest is nan
            raise ConfigError(f"{flag} {text}: expected a whole number, such as 1000 or 1e6")
        return int(value)

    return parse


def number(flag: str, least: float, most: float) -> Callable[[str], float]:
    """Read a number from ``least`` to ``most``, both included."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise ConfigError(f"{flag} {text}: expected a number from {least:g} to {most:,.0f}")
        return value

    return parse


def positive_int(flag: str) -> Callable[[str], int]:
    """Read a whole number of at least 1."""

    def parse(text: str) -> int:
        value = whole_number(flag)(text)
        if value < 1:
            raise ConfigError(f"{flag} {text}: expected 1 or more")
        return value

    return parse


def text_list(flag: str) -> Callable[[str], tuple[str, ...]]:
    """Read a comma list of texts."""

    def parse(text: str) -> tuple[str, ...]:
        texts = tuple(t.strip() for t in text.split(",") if t.strip())
        if not texts:
            raise ConfigError(f"{flag} {text!r}: expected a comma list, such as Norte,Sur")
        return texts

    return parse


def column_mapping(text: str) -> tuple[tuple[str, str], ...]:
    """Read ``id_cliente=household_id,…`` as pairs of contract column and header."""
    from celes_beam.contract import COLUMN_NAMES  # noqa: PLC0415 - imports pyarrow: not for --help

    pairs = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        column, equals, header = (part.strip() for part in item.partition("="))
        if column not in COLUMN_NAMES or not equals or not header:
            raise ConfigError(
                f"--columns {item}: expected COLUMN=HEADER with COLUMN one of "
                f"{', '.join(COLUMN_NAMES)}"
            )
        pairs.append((column, header))
    return tuple(pairs)


def one_header_each(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Check that ``--columns`` names one header for a column. Raises ``ConfigError``."""
    headers: dict[str, str] = {}
    for column, header in pairs:
        if headers.setdefault(column, header) != header:
            raise ConfigError(
                f"--columns {column}={header}: it was {column}={headers[column]} before; name one"
            )
    return tuple(headers.items())


def most_rejected(text: str) -> tuple[int | None, float | None]:
    """Read ``--max_rejected``: a number of rows, or a share of the rows read (0 to 1)."""
    try:
        if text.endswith("%"):
            share = float(text[:-1]) / 100
            if 0 <= share <= 1:
                return None, share
        elif int(text) >= 0:
            return int(text), None
    except ValueError:
        pass
    raise ConfigError(f"--max_rejected {text}: expected a number of rows, or a percentage like 1%")

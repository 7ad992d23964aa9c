"""Numbers, dates and sizes as the reader of a report writes them: ``es`` 1.234,56, ``en`` 1,234.56.

CLDR leaves four digits ungrouped in Spanish (1234,56); columns of amounts are read better with.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal

_NO_BREAK = "\u00a0"
_WIDE = Context(prec=80, rounding=ROUND_HALF_EVEN)
_SECONDS_PER_MINUTE = 60
_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_BYTES_PER_UNIT = 1000
# Control characters would be invisible, or end the page for some readers.
_VISIBLE = {code: 0x2400 + code for code in range(32)} | {0x7F: 0x2421}


@dataclass(frozen=True)
class ReaderFormat:
    """How one language writes figures; ``months`` are short names, January first."""

    decimal: str
    thousands: str
    percent: str
    months: tuple[str, ...]

    def number(self, value: Decimal | int | float | str, digits: int = 0) -> str:
        """Write a number with ``digits`` decimals, rounded half-even."""
        exact = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
        rounded = exact.quantize(Decimal(1).scaleb(-digits), context=_WIDE)
        whole, _, rest = f"{rounded:,f}".partition(".")
        grouped = whole.replace(",", self.thousands)
        return f"{grouped}{self.decimal}{rest}" if rest else grouped

    def amount(self, value: Decimal | str) -> str:
        """Write an amount to the cent."""
        return self.number(value, 2)

    def share(self, value: Decimal | str) -> str:
        """Write a share (0 to 1) as a percentage with one decimal."""
        return f"{self.number(Decimal(value) * 100, 1)}{self.percent}"

    def size(self, count: float) -> str:
        """Write bytes in a unit of 1000 that leaves at most three digits before the point."""
        unit = 0
        while count >= _BYTES_PER_UNIT and unit < len(_BYTE_UNITS) - 1:
            count, unit = count / _BYTES_PER_UNIT, unit + 1
        return f"{self.number(count, 1 if unit else 0)}{_NO_BREAK}{_BYTE_UNITS[unit]}"

    def seconds(self, value: float) -> str:
        """Write a duration; past a minute as minutes and seconds."""
        if value < _SECONDS_PER_MINUTE:
            return f"{self.number(value, 2)}{_NO_BREAK}s"
        minutes, seconds = divmod(round(value), _SECONDS_PER_MINUTE)
        return f"{self.number(minutes)}{_NO_BREAK}min{_NO_BREAK}{seconds}{_NO_BREAK}s"

    def month(self, value: str) -> str:
        """Write a month given as 2024-05."""
        year, month = value.split("-")
        return f"{self.months[int(month) - 1]}{_NO_BREAK}{year}"

    def date(self, value: str) -> str:
        """Write the day of an ISO 8601 moment, in UTC."""
        moment = datetime.fromisoformat(value).astimezone(UTC)
        return f"{moment.day}{_NO_BREAK}{self.month(f'{moment:%Y-%m}')}"

    def moment(self, value: str) -> str:
        """Write an ISO 8601 moment to the minute, in UTC."""
        moment = datetime.fromisoformat(value).astimezone(UTC)
        return f"{self.date(value)}, {moment:%H:%M}{_NO_BREAK}UTC"


SPANISH_FORMAT = ReaderFormat(
    decimal=",",
    thousands=".",
    percent=f"{_NO_BREAK}%",
    months=("ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic"),
)
ENGLISH_FORMAT = ReaderFormat(
    decimal=".",
    thousands=",",
    percent="%",
    months=("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


def visible(text: object) -> str:
    """A text from data with its control characters shown as pictures, such as ␀."""
    return str(text).translate(_VISIBLE)

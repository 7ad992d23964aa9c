"""The slow, obvious way to judge rows: one value at a time, with ``decimal`` and ``datetime``.

Tests compare the fast ways with this one. Nothing here is shared with the product but the contract.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from celes_beam.contract import (
    AMOUNT,
    CATEGORY,
    CENT_TOLERANCE,
    COLUMN_NAMES,
    DATE,
    EPOCH,
    ID,
    Reason,
    Rules,
    normalize_text,
)

TEN_DIGITS = Decimal(10) ** 10
HUGE_EXPONENT = 400
MICROSECOND = timedelta(microseconds=1)

ISO = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"(?:[Tt ](?P<hour>\d\d)(?::(?P<minute>\d\d)(?::(?P<second>\d\d)"
    r"(?:\.(?P<fraction>\d{1,9}))?)?)?"
    r"(?: ?(?:[Zz]|UTC|(?P<sign>[+-])(?P<ahead>\d\d)(?::?(?P<ahead_minutes>\d\d))?))?)?",
    re.ASCII,
)
HIVE_ESCAPED = re.compile(r"""[\x00-\x1f"#%'*/:=?\\{}[\]^\x7f]""")
FORMS = {
    "dd/mm/yyyy": r"(?P<day>\d\d?)/(?P<month>\d\d?)/(?P<year>\d{4})",
    "MM-DD-YYYY": r"(?P<month>\d\d?)-(?P<day>\d\d?)-(?P<year>\d{4})",
    "yyyymmdd": r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)",
    "dd/mm/aaaa HH:MM:SS": r"(?P<day>\d\d?)/(?P<month>\d\d?)/(?P<year>\d{4})\s+"
    r"(?P<hour>\d\d?):(?P<minute>\d\d?):(?P<second>\d\d?)",
    "%d.%m.%Y %H:%M": r"(?P<day>\d\d?)\.(?P<month>\d\d?)\.(?P<year>\d{4})\s+"
    r"(?P<hour>\d\d?):(?P<minute>\d\d?)",
}
"""Some forms of dates that a user may ask for, and what fits them."""


def judge_text(
    column: str, text: str | None, rules: Rules, point: str = ".", form: str | None = None
) -> Any:
    """The accepted value of a text (int, datetime, Decimal or str), or the Reason against it."""
    if text is None or not text.strip():
        return Reason.MISSING
    if column == ID:
        return _id(text.strip(), point)
    if column == AMOUNT:
        return _amount(text.strip(), point)
    if column == DATE:
        return _date(text.strip(), rules, form)
    return _text(column, text, rules.categories if column == CATEGORY else rules.regions)


def _id(text: str, point: str) -> Any:
    match = re.fullmatch(rf"([+-]?)([0-9]+)(?:{re.escape(point)}0*)?", text)
    if not match:
        return Reason.UNPARSEABLE
    sign, digits = match[1], match[2].lstrip("0")
    if sign == "-" or not digits or len(digits) > 19 or int(digits) >= 2**63:
        return Reason.OUT_OF_RANGE
    return int(digits)


def _amount(text: str, point: str) -> Any:
    p = re.escape(point)
    if not re.fullmatch(rf"[+-]?([0-9]+({p}[0-9]*)?|{p}[0-9]+)([eE][+-]?[0-9]+)?", text):
        return Reason.UNPARSEABLE
    mantissa, _, exponent = text.replace(point, ".").lower().partition("e")
    number = Decimal(mantissa)
    if number <= 0:
        return Reason.OUT_OF_RANGE
    # 10 ** 999999999 would not fit in memory; beyond a few hundred places only the sign matters.
    power = int(Decimal(exponent or 0).max(-10_000_000).min(10_000_000))
    place = number.adjusted() + power
    if place >= HUGE_EXPONENT:
        return Reason.OUT_OF_RANGE
    if place <= -HUGE_EXPONENT:
        return Reason.INEXACT
    sign, digits, scale = number.as_tuple()
    return judge_amount(Decimal((sign, digits, int(scale) + power)))


def judge_amount(value: Decimal) -> Any:
    """An amount without regard to how it was written: out of range comes before inexact."""
    if value <= 0 or value >= TEN_DIGITS:
        return Reason.OUT_OF_RANGE
    _, digits, exponent = value.as_tuple()
    digits = "".join(map(str, digits))
    past = -int(exponent) - 2
    if past > 0 and digits.zfill(past)[-past:].strip("0"):
        return Reason.INEXACT
    cents = int(digits.zfill(past)[:-past] or 0) if past > 0 else int(digits) * 10**-past
    return Decimal(cents).scaleb(-2)


def _date(text: str, rules: Rules, form: str | None) -> Any:
    match = re.compile(FORMS[form], re.ASCII).fullmatch(text) if form else ISO.fullmatch(text)
    if not match:
        return Reason.UNPARSEABLE
    fields = match.groupdict()
    numbers = {
        name: int(fields.get(name) or 0)
        for name in ("year", "month", "day", "hour", "minute", "second")
    }
    # The year 0 is a leap year that datetime does not have; it is out of range in any case.
    numbers["year"] = numbers["year"] or 4
    fraction = int((fields.get("fraction") or "").ljust(6, "0")[:6])
    try:
        micros = _micros(datetime(**numbers, microsecond=fraction))
    except ValueError:
        return Reason.UNPARSEABLE
    sign = {"+": -1, "-": 1, None: 0}[fields.get("sign")]
    hours, minutes = int(fields.get("ahead") or 0), int(fields.get("ahead_minutes") or 0)
    if hours > 23 or minutes > 59:
        return Reason.UNPARSEABLE
    return _within(micros + sign * (hours * 60 + minutes) * 60_000_000, rules)


def _micros(naive: datetime) -> int:
    return (naive.replace(tzinfo=UTC) - EPOCH) // MICROSECOND


def _within(micros: int, rules: Rules) -> Any:
    if not rules.min_us <= micros <= rules.max_us:
        return Reason.OUT_OF_RANGE
    return EPOCH + timedelta(microseconds=micros)


def _text(column: str, text: str, known: tuple[str, ...] | None) -> Any:
    text = normalize_text(text)
    if not text:
        return Reason.MISSING
    if "\0" in text:
        return Reason.UNPARSEABLE
    # Hive writes some characters as % and two digits.
    folder = f"{column}=" + HIVE_ESCAPED.sub("%00", text)
    if text == "__HIVE_DEFAULT_PARTITION__" or len(folder.encode()) > 255:
        return Reason.OUT_OF_RANGE
    return text if known is None or text in known else Reason.UNKNOWN


def judge_value(  # noqa: PLR0911 - one for each kind of value
    column: str, value: Any, rules: Rules
) -> Any:
    """Like judge_text, for a typed value as Arrow's ``as_py`` gives it."""
    if value is None:
        return Reason.MISSING
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return Reason.UNPARSEABLE
    if isinstance(value, str):
        return judge_text(column, value, rules)
    number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    if column == DATE and isinstance(value, date):
        if not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        if value.tzinfo is not None:
            value = value.astimezone(UTC)
        return _within(_micros(value), rules)
    if column == ID and number:
        if not math.isfinite(value) or value != int(value):
            return Reason.UNPARSEABLE
        return int(value) if 0 < value < 2**63 else Reason.OUT_OF_RANGE
    if column == AMOUNT and isinstance(value, float):
        return _float_amount(value)
    if column == AMOUNT and number:
        return judge_amount(Decimal(value))
    return Reason.UNPARSEABLE


def _float_amount(value: float) -> Any:
    if not math.isfinite(value):
        return Reason.UNPARSEABLE
    if value <= 0 or value >= 1e10:
        return Reason.OUT_OF_RANGE
    cents = round(value * 100)
    # 1234567.89 has 2 decimals as written, though 1234567.89 * 100 is not a whole number.
    if abs(value * 100 - cents) > CENT_TOLERANCE and cents / 100 != value:
        return Reason.INEXACT
    return judge_amount(Decimal(cents).scaleb(-2))


def judge_rows(
    columns: Mapping[str, Sequence[Any]], judge: Any
) -> tuple[list[dict[str, Any]], list[tuple[int, list[str], str, Any]]]:
    """Accepted rows, and (index, reasons, first wrong column, its value) of each rejected row.

    ``judge`` is called with a column and a value.
    """
    accepted, rejected = [], []
    for i in range(len(columns[ID])):
        row = {c: judge(c, columns[c][i]) for c in COLUMN_NAMES}
        wrong = [c for c in COLUMN_NAMES if isinstance(row[c], Reason)]
        if wrong:
            rejected.append((i, [str(row[c]) for c in wrong], wrong[0], columns[wrong[0]][i]))
        else:
            accepted.append(row)
    return accepted, rejected

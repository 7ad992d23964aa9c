"""Dates written as text, read as microseconds UTC."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

from celes_beam.sales.columns import timestamp_array
from celes_beam.sales.date_format import ZONE, parse_date_format
from celes_beam.sales.judged import OK, OUT_OF_RANGE, UNPARSEABLE, JudgedColumn
from celes_beam.sales.shapes import Ints, Mask, ShapeGroup, number, shape_groups, trim

_ISO = re.compile(
    (
        r"(?P<year>0{4})-(?P<month>00)-(?P<day>00)(?:[Tt ](?P<hour>00)"
        r"(?::(?P<minute>00)(?::(?P<second>00)(?:\.(?P<fraction>0{1,9}))?)?)?(?: ?" + ZONE + ")?)?"
    ).encode()
)
_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
# For each month from January of the year 0: its first day, in days since 1970, and its length.
_FIRST_DAYS = np.arange(-1970 * 12, 8030 * 12 + 1).astype("datetime64[M]").astype("datetime64[D]")
_FIRST_DAYS = _FIRST_DAYS.astype(np.int64)
_LENGTHS = np.diff(_FIRST_DAYS)


def judge_date_texts(
    texts: pa.Array, min_us: int, max_us: int, date_format: str | None = None
) -> JudgedColumn:
    """Read a string array of dates as timestamp[us, UTC].

    In ISO 8601 (no ``date_format``) accepted are ``2024-01-31`` and, after a ``T`` or a space,
    ``HH``, ``HH:MM`` or ``HH:MM:SS`` with up to 9 decimals, of which those past the sixth are cut
    off; then if wanted ``Z``, ``UTC``, ``+HH:MM``, ``+HHMM`` or ``+HH``. In another form accepted
    is what ``date_format.parse_date_format`` says. White space around is stripped; what is not a
    day or time of the calendar, 24:00 and second 60 among it, is ``unparseable``; a moment before
    ``min_us`` or after ``max_us`` (inclusive, microseconds since 1970) is ``out_of_range``.
    """
    pattern = parse_date_format(date_format) if date_format else _ISO
    texts, codes = trim(texts)
    micros = np.zeros(len(texts), np.int64)
    for group in shape_groups(texts, codes):
        match = pattern.fullmatch(group.shape)
        if not match:
            continue
        values, valid = _read(group, match)
        outside = (values < min_us) | (values > max_us)
        found = np.where(outside, np.uint8(OUT_OF_RANGE), np.uint8(OK))
        found[~valid] = UNPARSEABLE
        codes[group.rows], micros[group.rows] = found, values
    return JudgedColumn(timestamp_array(micros), codes)


def _read(group: ShapeGroup, match: re.Match[bytes]) -> tuple[Ints, Mask]:
    """Read the microseconds of dates of one shape, and say which are of the calendar."""
    fields = match.groupdict()

    def field(name: str) -> Ints:
        start, end = match.span(name)
        return number(group.texts[:, start:end]).astype(np.int64)

    if fields.get("short_year"):
        year = field("short_year")
        # As strptime and POSIX have it: 69-99 are 1969-1999, 00-68 are 2000-2068.
        year += np.where(year < 69, 2000, 1900)
    else:
        year = field("year")
    month, day = field("month"), field("day")
    valid: Mask = (month >= 1) & (month <= 12) & (day >= 1)
    months = year * 12 + np.where(valid, month - 1, 0)
    valid &= day <= _LENGTHS[months]
    micros = (_FIRST_DAYS[months] + day - 1) * _DAY
    for name, limit, unit in (
        ("hour", 24, 3600 * _SECOND),
        ("minute", 60, 60 * _SECOND),
        ("second", 60, _SECOND),
    ):
        if fields.get(name):
            value = field(name)
            valid &= value < limit
            micros += value * unit
    if fields.get("fraction"):
        start, end = match.span("fraction")
        digits = min(end - start, 6)
        micros += number(group.texts[:, start : start + digits]).astype(np.int64) * 10 ** (
            6 - digits
        )
    zone = fields.get("zone")
    if zone and zone[:1] in b"+-":
        start, end = match.span("zone")
        hours = number(group.texts[:, start + 1 : start + 3]).astype(np.int64)
        minutes = np.zeros_like(hours)
        if end - start > 3:
            minutes = number(group.texts[:, end - 2 : end]).astype(np.int64)
        valid &= (hours < 24) & (minutes < 60)
        offset = (hours * 60 + minutes) * 60 * _SECOND
        micros += offset if zone[:1] == b"-" else -offset
    return micros, valid

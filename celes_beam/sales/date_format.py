"""The forms in which a user says how dates are written, turned into patterns of shapes.

A form is made of day ``dd``, month ``mm``, year ``yyyy`` (or ``aaaa``) or ``yy``, and if wanted
hour ``HH``, minute ``MM``, second ``SS``, in any case and order: an ``mm`` is minutes when an hour
went before. Or it is strptime's: ``%d %m %Y %y %H %M %S %f %z``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from celes_beam.errors import ConfigError

ZONE = r"(?P<zone>[Zz]|UTC|[+-]00(?::?00)?)"

_CODES = {
    "yyyy": "Y",
    "aaaa": "Y",
    "yy": "y",
    "aa": "y",
    "mm": "m",
    "m": "m",
    "dd": "d",
    "d": "d",
    "hh": "H",
    "h": "H",
    "ss": "S",
    "s": "S",
}
_TOKEN = re.compile(r"yyyy|aaaa|yy|aa|mm?|dd?|hh?|ss?", re.IGNORECASE)
_NAMES = {
    "Y": "year",
    "y": "short_year",
    "m": "month",
    "d": "day",
    "H": "hour",
    "M": "minute",
    "S": "second",
    "f": "fraction",
    "z": "zone",
}
_EXAMPLES = "dd/mm/yyyy, mm/dd/yyyy, yyyymmdd, dd/mm/yyyy HH:MM:SS or %d/%m/%Y"

Part = tuple[str, bool]
"""A strptime code without its %, or a literal character; and whether it is a code."""


@lru_cache(maxsize=64)
def parse_date_format(form: str) -> re.Pattern[bytes]:
    """Make the pattern that fits the shapes (digits as ``0``) of dates written in a form.

    Its groups are named year or short_year, month, day, hour, minute, second, fraction and zone.
    Days, months, hours, minutes and seconds may have one digit, but where digits touch other digits
    they have two. Raises ``ConfigError`` when the form is not understood.
    """
    parts = list(_strptime_parts(form) if "%" in form else _plain_parts(form))
    codes = [code for code, is_code in parts if is_code]
    _check(form, codes)
    pattern = ""
    for i, (text, is_code) in enumerate(parts):
        if not is_code:
            pattern += r"\s+" if text.isspace() else re.escape(text)
        elif text == "z":
            pattern += ZONE
        else:
            touches = any(0 <= j < len(parts) and parts[j][1] for j in (i - 1, i + 1))
            pattern += f"(?P<{_NAMES[text]}>{_digits(text, touches)})"
    return re.compile(pattern.encode())


def _digits(code: str, touches: bool) -> str:
    if code == "Y":
        return "0{4}"
    if code == "f":
        return "0{1,9}"
    return "0{2}" if touches or code == "y" else "0{1,2}"


def _strptime_parts(form: str) -> Iterator[Part]:
    for token in re.findall(r"%.?|.", form, re.DOTALL):
        if len(token) == 1 and token != "%" and not token.isdigit():
            yield token, False
        elif token == "%%":
            yield "%", False
        elif token[1:] in _NAMES:
            yield token[1:], True
        else:
            known = " ".join(f"%{c}" for c in _NAMES)
            raise ConfigError(
                f"date format {form!r}: {token} is not understood; use {known}, as in {_EXAMPLES}"
            )


def _plain_parts(form: str) -> Iterator[Part]:
    position, hour = 0, False
    while position < len(form):
        token = _TOKEN.match(form, position)
        if token:
            code = _CODES[token[0].lower()]
            hour = hour or code == "H"
            yield ("M" if code == "m" and hour else code), True
            position = token.end()
            continue
        literal = form[position]
        if literal.isalnum() and literal != "T":
            raise ConfigError(
                f"date format {form!r}: {literal!r} is not understood; write it like {_EXAMPLES}"
            )
        yield literal, False
        position += 1


def _check(form: str, codes: list[str]) -> None:
    years = codes.count("Y") + codes.count("y")
    problems = []
    for name, count in (("day", codes.count("d")), ("month", codes.count("m")), ("year", years)):
        if count != 1:
            problems.append(f"has {count} {name}s instead of 1")
    for code in "HMSfz":
        if codes.count(code) > 1:
            problems.append(f"has its {_NAMES[code]} {codes.count(code)} times")
    for code, needed in (("M", "H"), ("S", "M"), ("f", "S")):
        if code in codes and needed not in codes:
            problems.append(f"has a {_NAMES[code]} but no {_NAMES[needed]}")
    if problems:
        raise ConfigError(
            f"date format {form!r} {' and '.join(problems)}; write it like {_EXAMPLES}"
        )

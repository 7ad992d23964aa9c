"""One JSON object, such as a line of NDJSON, into the texts of the contract's columns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from celes_beam.contract import (
    AMOUNT,
    CATEGORY,
    CENT_TOLERANCE,
    COLUMN_NAMES,
    DATE,
    ID,
    MAX_CENTS,
    REGION,
    fold_header,
    match_headers,
)
from celes_beam.errors import ColumnError, TransformError
from celes_beam.sales.texts import Notation

Row = tuple[str | None, ...]
"""The text of each contract column, in contract order; null where there is none."""
Others = dict[str, bytes]
"""The fields of an object that are no columns, as JSON, in their order."""

MAX_DEPTH = 100
"""Objects and lists may stand within one another this deep. JSON readers have limits that depend on
where they run; with one of our own a line is the same everywhere."""

decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_objects = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode_lines
_decode_string = msgspec.json.Decoder(str).decode
_ID, _DATE, _AMOUNT = (COLUMN_NAMES.index(c) for c in (ID, DATE, AMOUNT))
_NAMES = (COLUMN_NAMES.index(CATEGORY), COLUMN_NAMES.index(REGION))
_NUMBER_STARTS = frozenset("-0123456789")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_ESCAPED = re.compile(r'[\\"\x00-\x1f]')
_MOST_OTHER_KEYS = 64
_MOST_REMEMBERED = 256
_LONGEST_REMEMBERED = 100
MOST_OTHERS = 256
"""A transform gets at most this many fields beside the columns."""


class NoText(str):
    """A JSON number, true or false where only a text will do, as it stands."""

    __slots__ = ()


@dataclass(frozen=True)
class Keys:
    """The keys of an object: one for each contract column, in their order, and the others.

    ``others`` are given with the values that they have; ``has_text_id`` says that the id is a text.
    """

    columns: list[str]
    others: dict[str, bytes]
    has_text_id: bool


def find_keys(line: bytes, mapping: Mapping[str, str] | None) -> Keys | None:
    """Find the key that an object has for each contract column.

    ``None`` when it is no object, does not have exactly one key of its own for each, has very many
    others, or keys with characters that JSON escapes.
    """
    try:
        found = decode_object(line)
        places = match_headers(list(found), mapping)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ColumnError):
        return None
    names = list(found)
    columns = [names[places[name]] for name in COLUMN_NAMES]
    others = {key: bytes(raw) for key, raw in found.items() if key not in columns}
    if len(others) > _MOST_OTHER_KEYS or are_spelled_otherwise(others, columns):
        return None
    # Decoders are made of keys that stand in the text as they are.
    if any(_ESCAPED.search(key) for key in found):
        return None
    return Keys(columns, others, bytes(found[columns[_ID]]).startswith(b'"'))


def are_spelled_otherwise(others: Iterable[str], columns: Iterable[str]) -> bool:
    """Say whether any of some other keys is one of those of the columns in another spelling."""
    wanted = {fold_header(key) for key in columns}
    return any(fold_header(key) in wanted for key in others)


def all_keys(lines: memoryview) -> set[str] | None:
    """All keys of some lines, each an object; ``None`` when one is not."""
    try:
        return set().union(*_decode_objects(lines))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def is_too_deep(line: bytes) -> bool:
    """Say whether objects and lists stand deeper than ``MAX_DEPTH`` within one another."""
    marks = np.frombuffer(_STRING.sub(b"", line), np.uint8)
    opens = (marks == ord("{")) | (marks == ord("["))
    closes = (marks == ord("}")) | (marks == ord("]"))
    return int(np.cumsum(opens.astype(np.int64) - closes).max(initial=0)) > MAX_DEPTH


class LineDecoder:
    """Decodes objects into the texts of the contract's columns.

    ``keys`` are those that most objects are expected to have, as ``find_keys`` gives them; objects
    with other keys that match the headers wanted are read too, only slower. ``has_escapes`` says
    that ASCII characters are escaped somewhere in the objects, perhaps those of a key.
    """

    def __init__(
        self,
        mapping: Mapping[str, str] | None,
        notation: Notation,
        keys: Keys | None,
        *,
        has_escapes: bool,
    ) -> None:
        self._wanted: dict[str, list[int]] = {}
        for i, name in enumerate(COLUMN_NAMES):
            key = fold_header((mapping or {}).get(name, name))
            self._wanted.setdefault(key, []).append(i)
        self._columns_of_key: dict[str, list[int]] = {}
        self._mark_of_key: dict[str, bytes] = {}
        self._point = notation.decimal_point
        self._decode_usual = _usual_decoder(keys) if keys and self._point == "." else None
        self._has_escapes = has_escapes
        self._usual_marks = [_mark(key) for key in keys.columns] if keys else []
        # Without other keys, an object with no more colons than columns has none of them twice.
        self._no_others = keys is not None and not keys.others and not has_escapes

    def decode(self, line: bytes) -> Row | None:
        """Decode an object into one text for each column, numbers as they stand.

        A number, true or false for a category or a region is ``NoText``. ``None`` when it is no
        object, not UTF-8, has an object or a list for such a column, or two keys for one.
        """
        try:
            line.decode()
            if self._decode_usual is not None:
                row = _usual_row(self._decode_usual, line)
                if row is not None:
                    _, date, _, category, region = row
                    colons = date.count(":") + category.count(":") + region.count(":")
                    if self._no_others and line.count(b":") <= len(row) + colons:
                        return row
                    return None if self._repeats(line, self._usual_marks) else row
            return self._decode_any(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, _NotARowError):
            return None

    def decode_all(self, line: bytes) -> tuple[Row, Others] | None:
        """Decode an object into what ``decode`` gives, and its other fields; ``None`` as there."""
        others: Others = {}
        try:
            line.decode()
            return self._decode_any(line, others), others
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, _NotARowError):
            return None

    def _decode_any(self, line: bytes, others: Others | None = None) -> Row:
        row: list[str | None] = [None] * len(COLUMN_NAMES)
        marks: dict[int, bytes] = {}
        for key, raw in decode_object(line).items():
            columns = self._columns_of_key.get(key)
            if columns is None:
                columns = self._find_columns(key)
            if not columns:
                if others is not None:
                    others[key] = bytes(raw)
                continue
            for column in columns:
                if column in marks:
                    raise _NotARowError
                marks[column] = self._mark_of_key[key]
                row[column] = self._text_of(bytes(raw), column)
        if self._repeats(line, list(marks.values())):
            raise _NotARowError
        return tuple(row)

    def _repeats(self, line: bytes, marks: Sequence[bytes]) -> bool:
        """Say whether an object has the key of a column twice, which decoders do not tell."""
        escaped = (self._has_escapes and b"\\u00" in line) or (
            b"\\u" in line and not all(mark.isascii() for mark in marks)
        )
        if not escaped and not any(line.count(mark) > 1 for mark in marks):
            return False
        # Numbers stay texts: Python refuses to read some that are very long.
        pairs = json.loads(line, object_pairs_hook=list, parse_int=str, parse_float=str)
        keys = [key for key, _ in pairs if self._find_columns(key)]
        return len(keys) > len({fold_header(key) for key in keys})

    def _find_columns(self, key: str) -> list[int]:
        columns = self._wanted.get(fold_header(key), [])
        # Keys may be data in disguise, so of those that are not wanted only some are remembered.
        if columns:
            self._mark_of_key[key] = _mark(key)
        elif len(self._columns_of_key) >= _MOST_REMEMBERED or len(key) > _LONGEST_REMEMBERED:
            return columns
        self._columns_of_key[key] = columns
        return columns

    def _text_of(self, raw: bytes, column: int) -> str | None:
        first = raw[:1]
        if first == b'"':
            return _decode_string(raw) if b"\\" in raw else raw[1:-1].decode()
        if raw == b"null":
            return None
        if first in b"{[":
            raise _NotARowError
        text = raw.decode()
        if column in _NAMES:
            return NoText(text)
        if column == _AMOUNT:
            text = _without_noise(text)
        # A JSON number has a point, whatever texts are written with.
        return text.replace(".", self._point) if column in (_ID, _AMOUNT) else text


def other_fields(rows: Sequence[Others]) -> list[tuple[str, pa.Array]]:
    """Turn the other fields of some objects into columns of texts, in order of their coming up.

    Strings become texts, null stays null; anything else is JSON, as it stands. Raises
    ``TransformError`` when there are more than ``MOST_OTHERS``: they would take rows times fields.
    """
    columns: dict[str, list[str | None]] = {}
    for i, others in enumerate(rows):
        for key, raw in others.items():
            if key not in columns:
                if len(columns) == MOST_OTHERS:
                    raise TransformError(
                        f"more than {MOST_OTHERS} different fields beside the columns in one block "
                        f"of rows, such as {key[:80]!r}: expected the same few in every row; give "
                        "keys that are data as a list of values"
                    )
                columns[key] = [None] * len(rows)
            columns[key][i] = _plain_text(raw)
    return [(key, pa.array(texts, pa.string())) for key, texts in columns.items()]


def _plain_text(raw: bytes) -> str | None:
    if raw == b"null":
        return None
    return _decode_string(raw) if raw[:1] == b'"' else raw.decode()


class _NotARowError(ValueError):
    """A contract column holds an object or a list, or has two keys."""


def _mark(key: str) -> bytes:
    return b'"%b"' % key.encode()


def _usual_decoder(keys: Keys) -> Callable[[bytes], Any]:
    """Make a decoder of objects with such keys; twice as fast as one of any object."""
    names = [f"c{i}" for i in range(len(COLUMN_NAMES) + len(keys.others))]
    types = [Any if i in (_DATE, *_NAMES) else msgspec.Raw for i in range(len(names))]
    usual = msgspec.defstruct(
        "Usual",
        [(name, kind, msgspec.UNSET) for name, kind in zip(names, types, strict=True)],
        rename=dict(zip(names, [*keys.columns, *keys.others], strict=True)),
        gc=False,
        # Another key may be that of a column in another spelling.
        forbid_unknown_fields=True,
    )
    decode: Callable[[bytes], Any] = msgspec.json.Decoder(usual).decode
    return decode


def _usual_row(
    decode: Callable[[bytes], Any], line: bytes
) -> tuple[str, str, str, str, str] | None:
    """The texts of an object whose id and amount are numbers, the rest strings; else ``None``."""
    try:
        found = decode(line)
    except msgspec.ValidationError:
        return None
    date, category, region = found.c1, found.c3, found.c4
    if not (type(date) is type(category) is type(region) is str):
        return None
    if found.c0 is msgspec.UNSET or found.c2 is msgspec.UNSET:
        return None
    customer, amount = str(found.c0, "utf-8"), str(found.c2, "utf-8")
    if customer[0] not in _NUMBER_STARTS or amount[0] not in _NUMBER_STARTS:
        return None
    if amount[-3:-2] != "." and "." in amount:
        amount = _without_noise(amount)
    return customer, date, amount, category, region


def _without_noise(number: str) -> str:
    """Write a JSON number as whole cents when, as a float, that is what it means."""
    _, point, decimals = number.partition(".")
    if len(decimals) <= 2 or not point:
        return number
    value = float(number)
    if not 0 < value <= MAX_CENTS / 100:
        return number
    cents = round(value * 100)
    if abs(value * 100 - cents) <= CENT_TOLERANCE or cents / 100 == value:
        return f"{cents // 100}.{cents % 100:02d}"
    return number

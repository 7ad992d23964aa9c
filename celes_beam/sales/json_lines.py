"""One JSON object, such as a line of NDJSON, into the texts of the contract's columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from celes_beam.contract import (
    AMOUNT,
    CENT_TOLERANCE,
    COLUMN_NAMES,
    ID,
    MAX_CENTS,
    fold_header,
    match_headers,
)
from celes_beam.errors import ColumnError
from celes_beam.sales.texts import Notation

Row = tuple[str | None, ...]
"""The text of each contract column, in contract order; null where there is none."""

decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_string = msgspec.json.Decoder(str).decode
_ID, _AMOUNT = COLUMN_NAMES.index(ID), COLUMN_NAMES.index(AMOUNT)
_NUMBER_STARTS = frozenset("-0123456789")


def find_keys(line: bytes, mapping: Mapping[str, str] | None) -> list[str] | None:
    """Find the key that an object has for each contract column.

    ``None`` when it is no object, or does not have exactly one key of its own for each.
    """
    try:
        found = list(decode_object(line))
        places = match_headers(found, mapping)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ColumnError):
        return None
    return [found[places[name]] for name in COLUMN_NAMES]


class LineDecoder:
    """Decodes objects into the texts of the contract's columns.

    ``keys`` are those that most objects are expected to have, as ``find_keys`` gives them; objects
    with other keys that match the headers wanted are read too, only slower.
    """

    def __init__(
        self, mapping: Mapping[str, str] | None, notation: Notation, keys: list[str] | None
    ) -> None:
        self._wanted: dict[str, list[int]] = {}
        for i, name in enumerate(COLUMN_NAMES):
            key = fold_header((mapping or {}).get(name, name))
            self._wanted.setdefault(key, []).append(i)
        self._columns_of_key: dict[str, list[int]] = {}
        self._point = notation.decimal_point
        self._decode_usual = _usual_decoder(keys) if keys and self._point == "." else None

    def decode(self, line: bytes) -> Row | None:
        """Decode an object into one text for each column, numbers as they stand.

        ``None`` when it is no object, not UTF-8, or has an object or a list for such a column.
        """
        try:
            line.decode()
            if self._decode_usual is not None:
                row = _usual_row(self._decode_usual(line))
                if row is not None:
                    return row
            return self._decode_any(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, _NestedError):
            return None

    def _decode_any(self, line: bytes) -> Row:
        row: list[str | None] = [None] * len(COLUMN_NAMES)
        for key, raw in decode_object(line).items():
            columns = self._columns_of_key.get(key)
            if columns is None:
                columns = self._find_columns(key)
            for column in columns:
                row[column] = self._text_of(bytes(raw), column)
        return tuple(row)

    def _find_columns(self, key: str) -> list[int]:
        columns = self._wanted.get(fold_header(key), [])
        # Keys may be data in disguise, so only those that are wanted are remembered.
        if columns:
            self._columns_of_key[key] = columns
        return columns

    def _text_of(self, raw: bytes, column: int) -> str | None:
        first = raw[:1]
        if first == b'"':
            return _decode_string(raw) if b"\\" in raw else raw[1:-1].decode()
        if raw == b"null":
            return None
        if first in b"{[":
            raise _NestedError
        text = raw.decode()
        if column == _AMOUNT:
            text = _without_noise(text)
        # A JSON number has a point, whatever texts are written with.
        return text.replace(".", self._point) if column in (_ID, _AMOUNT) else text


class _NestedError(ValueError):
    """A contract column holds an object or a list."""


def _usual_decoder(keys: list[str]) -> Callable[[bytes], Any]:
    """Make a decoder of objects with such keys; twice as fast as one of any object."""
    names = [f"c{i}" for i in range(len(keys))]
    types = [msgspec.Raw if i in (_ID, _AMOUNT) else Any for i in range(len(keys))]
    usual = msgspec.defstruct(
        "Usual",
        [(name, kind, msgspec.UNSET) for name, kind in zip(names, types, strict=True)],
        rename=dict(zip(names, keys, strict=True)),
        gc=False,
    )
    decode: Callable[[bytes], Any] = msgspec.json.Decoder(usual).decode
    return decode


def _usual_row(found: Any) -> Row | None:
    """The texts of an object whose id and amount are numbers, the rest strings; else ``None``."""
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

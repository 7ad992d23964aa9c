"""Broken rows, planted on purpose, so that validation can be proven.

Whether row i is broken, and how, is a pure function of the seed and i, as its values are. A broken
row has one thing wrong and, in CSV and JSON, stays one line and leaves its neighbours alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from celes_beam.contract import AMOUNT, CATEGORY, COLUMN_NAMES, DATE, ID, REASONS, REGION, Reason
from celes_beam.sales.chance import Indexes, choose_rows, one_of
from celes_beam.sales.encode_csv import Columns, csv_lines, date_texts, quoted, text_of
from celes_beam.sales.encode_json import encode_json, json_values

Kinds = npt.NDArray[np.uint8]

_STREAM = 1
"""Tells the stream that breaks rows from the one that makes them, which has the plain seed."""


@dataclass(frozen=True)
class Breakage:
    """One way to break a row.

    ``column`` is the wrong column, or ``None`` when the row as a whole is malformed; ``text`` is
    what stands there instead of its value (``None``: nothing). ``field`` is the CSV field that is
    replaced and ``raw`` its bytes, quotes included (``None``: the field is left out).
    """

    reason: Reason
    column: str | None
    text: str | None
    field: str
    raw: bytes | None


def _wrong(reason: Reason, column: str, *texts: str | None) -> tuple[Breakage, ...]:
    return tuple(
        Breakage(reason, column, text, column, quoted(pa.array([text or ""]))[0].as_py().encode())
        for text in texts
    )


def _malformed(field: str, raw: bytes | None) -> tuple[Breakage]:
    return (Breakage(Reason.MALFORMED, None, None, field, raw),)


KINDS: tuple[Breakage, ...] = (
    *(kind for name in COLUMN_NAMES for kind in _wrong(Reason.MISSING, name, None)),
    *(kind for name in COLUMN_NAMES for kind in _wrong(Reason.MISSING, name, "  ")),
    *_wrong(Reason.UNPARSEABLE, ID, "abc", "12a"),
    *_wrong(Reason.UNPARSEABLE, DATE, "ayer", "2024-02-30", "2024-13-01"),
    *_wrong(Reason.UNPARSEABLE, AMOUNT, "nan", "12,5x", "gratis"),
    *_wrong(Reason.OUT_OF_RANGE, ID, "0", "-7"),
    *_wrong(Reason.OUT_OF_RANGE, DATE, "1999-12-31", "2999-01-01"),
    *_wrong(Reason.OUT_OF_RANGE, AMOUNT, "0.00", "-3.50", "12345678901.00"),
    *_wrong(Reason.INEXACT, AMOUNT, "12.345", "0.001"),
    *_wrong(Reason.UNKNOWN, CATEGORY, "categoría desconocida"),
    *_wrong(Reason.UNKNOWN, REGION, "región desconocida"),
    *_malformed(REGION, "Norte,de más".encode()),
    *_malformed(REGION, None),
    *_malformed(CATEGORY, b"\xff\xfe"),
)
"""Every way to break a row. A text counts as unknown only where categories are configured."""
TYPED_KINDS: tuple[Breakage, ...] = tuple(k for k in KINDS if k.column is not None)
"""The ways that a file with columns, such as Parquet, can hold: no row is malformed as a whole."""

_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}
_TEXTS = pa.array([kind.text for kind in KINDS], pa.string())
_RAWS = pa.array([kind.raw for kind in KINDS], pa.binary())
_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")


def plan_breakage(
    seed: int, first_row: int, rows: int, rate: float, kinds: Sequence[Breakage] = KINDS
) -> tuple[Indexes, Kinds]:
    """Choose which of ``rows`` rows from ``first_row`` on are broken, and how.

    ``rate`` is the share of broken rows, 0 to 1, exact to one part in 2**32. Returns the broken
    rows as ascending indexes from 0 (row ``first_row``), and for each its place in ``KINDS``.
    Raises ``ConfigError`` for a rate outside 0 to 1.
    """
    choices = np.array([_NUMBERS[kind] for kind in kinds], np.uint8)
    indexes, draws = choose_rows(seed, _STREAM, first_row, rows, rate, name="error_rate")
    return indexes, choices[one_of(draws, len(choices))]


def count_by_reason(kinds: Kinds) -> dict[Reason, int]:
    """Count planned rows by the reason each is to be rejected for, leaving out reasons without."""
    counts = dict.fromkeys(REASONS, 0)
    for number, rows in enumerate(np.bincount(kinds, minlength=len(KINDS))):
        counts[KINDS[number].reason] += int(rows)
    return {reason: rows for reason, rows in counts.items() if rows}


def break_csv(columns: Columns, indexes: Indexes, kinds: Kinds) -> pa.Buffer:
    """Write rows as ``encode_csv`` does, with the planned ones broken."""
    lines = csv_lines(columns)
    if not len(indexes):
        return text_of(lines)
    fields = {
        name: quoted(texts).cast(pa.binary())
        for name, texts in _texts({n: columns[n].take(pa.array(indexes)) for n in COLUMN_NAMES})
    }
    everywhere = np.arange(len(indexes))
    for name, field in fields.items():
        here = np.array([kind.field == name for kind in KINDS])[kinds]
        fields[name] = _replaced(field, everywhere[here], _RAWS.take(pa.array(kinds[here])))
    # A field that is null is left out together with its comma.
    broken = pc.binary_join_element_wise(*fields.values(), b",", null_handling="skip")
    ended = pc.binary_join_element_wise(broken, b"\n", b"")
    return text_of(_replaced(lines.cast(pa.binary()), indexes, ended))


def break_texts(columns: Columns, indexes: Indexes, kinds: Kinds) -> dict[str, pa.StringArray]:
    """Turn columns into texts, with the planned rows broken; ``kinds`` must be ``TYPED_KINDS``."""
    texts = dict(_texts({name: columns[name] for name in COLUMN_NAMES}))
    for name in COLUMN_NAMES:
        here = np.array([kind.column == name for kind in KINDS])[kinds]
        texts[name] = _replaced(texts[name], indexes[here], _TEXTS.take(pa.array(kinds[here])))
    return texts


def break_json(columns: Columns, indexes: Indexes, kinds: Kinds) -> list[bytes]:
    """Write rows as ``encode_json`` does, with the planned ones broken.

    A value that is missing has no key, and a wrong number is a number where JSON has such ones. Of
    the malformed kinds, too many fields are a value without a key, too few an object that is cut
    off, and what is not UTF-8 stays so.
    """
    objects = encode_json(columns)
    if not len(indexes):
        return objects
    values = json_values({name: columns[name].take(pa.array(indexes)) for name in COLUMN_NAMES})
    rows = zip(*(texts.cast(pa.binary()).to_pylist() for texts in values.values()), strict=True)
    for index, number, row in zip(indexes.tolist(), kinds.tolist(), rows, strict=True):
        objects[index] = _broken_object(KINDS[number], dict(zip(COLUMN_NAMES, row, strict=True)))
    return objects


def _broken_object(kind: Breakage, values: dict[str, bytes]) -> bytes:
    if kind.column is None:
        values[kind.field] = b"" if kind.raw is None else _malformed_json(kind.raw)
    elif kind.text is None:
        del values[kind.field]
    elif kind.column in (ID, AMOUNT) and _JSON_NUMBER.fullmatch(kind.text):
        values[kind.field] = kind.text.encode()
    else:
        values[kind.field] = msgspec.json.encode(kind.text)
    text = b",".join(b'"%b":%b' % (name.encode(), value) for name, value in values.items())
    is_cut_off = kind.column is None and kind.raw is None
    return b"{" + text + (b"" if is_cut_off else b"}")


def _malformed_json(raw: bytes) -> bytes:
    return b",".join(b'"%b"' % part for part in raw.split(b","))


def _texts(columns: Mapping[str, pa.Array]) -> list[tuple[str, pa.StringArray]]:
    return [
        (name, date_texts(array) if name == DATE else array.cast(pa.string()))
        for name, array in columns.items()
    ]


def _replaced(array: pa.Array, indexes: Indexes, values: pa.Array) -> pa.Array:
    mask = np.zeros(len(array), bool)
    mask[indexes] = True
    return pc.replace_with_mask(array, pa.array(mask), values)

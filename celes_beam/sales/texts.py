"""How text values are written, and the reading of text columns into the contract's types."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from celes_beam.contract import AMOUNT, CATEGORY, DATE, ID, Rules
from celes_beam.errors import ConfigError
from celes_beam.sales.date_format import parse_date_format
from celes_beam.sales.judged import (
    OK,
    OUT_OF_RANGE,
    UNPARSEABLE,
    JudgedColumn,
    spread,
)
from celes_beam.sales.shapes import (
    nonzero,
    number,
    offsets_of,
    shape_groups,
    trim,
)
from celes_beam.sales.text_amounts import judge_amount_texts
from celes_beam.sales.text_dates import judge_date_texts
from celes_beam.sales.text_names import judge_names

_MAX_ID = 2**63 - 1
_ID_DIGITS = len(str(_MAX_ID))
# Days without a time are few: the distinct ones are read, and each row is given its own.
_DAY_LENGTH = 10


@dataclass(frozen=True)
class Notation:
    """How text values are written.

    ``decimal_point`` is ``.`` or ``,``. ``date_format`` is ``None`` for ISO 8601, or a form such as
    ``dd/mm/yyyy``, ``yyyymmdd HH:MM:SS`` or strptime's ``%d/%m/%Y`` (see ``date_format``). Raises
    ``ConfigError`` for anything else.
    """

    decimal_point: str = "."
    date_format: str | None = None

    def __post_init__(self) -> None:
        if self.decimal_point not in (".", ","):
            raise ConfigError(
                f"decimal point {self.decimal_point!r}: expected '.' or ',', as in 12.50 or 12,50"
            )
        if self.date_format is not None:
            parse_date_format(self.date_format)


PLAIN_NOTATION = Notation()
"""A decimal point and ISO 8601 dates."""


def judge_text_column(
    column: str, texts: pa.Array, rules: Rules, notation: Notation
) -> JudgedColumn:
    """Read a string array, or a dictionary of strings, as the values of a contract column."""
    if not pa.types.is_dictionary(texts.type):
        if column in (ID, AMOUNT) or (column == DATE and _longest(texts) > _DAY_LENGTH):
            return _judge_distinct(column, texts, rules, notation)
        texts = texts.dictionary_encode()
    return spread(_judge_distinct(column, texts.dictionary, rules, notation), texts.indices)


def _judge_distinct(column: str, texts: pa.Array, rules: Rules, notation: Notation) -> JudgedColumn:
    if column == ID:
        return judge_id_texts(texts, notation.decimal_point)
    if column == DATE:
        return judge_date_texts(texts, rules.min_us, rules.max_us, notation.date_format)
    if column == AMOUNT:
        return judge_amount_texts(texts, notation.decimal_point)
    return judge_names(column, texts, rules.categories if column == CATEGORY else rules.regions)


def _longest(texts: pa.Array) -> int:
    return int(np.diff(offsets_of(texts)).max(initial=0))


def judge_id_texts(texts: pa.Array, decimal_point: str = ".") -> JudgedColumn:
    """Read a string array of ids as int64.

    Accepted are ASCII digits with an optional sign and leading zeros, white space around them, and
    decimals that are all 0 (``12.0``, as pandas writes ids of a column with gaps). Hexadecimal and
    exponents are ``unparseable``; ids below 1 or beyond int64 are ``out_of_range``.
    """
    pattern = re.compile(rb"([+-]?)(0+)(?:%b(0*))?" % re.escape(decimal_point.encode()))
    texts, codes = trim(texts)
    ids = np.zeros(len(texts), np.int64)
    for group in shape_groups(texts, codes):
        match = pattern.fullmatch(group.shape)
        if not match:
            continue
        first = max(match.start(2), match.end(2) - _ID_DIGITS)
        values = number(group.texts[:, first : match.end(2)])
        wrong = (values == 0) | (values > _MAX_ID)
        wrong |= nonzero(group.texts[:, match.start(2) : first])
        if match[1] == b"-":
            wrong[:] = True
        found = np.where(wrong, np.uint8(OUT_OF_RANGE), np.uint8(OK))
        if match[3]:
            found[nonzero(group.texts[:, match.start(3) :])] = UNPARSEABLE
        codes[group.rows] = found
        ids[group.rows] = values.astype(np.int64)
    return JudgedColumn(pa.array(ids), codes)

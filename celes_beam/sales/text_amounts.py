"""Amounts written as text, read exactly."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

from celes_beam.contract import AMOUNT_SCALE, MAX_CENTS
from celes_beam.sales.columns import decimal_array
from celes_beam.sales.judged import INEXACT, OK, OUT_OF_RANGE, Codes, JudgedColumn
from celes_beam.sales.shapes import Bytes, Ints, Mask, nonzero, number, shape_groups, trim

_CENTS_DIGITS = len(str(MAX_CENTS))


def judge_amount_texts(texts: pa.Array, decimal_point: str = ".") -> JudgedColumn:
    """Read a string array of amounts as decimal128(12, 2).

    Accepted are ASCII digits with an optional sign, decimal point and exponent (``12``, ``+12.5``,
    ``.5``, ``12.``, ``1.25e3``), white space around them. Thousands separators, currency signs,
    ``nan`` and ``inf`` are ``unparseable``. An amount that is not above 0 or has more than 10
    integer digits is ``out_of_range``, whatever its decimals; of the others one with a digit other
    than 0 past the second decimal is ``inexact``.
    """
    point = re.escape(decimal_point.encode())
    pattern = re.compile(rb"([+-]?)(0*)(?:%b(0*))?(?:[eE]([+-]?)(0+))?" % point)
    texts, codes = trim(texts)
    cents = np.zeros(len(texts), np.int64)
    for group in shape_groups(texts, codes):
        match = pattern.fullmatch(group.shape)
        if not match or not (match[2] or match[3]):
            continue
        whole = group.texts[:, match.start(2) : match.end(2)]
        if match[3]:
            digits = np.hstack([whole, group.texts[:, match.start(3) : match.end(3)]])
        else:
            digits = whole
        positive = match[1] != b"-"
        if not match[5]:
            codes[group.rows], cents[group.rows] = _read(digits, whole.shape[1], positive)
            continue
        # One that moves the point beyond all digits does what any larger one does.
        furthest = digits.shape[1] + _CENTS_DIGITS + AMOUNT_SCALE
        exponents = _exponents(group.texts[:, match.start(5) : match.end(5)], furthest)
        for exponent in np.unique(exponents):
            chosen = exponents == exponent
            rows = group.rows[chosen]
            point_at = whole.shape[1] + int(exponent) * (-1 if match[4] == b"-" else 1)
            codes[rows], cents[rows] = _read(digits[chosen], point_at, positive)
    return JudgedColumn(decimal_array(cents), codes)


def _read(digits: Bytes, point_at: int, positive: bool) -> tuple[Codes, Ints]:
    """Read amounts whose decimal point stands after the first ``point_at`` of their digits."""
    rows, width = digits.shape
    # The digits that make up the whole cents: more than there are means zeros to append.
    kept = point_at + AMOUNT_SCALE
    inside = min(max(kept, 0), width)
    zeros = max(kept - width, 0)
    first = max(inside + min(zeros, _CENTS_DIGITS) - _CENTS_DIGITS, 0)
    too_large: Mask = nonzero(digits[:, :first])
    cents = number(digits[:, first:inside]).astype(np.int64) * 10 ** min(zeros, _CENTS_DIGITS)
    beyond = nonzero(digits[:, inside:])
    codes = np.full(rows, OK, np.uint8)
    codes[beyond] = INEXACT
    codes[too_large | (cents > MAX_CENTS) | ((cents == 0) & ~beyond)] = OUT_OF_RANGE
    if not positive:
        codes[:] = OUT_OF_RANGE
    return codes, cents


def _exponents(digits: Bytes, furthest: int) -> Ints:
    last = digits[:, -9:]
    values = number(last).astype(np.int64)
    values[nonzero(digits[:, : digits.shape[1] - last.shape[1]])] = furthest
    return np.minimum(values, furthest)

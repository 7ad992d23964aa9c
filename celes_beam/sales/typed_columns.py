"""Columns that come with a type (Parquet, JSON), judged as the contract's types."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from celes_beam.contract import (
    AMOUNT,
    AMOUNT_SCALE,
    CENT_TOLERANCE,
    DATE,
    ID,
    MAX_CENTS,
    SCHEMA,
    Rules,
)
from celes_beam.sales.columns import decimal_array, timestamp_array
from celes_beam.sales.judged import (
    INEXACT,
    MISSING,
    OK,
    OUT_OF_RANGE,
    UNPARSEABLE,
    Codes,
    JudgedColumn,
    empty_column,
)
from celes_beam.sales.shapes import Ints, Mask, null_mask
from celes_beam.sales.text_amounts import judge_amount_texts
from celes_beam.sales.text_names import is_utf8
from celes_beam.sales.texts import Notation, judge_id_texts, judge_text_column

_UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_MICROS = 10**6
_NO_PYTHON_VALUE = (ValueError, OverflowError, LookupError, pa.ArrowException)
_MAX_UNITS = MAX_CENTS // 10**AMOUNT_SCALE


def judge_typed_column(
    column: str, array: pa.Array, rules: Rules, notation: Notation
) -> JudgedColumn:
    """Judge an array of any type as the values of a contract column.

    Texts are read as in a text file, binary likewise; what is not UTF-8 is ``unparseable``. Ids may
    be integers, or decimals and floats that are whole. Dates may be timestamps (without a zone they
    are UTC; parts of a microsecond are cut off) or dates. Amounts may be integers, decimals, or
    floats that are within ``contract.CENT_TOLERANCE`` of whole cents or the nearest double to whole
    cents. Every other type is ``unparseable``.
    """
    array = plain_array(array)
    kind = array.type
    if is_text(kind):
        if is_utf8(array.dictionary if pa.types.is_dictionary(kind) else array):
            return judge_text_column(column, array, rules, notation)
        return _judge_binary(column, _as_binary(array), rules, notation)
    if pa.types.is_binary(kind):
        return _judge_binary(column, array, rules, notation)
    judged = None
    if column == DATE and pa.types.is_temporal(kind):
        judged = _judge_dates(array, rules)
    elif column in (ID, AMOUNT) and pa.types.is_integer(kind):
        judged = _judge_integers(array, column)
    elif column in (ID, AMOUNT) and pa.types.is_floating(kind):
        judged = _judge_float_ids(array) if column == ID else _judge_float_amounts(array)
    elif column in (ID, AMOUNT) and pa.types.is_decimal(kind):
        judged = _judge_decimals(array, column)
    if judged is None:
        judged = empty_column(column, len(array), UNPARSEABLE)
    if array.null_count:
        judged.codes[null_mask(array)] = MISSING
    return judged


def plain_array(array: pa.Array) -> pa.Array:
    """Undo encodings: extension, run-end, and dictionary (but of texts); view and large texts."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    kind = array.type
    if pa.types.is_dictionary(kind):
        if not _is_any_text(kind.value_type):
            return plain_array(array.dictionary_decode())
        return pa.DictionaryArray.from_arrays(array.indices, array.dictionary.cast(pa.string()))
    if _is_any_text(kind):
        return array.cast(pa.string())
    if _is_any_binary(kind):
        return array.cast(pa.binary())
    return array


def is_text(kind: pa.DataType) -> bool:
    """Say whether a type is string, or a dictionary of strings."""
    return bool(pa.types.is_string(kind.value_type if pa.types.is_dictionary(kind) else kind))


def readable(array: pa.Array, rows: Ints) -> pa.Array:
    """Return chosen values of an array of any type as strings, for people to read."""
    array = plain_array(array)
    try:
        chosen = array.take(pa.array(rows))
        if pa.types.is_dictionary(chosen.type):
            chosen = chosen.dictionary_decode()
        if not pa.types.is_binary(chosen.type):
            chosen = chosen.cast(pa.string())
            if is_utf8(chosen):
                return chosen
            chosen = _as_binary(chosen)
    except pa.ArrowException:
        values = [python_value(array[row]) for row in rows.tolist()]
        return pa.array([None if v is None else str(v) for v in values], pa.string())
    texts = [None if v is None else v.decode(errors="replace") for v in chosen.to_pylist()]
    return pa.array(texts, pa.string())


def python_values(array: pa.Array, rows: Ints) -> list[Any]:
    """Return chosen values of an array of any type as Python objects; see ``python_value``."""
    array = plain_array(array)
    try:
        values: list[Any] = array.take(pa.array(rows)).to_pylist()
    except _NO_PYTHON_VALUE:
        return [python_value(array[row]) for row in rows.tolist()]
    return values


def python_value(scalar: pa.Scalar) -> Any:
    """Return a scalar as a Python object; as a string when there is none for it.

    Such are dates beyond the year 9999, times in unknown zones, and texts that are not UTF-8.
    """
    if isinstance(scalar, pa.DictionaryScalar):
        scalar = scalar.value
    try:
        return scalar.as_py()
    except _NO_PYTHON_VALUE:
        pass
    try:
        if pa.types.is_string(scalar.type):
            return bytes(scalar.as_buffer()).decode(errors="replace")
        return scalar.cast(pa.string()).as_py()
    except (UnicodeDecodeError, pa.ArrowException):
        return f"<{scalar.type}>"


def words(array: pa.Array, dtype: type[np.generic], per_value: int = 1) -> Ints:
    """View the values of a fixed-width array as numpy; those of nulls are arbitrary."""
    data = array.buffers()[1]
    if data is None or not len(array):
        return np.zeros(per_value * len(array), dtype)
    start = array.offset * per_value
    return np.frombuffer(data, dtype)[start : start + len(array) * per_value]


def _is_any_text(kind: pa.DataType) -> bool:
    is_ = pa.types
    return bool(is_.is_string(kind) or is_.is_large_string(kind) or is_.is_string_view(kind))


def _is_any_binary(kind: pa.DataType) -> bool:
    is_ = pa.types
    return bool(
        is_.is_binary(kind)
        or is_.is_large_binary(kind)
        or is_.is_binary_view(kind)
        or is_.is_fixed_size_binary(kind)
    )


def _codes(wrong: Mask, code: int) -> Codes:
    return np.where(wrong, np.uint8(code), np.uint8(OK))


def _judge_integers(array: pa.Array, column: str) -> JudgedColumn:
    # An unsigned value beyond int64 wraps around to a negative one, which is out of range as well.
    values = words(array.cast(pa.int64(), safe=False), np.int64)
    if column == ID:
        return JudgedColumn(pa.array(values), _codes(values <= 0, OUT_OF_RANGE))
    wrong = (values <= 0) | (values > _MAX_UNITS)
    return JudgedColumn(decimal_array(values * 10**AMOUNT_SCALE), _codes(wrong, OUT_OF_RANGE))


def _judge_float_ids(array: pa.Array) -> JudgedColumn:
    values = words(array.cast(pa.float64()), np.float64)
    # NaN is not equal to itself, and infinity is equal to its floor.
    whole = np.isfinite(values) & (np.floor(values) == values)
    inside = whole & (values >= 1) & (values < 2.0**63)
    codes = _codes(~inside, OUT_OF_RANGE)
    codes[~whole] = UNPARSEABLE
    return JudgedColumn(pa.array(np.where(inside, values, 0).astype(np.int64)), codes)


def _judge_float_amounts(array: pa.Array) -> JudgedColumn:
    values = words(array.cast(pa.float64()), np.float64)
    finite = np.isfinite(values)
    inside = finite & (values > 0) & (values < _MAX_UNITS + 1)
    values = np.where(inside, values, 0)
    scaled = values * 10**AMOUNT_SCALE
    cents = np.rint(scaled)
    # 1234567.89 * 100 is not a whole number in doubles, though it was written with 2 decimals.
    exact = (np.abs(scaled - cents) <= CENT_TOLERANCE) | (cents / 10**AMOUNT_SCALE == values)
    codes = _codes(~exact, INEXACT)
    codes[~inside | (exact & (cents == 0))] = OUT_OF_RANGE
    codes[~finite] = UNPARSEABLE
    return JudgedColumn(decimal_array(cents.astype(np.int64)), codes)


def _judge_decimals(array: pa.Array, column: str) -> JudgedColumn:
    if column == AMOUNT:
        try:
            array = array.cast(SCHEMA.field(AMOUNT).type)
        except pa.ArrowInvalid:
            pass
        else:
            return _judge_contract_amounts(array)
    if array.type.scale < 0:
        array = array.cast(pa.decimal256(76, 0))
    texts = array.cast(pa.string())
    return judge_id_texts(texts) if column == ID else judge_amount_texts(texts)


def _judge_contract_amounts(array: pa.Array) -> JudgedColumn:
    pairs = words(array, np.int64, 2).reshape(-1, 2)
    cents = pairs[:, 0]
    return JudgedColumn(
        array, _codes((pairs[:, 1] != 0) | (cents <= 0) | (cents > MAX_CENTS), OUT_OF_RANGE)
    )


def _judge_dates(array: pa.Array, rules: Rules) -> JudgedColumn | None:
    kind = array.type
    if pa.types.is_timestamp(kind):
        values, per_second = words(array, np.int64), _UNITS_PER_SECOND[kind.unit]
    elif pa.types.is_date32(kind):
        values, per_second = words(array, np.int32).astype(np.int64), None
    elif pa.types.is_date64(kind):
        values, per_second = words(array, np.int64), _UNITS_PER_SECOND["ms"]
    else:
        return None
    if per_second is not None and per_second > _MICROS:
        micros = values // (per_second // _MICROS)
    else:
        factor = 86_400 * _MICROS if per_second is None else _MICROS // per_second
        # Far-away dates do not fit in microseconds; they stay on the wrong side of the bounds.
        near = np.clip(values, rules.min_us // factor - 1, rules.max_us // factor + 1)
        micros = near * factor
    wrong = (micros < rules.min_us) | (micros > rules.max_us)
    return JudgedColumn(timestamp_array(micros), _codes(wrong, OUT_OF_RANGE))


def _as_binary(texts: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(texts.type):
        texts = texts.dictionary_decode()
    return texts.view(pa.binary())


def _judge_binary(column: str, array: pa.Array, rules: Rules, notation: Notation) -> JudgedColumn:
    undecodable: list[int] = []
    try:
        texts = array.cast(pa.string())
    except pa.ArrowInvalid:
        decoded: list[str | None] = []
        for i, value in enumerate(array.to_pylist()):
            try:
                decoded.append(None if value is None else value.decode())
            except UnicodeDecodeError:
                decoded.append(None)
                undecodable.append(i)
        texts = pa.array(decoded, pa.string())
    judged = judge_text_column(column, texts, rules, notation)
    judged.codes[undecodable] = UNPARSEABLE
    return judged

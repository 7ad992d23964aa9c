"""Judgement of whole rows: which are accepted, and of the others which columns are wrong and why.

``accept_typed`` is the fast way for batches in which every row is acceptable. When it says ``None``
``judge_texts`` or ``judge_typed`` find out exactly which rows are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from celes_beam.contract import (
    AMOUNT,
    CATEGORY,
    COLUMN_NAMES,
    DATE,
    ID,
    MAX_CENTS,
    REASONS,
    REGION,
    SCHEMA,
    Rules,
)
from celes_beam.sales.judged import OK, UNPARSEABLE, JudgedColumn
from celes_beam.sales.text_names import are_acceptable
from celes_beam.sales.texts import PLAIN_NOTATION, Notation, judge_text_column
from celes_beam.sales.typed_columns import judge_typed_column, plain_array, readable, words


@dataclass(frozen=True, eq=False)
class Verdict:
    """Which of ``rows`` rows are accepted, in their order, and why the others are not.

    ``accepted`` has ``contract.SCHEMA``. ``rejected`` holds the ascending int64 indexes of the
    other rows; for each of these ``reasons`` (list of string) has one reason for each wrong column
    in contract order, ``columns`` (string) the first wrong column, and ``values`` (string) its text
    as it stood, null when it was null.
    """

    rows: int
    accepted: pa.RecordBatch
    rejected: npt.NDArray[np.int64]
    reasons: pa.ListArray
    columns: pa.StringArray
    values: pa.StringArray


def accept_typed(
    columns: Mapping[str, pa.Array], rules: Rules, notation: Notation = PLAIN_NOTATION
) -> pa.RecordBatch | None:
    """Return the rows as a ``contract.SCHEMA`` batch when every one is acceptable, else ``None``.

    ``columns`` maps each contract column to an array of any type, all of one length. Texts come out
    stripped and NFC-normalised. Arrays that need no conversion are passed on without a copy, and
    dictionary-encoded texts stay encoded: so the batch may differ from the schema in that. Agrees
    with ``judge_typed``, of which ``notation`` is: accepts the batches in which that rejects none.
    """
    arrays = []
    for column in COLUMN_NAMES:
        array = _accept_column(column, columns[column], rules, notation)
        if array is None:
            return None
        arrays.append(array)
    fields = [f.with_type(a.type) for f, a in zip(SCHEMA, arrays, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def judge_texts(
    columns: Mapping[str, pa.Array],
    rules: Rules,
    notation: Notation = PLAIN_NOTATION,
    no_texts: Mapping[str, npt.NDArray[np.bool_]] | None = None,
) -> Verdict:
    """Judge rows of texts as they stand in a text file.

    ``columns`` maps each contract column to a string array, all of one length; null is missing.
    ``no_texts`` says for some columns in which rows the value, as it stands, is unparseable.
    """
    judged = {c: judge_text_column(c, columns[c], rules, notation) for c in COLUMN_NAMES}
    _mark_no_texts(judged, no_texts)
    return _verdict(columns, judged)


def judge_typed(
    columns: Mapping[str, pa.Array],
    rules: Rules,
    notation: Notation = PLAIN_NOTATION,
    no_texts: Mapping[str, npt.NDArray[np.bool_]] | None = None,
) -> Verdict:
    """Judge rows of typed values; see ``typed_columns.judge_typed_column`` for what each may be.

    ``columns`` maps each contract column to an array of any type, all of one length. ``notation``
    is that of ids, dates and amounts that are texts nevertheless; ``no_texts`` says for some
    columns in which rows the value, as it stands, is unparseable.
    """
    judged = {c: judge_typed_column(c, columns[c], rules, notation) for c in COLUMN_NAMES}
    _mark_no_texts(judged, no_texts)
    return _verdict(columns, judged)


def _mark_no_texts(
    judged: Mapping[str, JudgedColumn], no_texts: Mapping[str, npt.NDArray[np.bool_]] | None
) -> None:
    for column, mask in (no_texts or {}).items():
        judged[column].codes[mask] = UNPARSEABLE


def _accept_column(
    column: str, array: pa.Array, rules: Rules, notation: Notation
) -> pa.Array | None:
    if array.null_count:
        return None
    if _is_acceptable_dictionary(column, array, rules):
        return array
    array = plain_array(array)
    wanted = SCHEMA.field(column).type
    if column == DATE and array.type == pa.timestamp(wanted.unit):
        # Without a zone it is UTC: the same numbers.
        array = array.view(wanted)
    if array.type == wanted and _is_acceptable(column, array, rules):
        return array
    judged = judge_typed_column(column, array, rules, notation)
    return None if judged.codes.any() else judged.values


def _is_acceptable_dictionary(column: str, array: pa.Array, rules: Rules) -> bool:
    """Say whether an array is of texts that are encoded, and all acceptable, used or not."""
    if column not in (CATEGORY, REGION) or not pa.types.is_dictionary(array.type):
        return False
    texts = array.dictionary
    return (
        texts.type == pa.string() and not texts.null_count and _is_acceptable(column, texts, rules)
    )


def _is_acceptable(column: str, array: pa.Array, rules: Rules) -> bool:
    """Say whether an array of the contract's type is surely acceptable as it is."""
    if not len(array):
        return True
    if column == ID:
        return bool(words(array, np.int64).min() > 0)
    if column == DATE:
        micros = words(array, np.int64)
        return bool(rules.min_us <= micros.min() and micros.max() <= rules.max_us)
    if column == AMOUNT:
        # As unsigned, a negative amount is one with a high word other than 0.
        pairs = words(array, np.uint64, 2).reshape(-1, 2)
        cents = pairs[:, 0]
        return bool(cents.min() > 0 and cents.max() <= MAX_CENTS and not pairs[:, 1].any())
    known = rules.categories if column == CATEGORY else rules.regions
    if known is None:
        return are_acceptable(column, array)
    names = pa.array([name for name in known if name], pa.string())
    return bool(pc.is_in(array, value_set=names).false_count == 0)


def _verdict(columns: Mapping[str, pa.Array], judged: Mapping[str, JudgedColumn]) -> Verdict:
    values = pa.RecordBatch.from_arrays([judged[c].values for c in COLUMN_NAMES], schema=SCHEMA)
    codes = np.stack([judged[c].codes for c in COLUMN_NAMES])
    wrong = codes != OK
    any_wrong = wrong.any(axis=0)
    rejected = np.flatnonzero(any_wrong).astype(np.int64)
    # Column by row, so that the reasons of a row stand together and in contract order.
    codes, wrong = codes[:, rejected].T, wrong[:, rejected].T
    first = wrong.argmax(axis=1)
    return Verdict(
        rows=values.num_rows,
        accepted=values.filter(pa.array(~any_wrong)) if len(rejected) else values,
        rejected=rejected,
        reasons=_reasons(codes[wrong], wrong.sum(axis=1)),
        columns=pa.array(COLUMN_NAMES, pa.string()).take(pa.array(first)),
        values=_first_values(columns, rejected, first),
    )


def _reasons(codes: npt.NDArray[np.uint8], counts: npt.NDArray[np.intp]) -> pa.ListArray:
    offsets = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    names = pa.array(REASONS, pa.string()).take(pa.array(codes - 1))
    return pa.ListArray.from_arrays(pa.array(offsets), names)


def _first_values(
    columns: Mapping[str, pa.Array], rejected: npt.NDArray[np.int64], first: npt.NDArray[np.intp]
) -> pa.StringArray:
    parts, order = [pa.array([], pa.string())], [np.array([], np.int64)]
    for i, column in enumerate(COLUMN_NAMES):
        chosen = np.flatnonzero(first == i)
        parts.append(readable(columns[column], rejected[chosen]))
        order.append(chosen)
    back = np.argsort(np.concatenate(order), kind="stable")
    return pa.concat_arrays(parts).take(pa.array(back))

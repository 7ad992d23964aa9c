"""Lines of NDJSON, each decoded on its own, into judged rows: the slow way of ``decode_ndjson``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from celes_beam.contract import (
    CATEGORY,
    COLUMN_NAMES,
    MAX_RAW_BYTES,
    MAX_RECORD_BYTES,
    REGION,
    Rules,
)
from celes_beam.errors import TransformError
from celes_beam.sales.json_lines import (
    MAX_DEPTH,
    LineDecoder,
    NoText,
    Others,
    Row,
    is_too_deep,
    other_fields,
)
from celes_beam.sales.outcomes import all_malformed, together
from celes_beam.sales.records import Block, Bytes, Ints, raw_records
from celes_beam.sales.rejected import Checked, checked
from celes_beam.sales.texts import Notation
from celes_beam.sales.transform import Transform, fields_batch
from celes_beam.sales.transformed import all_failed, check_transformed
from celes_beam.sales.validate import judge_texts

_PIECE_BYTES = 1 << 18


def line_of(view: memoryview, ends: Ints, line: int) -> memoryview:
    """The bytes of a line, its end included."""
    return view[int(ends[line - 1]) if line else 0 : int(ends[line])]


def many_openings(data: Bytes, ends: Ints, at_least: int) -> list[int]:
    """The lines with so many brackets that they may be nested deeper than allowed.

    Each line is known to have ``at_least`` so many, which spares looking closer.
    """
    # A bracket and a brace differ in the bit that is or-ed.
    pieces = (data[at : at + _PIECE_BYTES] for at in range(0, len(data), _PIECE_BYTES))
    count = sum(np.count_nonzero((piece | 0x20) == ord("{")) for piece in pieces)
    if count <= at_least * (len(ends) - 1) + MAX_DEPTH:
        return []
    of_lines = np.searchsorted(np.flatnonzero((data | 0x20) == ord("{")), ends)
    return np.flatnonzero(np.diff(of_lines, prepend=0) > MAX_DEPTH).tolist()


@dataclass(frozen=True)
class _Lines:
    """The texts of the lines that are rows, which lines those are, and which are malformed.

    ``others`` has the other fields of each row, for a transform.
    """

    rows: list[Row]
    others: list[Others]
    judged: list[int]
    malformed: list[int]


def _decode_lines(
    block: Block, ends: Ints, decoder: LineDecoder, *, with_others: bool = False
) -> _Lines:
    """Decode each line on its own."""
    lines = _Lines([], [], [], [])
    view = block.view
    deep = {
        i
        for i in many_openings(block.data, ends, at_least=0)
        if is_too_deep(bytes(line_of(view, ends, i)))
    }
    start = 0
    for i, end in enumerate(ends.tolist()):
        line = bytes(view[start:end])
        start = end
        row = None
        if len(line) <= MAX_RECORD_BYTES and i not in deep:
            if with_others:
                found = decoder.decode_all(line)
                if found is not None:
                    row, others = found
                    lines.others.append(others)
            else:
                row = decoder.decode(line)
        if row is not None:
            lines.judged.append(i)
            lines.rows.append(row)
        elif line.strip():
            lines.malformed.append(i)
    return lines


def judge_lines(
    block: Block,
    ends: Ints,
    decoder: LineDecoder,
    *,
    source: str,
    offset: int,
    rules: Rules,
    notation: Notation,
    transform: Transform | None = None,
) -> Checked:
    """Judge the lines of a block, which end before ``ends``; see ``decode_ndjson``."""
    lines = _decode_lines(block, ends, decoder, with_others=transform is not None)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])

    def raws(indexes: Ints) -> pa.Array:
        found = raw_records(block.view, starts[indexes], ends[indexes] - 1, MAX_RAW_BYTES)
        return pa.array([raw.removesuffix(b"\r") for raw in found], pa.binary())

    columns = list(zip(*lines.rows, strict=True)) if lines.rows else [()] * len(COLUMN_NAMES)
    texts = {
        name: pa.array(values, pa.string())
        for name, values in zip(COLUMN_NAMES, columns, strict=True)
    }
    no_texts = {
        name: np.array([type(value) is NoText for value in values], np.bool_)
        for name, values in zip(COLUMN_NAMES, columns, strict=True)
        if name in (CATEGORY, REGION)
    }
    judged = np.array(lines.judged, np.int64)
    positions = starts[judged] + offset

    def raws_of_rows(rows: Ints) -> pa.Array:
        return raws(judged[rows])

    if transform is None:
        verdict = judge_texts(texts, rules, notation, no_texts=no_texts)
        result = checked(verdict, source, positions, raws_of_rows, rules)
    else:
        try:
            batch = fields_batch(texts, other_fields(lines.others), len(judged))
        except TransformError as error:
            result = all_failed(error, source, positions, raws_of_rows, rules)
        else:
            result = check_transformed(
                transform,
                batch,
                source=source,
                positions=positions,
                raws=raws_of_rows,
                rules=rules,
                notation=notation,
                no_texts=no_texts,
            )
    if not lines.malformed:
        return result
    malformed = np.array(lines.malformed, np.int64)
    whole = all_malformed(source, starts[malformed] + offset, raws(malformed), rules)
    return together(result, whole)

"""NDJSON (one JSON object a line) into judged rows.

Line ends within JSON strings are escaped, so each line is a record. Two paths, as for CSV: pyarrow
parses a block in which every row is fine; in any other block each line is decoded on its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.json

from celes_beam.contract import (
    COLUMN_NAMES,
    DATE,
    ID,
    MAX_RAW_BYTES,
    MAX_RECORD_BYTES,
    SCHEMA,
    Rules,
)
from celes_beam.sales.json_lines import LineDecoder, Row, decode_object, find_keys
from celes_beam.sales.outcomes import all_accepted, all_malformed, nothing_read, together
from celes_beam.sales.records import (
    RETURN,
    Block,
    Bytes,
    Ints,
    has_long_line,
    line_ends,
    raw_records,
)
from celes_beam.sales.rejected import Checked, checked
from celes_beam.sales.text_names import is_utf8_text
from celes_beam.sales.texts import PLAIN_NOTATION, Notation, judge_text_column
from celes_beam.sales.validate import accept_typed, judge_texts


def decode_ndjson(
    records: Block | bytes,
    mapping: Mapping[str, str] | None = None,
    *,
    source: str,
    offset: int = 0,
    rules: Rules,
    notation: Notation = PLAIN_NOTATION,
) -> Checked:
    """Decode and judge lines of which each is a JSON object.

    ``mapping`` names the key to use for a contract column; keys are matched as headers are, and
    others are ignored. ``offset`` is the place of the first line in the file, in bytes.
    ``notation`` is that of values that are strings; numbers are read exactly as they stand. A line
    is malformed when it is no JSON object, not UTF-8, longer than ``contract.MAX_RECORD_BYTES``, or
    has an object or a list for a contract column. Blank lines are no rows.
    """
    block = records if isinstance(records, Block) else Block.of(records)
    if not block.size:
        return nothing_read()
    ends = line_ends(block.data)
    accepted = _decode_typed(block, ends, mapping, rules, notation)
    if accepted is not None:
        return all_accepted(accepted)
    keys = find_keys(bytes(block.view[: ends[0]]), mapping)
    lines = _decode_lines(block, ends, LineDecoder(mapping, notation, keys))
    return _judge_lines(
        lines, block, ends, source=source, offset=offset, rules=rules, notation=notation
    )


def _decode_typed(
    block: Block,
    ends: Ints,
    mapping: Mapping[str, str] | None,
    rules: Rules,
    notation: Notation,
) -> pa.RecordBatch | None:
    """Parse a block into types; ``None`` when any line of it has to be looked at."""
    schema = _guess_schema(bytes(block.view[: ends[0]]), mapping, notation)
    # pyarrow takes NaN and infinities for JSON, and does not look at encodings.
    if (
        schema is None
        or not _is_one_object_a_line(block.data, ends)
        or has_long_line(block.data)
        or block.has(b"NaN")
        or block.has(b"Inf")
        or not is_utf8_text(block.data)
    ):
        return None
    json = pyarrow.json
    try:
        table = json.read_json(
            pa.BufferReader(block.view),
            json.ReadOptions(use_threads=False, block_size=block.size + 1),
            json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != len(ends):
        return None
    columns = {name: table.column(i).combine_chunks() for i, name in enumerate(COLUMN_NAMES)}
    for name in (ID, DATE):
        if columns[name].type == pa.string():
            judged = judge_text_column(name, columns[name], rules, notation)
            if judged.codes.any():
                return None
            columns[name] = judged.values
    return accept_typed(columns, rules)


def _guess_schema(
    line: bytes, mapping: Mapping[str, str] | None, notation: Notation
) -> pa.Schema | None:
    """Make the schema to parse by from the first line; contract columns in their order."""
    keys = find_keys(line, mapping)
    if keys is None or notation.decimal_point != ".":
        return None
    types = {name: SCHEMA.field(name).type for name in COLUMN_NAMES}
    if bytes(decode_object(line)[keys[0]]).startswith(b'"'):
        types[ID] = pa.string()
    if notation.date_format is not None:
        types[DATE] = pa.string()
    return pa.schema(list(zip(keys, types.values(), strict=True)))


def _is_one_object_a_line(data: Bytes, ends: Ints) -> bool:
    starts = np.concatenate([[0], ends[:-1]])
    last = data[np.maximum(ends - 2, 0)]
    returns = last == RETURN
    if returns.any():
        last = np.where(returns, data[np.maximum(ends - 3, 0)], last)
    return bool((data[starts] == ord("{")).all() and (last == ord("}")).all())


@dataclass(frozen=True)
class _Lines:
    """The texts of the lines that are rows, which lines those are, and which are malformed."""

    rows: list[Row]
    judged: list[int]
    malformed: list[int]


def _decode_lines(block: Block, ends: Ints, decoder: LineDecoder) -> _Lines:
    """Decode each line on its own."""
    lines = _Lines([], [], [])
    view = block.view
    start = 0
    for i, end in enumerate(ends.tolist()):
        line = bytes(view[start:end])
        start = end
        row = decoder.decode(line) if len(line) <= MAX_RECORD_BYTES else None
        if row is not None:
            lines.judged.append(i)
            lines.rows.append(row)
        elif line.strip():
            lines.malformed.append(i)
    return lines


def _judge_lines(
    lines: _Lines,
    block: Block,
    ends: Ints,
    *,
    source: str,
    offset: int,
    rules: Rules,
    notation: Notation,
) -> Checked:
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])

    def raws(indexes: Ints) -> pa.Array:
        found = raw_records(block.view, starts[indexes], ends[indexes] - 1, MAX_RAW_BYTES)
        return pa.array([raw.removesuffix(b"\r") for raw in found], pa.binary())

    columns = zip(*lines.rows, strict=True) if lines.rows else [()] * len(COLUMN_NAMES)
    texts = {
        name: pa.array(values, pa.string())
        for name, values in zip(COLUMN_NAMES, columns, strict=True)
    }
    judged = np.array(lines.judged, np.int64)
    result = checked(
        judge_texts(texts, rules, notation),
        source,
        starts[judged] + offset,
        lambda rows: raws(judged[rows]),
        rules,
    )
    if not lines.malformed:
        return result
    malformed = np.array(lines.malformed, np.int64)
    whole = all_malformed(source, starts[malformed] + offset, raws(malformed), rules)
    return together(result, whole)

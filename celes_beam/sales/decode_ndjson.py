"""NDJSON (one JSON object a line) into judged rows.

Line ends within JSON strings are escaped, so each line is a record. Two paths, as for CSV: pyarrow
parses a block in which every row is fine; in any other block each line is decoded on its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.json

from celes_beam.contract import (
    AMOUNT,
    COLUMN_NAMES,
    DATE,
    ID,
    SCHEMA,
    Rules,
)
from celes_beam.sales.json_lines import (
    Keys,
    LineDecoder,
    all_keys,
    are_spelled_otherwise,
    decode_object,
    find_keys,
)
from celes_beam.sales.ndjson_lines import judge_lines, line_of, many_openings
from celes_beam.sales.outcomes import all_accepted, nothing_read
from celes_beam.sales.records import (
    RETURN,
    Block,
    Bytes,
    Ints,
    has_long_line,
    has_pair,
    has_small_exponent,
    line_ends,
)
from celes_beam.sales.rejected import Checked
from celes_beam.sales.text_names import is_utf8_text
from celes_beam.sales.texts import PLAIN_NOTATION, Notation, judge_text_column
from celes_beam.sales.transform import Transform
from celes_beam.sales.validate import accept_typed

_AMOUNT = COLUMN_NAMES.index(AMOUNT)
_PIECE_BYTES = 1 << 18
_LINES_LOOKED_AT = 20
# Of an amount; escaped, any character may be a part of one.
_SMALL_EXPONENT = re.compile(rb"[0-9.][eE]-[0-9]|\\u00[0-7]")


def decode_ndjson(
    records: Block | bytes,
    mapping: Mapping[str, str] | None = None,
    *,
    source: str,
    offset: int = 0,
    rules: Rules,
    notation: Notation = PLAIN_NOTATION,
    transform: Transform | None = None,
) -> Checked:
    """Decode and judge lines of which each is a JSON object.

    ``mapping`` names the key to use for a contract column; keys are matched as headers are, and
    others are ignored. ``offset`` is the place of the first line in the file, in bytes.
    ``notation`` is that of values that are strings; numbers are read exactly as they stand. A line
    is malformed when it is no JSON object, not UTF-8, longer than ``contract.MAX_RECORD_BYTES``,
    nested deeper than ``json_lines.MAX_DEPTH``, has an object or a list for a contract column, or
    two keys for one. Blank lines are no rows. ``transform`` gets the others before they are judged,
    all at once.
    """
    block = records if isinstance(records, Block) else Block.of(records)
    if not block.size:
        return nothing_read()
    ends = line_ends(block.data)
    keys = None
    if transform is None:
        keys = find_keys(bytes(block.view[: ends[0]]), mapping)
        accepted = _decode_typed(block, ends, keys, rules, notation)
        if accepted is not None:
            return all_accepted(accepted)
        keys = keys or _usual_keys(block, ends, mapping)
    decoder = LineDecoder(mapping, notation, keys, has_escapes=len(_ascii_escapes(block)) > 0)
    return judge_lines(
        block,
        ends,
        decoder,
        source=source,
        offset=offset,
        rules=rules,
        notation=notation,
        transform=transform,
    )


def _usual_keys(block: Block, ends: Ints, mapping: Mapping[str, str] | None) -> Keys | None:
    """The keys of the first of some lines that is a whole row, which others may be like."""
    for line in range(min(len(ends), _LINES_LOOKED_AT)):
        keys = find_keys(bytes(line_of(block.view, ends, line)), mapping)
        if keys is not None:
            return keys
    return None


def _decode_typed(
    block: Block,
    ends: Ints,
    keys: Keys | None,
    rules: Rules,
    notation: Notation,
) -> pa.RecordBatch | None:
    """Parse a block into types; ``None`` when any line of it has to be looked at."""
    # pyarrow takes NaN and infinities for JSON, and does not look at encodings.
    if (
        keys is None
        or notation.decimal_point != "."
        or not _is_one_object_a_line(block.data, ends)
        or has_long_line(block.data)
        or (has_pair(block.data, ord("a"), ord("N")) and block.has(b"NaN"))
        or (has_pair(block.data, ord("I"), ord("n")) and block.has(b"Inf"))
        or many_openings(block.data, ends, at_least=1)
        or not is_utf8_text(block.data)
        or _has_small_exponent(block, ends, keys.columns[_AMOUNT])
    ):
        return None
    table = _parse(block, keys, notation)
    if table is None or table.num_rows != len(ends):
        return None
    columns = {name: table.column(i).combine_chunks() for i, name in enumerate(COLUMN_NAMES)}
    for name in (ID, DATE):
        if columns[name].type == pa.string():
            judged = judge_text_column(name, columns[name], rules, notation)
            if judged.codes.any():
                return None
            columns[name] = judged.values
    return accept_typed(columns, rules)


def _parse(block: Block, keys: Keys, notation: Notation) -> pa.Table | None:
    """Parse a block whose lines have no key that is a column's in another spelling.

    pyarrow tells of keys that were not there in the first line; else they are looked through.
    """
    schema = _guess_schema(keys, notation)
    others = {key: _type_of(raw) for key, raw in keys.others.items()}
    if None not in others.values():
        whole = pa.schema([*schema, *others.items()])
        try:
            return _read_json(block, whole, "error")
        except pa.ArrowInvalid:
            pass
    try:
        table = _read_json(block, schema, "ignore")
    except pa.ArrowInvalid:
        return None
    found = all_keys(block.view)
    if found is None or are_spelled_otherwise(found.difference(keys.columns), keys.columns):
        return None
    return table


def _read_json(block: Block, schema: pa.Schema, unexpected: str) -> pa.Table:
    json = pyarrow.json
    return json.read_json(
        pa.BufferReader(block.view),
        json.ReadOptions(use_threads=False, block_size=block.size + 1),
        json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=unexpected),
    )


def _guess_schema(keys: Keys, notation: Notation) -> pa.Schema:
    """Make the schema to parse by from the first line's keys; contract columns in their order."""
    types = {name: SCHEMA.field(name).type for name in COLUMN_NAMES}
    if keys.has_text_id:
        types[ID] = pa.string()
    if notation.date_format is not None:
        types[DATE] = pa.string()
    return pa.schema(list(zip(keys.columns, types.values(), strict=True)))


def _type_of(value: bytes) -> pa.DataType | None:
    """The type to parse a value of no column as; ``None`` for null, objects and lists."""
    if value[:1] == b'"':
        return pa.string()
    if value in (b"true", b"false"):
        return pa.bool_()
    return pa.float64() if value[:1] in b"-0123456789" else None


def _ascii_escapes(block: Block) -> Ints:
    """Where escapes of ASCII characters begin, such as ``\\u0065``; they may hide what is there."""
    if not block.has(b"\\"):
        return np.empty(0, np.int64)
    data = block.data
    at = np.flatnonzero(data == ord("\\"))
    at = at[at + len("u0065") < len(data)]
    for i, digit in enumerate(b"u00", 1):
        at = at[data[at + i] == digit]
    found: Ints = at[data[at + len("u006")] < ord("8")]
    return found


def _small_exponents(data: Bytes) -> Ints:
    """Where negative exponents of numbers begin, in an amount or elsewhere."""
    if not has_small_exponent(data):
        return np.empty(0, np.int64)
    at = np.flatnonzero(((data[:-1] | 0x20) == ord("e")) & (data[1:] == ord("-")))
    before = data[np.maximum(at - 1, 0)]
    found: Ints = at[((before >= ord("0")) & (before <= ord("9"))) | (before == ord("."))]
    return found


def _has_small_exponent(block: Block, ends: Ints, key: str) -> bool:
    """Say whether an amount has a negative exponent, which pyarrow misreads: 123456789012e-146."""
    found = np.concatenate([_small_exponents(block.data), _ascii_escapes(block)])
    for line in np.unique(np.searchsorted(ends, found, side="right")).tolist():
        try:
            amount = decode_object(line_of(block.view, ends, line)).get(key, b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return True
        if _SMALL_EXPONENT.search(bytes(amount)):
            return True
    return False


def _is_one_object_a_line(data: Bytes, ends: Ints) -> bool:
    starts = np.concatenate([[0], ends[:-1]])
    last = data[np.maximum(ends - 2, 0)]
    returns = last == RETURN
    if returns.any():
        last = np.where(returns, data[np.maximum(ends - 3, 0)], last)
    return bool((data[starts] == ord("{")).all() and (last == ord("}")).all())

"""Fields of records that are no columns."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from celes_beam.contract import COLUMN_NAMES, fold_header
from celes_beam.sales.json_lines import decode_object
from celes_beam.sales.message_records import MessageRecords
from celes_beam.sales.records import Mask

Fields = dict[str, msgspec.Raw]
"""Fields of an object, each with its value as it stands."""

_decode_objects = msgspec.json.Decoder(Fields).decode_lines
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def unknown_fields(
    records: MessageRecords, judged: Mask, mapping: Mapping[str, str] | None
) -> dict[int, Fields]:
    """Find the fields that are no column's of those readable records for which ``judged`` is true.

    Returns the line of each record that has any, in order, and these. ``mapping`` names the key to
    use for a contract column; keys are matched as headers are. Of a key that is there twice the
    last counts.
    """
    lines = np.flatnonzero(judged).tolist()
    whole = len(lines) == len(judged)
    text = records.block.view if whole else b"\n".join([records.line(line) for line in lines])
    try:
        found = _decode_objects(text)
    except _NOT_JSON:
        found = [_fields(records.line(line)) for line in lines]
    wanted = {fold_header((mapping or {}).get(name, name)) for name in COLUMN_NAMES}
    unknown = {key for key in set().union(*found) if fold_header(key) not in wanted}
    if not unknown:
        return {}
    return {
        line: {key: value for key, value in fields.items() if key in unknown}
        for line, fields in zip(lines, found, strict=True)
        if not unknown.isdisjoint(fields)
    }


def _fields(line: bytes) -> Fields:
    # Of an object that one reader of JSON takes and another does not.
    try:
        return decode_object(line)
    except _NOT_JSON:
        return {}

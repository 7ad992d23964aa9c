"""Sales as CSV text: ``4711,2024-05-03,12.34,Alimentos,Norte``, a line for each row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from celes_beam.contract import AMOUNT, CATEGORY, COLUMN_NAMES, DATE, ID, REGION

HEADER: bytes = (",".join(COLUMN_NAMES) + "\n").encode()

Columns: TypeAlias = Mapping[str, pa.Array] | pa.RecordBatch
"""The five columns, of the contract's types or with texts dictionary-encoded, without nulls."""

_DAY_US = 86_400_000_000
_MAX_PAIRS = 1 << 16


def encode_csv(columns: Columns) -> pa.Buffer:
    """Write rows as CSV in UTF-8, each line ended by a line feed; no header.

    A midnight is written as its date, any other instant as ISO 8601 in UTC. Texts are quoted as
    RFC 4180 says, when they must be. Raises ``ValueError`` when a column holds nulls.
    """
    return text_of(csv_lines(columns))


def csv_lines(columns: Columns) -> pa.StringArray:
    """Write each row as one string, its line feed included; otherwise as ``encode_csv``."""
    for name in COLUMN_NAMES:
        if columns[name].null_count:
            raise ValueError(f"column {name} holds nulls: only accepted rows can be written")
    return pc.binary_join_element_wise(
        columns[ID].cast(pa.string()),
        date_texts(columns[DATE]),
        columns[AMOUNT].cast(pa.string()),
        *_ends(_encoded(columns[CATEGORY]), _encoded(columns[REGION])),
        ",",
    )


def text_of(lines: pa.Array) -> pa.Buffer:
    """The bytes of a string or binary array, one value after the other, without a copy."""
    offsets, values = lines.buffers()[1:]
    if values is None or not len(lines):
        return pa.py_buffer(b"")
    ends = np.frombuffer(offsets, np.int32)
    first, last = int(ends[lines.offset]), int(ends[lines.offset + len(lines)])
    return values.slice(first, last - first)


def date_texts(dates: pa.TimestampArray) -> pa.StringArray:
    """Write each instant: ``2024-05-03`` at midnight, else ``2024-05-03T09:30:00.250000Z``."""
    # Sales share few instants (whole days, mostly), so each distinct one is written once.
    encoded = dates.dictionary_encode()
    instants = encoded.dictionary.cast(pa.timestamp("us"))
    days = instants.cast(pa.date32(), safe=False).cast(pa.string())
    midnight = instants.to_numpy().astype(np.int64) % _DAY_US == 0
    if midnight.all():
        return days.take(encoded.indices)
    times = pc.utf8_slice_codeunits(instants.cast(pa.string()), 11)
    exact = pc.binary_join_element_wise(days, "T", times, "Z", "")
    return pc.if_else(pa.array(midnight), days, exact).take(encoded.indices)


def quoted(texts: pa.Array) -> pa.Array:
    """Quote, as RFC 4180 says, the texts that hold a comma, a quote or a line break."""
    special = pc.match_substring_regex(texts, '[,"\r\n]')
    if not pc.any(special).as_py():
        return texts
    doubled = pc.replace_substring(texts, '"', '""')
    return pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), texts)


def _encoded(texts: pa.Array) -> pa.DictionaryArray:
    return texts if pa.types.is_dictionary(texts.type) else texts.dictionary_encode()


def _ends(categories: pa.DictionaryArray, regions: pa.DictionaryArray) -> list[pa.StringArray]:
    """The last fields and the line feed of each row."""
    left = quoted(categories.dictionary)
    right = pc.binary_join_element_wise(quoted(regions.dictionary), "\n", "")
    if len(left) * len(right) > _MAX_PAIRS:
        return [left.take(categories.indices), right.take(regions.indices)]
    # Few pairs: look up both fields at once, which spares a column to join.
    each_left = np.repeat(np.arange(len(left)), len(right))
    each_right = np.tile(np.arange(len(right)), len(left))
    pairs = pc.binary_join_element_wise(
        left.take(pa.array(each_left)), right.take(pa.array(each_right)), ","
    )
    codes = categories.indices.to_numpy().astype(np.int32) * len(right)
    return [pairs.take(pa.array(codes + regions.indices.to_numpy()))]

"""Sales as JSON: an object for each row, whose keys are the contract's columns in their order."""

from __future__ import annotations

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from celes_beam.contract import AMOUNT, CATEGORY, COLUMN_NAMES, DATE, ID, REGION
from celes_beam.sales.encode_csv import Columns, date_texts


def encode_json(columns: Columns, *, amounts_as_text: bool = False) -> list[bytes]:
    """Write each row as a JSON object in UTF-8, without a line break.

    An amount is a JSON number with two decimals, or with ``amounts_as_text`` a string of the same
    digits. A midnight is written as its date, any other instant as ISO 8601 in UTC. Raises
    ``ValueError`` when a column holds nulls.
    """
    objects: list[bytes] = json_objects(columns, amounts_as_text).cast(pa.binary()).to_pylist()
    return objects


def json_objects(columns: Columns, amounts_as_text: bool = False) -> pa.StringArray:
    """Write each row as one string; otherwise as ``encode_json``."""
    for name in COLUMN_NAMES:
        if columns[name].null_count:
            raise ValueError(f"column {name} holds nulls: only accepted rows can be written")
    parts: list[pa.Array | str] = []
    before = "{"
    for name, values in json_values(columns, amounts_as_text).items():
        parts += [f'{before}"{name}":', values]
        before = ","
    return pc.binary_join_element_wise(*parts, "}", "")


def json_values(columns: Columns, amounts_as_text: bool = False) -> dict[str, pa.StringArray]:
    """Write each value as the JSON text that stands for it; see ``encode_json``."""
    amounts = columns[AMOUNT].cast(pa.string())
    return {
        ID: columns[ID].cast(pa.string()),
        DATE: _between_quotes(date_texts(columns[DATE])),
        AMOUNT: _between_quotes(amounts) if amounts_as_text else amounts,
        CATEGORY: _json_strings(columns[CATEGORY]),
        REGION: _json_strings(columns[REGION]),
    }


def _between_quotes(texts: pa.StringArray) -> pa.StringArray:
    return pc.binary_join_element_wise('"', texts, '"', "")


def _json_strings(texts: pa.Array) -> pa.StringArray:
    # Sales share few texts, so each distinct one is escaped once.
    encoded = texts if pa.types.is_dictionary(texts.type) else texts.dictionary_encode()
    written = [msgspec.json.encode(text).decode() for text in encoded.dictionary.to_pylist()]
    return pa.array(written, pa.string()).take(encoded.indices)

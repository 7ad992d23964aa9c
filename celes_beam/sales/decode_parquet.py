"""Batches of a file that has columns (Parquet) into judged rows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pyarrow as pa

from celes_beam.contract import COLUMN_NAMES, Rules
from celes_beam.sales.outcomes import all_accepted
from celes_beam.sales.records import Ints
from celes_beam.sales.rejected import Checked, checked
from celes_beam.sales.texts import PLAIN_NOTATION, Notation
from celes_beam.sales.transform import Transform, fields_batch
from celes_beam.sales.transformed import check_transformed
from celes_beam.sales.typed_columns import python_values
from celes_beam.sales.validate import accept_typed, judge_typed


def decode_columns(
    batch: pa.RecordBatch,
    names: Sequence[str],
    *,
    source: str,
    first_row: int,
    rules: Rules,
    notation: Notation = PLAIN_NOTATION,
    transform: Transform | None = None,
) -> Checked:
    """Judge a batch of columns of any types.

    ``names`` has the batch's column to use for each contract column, in contract order; for a
    transform, which gets the batch before it is judged, a name for each column of the batch
    (``csv_dialect.name_fields``). ``first_row`` is the number of the batch's first row in its file.
    ``notation`` is that of values that are texts. The raw bytes of a rejected row are a JSON object
    of those columns.
    """
    positions = np.arange(first_row, first_row + batch.num_rows, dtype=np.int64)
    if transform is not None:
        fields = list(zip(names, batch.columns, strict=True))
        others = [(name, array) for name, array in fields if name not in COLUMN_NAMES]
        return check_transformed(
            transform,
            fields_batch(dict(fields), others, batch.num_rows),
            source=source,
            positions=positions,
            raws=lambda rows: _raws(batch, rows),
            rules=rules,
            notation=notation,
        )
    columns = {c: batch.column(name) for c, name in zip(COLUMN_NAMES, names, strict=True)}
    if notation == PLAIN_NOTATION:
        accepted = accept_typed(columns, rules)
        if accepted is not None:
            return all_accepted(accepted)
    verdict = judge_typed(columns, rules, notation)
    chosen = batch.select(list(names))
    return checked(verdict, source, positions, lambda rows: _raws(chosen, rows), rules)


def _raws(batch: pa.RecordBatch, rows: Ints) -> pa.Array:
    encode = msgspec.json.Encoder(enc_hook=str, decimal_format="number").encode
    values = [python_values(column, rows) for column in batch.columns]
    names = batch.schema.names
    raws = [encode(dict(zip(names, row, strict=True))) for row in zip(*values, strict=True)]
    return pa.array(raws, pa.binary())

"""Rows through the user's transform, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from celes_beam.contract import COLUMN_NAMES, Reason, Rules
from celes_beam.errors import TransformError
from celes_beam.sales.outcomes import all_rejected, nothing_read
from celes_beam.sales.records import Ints
from celes_beam.sales.rejected import Checked, checked
from celes_beam.sales.texts import PLAIN_NOTATION, Notation
from celes_beam.sales.transform import Transform
from celes_beam.sales.validate import Verdict, judge_typed


def check_transformed(
    transform: Transform,
    batch: pa.RecordBatch,
    *,
    source: str,
    positions: Ints,
    raws: Callable[[Ints], pa.Array],
    rules: Rules,
    notation: Notation = PLAIN_NOTATION,
    no_texts: Mapping[str, npt.NDArray[np.bool_]] | None = None,
) -> Checked:
    """Judge what a transform makes of a batch (``transform.fields_batch``).

    ``positions`` and ``raws`` are as for ``rejected.checked``, of the rows as they were read. When
    the transform fails every row is rejected, with what went wrong as its value. ``no_texts`` says
    for some columns in which rows the value, unless the transform changes it, is unparseable.
    """
    if not batch.num_rows:
        return nothing_read()
    try:
        verdict = _judge(transform, batch, rules, notation, no_texts or {})
    except TransformError as error:
        return all_failed(error, source, positions, raws, rules)
    return checked(verdict, source, positions, raws, rules)


def _judge(
    transform: Transform,
    batch: pa.RecordBatch,
    rules: Rules,
    notation: Notation,
    no_texts: Mapping[str, npt.NDArray[np.bool_]],
) -> Verdict:
    made = transform.apply(batch)
    columns = {name: made.column(name) for name in COLUMN_NAMES}
    try:
        untouched = {
            name: mask & _alike(columns[name], batch.column(name))
            for name, mask in no_texts.items()
            if mask.any()
        }
        return judge_typed(columns, rules, notation, untouched)
    except pa.ArrowException as error:
        # Files have no such types, such as run ends of a dictionary.
        kinds = ", ".join(f"{name} {array.type}" for name, array in columns.items())
        raise TransformError(
            f"{transform} returned columns of types that cannot be read ({kinds}): expected texts, "
            "numbers and dates"
        ) from error


def all_failed(
    error: TransformError,
    source: str,
    positions: Ints,
    raws: Callable[[Ints], pa.Array],
    rules: Rules,
) -> Checked:
    """Reject all rows of a batch whose transform failed."""
    every = raws(np.arange(len(positions), dtype=np.int64))
    return all_rejected(source, positions, every, rules, Reason.TRANSFORM_FAILED, str(error))


def _alike(made: pa.Array, given: pa.Array) -> npt.NDArray[np.bool_]:
    """Say for each row whether a text is still the one that was given."""
    if pa.types.is_dictionary(made.type):
        made = made.dictionary_decode()
    try:
        same = pc.equal(made, given)
    except pa.ArrowException:
        return np.zeros(len(given), np.bool_)
    alike: npt.NDArray[np.bool_] = same.fill_null(False).to_numpy(zero_copy_only=False)
    return alike

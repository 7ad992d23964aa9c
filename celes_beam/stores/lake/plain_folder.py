"""Read sales from a folder of Parquet files that is no lake of ours: hive paths or plain files.

Its values are judged like those of any input, and the first that the contract does not accept is
an error: an aggregate has nowhere to set a row aside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from celes_beam.contract import COLUMN_NAMES, REASONS, Rules, fold_header, match_headers
from celes_beam.errors import CelesError, ColumnError, InputError
from celes_beam.sales.judged import JudgedColumn
from celes_beam.sales.partition import parse_hive_path
from celes_beam.sales.texts import PLAIN_NOTATION
from celes_beam.sales.typed_columns import judge_typed_column, readable
from celes_beam.stores.lake.lake_reader import (
    TEXTS,
    Fixed,
    Held,
    LakeFile,
    LakeReader,
    Place,
    repeat,
)
from celes_beam.stores.lake.storage import Storage

_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class PlainReader(LakeReader):
    """Reads files of others. ``rules`` judge their values; ``headers`` pairs contract columns with
    the names that stand for them.

    Raises ``ColumnError`` for a column that is missing, and ``InputError`` naming the file for one
    that cannot be read or the first value that is not acceptable.
    """

    rules: Rules
    headers: tuple[tuple[str, str], ...] = ()

    def places(self, schema: pa.Schema, file: LakeFile) -> Mapping[str, Place]:
        """Where each contract column of a file with these columns is found."""
        mapping = dict(self.headers)
        wanted = {fold_header(mapping.get(name, name)) for name in COLUMN_NAMES}
        # Derived columns in a path (a month, a day) are no columns of the contract.
        in_path = {name: value for name, value in file.partition if fold_header(name) in wanted}
        folded = {fold_header(name) for name in in_path}
        found = [*in_path, *(name for name in schema.names if fold_header(name) not in folded)]
        try:
            places = match_headers(found, mapping)
        except ColumnError as error:
            raise ColumnError(f"{self.path(file)}: {error}") from None
        return {
            column: Fixed(in_path[found[at]]) if at < len(in_path) else Held(found[at])
            for column, at in places.items()
        }

    def values(
        self, column: str, place: Place, batch: pa.RecordBatch, file: LakeFile, first_row: int
    ) -> pa.Array:
        """The values of a column, judged, in a batch that begins at ``first_row`` of its file."""
        if isinstance(place, Held):
            array = self._judged(column, batch.column(place.name), file, first_row)
            return array.dictionary_encode() if column in TEXTS else array
        fixed = pa.array([None if place.value == _HIVE_NULL else place.value], pa.string())
        return repeat(self._judged(column, fixed, file, first_row), batch.num_rows)

    @property
    def _encoded(self) -> tuple[str, ...]:
        return ()

    def _unreadable(self, what: str) -> CelesError:
        return InputError(what)

    def judge(self, column: str, array: pa.Array) -> JudgedColumn:
        """Judge values of a column as those of any input."""
        return judge_typed_column(column, array, self.rules, PLAIN_NOTATION)

    def _judged(self, column: str, array: pa.Array, file: LakeFile, first_row: int) -> pa.Array:
        judged = self.judge(column, array)
        wrong = np.flatnonzero(judged.codes)
        if len(wrong):
            value = readable(array, wrong[:1])[0].as_py()
            shown = "nothing" if value is None else repr(value)
            raise InputError(
                f"{self.path(file)}: row {first_row + int(wrong[0]):,}: {column} is "
                f"{REASONS[judged.codes[wrong[0]] - 1]}: {shown}; make a lake of the folder "
                "with pipelines.batch, which sets such rows aside"
            )
        return judged.values


def plain_files(storage: Storage) -> tuple[LakeFile, ...]:
    """Every visible Parquet file below a root, in order of names."""
    return tuple(
        LakeFile(f.name, f.size, tuple(parse_hive_path(f.name).items()))
        for f in storage.list(hidden=False)
        if f.name.endswith(".parquet")
    )

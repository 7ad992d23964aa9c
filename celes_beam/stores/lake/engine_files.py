"""What an engine that reads by itself must know of each file: its path, and where columns stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from celes_beam.contract import COLUMN_NAMES, SCHEMA
from celes_beam.stores.cloud.clients import GCS_SCHEME
from celes_beam.stores.lake.lake_input import LakeInput
from celes_beam.stores.lake.lake_reader import Held, LakeFile, LakeReader, repeat
from celes_beam.stores.lake.storage import open_storage

_ONE_ROW: Any = pa.record_batch([pa.nulls(1)], names=[""])


@dataclass(frozen=True)
class EngineFile:
    """A file to read; small and picklable, for workers.

    ``path`` is absolute, or a gs:// URI; folders in it are escaped as Hive does. Of the columns of
    the contract ``held`` pairs those that stand in the file with their names there, and ``types``
    with their Arrow types; ``fixed`` pairs the others with their one value, of the contract's type
    (int, aware datetime, Decimal or str), whatever the folders of the path say.
    """

    file: LakeFile
    path: str
    held: Mapping[str, str]
    types: Mapping[str, pa.DataType]
    fixed: Mapping[str, Any]

    def names(self, columns: Sequence[str]) -> list[str]:
        """The names, in the file, of those of some contract columns that stand there."""
        return [self.held[c] for c in columns if c in self.held]


def engine_files(found: LakeInput) -> tuple[EngineFile, ...]:
    """Describe the files of an input, in its order.

    Files of a lake are as the contract says, and none is opened; of a plain folder the footers
    are read. Raises what ``LakeReader`` and ``PlainReader`` do.
    """
    if found.rows is not None:
        return tuple(_described(found, file, SCHEMA) for file in found.files)
    storage = open_storage(found.root)
    with ThreadPoolExecutor(storage.at_once) as pool:
        schemas = pool.map(found.reader.schema, found.files)
        return tuple(
            _described(found, file, schema)
            for file, schema in zip(found.files, schemas, strict=True)
        )


def contract_sales(
    reader: LakeReader,
    described: EngineFile,
    columns: Sequence[str],
    batch: pa.RecordBatch,
    first_row: int,
) -> pa.RecordBatch:
    """Turn what was read of a file, as it stands there, into columns of the contract.

    ``columns`` are those that are wanted, and ``batch`` begins at ``first_row`` of the file. Texts
    may be dictionaries. Raises ``InputError`` naming the first value of a plain folder that the
    contract does not accept.
    """
    arrays = []
    for column in columns:
        if column in described.held:
            place = Held(described.held[column])
            arrays.append(reader.values(column, place, batch, described.file, first_row))
        else:
            one = pa.array([described.fixed[column]], SCHEMA.field(column).type)
            arrays.append(repeat(one, batch.num_rows))
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def _described(found: LakeInput, file: LakeFile, schema: pa.Schema) -> EngineFile:
    reader = found.reader
    places = reader.places(schema, file)
    held = {c: place.name for c in COLUMN_NAMES if isinstance(place := places[c], Held)}
    fixed = {
        c: reader.values(c, places[c], _ONE_ROW, file, 0)[0].as_py()
        for c in COLUMN_NAMES
        if c not in held
    }
    types = {column: schema.field(name).type for column, name in held.items()}
    return EngineFile(file, _absolute(reader.path(file)), held, types, fixed)


def _absolute(path: str) -> str:
    return path if path.startswith(GCS_SCHEME) else str(Path(path).absolute())

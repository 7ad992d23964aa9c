"""What a table there is looks like, and whether the rows of a lake fit into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from celes_beam.contract import COLUMN_NAMES
from celes_beam.errors import UsageError
from celes_beam.stores.warehouse.schema import type_name
from celes_beam.stores.warehouse.table_name import TableName


@dataclass(frozen=True)
class TableShape:
    """Columns of a table in their order: name -> (type, mode)."""

    columns: Mapping[str, tuple[str, str]]

    def is_nullable(self, column: str) -> bool:
        """Whether a column may hold null."""
        return self.columns[column][1] == "NULLABLE"

    @property
    def holds_contract_only(self) -> bool:
        """Whether the columns are those of the contract, in its order."""
        return tuple(self.columns) == COLUMN_NAMES


def shape_of(fields: Sequence[Any]) -> TableShape:
    """The shape that the fields of a schema give."""
    return TableShape({f.name: (type_name(f.field_type), f.mode.upper()) for f in fields})


def check_fits(
    name: TableName,
    table: Any,
    wanted: Sequence[Any],
    kms_key: str | None,
    *,
    flag: str = "--bigquery_table",
) -> None:
    """Raise ``UsageError``, naming all that is wrong, when rows of ``wanted`` do not fit.

    ``flag`` is the one by which another table is named.
    """
    problems = []
    if table.table_type not in (None, "TABLE"):
        problems.append(f"it is a {table.table_type.lower()}, not a table")
    there, ours = shape_of(table.schema).columns, shape_of(wanted).columns
    for column, (kind, mode) in ours.items():
        if column not in there:
            problems.append(f"column {column} ({kind}) is missing")
            continue
        found_kind, found_mode = there[column]
        if found_kind != kind:
            problems.append(f"column {column} is {found_kind}, expected {kind}")
        elif (found_mode == "REPEATED") != (mode == "REPEATED"):
            problems.append(f"column {column} is {found_mode}, expected {mode}")
    problems += [
        f"column {column} is REQUIRED, and no row of the lake has it"
        for column, (_, mode) in there.items()
        if column not in ours and mode == "REQUIRED"
    ]
    key = getattr(table.encryption_configuration, "kms_key_name", None)
    if kms_key is not None and key is not None and key != kms_key:
        problems.append(f"it is encrypted with {key}, not with --kms_key {kms_key}")
    if problems:
        raise UsageError(
            f"{flag}: {name} is there and does not fit: {'; '.join(problems)}; name "
            "another table, which is made, or mend this one"
        )

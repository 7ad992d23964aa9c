"""The tables as BigQuery is told of them, derived from the contract."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pyarrow as pa

from celes_beam.contract import CATEGORY, COLUMNS, DATE, REGION, REJECTED_SCHEMA
from celes_beam.stores.warehouse.table_name import TableName

CLUSTERED_BY = (REGION, CATEGORY)
REJECTED_DAY = "rejected_at"
TABLE_DESCRIPTION = "Sales that were checked and accepted; loaded from the lake by celes-beam."
REJECTED_DESCRIPTION = "Rows of input that were not accepted, each with its reasons."

_REJECTED_DESCRIPTIONS = {
    "source": "File that the row stands in.",
    "position": "Byte offset of the row in a text, row number from 0 elsewhere.",
    "reasons": "Why it was rejected, one reason for each wrong column in the contract's order.",
    "column": "The first wrong column; null when the row as a whole is malformed.",
    "value": "What stands in that column.",
    "raw": "The row as it was read, its first 64 KiB.",
    "rejected_at": "When it was rejected, UTC.",
    "rules_version": "Version of the rules that it was checked by.",
    "attempt": "Which attempt at the row this was.",
}
# The names that a table is described with, for those it is declared with.
_SAME_TYPE = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "DECIMAL": "NUMERIC"}


def sales_fields(in_path: Collection[str] = ()) -> list[Any]:
    """Fields of the sales table.

    Columns whose value stands in the path of a file (``in_path``) are nullable: to a load job they
    are, though no row lacks them, and the modes of a file and its table must be the same.
    """
    from google.cloud.bigquery import SchemaField  # noqa: PLC0415

    return [
        SchemaField(
            c.name,
            c.bigquery_type,
            mode="NULLABLE" if c.name in in_path else "REQUIRED",
            description=c.description,
        )
        for c in COLUMNS
    ]


def rejected_fields() -> list[Any]:
    """Fields of the table of rejected rows."""
    from google.cloud.bigquery import SchemaField  # noqa: PLC0415

    fields = []
    for field in REJECTED_SCHEMA:
        listed = pa.types.is_list(field.type)
        kind = field.type.value_type if listed else field.type
        mode = "REPEATED" if listed else "NULLABLE" if field.nullable else "REQUIRED"
        description = _REJECTED_DESCRIPTIONS[field.name]
        fields.append(SchemaField(field.name, _type(kind), mode=mode, description=description))
    return fields


def sales_table(name: TableName, in_path: Collection[str], kms_key: str | None) -> Any:
    """The sales table: partitioned by day of sale, clustered by region and category."""
    from google.cloud import bigquery  # noqa: PLC0415

    table = bigquery.Table(name.path, schema=sales_fields(in_path))
    table.clustering_fields = list(CLUSTERED_BY)
    return partitioned(table, DATE, TABLE_DESCRIPTION, kms_key)


def rejected_table(name: TableName, kms_key: str | None) -> Any:
    """The table of rejected rows: partitioned by the day of rejection."""
    from google.cloud import bigquery  # noqa: PLC0415

    table = bigquery.Table(name.path, schema=rejected_fields())
    return partitioned(table, REJECTED_DAY, REJECTED_DESCRIPTION, kms_key)


def type_name(bigquery_type: str) -> str:
    """One name for each type, of the two that some have."""
    upper = bigquery_type.upper()
    return _SAME_TYPE.get(upper, upper)


def partitioned(table: Any, column: str, description: str, kms_key: str | None) -> Any:
    """Add to a table's description: by day of a column, what it is, and who encrypts it."""
    from google.cloud import bigquery  # noqa: PLC0415

    table.time_partitioning = bigquery.TimePartitioning(type_="DAY", field=column)
    table.description = description
    if kms_key is not None:
        table.encryption_configuration = bigquery.EncryptionConfiguration(kms_key)
    return table


def _type(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "INT64"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP"
    return "BYTES" if pa.types.is_binary(kind) else "STRING"

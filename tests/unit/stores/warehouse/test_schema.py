from __future__ import annotations

from celes_beam.contract import COLUMN_NAMES, COLUMNS, REGION, REJECTED_SCHEMA
from celes_beam.stores.warehouse.schema import (
    rejected_fields,
    rejected_table,
    sales_fields,
    sales_table,
    type_name,
)
from celes_beam.stores.warehouse.table_name import parse_table_name

NAME = parse_table_name("my-project:sales.ventas")
KEY = "projects/p/locations/l/keyRings/r/cryptoKeys/k"


def test_fields_are_those_of_the_contract() -> None:
    fields = sales_fields()
    assert [f.name for f in fields] == list(COLUMN_NAMES)
    assert [f.field_type for f in fields] == [c.bigquery_type for c in COLUMNS]
    assert {f.mode for f in fields} == {"REQUIRED"}
    assert [f.description for f in fields] == [c.description for c in COLUMNS]


def test_what_stands_in_the_path_is_nullable() -> None:
    modes = {f.name: f.mode for f in sales_fields((REGION, "mes"))}
    assert [name for name, mode in modes.items() if mode == "NULLABLE"] == [REGION]


def test_rejected_rows_have_every_column_described() -> None:
    fields = {f.name: f for f in rejected_fields()}
    assert list(fields) == REJECTED_SCHEMA.names
    assert all(f.description for f in fields.values())
    assert (fields["reasons"].field_type, fields["reasons"].mode) == ("STRING", "REPEATED")
    assert (fields["raw"].field_type, fields["raw"].mode) == ("BYTES", "REQUIRED")
    assert fields["value"].mode == "NULLABLE"
    assert fields["position"].field_type == fields["attempt"].field_type == "INT64"


def test_tables_are_partitioned_clustered_and_encrypted() -> None:
    table = sales_table(NAME, (), KEY)
    assert table.time_partitioning.type_ == "DAY"
    assert table.time_partitioning.field == "fecha_de_transaccion"
    assert table.clustering_fields == ["region_de_venta", "categoria_de_producto"]
    assert table.encryption_configuration.kms_key_name == KEY
    assert rejected_table(NAME.rejected, KEY).encryption_configuration.kms_key_name == KEY
    assert sales_table(NAME, (), None).encryption_configuration is None


def test_types_have_one_name() -> None:
    assert type_name("int64") == type_name("INTEGER") == "INTEGER"
    assert type_name("NUMERIC") == "NUMERIC"

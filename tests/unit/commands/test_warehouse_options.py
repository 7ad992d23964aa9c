from __future__ import annotations

import pytest

from celes_beam.commands.flags import add_warehouse_flags, flag_parser, parse_flags
from celes_beam.commands.warehouse_options import destination
from celes_beam.errors import ConfigError
from celes_beam.stores.warehouse.table_name import TableName
from celes_beam.stores.warehouse.tables import Destination

TABLE = "my-project:sales.ventas"
KEY = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"


def asked(*argv: str) -> Destination | None:
    flags, _ = parse_flags(flag_parser("pipelines.batch", "", add_warehouse_flags), argv)
    return destination(flags)


def test_without_a_table_there_is_nothing_to_load() -> None:
    assert asked() is None


def test_a_table_its_place_and_its_key() -> None:
    name = TableName("my-project", "sales", "ventas")
    assert asked("--bigquery_table", TABLE) == Destination(name)
    more = ("--bigquery_location", "EU", "--kms_key", KEY)
    assert asked("--bigquery_table", TABLE, *more) == Destination(name, "EU", KEY)


@pytest.mark.parametrize(
    "flags", [("--dry_run",), ("--kms_key", KEY), ("--bigquery_location", "EU")]
)
def test_a_flag_that_would_do_nothing_is_told(flags: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=rf"{flags[0]} is for BigQuery: give --bigquery_table"):
        asked(*flags)


def test_a_key_is_named_in_full() -> None:
    with pytest.raises(ConfigError, match=r"--kms_key k: expected projects/"):
        asked("--bigquery_table", TABLE, "--kms_key", "k")

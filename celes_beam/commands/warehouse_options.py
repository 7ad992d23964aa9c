"""Which table of BigQuery a command is to load, resolved from its flags and checked."""

from __future__ import annotations

import argparse
import re

from celes_beam.errors import ConfigError
from celes_beam.stores.warehouse.table_name import parse_table_name
from celes_beam.stores.warehouse.tables import Destination

_KMS_KEY = re.compile(r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+")


def destination(flags: argparse.Namespace) -> Destination | None:
    """The table that ``--bigquery_table`` names, or None. Raises ``ConfigError``."""
    if flags.bigquery_table is None:
        for name in ("bigquery_location", "kms_key", "dry_run"):
            if getattr(flags, name, None):
                raise ConfigError(f"--{name} is for BigQuery: give --bigquery_table too")
        return None
    if flags.kms_key is not None and not _KMS_KEY.fullmatch(flags.kms_key):
        raise ConfigError(
            f"--kms_key {flags.kms_key}: expected projects/P/locations/L/keyRings/R/cryptoKeys/K"
        )
    return Destination(
        parse_table_name(flags.bigquery_table), flags.bigquery_location, flags.kms_key
    )

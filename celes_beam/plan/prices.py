"""Prices of Google's services, read from a file with their source and date."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec

from celes_beam.errors import ConfigError

Amount = Annotated[float, msgspec.Meta(ge=0)]
More = Annotated[float, msgspec.Meta(gt=0)]
BUNDLED = Path(__file__).with_name("prices.toml")


class Workers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prices of Dataflow's workers, for an hour; of shuffle and streaming state, for a GB."""

    source: str
    vcpu_hour: Amount
    memory_gb_hour: Amount
    disk_gb_hour: Amount
    ssd_gb_hour: Amount
    shuffle_gb: Amount


class PubSub(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prices of Pub/Sub."""

    source: str
    throughput_tib: Amount
    free_gib_month: Amount


class BigQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prices of BigQuery."""

    source: str
    write_gib: Amount
    free_write_gib_month: Amount
    storage_gib_month: Amount
    free_storage_gib: Amount


class Storage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prices of Cloud Storage."""

    source: str
    gb_month: Amount
    class_a_1000: Amount
    class_b_1000: Amount


class Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prices of Cloud KMS."""

    source: str
    key_version_month: Amount


class Supposed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much work a worker does, and how large things are; see the file."""

    start_minutes: Amount
    mb_per_vcpu_second: More
    messages_per_vcpu_second: More
    bytes_per_row: More
    lake_bytes_per_row: More
    table_bytes_per_row: More
    unpacked_compressed: More
    unpacked_parquet: More
    message_bytes: More
    month_hours: More


class Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that an estimate needs."""

    known_on: date
    region: str
    currency: str
    dataflow_batch: Workers
    dataflow_flexrs: Workers
    dataflow_streaming: Workers
    pubsub: PubSub
    bigquery: BigQuery
    storage: Storage
    kms: Keys
    supposed: Supposed

    @property
    def note(self) -> str:
        """What has to be said beside every figure."""
        return (
            f"list prices of {self.region} in {self.currency} as known on {self.known_on}: check "
            f"them at {self.dataflow_batch.source} and its neighbours (docs/cost.md)"
        )


def read_prices(path: str | None) -> Prices:
    """Read a price file, or the one of this package. Raises ``ConfigError`` naming file and field.

    A file has to be whole: it is a corrected copy of the one of this package.
    """
    file = BUNDLED if path is None else Path(path).expanduser()
    try:
        return msgspec.toml.decode(file.read_bytes(), type=Prices)
    except OSError as error:
        raise ConfigError(f"--prices {path} cannot be read: {error.strerror}") from error
    # What is no TOML, or no text, is a ValueError of another kind.
    except ValueError as error:
        raise ConfigError(
            f"--prices {path}: {error}; expected a copy of {BUNDLED}, corrected"
        ) from error

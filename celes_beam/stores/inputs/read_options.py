"""How input files are to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from celes_beam.contract import COLUMN_NAMES
from celes_beam.errors import ConfigError
from celes_beam.sales.csv_dialect import CsvDialect
from celes_beam.sales.transform import Transform

CSV, NDJSON, PARQUET = "csv", "ndjson", "parquet"
FORMATS = ("auto", CSV, NDJSON, PARQUET)
MIB = 1 << 20
_DIALECT = CsvDialect()


@dataclass(frozen=True)
class ReadOptions:
    """How input files are to be read; picklable.

    ``format`` is one of ``FORMATS``; ``auto`` goes by each file's name and first bytes. ``columns``
    maps contract columns to the headers to use for them; it may be given as a mapping. A file is
    split into ranges of about ``range_bytes`` (an object in a bucket: ``gcs_range_bytes``) where
    that can be done, and read ``chunk_bytes`` at a time, which bounds memory. ``transform`` gets
    the rows before they are judged, and may make up for columns that are not there. Raises
    ``ConfigError`` for other values.
    """

    format: str = "auto"
    dialect: CsvDialect = _DIALECT
    columns: tuple[tuple[str, str], ...] | Mapping[str, str] = ()
    range_bytes: int = 4 * MIB
    # To open an object takes as long as to read some MiB of it.
    gcs_range_bytes: int = 32 * MIB
    # A range goes on to the end of its last line, and is best read in one go.
    chunk_bytes: int = 4 * MIB + (1 << 16)
    transform: Transform | None = None

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ConfigError(f"format {self.format!r}: expected one of {', '.join(FORMATS)}")
        pairs = self.columns.items() if isinstance(self.columns, Mapping) else self.columns
        object.__setattr__(self, "columns", tuple(sorted(pairs)))
        for name, header in self.mapping.items():
            if name not in COLUMN_NAMES or not header.strip():
                raise ConfigError(
                    f"columns {name}={header}: expected COLUMN=HEADER with a column of "
                    f"{', '.join(COLUMN_NAMES)}"
                )
        for size in ("range_bytes", "gcs_range_bytes", "chunk_bytes"):
            if getattr(self, size) < 1:
                raise ConfigError(f"{size}={getattr(self, size)}: expected 1 or more")

    @property
    def mapping(self) -> dict[str, str]:
        """The headers to use, by contract column."""
        return dict(self.columns)

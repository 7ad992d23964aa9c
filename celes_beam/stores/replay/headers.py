"""The headers of the CSV files that rejected rows came from, without which they mean nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import msgspec
import pyarrow as pa

from celes_beam.contract import COLUMN_NAMES
from celes_beam.errors import ConfigError, InputError
from celes_beam.sales.csv_dialect import UTF8, CsvHeader, read_header
from celes_beam.stores.inputs.files import list_inputs, open_input
from celes_beam.stores.inputs.names import format_of_name
from celes_beam.stores.inputs.ranges import FileRange, plan_ranges
from celes_beam.stores.inputs.read_options import CSV, NDJSON, PARQUET, ReadOptions

_WHOLE = 1 << 62
_PUBSUB = "pubsub:"


@dataclass
class Headers:
    """Finds the header of each source that is CSV: that of the file, or the one that was given.

    ``how`` says how files are written. ``given`` is the header line for all of them, if any.
    """

    how: ReadOptions
    given: str | None = None
    found: dict[str, CsvHeader] = field(default_factory=dict, init=False)
    _known: set[str] = field(default_factory=set, init=False)

    def look_at(self, rejected: pa.RecordBatch) -> None:
        """Find the headers of the sources of some rejected rows.

        Raises ``ConfigError`` when a file is gone or has changed and no header was given, and
        what reading a header raises.
        """
        for source in rejected.column("source").unique().to_pylist():
            if source in self._known or source.startswith(_PUBSUB):
                continue
            self._known.add(source)
            at = rejected.column("source").index(source).as_py()
            header = self._header_of(
                source,
                rejected.column("raw")[at].as_py(),
                rejected.column("position")[at].as_py(),
            )
            if header is not None:
                self.found[source] = header

    def _header_of(self, source: str, raw: bytes, position: int) -> CsvHeader | None:
        """The header of a source; ``None`` when its records are JSON."""
        named = format_of_name(source) if self.how.format == "auto" else self.how.format
        if self.how.format in (NDJSON, PARQUET):
            return None
        if self.given is None or named is None:
            part = self._there(source)
            if part is not None and (part.format != CSV or self.given is None):
                if part.format == CSV:
                    _check_unchanged(part, raw, position)
                return part.header
        if named not in (CSV, None) or (_is_object(raw) and self.given is None):
            return None
        if self.given is None:
            raise ConfigError(
                f"{source} is not there any more, and its rejected rows are CSV without a header: "
                f'give its header with --csv_header "{",".join(COLUMN_NAMES)}"'
                + ("" if named else ", or --format ndjson if they are JSON")
            )
        return self._read_given(self.given)

    def _there(self, source: str) -> FileRange | None:
        """The beginning of a file that is there and can be read; ``None`` without."""
        how = dataclasses.replace(self.how, range_bytes=_WHOLE, gcs_range_bytes=_WHOLE)
        try:
            files = list_inputs([source])
        except InputError:
            return None
        return next((part for file in files for part in plan_ranges(file, how)), None)

    def _read_given(self, line: str) -> CsvHeader:
        dialect = self.how.dialect
        encoding = dialect.encoding if dialect.keeps_bytes else UTF8
        try:
            encoded = line.encode(encoding)
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"--csv_header {line!r} cannot be written in --csv_encoding {dialect.encoding}: "
                "give the encoding of the file"
            ) from error
        every_field = self.how.transform is not None
        return read_header(
            encoded, dialect, self.how.mapping, "--csv_header", every_field=every_field
        )


def _check_unchanged(part: FileRange, raw: bytes, position: int) -> None:
    """Raise ``ConfigError`` unless a row stands where it stood, as far as that can be seen."""
    if part.is_stream:
        return
    with open_input(part.file) as opened:
        opened.seek(min(position, part.file.size))
        if opened.read(len(raw)) == raw:
            return
    raise ConfigError(
        f"{part.file.path} has changed since its rows were rejected, so its header may be another: "
        f'give that of then with --csv_header "{",".join(COLUMN_NAMES)}"'
    )


def _is_object(raw: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(raw), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False

"""Files split into ranges that can be read on their own, each record in exactly one of them."""

from __future__ import annotations

import itertools
from codecs import BOM_UTF8
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from celes_beam.contract import MAX_RECORD_BYTES
from celes_beam.errors import InputError
from celes_beam.sales.csv_dialect import (
    CsvDialect,
    CsvHeader,
    locate_columns,
    name_fields,
    read_header,
)
from celes_beam.sales.record_ends import find_records
from celes_beam.sales.records import LINE_FEED, Block
from celes_beam.stores.cloud.clients import GCS_SCHEME
from celes_beam.stores.cloud.read_failures import READ_ERRORS
from celes_beam.stores.inputs.files import InputFile, open_input, unreadable
from celes_beam.stores.inputs.formats import Kind, find_kind
from celes_beam.stores.inputs.read_options import CSV, MIB, PARQUET, ReadOptions
from celes_beam.stores.inputs.text_stream import TextStream

_SCAN_BYTES = 4 * MIB
_MOST_RANGES = 4096
"""Ranges of a larger file are larger, so that its plan stays small and soon made."""
_ALIGN_BYTES = 1 << 16


@dataclass(frozen=True)
class FileRange:
    """A part of a file that holds whole records; small and picklable.

    ``start`` and ``end`` are bytes of the file, both at the beginning of a record; row groups when
    the format is Parquet; the whole file when it can only be read from its beginning, since it is
    compressed or its codec says so (``is_stream``). ``weight`` is the part's share of the file, in
    bytes: those of all ranges add up to at most its size. ``skip`` is the length of the header of
    a stream, in bytes of its decoded text. ``first_row`` is the row number of a Parquet part's
    first row.
    """

    file: InputFile
    format: str
    start: int
    end: int
    weight: int
    compression: str | None = None
    header: CsvHeader | None = None
    is_stream: bool = False
    skip: int = 0
    first_row: int = 0


def plan_ranges(file: InputFile, how: ReadOptions) -> list[FileRange]:
    """Split a file into ranges of about the size ``how`` says; none when it holds no record.

    A CSV file larger than that is looked through for quoted line breaks: one that has any is a
    single range, since only from its beginning can be told what is quoted. Memory is bounded
    whatever the file's size. Raises ``InputError`` when the file is not of the format that it
    should be, and ``ColumnError`` when a column is not there.
    """
    kind = find_kind(file, how)
    if kind.format == PARQUET:
        return _plan_parquet(file, how) if file.size else []
    dialect = how.dialect if kind.format == CSV else CsvDialect()
    header, skip = None, 0
    if kind.format == CSV:
        found = _find_header(file, kind, how)
        if found is None:
            return []
        header, skip = found
    else:
        skip = len(BOM_UTF8) if kind.head.startswith(BOM_UTF8) else 0
    if kind.compression or not dialect.keeps_bytes:
        whole = FileRange(
            file, kind.format, 0, file.size, file.size, kind.compression, header, True, skip
        )
        return [whole]
    if skip >= file.size:
        return []
    cuts = [skip, file.size]
    range_bytes = range_bytes_of(file, how)
    large = file.size - skip > range_bytes
    if large and (header is None or _breaks_only_between_records(file, header, skip)):
        cuts = _cut(file, skip, max(range_bytes, file.size // _MOST_RANGES))
    return [
        FileRange(file, kind.format, start, end, end - start, None, header)
        for start, end in itertools.pairwise(cuts)
    ]


def range_bytes_of(file: InputFile, how: ReadOptions) -> int:
    """About how many bytes of a file are read as one; a smaller file is not split."""
    return how.gcs_range_bytes if file.path.startswith(GCS_SCHEME) else how.range_bytes


def _find_header(file: InputFile, kind: Kind, how: ReadOptions) -> tuple[CsvHeader, int] | None:
    """Read the header: the first record that is not blank. Returns it and where it ends."""
    head, final = kind.head, False
    if b"\n" not in head.removeprefix(BOM_UTF8).strip():
        with TextStream(file, kind.compression, how.dialect) as stream:
            head = stream.read_up_to(MAX_RECORD_BYTES)
        final = len(head) < MAX_RECORD_BYTES
    start = len(BOM_UTF8) if head.startswith(BOM_UTF8) else 0
    while True:
        line_end = head.find(b"\n", start)
        if line_end < 0 and not final:
            raise InputError(
                f"{file.path}: no line ends in the first {len(head)} bytes; expected a CSV header, "
                "one line"
            )
        line = head[start : line_end + 1] if line_end >= 0 else head[start:]
        if line.strip():
            break
        if line_end < 0:
            return None
        start = line_end + 1
    if b"\r" in line.rstrip(b"\r\n") and line_end < 0:
        raise InputError(
            f"{file.path}: its lines end in CR alone, as on an old Mac; convert it with "
            f"tr '\\r' '\\n' < {file.path} > converted.csv"
        )
    every_field = how.transform is not None
    header = read_header(line, how.dialect, how.mapping, file.path, every_field=every_field)
    return header, start + len(line)


def _breaks_only_between_records(file: InputFile, header: CsvHeader, start: int) -> bool:
    """Say whether every line is a record: no quoted field goes on across a line break."""
    delimiter = ord(header.delimiter)
    buffer = bytearray(_SCAN_BYTES + MAX_RECORD_BYTES + 1)
    carried = 0
    with TextStream(file, start=start, end=file.size) as stream:
        while got := stream.read(memoryview(buffer)[carried : carried + _SCAN_BYTES]):
            size = carried + got
            if buffer.find(b'"', 0, size) >= 0:
                data = np.frombuffer(buffer, np.uint8, size)
                ends = find_records(data, delimiter, final=False).ends
                if len(ends) != np.count_nonzero(data == LINE_FEED):
                    return False
            end = buffer.rfind(b"\n", 0, size) + 1
            carried = size - end
            # A line longer than a record may be is one record; its quotes are of no account.
            if carried > MAX_RECORD_BYTES:
                return False
            buffer[:carried] = buffer[end:size]
    return buffer.find(b'"', 0, carried) < 0 or _closes(buffer[:carried], delimiter)


def _closes(line: bytearray, delimiter: int) -> bool:
    return len(find_records(Block.of(line).data, delimiter, final=False).ends) == 1


def _cut(file: InputFile, start: int, range_bytes: int) -> list[int]:
    """Return offsets from ``start`` to the file's end, each at the beginning of a line."""
    cuts = [start]
    at = start + range_bytes
    while at < file.size:
        with TextStream(file, start=at - 1, end=file.size) as stream:
            at -= 1
            while part := stream.read_up_to(_ALIGN_BYTES):
                found = part.find(b"\n")
                if found >= 0:
                    at += found + 1
                    break
                at += len(part)
        if at < file.size:
            cuts.append(at)
        at += range_bytes
    return [*cuts, file.size]


def _plan_parquet(file: InputFile, how: ReadOptions) -> list[FileRange]:
    with open_input(file) as source:
        try:
            metadata = pq.ParquetFile(source).metadata
            schema = metadata.schema.to_arrow_schema()
        except (pa.ArrowException, *READ_ERRORS) as error:
            raise unreadable(file, error) or InputError(
                f"{file.path}: a damaged or unfinished Parquet file ({error}); get it again"
            ) from error
    locate = locate_columns if how.transform is None else name_fields
    locate(schema.names, how.mapping, file.path)
    range_bytes = max(range_bytes_of(file, how), file.size // _MOST_RANGES)
    ranges: list[FileRange] = []
    start, first_row, rows, weight = 0, 0, 0, 0
    for group in range(metadata.num_row_groups):
        about = metadata.row_group(group)
        rows += about.num_rows
        weight += sum(about.column(i).total_compressed_size for i in range(about.num_columns))
        if weight >= range_bytes or group == metadata.num_row_groups - 1:
            ranges.append(FileRange(file, PARQUET, start, group + 1, weight, first_row=first_row))
            start, first_row, weight = group + 1, first_row + rows, 0
            rows = 0
    return ranges

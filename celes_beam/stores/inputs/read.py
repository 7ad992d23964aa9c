"""Ranges of files read as judged rows, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from celes_beam.contract import Rules
from celes_beam.errors import InputError
from celes_beam.sales.csv_dialect import CsvDialect, locate_columns, name_fields
from celes_beam.sales.decode_csv import decode_csv
from celes_beam.sales.decode_ndjson import decode_ndjson
from celes_beam.sales.decode_parquet import decode_columns
from celes_beam.sales.outcomes import all_malformed
from celes_beam.sales.rejected import Checked
from celes_beam.stores.cloud.read_failures import READ_ERRORS
from celes_beam.stores.inputs.files import open_input, unreadable
from celes_beam.stores.inputs.ranges import FileRange
from celes_beam.stores.inputs.read_options import CSV, PARQUET, ReadOptions
from celes_beam.stores.inputs.text_blocks import LongLine, TextBlock, read_blocks
from celes_beam.stores.inputs.text_stream import TextStream

__all__ = ["ReadOptions", "read_range"]

_BATCH_ROWS = 131_072
_READ_AHEAD = 1 << 20


def read_range(part: FileRange, how: ReadOptions, rules: Rules) -> Iterator[Checked]:
    """Read a range of a file, as ``plan_ranges`` made it with the same ``how``.

    Yields what became of its records, ``how.chunk_bytes`` of text or some row groups' pages at a
    time, in order. ``source`` of rejected rows is the file's path. Raises ``InputError`` when the
    file changed since it was listed, or is damaged, ``StorageError`` when reading fails.
    """
    read = _read_parquet if part.format == PARQUET else _read_text
    yield from read(part, how, rules)
    # What was written to while it was read may be neither the old file nor the new one.
    open_input(part.file).close()


def _read_text(part: FileRange, how: ReadOptions, rules: Rules) -> Iterator[Checked]:
    dialect = how.dialect if part.format == CSV else CsvDialect()
    if part.is_stream:
        start, end = part.skip, None
    else:
        start, end = part.start, part.end
    delimiter = ord(part.header.delimiter) if part.header else None
    with TextStream(part.file, part.compression, dialect, start=start, end=end) as stream:
        for item in read_blocks(stream, how.chunk_bytes, start, delimiter):
            if isinstance(item, LongLine):
                yield _reject_line(item, part.file.path, rules)
            else:
                found = _decode(item, part, how, rules)
                if found.rows:
                    yield found


def _decode(item: TextBlock, part: FileRange, how: ReadOptions, rules: Rules) -> Checked:
    source = part.file.path
    if part.header is None:
        return decode_ndjson(
            item.block,
            how.mapping,
            source=source,
            offset=item.offset,
            rules=rules,
            notation=how.dialect.notation,
            transform=how.transform,
        )
    return decode_csv(
        item.block,
        part.header,
        source=source,
        offset=item.offset,
        rules=rules,
        records=item.records,
        transform=how.transform,
    )


def _reject_line(line: LongLine, source: str, rules: Rules) -> Checked:
    positions = np.array([line.offset], np.int64)
    raws = pa.array([line.raw], pa.binary())
    return all_malformed(source, positions, raws, rules)


def _read_parquet(part: FileRange, how: ReadOptions, rules: Rules) -> Iterator[Checked]:
    row = part.first_row
    for batch, names in _parquet_batches(part, how):
        yield decode_columns(
            batch,
            names,
            source=part.file.path,
            first_row=row,
            rules=rules,
            notation=how.dialect.notation,
            transform=how.transform,
        )
        row += batch.num_rows


def _parquet_batches(
    part: FileRange, how: ReadOptions
) -> Iterator[tuple[pa.RecordBatch, list[str]]]:
    """Yield batches of the range, and the name of the column to use for each contract column.

    For a transform, batches of all columns, and how it is to know them.
    """
    with open_input(part.file) as source:
        try:
            # Pages are read as they are needed, so that a large row group is not held whole.
            file = pq.ParquetFile(
                source,
                buffer_size=_READ_AHEAD,
                pre_buffer=False,
                page_checksum_verification=True,
                # Nanoseconds, which are the default, wrap around before 1677 and after 2262.
                coerce_int96_timestamp_unit="us",
            )
            every = file.schema_arrow.names
            if how.transform is None:
                wanted = [every[i] for i in locate_columns(every, how.mapping, part.file.path)]
                names = wanted
            else:
                wanted = None
                names = list(name_fields(every, how.mapping, part.file.path))
            groups = range(part.start, part.end)
            expected = sum(file.metadata.row_group(group).num_rows for group in groups)
            batches = file.iter_batches(
                _BATCH_ROWS, row_groups=groups, columns=wanted, use_threads=False
            )
            while (batch := next(batches, None)) is not None:
                expected -= batch.num_rows
                yield batch, names
        except (pa.ArrowException, *READ_ERRORS) as error:
            raise unreadable(part.file, error) or InputError(
                f"{part.file.path}: a damaged Parquet file ({error}); get it again"
            ) from error
    if expected:
        raise InputError(
            f"{part.file.path}: {expected} rows fewer than its row groups say; get it again"
        )

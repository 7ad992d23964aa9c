"""CSV records into judged rows.

Two paths. A block of records in which every row is fine is parsed into types by pyarrow in one go.
Any other block is split into texts, in which exactly the wrong rows and columns are found. Both
count the records by their own line ends, so that none is lost to a parser's idea of them.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.csv

from celes_beam.contract import (
    AMOUNT,
    CATEGORY,
    COLUMN_NAMES,
    DATE,
    ID,
    MAX_RAW_BYTES,
    MAX_RECORD_BYTES,
    REGION,
    SCHEMA,
    Rules,
)
from celes_beam.errors import IntegrityError
from celes_beam.sales.csv_dialect import UTF8, CsvDialect, CsvHeader, transcode
from celes_beam.sales.outcomes import all_accepted, all_malformed, nothing_read, together
from celes_beam.sales.record_ends import find_records
from celes_beam.sales.records import (
    Block,
    Ints,
    Mask,
    Records,
    count_lines,
    field_counts,
    has_lone_return,
    has_long_line,
    has_small_exponent,
    keep_records,
    line_ends,
    raw_records,
    split_record,
    text_bounds,
)
from celes_beam.sales.rejected import Checked, checked
from celes_beam.sales.texts import judge_text_column
from celes_beam.sales.transform import Transform, fields_batch
from celes_beam.sales.transformed import check_transformed
from celes_beam.sales.typed_columns import readable
from celes_beam.sales.validate import accept_typed, judge_texts

_TEXTS = pa.dictionary(pa.int32(), pa.string())

__all__ = ["CsvDialect", "CsvHeader", "decode_csv"]


def decode_csv(
    block: Block,
    header: CsvHeader,
    *,
    source: str,
    offset: int,
    rules: Rules,
    records: Records | None = None,
    transform: Transform | None = None,
) -> Checked:
    """Decode and judge a block of whole records.

    ``offset`` is the block's place in the file, in bytes. ``records`` spares finding them again
    when the caller has. Blank lines are no rows. A record is malformed as a whole when it has too
    few or too many fields, text after a closing quote, a quote that is never closed, undecodable
    bytes in a column of the contract, or more than ``contract.MAX_RECORD_BYTES``. ``transform``
    gets the others before they are judged, all at once; it needs a header with ``names``.
    """
    if not block.size:
        return nothing_read()
    if transform is not None:
        records = records or find_records(block.data, ord(header.delimiter), final=True)
        return _Texts(block, header, records).judge(source, offset, rules, transform)
    quoted = block.has(b'"')
    if quoted and records is None:
        records = find_records(block.data, ord(header.delimiter), final=True)
    # pyarrow takes a mark at the beginning of what it reads for the file's own, and drops it.
    if not block.starts_with(BOM_UTF8):
        accepted = _decode_typed(block, header, rules, records if quoted else None)
        if accepted is not None:
            return all_accepted(accepted)
    if records is None:
        records = find_records(block.data, ord(header.delimiter), final=True)
    return _Texts(block, header, records).judge(source, offset, rules)


def _decode_typed(
    block: Block, header: CsvHeader, rules: Rules, records: Records | None
) -> pa.RecordBatch | None:
    """Parse a block into types; ``None`` when any row of it has to be looked at.

    ``records`` are given when the block holds quotes: without, every line is a record.
    """
    data = block.data
    if records is None:
        if has_long_line(data) or (block.has(b"\r") and has_lone_return(data)):
            return None
        rows = count_lines(data)
    else:
        if records.ambiguous or np.diff(records.ends, prepend=0).max() > MAX_RECORD_BYTES:
            return None
        rows = len(records.ends)
    types = _guess_types(block, header)
    try:
        table = _parse(_utf8(block.view, header), header, types, quotes=records is not None)
        for name in (CATEGORY, REGION):
            for chunk in table.column(name).chunks:
                chunk.dictionary.validate(full=True)
    except pa.ArrowInvalid:
        return None
    if table.num_rows != rows:
        ends = line_ends(data) if records is None else records.ends
        if table.num_rows != rows - _count_blank(block, ends):
            return None
    columns = {name: table.column(name).combine_chunks() for name in COLUMN_NAMES}
    for name in (ID, DATE, AMOUNT):
        if types[name] == pa.string():
            judged = judge_text_column(name, columns[name], rules, header.notation)
            if judged.codes.any():
                return None
            columns[name] = judged.values
    return accept_typed(columns, rules)


def _guess_types(block: Block, header: CsvHeader) -> dict[str, pa.DataType]:
    """Choose the type to parse each contract column as; string where the rules are our own."""
    types = {name: SCHEMA.field(name).type for name in COLUMN_NAMES}
    types[DATE] = pa.timestamp("us")
    types[CATEGORY] = types[REGION] = _TEXTS
    if header.notation.date_format is not None:
        types[DATE] = pa.string()
    else:
        line = bytes(block.buffer[: block.buffer.find(b"\n", 0, block.size)])
        fields = split_record(line.rstrip(b"\r"), ord(header.delimiter)) or []
        place = header.places[COLUMN_NAMES.index(DATE)]
        if place < len(fields) and _has_zone(fields[place]):
            types[DATE] = pa.timestamp("us", tz="UTC")
    # pyarrow reads 0x10 as 16.
    if _may_have_hexadecimal(block):
        types[ID] = pa.string()
    # pyarrow reads 123456789012e-146 as 102880657.51.
    if has_small_exponent(block.data):
        types[AMOUNT] = pa.string()
    return types


def _has_zone(date: bytes) -> bool:
    time = date.strip()[len("2024-01-31") :]
    return time.endswith((b"Z", b"z")) or b"+" in time or b"-" in time


def _may_have_hexadecimal(block: Block) -> bool:
    if not block.has(b"x") and not block.has(b"X"):
        return False
    marks = np.flatnonzero((block.data | 0x20) == ord("x"))
    return bool((block.data[np.maximum(marks - 1, 0)] == ord("0")).any())


def _count_blank(block: Block, ends: Ints) -> int:
    lengths = np.diff(ends, prepend=0)
    short = ends[lengths == 2]
    return int((lengths == 1).sum() + (block.data[short - 2] == ord("\r")).sum())


def _utf8(view: bytes | memoryview, header: CsvHeader) -> bytes | memoryview:
    if header.encoding == UTF8:
        return view
    return transcode(view, header.encoding)


def _parse(
    text: bytes | memoryview,
    header: CsvHeader,
    types: dict[str, pa.DataType],
    *,
    quotes: bool = True,
) -> pa.Table:
    """Parse the columns that ``types`` names out of whole records; empty fields are null.

    Without ``quotes`` in it, text is parsed faster by a parser that knows of none.
    """
    csv = pyarrow.csv
    return csv.read_csv(
        pa.BufferReader(text),
        # One block: what is to be parsed at a time is for the caller to choose.
        csv.ReadOptions(
            use_threads=False, block_size=len(text) + 1, column_names=header.column_names
        ),
        csv.ParseOptions(delimiter=header.delimiter, quote_char='"' if quotes else False),
        csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            null_values=[""],
            strings_can_be_null=True,
            # Of dictionaries the texts are checked once each, by the caller.
            check_utf8=pa.string() in types.values(),
            decimal_point=header.notation.decimal_point,
        ),
    )


def _mark_boms(block: Block, records: Records) -> Records:
    """Mark records that begin with a byte order mark as odd, since pyarrow may drop the mark."""
    if not block.has(BOM_UTF8):
        return records
    odd = records.odd.copy()
    starts = records.starts
    for start in starts[block.data[starts] == BOM_UTF8[0]].tolist():
        if block.buffer.startswith(BOM_UTF8, start, block.size):
            odd[np.searchsorted(starts, start)] = True
    return Records(records.ends, odd, records.ambiguous)


class _Texts:
    """A block of records as texts, row by row where it must be.

    Records are told apart in steps: blank ones are no rows; odd and long ones are split one by one;
    of the rest those with a wrong number of fields are malformed, and pyarrow splits the others.
    """

    def __init__(self, block: Block, header: CsvHeader, records: Records) -> None:
        self.view, self.data = block.view, block.data
        self.header, self.records = header, _mark_boms(block, records)
        self.delimiter = ord(header.delimiter)
        self.starts, self.stops = text_bounds(self.data, records)
        names = header.names or COLUMN_NAMES
        places = range(header.fields) if header.names else header.places
        self.places = dict(zip(names, places, strict=True))

    def judge(
        self, source: str, offset: int, rules: Rules, transform: Transform | None = None
    ) -> Checked:
        """Judge every record; as ``transform`` makes it, if that is given."""
        lengths = self.stops - self.starts
        row = lengths > 0
        long = self.records.ends - self.starts > MAX_RECORD_BYTES
        malformed = long.copy()
        plain = row & ~self.records.odd & ~long
        columns = self._split_plain(plain, malformed)
        alone = np.flatnonzero(row & self.records.odd & ~long)
        if len(alone):
            plain &= ~malformed
            columns = self._add_odd(columns, np.flatnonzero(plain), alone, malformed)
        judged = np.flatnonzero(row & ~malformed)
        texts, bad = _decode_columns(columns)
        if bad.any():
            malformed[judged[bad]] = True
            judged = judged[~bad]
        positions = self.starts[judged] + offset

        def raws(indexes: Ints) -> pa.Array:
            return self._raws(judged[indexes])

        if transform is None:
            verdict = judge_texts(texts, rules, self.header.notation)
            result = checked(verdict, source, positions, raws, rules)
        else:
            others = [(name, text) for name, text in texts.items() if name not in COLUMN_NAMES]
            result = check_transformed(
                transform,
                fields_batch(texts, others, len(judged)),
                source=source,
                positions=positions,
                raws=raws,
                rules=rules,
                notation=self.header.notation,
            )
        lost = np.flatnonzero(row & malformed)
        if not len(lost):
            return result
        whole = all_malformed(source, self.starts[lost] + offset, self._raws(lost), rules)
        return together(result, whole)

    def _raws(self, indexes: Ints) -> pa.Array:
        raws = raw_records(self.view, self.starts[indexes], self.stops[indexes], MAX_RAW_BYTES)
        return pa.array(raws, pa.binary())

    def _split_plain(self, plain: Mask, malformed: Mask) -> dict[str, pa.Array]:
        """Split all plain records, marking those with a wrong number of fields as malformed."""
        text = keep_records(self.view, self.records, plain)
        rows = np.flatnonzero(plain)
        counts = field_counts(np.frombuffer(text, np.uint8), self.delimiter)
        if len(counts) != len(rows):
            raise IntegrityError(f"{len(rows)} records were found, but {len(counts)} on recounting")
        wrong = rows[counts != self.header.fields]
        if len(wrong):
            malformed[wrong] = True
            text = keep_records(self.view, self.records, plain & ~malformed)
        expected = len(rows) - len(wrong)
        if not expected:
            return {name: pa.array([], pa.binary()) for name in self.places}
        types = dict.fromkeys(self.places, pa.binary())
        table = _parse(_utf8(text, self.header), self.header, types)
        if table.num_rows != expected:
            raise IntegrityError(
                f"{expected} records were found, but pyarrow made {table.num_rows} rows of them"
            )
        return {name: table.column(name).combine_chunks() for name in self.places}

    def _add_odd(
        self, columns: dict[str, pa.Array], plain: Ints, odd: Ints, malformed: Mask
    ) -> dict[str, pa.Array]:
        """Split the odd records one by one and put them in their places among the others."""
        rows: list[Sequence[bytes | None]] = []
        kept: list[int] = []
        raws = raw_records(self.view, self.starts[odd], self.stops[odd], MAX_RECORD_BYTES)
        for index, raw in zip(odd.tolist(), raws, strict=True):
            fields = split_record(raw, self.delimiter)
            if fields is None or len(fields) != self.header.fields:
                malformed[index] = True
                continue
            kept.append(index)
            chosen = [bytes(_utf8(fields[place], self.header)) for place in self.places.values()]
            rows.append([text or None for text in chosen])
        order = pa.array(np.argsort(np.concatenate([plain, np.array(kept, np.int64)])))
        return {
            name: pa.concat_arrays(
                [columns[name], pa.array([row[i] for row in rows], pa.binary())]
            ).take(order)
            for i, name in enumerate(self.places)
        }


def _decode_columns(columns: dict[str, pa.Array]) -> tuple[dict[str, pa.Array], Mask]:
    """Decode UTF-8, and say which rows are undecodable in a contract column; those are left out."""
    bad = np.zeros(len(next(iter(columns.values()))), np.bool_)
    texts = {}
    for name, array in columns.items():
        try:
            texts[name] = array.cast(pa.string())
        except pa.ArrowInvalid:
            if name in COLUMN_NAMES:
                bad |= _undecodable(array)
            else:
                columns[name] = texts[name] = readable(array, np.arange(len(array)))
    if bad.any():
        good = pa.array(~bad)
        texts = {name: array.filter(good).cast(pa.string()) for name, array in columns.items()}
    return texts, bad


def _undecodable(array: pa.Array) -> Mask:
    bytes_of = np.frombuffer(array.buffers()[2], np.uint8)
    offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset :][: len(array) + 1]
    # What is not ASCII is little, and much of it alike.
    places = np.flatnonzero(bytes_of > 127)
    rows = np.unique(np.searchsorted(offsets, places, side="right") - 1)
    rows = rows[(rows >= 0) & (rows < len(array))]
    encoded = array.take(pa.array(rows)).dictionary_encode()
    wrong = np.array([not _decodes(text) for text in encoded.dictionary.to_pylist()], np.bool_)
    bad = np.zeros(len(array), np.bool_)
    bad[rows] = wrong[encoded.indices.to_numpy()]
    return bad


def _decodes(text: bytes) -> bool:
    try:
        text.decode(UTF8)
    except UnicodeDecodeError:
        return False
    return True

"""Rejected rows judged once more: their raw bytes decoded, and checked by today's rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from celes_beam.contract import MAX_RAW_BYTES, REJECTED_SCHEMA, RULES_VERSION, Rules
from celes_beam.errors import IntegrityError
from celes_beam.sales.csv_dialect import CsvHeader
from celes_beam.sales.decode_csv import decode_csv
from celes_beam.sales.decode_ndjson import decode_ndjson
from celes_beam.sales.outcomes import all_malformed, nothing_read
from celes_beam.sales.record_ends import find_records
from celes_beam.sales.records import Block, Ints, Mask
from celes_beam.sales.rejected import Checked
from celes_beam.sales.texts import PLAIN_NOTATION, Notation
from celes_beam.sales.transform import Transform

_WHITE_SPACE = b" \t\r\n\v\f"
_JUDGED_BYTES = 8 << 20
"""Raw bytes are decoded about this many at a time, so that memory stays bounded."""


@dataclass(frozen=True, eq=False)
class ReplayRules:
    """How rejected rows are judged again; picklable.

    ``headers`` has the header of each source that is CSV, by its path; every other one holds JSON
    records, as Parquet's raw bytes are too. ``mapping`` names keys for contract columns, ``fix`` is
    applied before rows are judged.
    """

    rules: Rules
    headers: Mapping[str, CsvHeader] = field(default_factory=dict)
    mapping: Mapping[str, str] = field(default_factory=dict)
    notation: Notation = PLAIN_NOTATION
    fix: Transform | None = None


def can_be_replayed(rejected: pa.RecordBatch, whole: Mask | None = None) -> Mask:
    """Say of which rejected rows the raw bytes are there, and whole.

    Those of a file that was refused as a whole are empty, and those of a long record are cut;
    ``whole`` says of which they are not, where whoever kept them knows.
    """
    raws = rejected.column("raw")
    kept: Mask = np.array([bool(raw.strip(_WHITE_SPACE)) for raw in raws.to_pylist()], np.bool_)
    if len(kept):
        kept &= pc.binary_length(raws).to_numpy() < MAX_RAW_BYTES if whole is None else whole
    return kept


def replay(rejected: pa.RecordBatch, how: ReplayRules) -> Iterator[Checked]:
    """Decode and judge rejected rows (``contract.REJECTED_SCHEMA``) of which each can be replayed.

    Yields what became of them, some at a time. A row that is rejected again keeps its source,
    position and raw bytes, and counts one attempt more.
    """
    sizes = pc.binary_length(rejected.column("raw")).to_numpy().astype(np.int64)
    parts = (np.cumsum(sizes) - sizes) // _JUDGED_BYTES
    sources = rejected.column("source").dictionary_encode()
    headers = [how.headers.get(source) for source in sources.dictionary.to_pylist()]
    distinct = list(dict.fromkeys(headers))
    numbers = np.array([distinct.index(header) for header in headers], np.int64)
    of_rows = numbers[sources.indices.to_numpy()]
    for number, header in enumerate(distinct):
        for part in np.unique(parts[of_rows == number]):
            rows = np.flatnonzero((of_rows == number) & (parts == part))
            yield _replay_alike(rejected.take(pa.array(rows)), header, how)


def _replay_alike(rejected: pa.RecordBatch, header: CsvHeader | None, how: ReplayRules) -> Checked:
    """Judge rows that are written alike."""
    raws = rejected.column("raw").to_pylist()
    outcomes = _decode_json(raws, how) if header is None else _decode_csv(raws, header, how)
    accepted, again = [], []
    for first, starts, checked in outcomes:
        if checked.rows != len(starts):
            raise IntegrityError(
                f"{len(starts)} rejected rows were decoded as {checked.rows} rows: report this as "
                "a bug, with the rows"
            )
        accepted.append(checked.accepted)
        if checked.rejected.num_rows:
            places = np.searchsorted(starts, checked.rejected.column("position").to_numpy())
            originals = rejected.take(pa.array(first + places))
            again.append(_again(originals, checked.rejected, how.rules))
    nothing = nothing_read()
    return Checked(
        rejected.num_rows,
        _concat(accepted or [nothing.accepted]),
        pa.concat_batches([nothing.rejected, *again]),
    )


def _concat(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Put accepted rows together, of which some batches may have encoded texts and others not."""
    if len(batches) == 1:
        return batches[0]
    schema = nothing_read().accepted.schema
    return pa.concat_batches([batch.cast(schema) for batch in batches])


_Outcome = tuple[int, Ints, Checked]
"""The index of the first of some rows, where each begins in their block, what became of them."""


def _decode_json(raws: Sequence[bytes], how: ReplayRules) -> Iterator[_Outcome]:
    lines = [_one_line(raw) if b"\n" in raw else raw for raw in raws]
    block, starts, _ = _join(lines)
    checked = decode_ndjson(
        block,
        how.mapping,
        source="",
        rules=how.rules,
        notation=how.notation,
        transform=how.fix,
    )
    yield 0, starts, checked


def _one_line(raw: bytes) -> bytes:
    """A JSON text over several lines as one; what is no JSON stays so."""
    try:
        msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # A line feed within a string is no JSON, and must not become a space there.
        return raw.replace(b"\n", b"\0")
    return raw.replace(b"\n", b" ")


def _decode_csv(
    raws: Sequence[bytes], header: CsvHeader, how: ReplayRules, first: int = 0
) -> Iterator[_Outcome]:
    block, starts, ends = _join(raws)
    records = None
    if block.has(b'"') or block.buffer.count(b"\n", 0, block.size) != len(ends):
        records = find_records(block.data, ord(header.delimiter), final=True)
        if not np.array_equal(records.ends, ends):
            # A quote that is never closed takes the next rows for its own: they are to be parted.
            if len(raws) == 1:
                raw = pa.array(raws, pa.binary())
                yield first, starts, all_malformed("", starts, raw, how.rules)
                return
            half = len(raws) // 2
            yield from _decode_csv(raws[:half], header, how, first)
            yield from _decode_csv(raws[half:], header, how, first + half)
            return
    checked = decode_csv(
        block,
        header,
        source="",
        offset=0,
        rules=how.rules,
        records=records,
        transform=how.fix,
    )
    yield first, starts, checked


def _join(raws: Sequence[bytes]) -> tuple[Block, Ints, Ints]:
    """Make one block of some records; returns where each begins, and where its line feed ends."""
    ends = np.cumsum([len(raw) + 1 for raw in raws], dtype=np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    return Block.of(b"".join(raw + b"\n" for raw in raws)), starts, ends


def _again(originals: pa.RecordBatch, now: pa.RecordBatch, rules: Rules) -> pa.RecordBatch:
    """Rows that were rejected again: what they are of before, what is wrong with them of now."""
    rows = originals.num_rows
    raws = originals.column("raw")
    if pc.max(pc.binary_length(raws)).as_py() > MAX_RAW_BYTES:
        raws = pc.binary_slice(raws, 0, MAX_RAW_BYTES)
    started = pa.scalar(rules.started, REJECTED_SCHEMA.field("rejected_at").type)
    one = pa.scalar(1, pa.int32())
    return pa.RecordBatch.from_arrays(
        [
            originals.column("source"),
            originals.column("position"),
            now.column("reasons"),
            now.column("column"),
            now.column("value"),
            raws,
            pa.repeat(started, rows),
            pa.repeat(pa.scalar(RULES_VERSION, pa.int32()), rows),
            pc.add(originals.column("attempt"), one),
        ],
        schema=REJECTED_SCHEMA,
    )

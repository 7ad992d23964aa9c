"""Judgement of the records of messages: the rules of batch, and what becomes of unknown fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from celes_beam.contract import Reason, Rules
from celes_beam.errors import IntegrityError
from celes_beam.sales.decode_ndjson import decode_ndjson
from celes_beam.sales.message_fields import Fields, unknown_fields
from celes_beam.sales.message_records import MessageRecords
from celes_beam.sales.records import Ints, Mask
from celes_beam.sales.texts import Notation
from celes_beam.sales.transform import Transform


class Drift(StrEnum):
    """What becomes of fields that are no column's."""

    FREEZE = "freeze"
    """The row is rejected."""
    DISCARD = "discard"
    """They are ignored, and the rows that have any are counted."""
    KEEP = "keep"
    """They are kept as JSON."""


@dataclass(frozen=True, eq=False)
class Rejects:
    """Rejected records, by index (int64, ascending), each with what its row is to say."""

    records: Ints
    reasons: pa.ListArray
    columns: pa.StringArray
    values: pa.StringArray


@dataclass(frozen=True, eq=False)
class Judged:
    """What became of some records: ``accepted`` rows (``contract.SCHEMA``) and rejected ones.

    ``accepted_records`` (int64, ascending) are the records that became rows. ``other_fields``
    (string) is the JSON of the unknown fields of each of these, null when there are none; ``None``
    when they are not to be kept. ``rows_with_unknown_fields`` counts rejected rows too, but
    malformed ones, in which no fields are known.
    """

    accepted: pa.RecordBatch
    accepted_records: Ints
    other_fields: pa.StringArray | None
    rejects: Rejects
    rows_with_unknown_fields: int


def judge_records(
    records: MessageRecords,
    rules: Rules,
    *,
    columns: Mapping[str, str] | None,
    notation: Notation,
    drift: Drift,
    transform: Transform | None,
) -> Judged:
    """Judge records of messages as ``decode_ndjson`` does lines.

    With ``Drift.FREEZE`` a row with an unknown field has the reason ``unknown`` after the others,
    once; column and value are those of the first unknown field if no column is wrong. Fields are
    those of the message, whatever a transform makes of them.
    """
    checked = decode_ndjson(
        records.block, columns, source="", rules=rules, notation=notation, transform=transform
    )
    lines = len(records.readable)
    if checked.rows != lines:
        raise IntegrityError(
            f"{lines} records of messages were read as {checked.rows} rows: report this as a bug, "
            "with the messages"
        )
    rejects = Rejects(
        np.searchsorted(records.ends, checked.rejected.column("position").to_numpy(), "right"),
        checked.rejected.column("reasons"),
        checked.rejected.column("column"),
        checked.rejected.column("value"),
    )
    judged = np.ones(lines, np.bool_)
    judged[rejects.records[_are(Reason.MALFORMED, rejects.reasons)]] = False
    unknown = unknown_fields(records, judged, columns)
    is_accepted = np.ones(lines, np.bool_)
    is_accepted[rejects.records] = False
    accepted = checked.accepted
    if unknown and drift is Drift.FREEZE:
        frozen = np.fromiter(unknown, np.int64, len(unknown))
        accepted = accepted.filter(pa.array(~np.isin(np.flatnonzero(is_accepted), frozen)))
        rejects = _frozen(rejects, unknown)
        is_accepted[frozen] = False
    accepted_lines = np.flatnonzero(is_accepted)
    return Judged(
        accepted,
        records.readable[accepted_lines],
        _other_fields(accepted_lines, unknown) if drift is Drift.KEEP else None,
        _of_records(rejects, records),
        len(unknown),
    )


def _other_fields(lines: Ints, unknown: Mapping[int, Fields]) -> pa.StringArray:
    if not unknown:
        return pa.nulls(len(lines), pa.string())
    found = [unknown.get(line) for line in lines.tolist()]
    texts = [None if fields is None else msgspec.json.encode(fields).decode() for fields in found]
    return pa.array(texts, pa.string())


def _are(reason: Reason, reasons: pa.ListArray) -> Mask:
    """Say of which rows this is the first reason."""
    are: Mask = pc.equal(pc.list_element(reasons, 0), str(reason)).to_numpy(zero_copy_only=False)
    return are


def _frozen(rejects: Rejects, unknown: Mapping[int, Fields]) -> Rejects:
    """Give lines with unknown fields that reason, beside those they have."""
    rows = dict(
        zip(
            rejects.records.tolist(),
            zip(
                rejects.reasons.to_pylist(),
                rejects.columns.to_pylist(),
                rejects.values.to_pylist(),
                strict=True,
            ),
            strict=True,
        )
    )
    for line, fields in unknown.items():
        reasons, column, value = rows.get(line, ([], None, None))
        if reasons == [Reason.TRANSFORM_FAILED]:
            continue
        if not reasons:
            column, field = next(iter(fields.items()))
            value = bytes(field).decode()
        rows[line] = ([*reasons, str(Reason.UNKNOWN)], column, value)
    records = sorted(rows)
    ordered = [rows[line] for line in records]
    return Rejects(
        np.array(records, np.int64),
        pa.array([reasons for reasons, _, _ in ordered], rejects.reasons.type),
        pa.array([column for _, column, _ in ordered], pa.string()),
        pa.array([value for _, _, value in ordered], pa.string()),
    )


def _of_records(rejects: Rejects, records: MessageRecords) -> Rejects:
    """Turn rejected lines into rejected records, and add the records that have no line."""
    found = records.readable[rejects.records]
    missing = np.ones(len(records), np.bool_)
    missing[records.readable] = False
    unreadable = np.flatnonzero(missing)
    if not len(unreadable):
        return Rejects(found, rejects.reasons, rejects.columns, rejects.values)
    nothing = pa.nulls(len(unreadable), pa.string())
    malformed = pa.array([[str(Reason.MALFORMED)]] * len(unreadable), rejects.reasons.type)
    every = np.concatenate([found, unreadable])
    order = np.argsort(every)
    take = pa.array(order)
    return Rejects(
        every[order],
        pa.concat_arrays([rejects.reasons, malformed]).take(take),
        pa.concat_arrays([rejects.columns, nothing]).take(take),
        pa.concat_arrays([rejects.values, nothing]).take(take),
    )

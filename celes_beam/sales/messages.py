"""Pulled messages, column by column, and what becomes of them: accepted and rejected rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa

from celes_beam.contract import EPOCH, REJECTED_SCHEMA, SCHEMA, Rules
from celes_beam.errors import IntegrityError
from celes_beam.sales.message_check import Drift, Rejects, judge_records
from celes_beam.sales.message_records import MessageRecords, read_records
from celes_beam.sales.records import Ints, Mask
from celes_beam.sales.rejected import NONE_REJECTED, rejected_batch
from celes_beam.sales.texts import PLAIN_NOTATION, Notation
from celes_beam.sales.transform import Transform

MAX_BATCH_BYTES = 8 * 2**20
"""A batch of messages has no more, attributes included, but for a larger message by itself."""

__all__ = [
    "MAX_BATCH_BYTES",
    "CheckedMessages",
    "Drift",
    "MessageRules",
    "Messages",
    "attempt_of",
    "check_messages",
    "compressed_messages",
    "key_of_row",
    "message_keys",
]

ATTEMPT = "celes_attempt"
"""Attribute of a dead letter: how often its rows were judged, the first time included."""

_ENCODING = "content-encoding"
_MAX_ATTEMPT = 2**31 - 1
_NUMBERED = re.compile(r"/[0-9]+\Z")


@dataclass(frozen=True, eq=False)
class Messages:
    """Messages of Pub/Sub, in lists of one length: cheap to join, to slice, and to pickle.

    ``published`` are microseconds since 1970.
    """

    data: list[bytes]
    attributes: list[dict[str, str]]
    ids: list[str]
    published: list[int]

    def __len__(self) -> int:
        return len(self.data)

    @property
    def size(self) -> int:
        """Bytes of data."""
        return sum(map(len, self.data))

    @property
    def newest(self) -> int:
        """The latest of ``published``. Raises ``ValueError`` when there are no messages."""
        return max(self.published)


@dataclass(frozen=True)
class MessageRules:
    """How all messages of a run are read and judged.

    ``source`` is where they come from, such as ``pubsub:projects/p/subscriptions/s``. ``columns``
    names the key to use for a contract column. ``id_attribute`` is an attribute whose value is the
    id of a message, if it has that. ``categories`` and ``regions`` are as in ``contract.Rules``.
    """

    source: str
    columns: Mapping[str, str] | None = None
    notation: Notation = PLAIN_NOTATION
    drift: Drift = Drift.DISCARD
    id_attribute: str | None = None
    categories: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None
    transform: Transform | None = None


@dataclass(frozen=True, eq=False)
class CheckedMessages:
    """What became of ``messages`` messages that held ``rows`` records.

    ``accepted`` has ``contract.SCHEMA``, ``accepted_ids`` (string) the id of each row: that of its
    message, and ``<id>/<n>`` for record n, from 0, of a message that holds several, or whose own id
    ends in a slash and a number: no two rows of different messages have one id.
    ``other_fields`` (string) is the JSON of the fields of each that are no columns, null when there
    are none; only with ``Drift.KEEP``. ``rejected`` has ``contract.REJECTED_SCHEMA``, in the order
    of the messages: source is that of the rules, ``/``, and the id that Pub/Sub gave; position is
    the offset in the message, decompressed, in bytes. ``rejected_messages`` (int64) is the index of
    the message of each; ``rejected_whole`` says that it is the only record of that.
    ``rows_with_unknown_fields`` counts accepted and rejected rows, but malformed ones. Raises
    ``IntegrityError`` when the numbers do not add up.
    """

    messages: int
    rows: int
    accepted: pa.RecordBatch
    accepted_ids: pa.StringArray
    other_fields: pa.StringArray | None
    rejected: pa.RecordBatch
    rejected_messages: Ints
    rejected_whole: Mask
    rows_with_unknown_fields: int

    def __post_init__(self) -> None:
        accepted, rejected = self.accepted.num_rows, self.rejected.num_rows
        others = accepted if self.other_fields is None else len(self.other_fields)
        if not (
            self.rows == accepted + rejected >= self.messages
            and len(self.accepted_ids) == others == accepted
            and len(self.rejected_messages) == len(self.rejected_whole) == rejected
        ):
            raise IntegrityError(
                f"{self.messages} messages with {self.rows} rows were read, but {accepted} "
                f"accepted rows with {len(self.accepted_ids)} ids and {others} other fields, and "
                f"{rejected} rejected ones of {len(self.rejected_messages)} messages came out: "
                "report this as a bug, with the messages"
            )


def check_messages(messages: Messages, rules: MessageRules) -> CheckedMessages:
    """Read and judge messages; never raises for what they hold.

    A message is a JSON object, an array of objects, or NDJSON; with the attribute
    ``content-encoding`` ``gzip`` it is compressed. See ``message_records.read_records`` for what is
    malformed as a whole, ``decode_ndjson`` for records that are, and ``judge_records`` for unknown
    fields. Dates are bounded by the newest publish time, which is also when rows are rejected: the
    same messages give the same rows again. Rows of messages that have ``celes_attempt`` k are
    judged for the k+1st time. Raises ``ConfigError`` when the transform cannot be imported.
    """
    if not len(messages):
        return _nothing(rules.drift)
    batch_rules = Rules(
        started=EPOCH + timedelta(microseconds=messages.newest),
        categories=rules.categories,
        regions=rules.regions,
    )
    ids = message_keys(messages, rules.id_attribute)
    parts = []
    for records in read_records(messages.data, compressed_messages(messages)):
        judged = judge_records(
            records,
            batch_rules,
            columns=rules.columns,
            notation=rules.notation,
            drift=rules.drift,
            transform=rules.transform,
        )
        rejected = judged.rejects.records
        parts.append(
            CheckedMessages(
                int(records.messages[-1] - records.messages[0]) + 1,
                len(records),
                judged.accepted,
                _row_ids(records, judged.accepted_records, ids),
                judged.other_fields,
                _rejected_rows(records, judged.rejects, messages, rules.source, batch_rules),
                records.messages[rejected],
                records.alone[rejected],
                judged.rows_with_unknown_fields,
            )
        )
    return _together(parts)


def compressed_messages(messages: Messages) -> set[int]:
    """Return the indexes of messages that are said to be gzip."""
    names = set().union(*messages.attributes)
    return {
        i
        for name in names
        if name.lower() == _ENCODING
        for i, attributes in enumerate(messages.attributes)
        if attributes.get(name, "").strip().lower() == "gzip"
    }


def message_keys(messages: Messages, attribute: str | None) -> list[str]:
    """Return what tells messages apart: the value of an attribute where there is one, or the id."""
    if attribute is None:
        return messages.ids
    return [
        attributes.get(attribute) or own
        for attributes, own in zip(messages.attributes, messages.ids, strict=True)
    ]


def _row_ids(records: MessageRecords, rows: Ints, ids: Sequence[str]) -> pa.StringArray:
    messages = records.messages[rows]
    found = [ids[message] for message in messages.tolist()]
    numbered = ~records.alone[rows]
    # Or else it might be the id of a row of another message.
    alike = [i for i, row_id in enumerate(found) if "/" in row_id and _NUMBERED.search(row_id)]
    numbered[alike] = True
    for i in np.flatnonzero(numbered).tolist():
        found[i] = f"{found[i]}/{records.numbers[rows[i]]}"
    return pa.array(found, pa.string())


def key_of_row(row_id: str) -> str:
    """Return what tells the message of a row from others, of its id in ``accepted_ids``."""
    return _NUMBERED.sub("", row_id)


def _rejected_rows(
    records: MessageRecords, rejects: Rejects, messages: Messages, source: str, rules: Rules
) -> pa.RecordBatch:
    if not len(rejects.records):
        return NONE_REJECTED
    rows = rejected_batch(
        source,
        records.positions[rejects.records],
        rejects.reasons,
        rejects.columns,
        rejects.values,
        pa.array(records.raws(rejects.records), pa.binary()),
        rules,
    )
    of = records.messages[rejects.records].tolist()
    differing = {
        "source": [f"{source}/{messages.ids[message]}" for message in of],
        "attempt": [attempt_of(messages.attributes[message]) for message in of],
    }
    for name, values in differing.items():
        field = REJECTED_SCHEMA.field(name)
        at = REJECTED_SCHEMA.get_field_index(name)
        rows = rows.set_column(at, field, pa.array(values, field.type))
    return rows


def attempt_of(attributes: Mapping[str, str]) -> int:
    """How often a message has been judged once it is now."""
    before = attributes.get(ATTEMPT, "0")
    # Anybody may publish, so it may be any text.
    if not (before.isascii() and before.isdecimal() and len(before) <= len(str(_MAX_ATTEMPT))):
        return 1
    return min(int(before) + 1, _MAX_ATTEMPT)


def _nothing(drift: Drift) -> CheckedMessages:
    none = pa.array([], pa.string())
    return CheckedMessages(
        0,
        0,
        pa.RecordBatch.from_pylist([], schema=SCHEMA),
        none,
        none if drift is Drift.KEEP else None,
        NONE_REJECTED,
        np.empty(0, np.int64),
        np.empty(0, np.bool_),
        0,
    )


def _together(parts: Sequence[CheckedMessages]) -> CheckedMessages:
    if len(parts) == 1:
        return parts[0]
    others = [part.other_fields for part in parts if part.other_fields is not None]
    return CheckedMessages(
        sum(part.messages for part in parts),
        sum(part.rows for part in parts),
        pa.concat_batches([part.accepted for part in parts]),
        pa.concat_arrays([part.accepted_ids for part in parts]),
        pa.concat_arrays(others) if others else None,
        pa.concat_batches([part.rejected for part in parts]),
        np.concatenate([part.rejected_messages for part in parts]),
        np.concatenate([part.rejected_whole for part in parts]),
        sum(part.rows_with_unknown_fields for part in parts),
    )
